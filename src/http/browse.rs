//! Messages of a queue, looked at where they are, and single ones deleted or made ready.

use super::answer::{Fault, done};
use super::call::Call;
use super::given::check_query;
use super::route::{Route, delete, get, post};
use crate::admin::browse::BrowseOperation;
use crate::admin::selection::Selection;
use crate::admin::{Operation, Told};
use axum::response::Response;
use serde_json::json;

/// Messages of a page, where nothing is said.
const COUNT: u64 = 50;

/// Bytes of each body of a page, where nothing is said.
const PAYLOAD_BYTES: u64 = 4096;

/// Bytes of the body of one message, where nothing is said.
const WHOLE_BYTES: u64 = 16 << 20;

/// Bytes of a text or a header that is looked for.
const WANTED_BYTES_MAX: usize = 256;

/// What the query of a page may say.
const PAGE: [&str; 4] = ["from", "count", "payload_bytes", "columns"];

/// And which messages are on it.
const SELECTION: [&str; 4] = ["state", "reason", "header", "text"];

pub(super) fn routes() -> Vec<Route> {
    vec![
        get(
            "/api/queues/{vhost}/{name}/messages",
            "Browse the messages of a queue without consuming them",
            list,
        ),
        get(
            "/api/queues/{vhost}/{name}/messages/{id}",
            "Get one message of a queue without consuming it",
            one,
        ),
        delete("/api/queues/{vhost}/{name}/messages/{id}", "Delete one message from a queue", remove),
        post(
            "/api/queues/{vhost}/{name}/messages/{id}/requeue",
            "Make a delayed or parked message ready now",
            requeue,
        ),
        get(
            "/api/queues/{vhost}/{name}/delayed",
            "List the delayed messages of a queue, soonest first",
            delayed,
        ),
    ]
}

async fn list(call: Call) -> Result<Response, Fault> {
    check_query(&call.query, &[&PAGE[..], &SELECTION].concat())?;
    let (vhost, queue, from) = (call.vhost(), call.name("name"), text(&call, "from", "head")?);
    let (count, payload_bytes) = (number(&call, "count", COUNT)?, bytes(&call, PAYLOAD_BYTES)?);
    let selection = selection(&call)?;
    page(call, BrowseOperation::ListMessages { vhost, queue, from, count, payload_bytes, selection }).await
}

async fn delayed(call: Call) -> Result<Response, Fault> {
    check_query(&call.query, &PAGE)?;
    let (vhost, queue, from) = (call.vhost(), call.name("name"), text(&call, "from", "head")?);
    let (count, payload_bytes) = (number(&call, "count", COUNT)?, bytes(&call, PAYLOAD_BYTES)?);
    page(call, BrowseOperation::ListDelayed { vhost, queue, from, count, payload_bytes }).await
}

async fn page(call: Call, operation: BrowseOperation) -> Result<Response, Fault> {
    let (told, turn) = call.told_in_turn(Operation::Browse(operation)).await?;
    let Told::MessagePage(page) = told else { return Err(Fault::unavailable("no answer")) };
    call.large_rows(turn, "messages", move || Ok(json!(page))).await
}

async fn one(call: Call) -> Result<Response, Fault> {
    check_query(&call.query, &["payload_bytes", "columns"])?;
    let (vhost, queue, id) = (call.vhost(), call.name("name"), id(&call)?);
    let payload_bytes = bytes(&call, WHOLE_BYTES)?;
    let operation = BrowseOperation::GetMessage { vhost, queue, id, payload_bytes };
    let (told, turn) = call.told_in_turn(Operation::Browse(operation)).await?;
    let Told::Message(message) = told else { return Err(Fault::unavailable("no answer")) };
    call.large(turn, move || Ok(json!(message))).await
}

async fn remove(call: Call) -> Result<Response, Fault> {
    let (vhost, queue, id) = (call.vhost(), call.name("name"), id(&call)?);
    let operation = BrowseOperation::DeleteMessage { vhost, queue, id };
    call.told(Operation::Browse(operation)).await.map_err(Fault::into_conflict)?;
    Ok(done())
}

async fn requeue(call: Call) -> Result<Response, Fault> {
    let (vhost, queue, id) = (call.vhost(), call.name("name"), id(&call)?);
    let operation = BrowseOperation::RequeueMessage { vhost, queue, id };
    call.told(Operation::Browse(operation)).await.map_err(Fault::into_conflict)?;
    Ok(done())
}

/// The message that the path names; what is no number names none.
fn id(call: &Call) -> Result<u64, Fault> {
    call.name("id").parse().map_err(|_error| Fault::no_object())
}

fn number(call: &Call, name: &str, otherwise: u64) -> Result<u64, Fault> {
    let Some(given) = call.query.get(name) else { return Ok(otherwise) };
    given.parse().map_err(|_error| Fault::bad_request(format!("{name} is not a number: '{given}'")))
}

fn bytes(call: &Call, otherwise: u64) -> Result<usize, Fault> {
    Ok(usize::try_from(number(call, "payload_bytes", otherwise)?).unwrap_or(usize::MAX))
}

fn text(call: &Call, name: &str, otherwise: &str) -> Result<String, Fault> {
    let given = call.query.get(name).filter(|given| !given.is_empty()).unwrap_or(otherwise);
    if given.len() > WANTED_BYTES_MAX {
        return Err(Fault::bad_request(format!("{name} has at most {WANTED_BYTES_MAX} bytes")));
    }
    Ok(given.to_owned())
}

fn selection(call: &Call) -> Result<Selection, Fault> {
    let wanted = |name| Ok::<_, Fault>(Some(text(call, name, "")?).filter(|text| !text.is_empty()));
    Ok(Selection::named([wanted("state")?, wanted("reason")?], wanted("header")?, wanted("text")?)?)
}
