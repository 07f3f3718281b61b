//! Jobs: messages of a queue moved to elsewhere, or back to where they died.

use super::answer::{Fault, done, json_of};
use super::call::Call;
use super::exchanges::exchange_name;
use super::given::{check_given, check_known, text};
use super::route::{Route, delete, get, post};
use crate::admin::jobs::{JobOperation, RedriveTarget, Which};
use crate::admin::selection::Selection;
use crate::admin::{Operation, Row, Told};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/api/queues/{vhost}/{name}/move", "Move messages to an exchange or a queue", move_messages),
        post(
            "/api/queues/{vhost}/{name}/redrive",
            "Move dead-lettered messages back to where they died",
            redrive,
        ),
        get("/api/jobs", "List the jobs that move messages", list),
        get("/api/jobs/{id}", "Get a job", one),
        delete("/api/jobs/{id}", "Stop a job", stop),
    ]
}

async fn move_messages(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    check_job(&given, &["exchange", "routing_key"])?;
    check_given(&given, &["exchange", "routing_key"])?;
    let operation = JobOperation::MoveMessages {
        vhost: call.vhost(),
        queue: call.name("name"),
        exchange: exchange_name(text(&given, "exchange", "")?),
        routing_key: text(&given, "routing_key", "")?,
        which: which(&given)?,
    };
    begin(&call, operation).await
}

async fn redrive(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    check_job(&given, &["to"])?;
    let to = match text(&given, "to", "queue")?.as_str() {
        "queue" => RedriveTarget::Queue,
        "exchange" => RedriveTarget::Exchange,
        other => return Err(Fault::bad_request(format!("to is 'queue' or 'exchange', not '{other}'"))),
    };
    let (vhost, queue) = (call.vhost(), call.name("name"));
    let operation = JobOperation::RedriveMessages { vhost, queue, to, which: which(&given)? };
    begin(&call, operation).await
}

async fn begin(call: &Call, operation: JobOperation) -> Result<Response, Fault> {
    let told = call.told(Operation::Jobs(operation)).await;
    match told.map_err(|fault| fault.in_words().into_conflict())? {
        Told::Job(job) => Ok(json_of(StatusCode::ACCEPTED, &json!({"id": job.id}))),
        _ => Err(Fault::unavailable("no answer")),
    }
}

async fn list(call: Call) -> Result<Response, Fault> {
    let rows = call.rows(Operation::Jobs(JobOperation::ListJobs)).await?;
    let jobs = rows.filter_map(|row| if let Row::Job(job) = row { Some(json!(job)) } else { None });
    Ok(call.one(jobs.collect()).await)
}

async fn one(call: Call) -> Result<Response, Fault> {
    let job = id(&call)?;
    match call.told(Operation::Jobs(JobOperation::GetJob { job })).await? {
        Told::Job(job) => Ok(call.one(json!(job)).await),
        _ => Err(Fault::unavailable("no answer")),
    }
}

async fn stop(call: Call) -> Result<Response, Fault> {
    let job = id(&call)?;
    call.told(Operation::Jobs(JobOperation::StopJob { job })).await.map_err(Fault::into_conflict)?;
    Ok(done())
}

fn id(call: &Call) -> Result<u64, Fault> {
    call.name("id").parse().map_err(|_error| Fault::no_object())
}

/// Whether a body says nothing but which messages a job moves, and what is in these fields.
fn check_job(given: &Map<String, Value>, own: &[&str]) -> Result<(), Fault> {
    check_known(given, &[own, &["ids", "state", "header", "text", "reason", "limit", "rate"]].concat())
}

/// Which messages a body names: by numbers, or by what they have in common.
fn which(given: &Map<String, Value>) -> Result<Which, Fault> {
    let wanted = |name| Ok::<_, Fault>(Some(text(given, name, "")?).filter(|text| !text.is_empty()));
    let named = [wanted("state")?, wanted("reason")?];
    let selection = Selection::named(named, wanted("header")?, wanted("text")?)?;
    let number = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match number_of(value) {
            Some(number) => Ok(Some(number)),
            None => Err(Fault::bad_request(format!("{name} is not a number"))),
        },
    };
    let ids = match given.get("ids") {
        None | Some(Value::Null) => None,
        Some(Value::Array(ids)) => {
            let ids: Option<Vec<u64>> = ids.iter().map(number_of).collect();
            Some(ids.ok_or_else(|| Fault::bad_request("ids are numbers"))?)
        }
        Some(_) => return Err(Fault::bad_request("ids is not a list")),
    };
    Ok(Which { ids, selection, limit: number("limit")?, rate: number("rate")? })
}

/// A number, or a text that says one.
fn number_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
