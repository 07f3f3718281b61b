//! Virtual hosts and their limits.

use super::answer::{Fault, done, put as answer_put};
use super::call::Call;
use super::list::{self, Show};
use super::overview::{check_administers, check_node};
use super::route::{Route, delete, get, post, put};
use super::statistics;
use crate::admin::permissions::{PermissionOperation, PermissionRow};
use crate::admin::vhosts::{VHostLimitsChange, VHostLimitsRow, VHostOperation, VHostRow};
use crate::admin::{Operation, Requester, Row};
use axum::http::Method;
use axum::response::Response;
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/vhosts", "List all virtual hosts", all),
        get("/api/vhosts/{vhost}", "Get a virtual host", one),
        put("/api/vhosts/{vhost}", "Create or update a virtual host", set),
        delete("/api/vhosts/{vhost}", "Delete a virtual host and everything in it", remove),
        post("/api/vhosts/{vhost}/deletion/protection", "Protect a virtual host from deletion", protect),
        delete(
            "/api/vhosts/{vhost}/deletion/protection",
            "Remove deletion protection from a virtual host",
            unprotect,
        ),
        post("/api/vhosts/{vhost}/start/{node}", "Restart a failed virtual host", start),
        get("/api/vhost-limits", "List the limits of all virtual hosts", all_limits),
        get("/api/vhost-limits/{vhost}", "List the limits of a virtual host", limits),
        put("/api/vhost-limits/{vhost}/{name}", "Set a limit of a virtual host", change_limit),
        delete("/api/vhost-limits/{vhost}/{name}", "Clear a limit of a virtual host", change_limit),
    ]
}

async fn rows(call: &Call) -> Result<Vec<VHostRow>, Fault> {
    let rows = call.rows(Operation::VHosts(VHostOperation::ListVhosts)).await?;
    Ok(rows.filter_map(|row| if let Row::VHost(row) = row { Some(*row) } else { None }).collect())
}

async fn all(call: Call) -> Result<Response, Fault> {
    let show = Show::of(&call);
    let rows = rows(&call).await?.into_iter().map(move |row| vhost(&show, row));
    list::answer(&call, rows).await
}

async fn one(call: Call) -> Result<Response, Fault> {
    check_administers(&call)?;
    let row = find(&call).await?.ok_or_else(Fault::no_object)?;
    let shown = vhost(&Show::of(&call), row);
    Ok(call.one(shown).await)
}

async fn find(call: &Call) -> Result<Option<VHostRow>, Fault> {
    let name = call.vhost();
    Ok(rows(call).await?.into_iter().find(|row| row.name == name))
}

/// A vhost in RabbitMQ's words.
fn vhost(show: &Show, row: VHostRow) -> Value {
    let VHostRow { name, description, tags, default_queue_type, tracing, protected_from_deletion, trends } =
        row;
    let metadata = json!({
        "description": description,
        "tags": tags,
        "default_queue_type": default_queue_type,
    });
    let mut shown = json!({
        "name": name,
        "description": description,
        "metadata": metadata,
        "tags": tags,
        "default_queue_type": default_queue_type,
        "cluster_state": {&show.node: "running"},
        "protected_from_deletion": protected_from_deletion,
        "tracing": tracing,
    });
    if show.disable_stats || !show.monitors {
        return shown;
    }
    if let Some([ready, unacked]) = &trends.lengths {
        statistics::put_lengths(&mut shown, ready, unacked);
    }
    if let Some([received, sent]) = &trends.traffic {
        statistics::put(&mut shown, "recv_oct", received);
        statistics::put(&mut shown, "send_oct", sent);
    }
    if let Some(events) = &trends.events {
        shown["message_stats"] = statistics::message_stats(events);
    }
    shown
}

async fn set(call: Call) -> Result<Response, Fault> {
    let (vhost, given) = (call.vhost(), call.object().await?);
    let description = given.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let tags = given.get("tags").map(tags).transpose()?.unwrap_or_default();
    let default_queue_type = kind(&given)?;
    let is_new = find(&call).await?.is_none();
    let operation = if is_new {
        VHostOperation::AddVhost { vhost: vhost.clone(), description, tags, default_queue_type }
    } else {
        // Whoever puts a vhost says all of it: what is left out is as in a new one.
        VHostOperation::UpdateVhostMetadata {
            vhost: vhost.clone(),
            description: Some(description),
            tags: Some(tags),
            default_queue_type: default_queue_type.or_else(|| Some("classic".to_owned())),
        }
    };
    call.told(Operation::VHosts(operation)).await?;
    if is_new && matches!(call.who, Requester::User(_)) {
        // The user who makes a vhost may use it.
        let all = || ".*".to_owned();
        let (user, vhost) = (call.user.clone(), vhost.clone());
        let row = PermissionRow { user, vhost, configure: all(), write: all(), read: all() };
        call.told(Operation::Permissions(PermissionOperation::SetPermissions(row))).await?;
    }
    if let Some(protected) = given.get("protected_from_deletion") {
        set_protected(&call, is_true(protected)).await?;
    }
    match given.get("tracing") {
        Some(on) if is_true(on) => trace(&call, VHostOperation::TraceOn { vhost }).await?,
        Some(_) => trace(&call, VHostOperation::TraceOff { vhost }).await?,
        None => {}
    }
    Ok(answer_put(is_new))
}

async fn trace(call: &Call, operation: VHostOperation) -> Result<(), Fault> {
    call.told(Operation::VHosts(operation)).await.map(|_done| ())
}

fn is_true(value: &Value) -> bool {
    *value == json!(true) || *value == json!("true")
}

fn kind(given: &Map<String, Value>) -> Result<Option<String>, Fault> {
    match given.get("default_queue_type").and_then(Value::as_str) {
        None | Some("" | "undefined") => Ok(None),
        Some(kind @ ("classic" | "quorum" | "stream")) => Ok(Some(kind.to_owned())),
        Some(other) => Err(Fault::bad_request(format!("{other} is not a valid queue type"))),
    }
}

/// Tags as a list, or as a text with commas.
///
/// # Errors
/// They are neither.
pub(super) fn tags(given: &Value) -> Result<Vec<String>, Fault> {
    let tags: Option<Vec<&str>> = match given {
        Value::String(text) => Some(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect()),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let tags = tags.ok_or_else(|| Fault::bad_request("tags are a list of texts, or a text with commas"))?;
    Ok(tags.into_iter().map(str::to_owned).collect())
}

async fn remove(call: Call) -> Result<Response, Fault> {
    check_administers(&call)?;
    let deleted = call.told(Operation::VHosts(VHostOperation::DeleteVhost { vhost: call.vhost() })).await;
    deleted.map_err(Fault::into_precondition)?;
    Ok(done())
}

async fn protect(call: Call) -> Result<Response, Fault> {
    set_protected(&call, true).await
}

async fn unprotect(call: Call) -> Result<Response, Fault> {
    set_protected(&call, false).await
}

async fn set_protected(call: &Call, protected: bool) -> Result<Response, Fault> {
    let vhost = call.vhost();
    call.told(Operation::VHosts(VHostOperation::ProtectVhost { vhost, protected })).await?;
    Ok(done())
}

/// A vhost that is there runs.
async fn start(call: Call) -> Result<Response, Fault> {
    check_administers(&call)?;
    find(&call).await?.ok_or_else(Fault::no_object)?;
    let node = call.name("node");
    check_node(&call).map_err(|_other| Fault::bad_request(format!("Unknown node: {node}")))?;
    Ok(done())
}

async fn all_limits(call: Call) -> Result<Response, Fault> {
    list_limits(&call, None).await
}

async fn limits(call: Call) -> Result<Response, Fault> {
    let vhost = call.vhost();
    list_limits(&call, Some(vhost)).await
}

async fn list_limits(call: &Call, vhost: Option<String>) -> Result<Response, Fault> {
    let rows = call.rows(Operation::VHosts(VHostOperation::ListVhostLimits { vhost })).await?;
    let rows =
        rows.filter_map(|row| if let Row::VHostLimits(row) = row { Some(shown_limits(&row)) } else { None });
    list::answer(call, rows.collect::<Vec<_>>().into_iter()).await
}

fn shown_limits(row: &VHostLimitsRow) -> Value {
    let limits = [("max-connections", row.max_connections), ("max-queues", row.max_queues)];
    json!({"vhost": row.vhost, "value": limits_in_effect(limits)})
}

/// The limits that are set, by their names.
pub(super) fn limits_in_effect(limits: [(&str, Option<u32>); 2]) -> Map<String, Value> {
    let set = limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), json!(limit?))));
    set.collect()
}

/// The name of a limit and the number that it is to be; -1 is no limit, which is what
/// whoever deletes it wants.
///
/// # Errors
/// It is no number.
pub(super) async fn limit_wanted(call: &Call) -> Result<(String, i64), Fault> {
    let name = call.name("name");
    if call.method == Method::DELETE {
        return Ok((name, -1));
    }
    let given = call.object().await?;
    let value = given.get("value").ok_or_else(|| Fault::bad_request("[{key_missing,value}]"))?;
    match value.as_i64() {
        Some(limit) => Ok((name, limit)),
        None => {
            let term = value.as_str().map_or_else(|| value.to_string(), |text| format!("<<\"{text}\">>"));
            let why = format!("Validation failed\n\n{name} should be a number, actually was {term}\n");
            Err(Fault::bad_request(why))
        }
    }
}

async fn change_limit(call: Call) -> Result<Response, Fault> {
    let ((name, value), mut limits) = (limit_wanted(&call).await?, VHostLimitsChange::default());
    match name.as_str() {
        "max-connections" => limits.max_connections = Some(value),
        "max-queues" => limits.max_queues = Some(value),
        _ => {
            let why =
                format!("Validation failed\n\nUnrecognised terms [{{<<\"{name}\">>,{value}}}] in limits\n");
            return Err(Fault::bad_request(why));
        }
    }
    let operation = VHostOperation::SetVhostLimits { vhost: call.vhost(), limits };
    let set = call.told(Operation::VHosts(operation)).await;
    set.map_err(|fault| if fault.is_missing() { Fault::not_found("vhost_not_found") } else { fault })?;
    Ok(done())
}
