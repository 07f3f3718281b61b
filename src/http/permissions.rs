//! Permissions, and those for keys of topic exchanges.

use super::answer::{Fault, done, put as answer_put};
use super::call::Call;
use super::list;
use super::overview::check_administers;
use super::route::{Route, delete, get, put};
use crate::admin::permissions::{PermissionOperation, PermissionRow, TopicPermissionRow};
use crate::admin::{Operation, Row};
use axum::response::Response;
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/permissions", "List all permissions", all),
        get("/api/permissions/{vhost}/{user}", "Get a user's permissions in a virtual host", one),
        put("/api/permissions/{vhost}/{user}", "Set a user's permissions in a virtual host", set),
        delete("/api/permissions/{vhost}/{user}", "Clear a user's permissions in a virtual host", clear),
        get("/api/vhosts/{vhost}/permissions", "List the permissions in a virtual host", of_vhost),
        get("/api/users/{user}/permissions", "List the permissions of a user", of_user),
        get("/api/topic-permissions", "List all topic permissions", all_topics),
        get(
            "/api/topic-permissions/{vhost}/{user}",
            "List a user's topic permissions in a virtual host",
            topics,
        ),
        put(
            "/api/topic-permissions/{vhost}/{user}",
            "Set a user's topic permissions in a virtual host",
            set_topics,
        ),
        delete(
            "/api/topic-permissions/{vhost}/{user}",
            "Clear a user's topic permissions in a virtual host",
            clear_topics,
        ),
        delete(
            "/api/topic-permissions/{vhost}/{user}/{exchange}",
            "Clear a user's topic permissions on an exchange",
            clear_topics,
        ),
        get(
            "/api/vhosts/{vhost}/topic-permissions",
            "List the topic permissions in a virtual host",
            topics_of_vhost,
        ),
        get("/api/users/{user}/topic-permissions", "List the topic permissions of a user", topics_of_user),
    ]
}

fn operation(of: PermissionOperation) -> Operation {
    Operation::Permissions(of)
}

fn permission(row: Row) -> Option<PermissionRow> {
    if let Row::Permission(row) = row { Some(row) } else { None }
}

fn topic_permission(row: Row) -> Option<TopicPermissionRow> {
    if let Row::TopicPermission(row) = row { Some(row) } else { None }
}

fn shown(row: &PermissionRow) -> Value {
    let PermissionRow { user, vhost, configure, write, read } = row;
    json!({"user": user, "vhost": vhost, "configure": configure, "write": write, "read": read})
}

fn shown_topic(row: &TopicPermissionRow) -> Value {
    let TopicPermissionRow { user, vhost, exchange, write, read } = row;
    json!({"user": user, "vhost": vhost, "exchange": exchange, "write": write, "read": read})
}

async fn all(call: Call) -> Result<Response, Fault> {
    check_administers(&call)?;
    let rows = call.rows_in(|vhost| operation(PermissionOperation::ListPermissions { vhost })).await?;
    list::answer(&call, rows.filter_map(permission).map(|row| shown(&row))).await
}

async fn of_vhost(call: Call) -> Result<Response, Fault> {
    all(call).await
}

async fn of_user(call: Call) -> Result<Response, Fault> {
    let rows =
        call.rows(operation(PermissionOperation::ListUserPermissions { user: call.name("user") })).await?;
    list::answer(&call, rows.filter_map(permission).map(|row| shown(&row))).await
}

/// What the path names, if it is there.
async fn find(call: &Call) -> Result<Option<PermissionRow>, Fault> {
    let vhost = call.vhost();
    let rows =
        call.rows(operation(PermissionOperation::ListUserPermissions { user: call.name("user") })).await?;
    Ok(rows.filter_map(permission).find(|row| row.vhost == vhost))
}

async fn one(call: Call) -> Result<Response, Fault> {
    let row = find(&call).await?.ok_or_else(Fault::no_object)?;
    Ok(call.one(shown(&row)).await)
}

/// The texts of these names.
fn texts<const N: usize>(given: &Map<String, Value>, names: [&str; N]) -> Result<[String; N], Fault> {
    let missing: Vec<String> = names
        .iter()
        .filter(|name| !given.contains_key(**name))
        .map(|name| format!("{{key_missing,{name}}}"))
        .collect();
    if !missing.is_empty() {
        return Err(Fault::bad_request(format!("[{}]", missing.join(","))));
    }
    let text = |name: &str| given[name].as_str().map(str::to_owned);
    let texts: Option<Vec<String>> = names.iter().map(|name| text(name)).collect();
    let texts = texts.and_then(|texts| texts.try_into().ok());
    texts.ok_or_else(|| Fault::bad_request(format!("{} are texts", names.join(", "))))
}

/// The user and the vhost of a new permission have to be there.
fn missing(fault: Fault) -> Fault {
    if fault.is_missing() { Fault::bad_request("vhost_or_user_not_found") } else { fault }
}

async fn set(call: Call) -> Result<Response, Fault> {
    let [configure, write, read] = texts(&call.object().await?, ["configure", "write", "read"])?;
    let is_new = find(&call).await.map_err(missing)?.is_none();
    let row = PermissionRow { user: call.name("user"), vhost: call.vhost(), configure, write, read };
    call.told(operation(PermissionOperation::SetPermissions(row))).await.map_err(missing)?;
    Ok(answer_put(is_new))
}

async fn clear(call: Call) -> Result<Response, Fault> {
    find(&call).await?.ok_or_else(Fault::no_object)?;
    let (user, vhost) = (call.name("user"), call.vhost());
    call.told(operation(PermissionOperation::ClearPermissions { user, vhost })).await?;
    Ok(done())
}

async fn all_topics(call: Call) -> Result<Response, Fault> {
    check_administers(&call)?;
    let rows = call.rows_in(|vhost| operation(PermissionOperation::ListTopicPermissions { vhost })).await?;
    list::answer(&call, rows.filter_map(topic_permission).map(|row| shown_topic(&row))).await
}

async fn topics_of_vhost(call: Call) -> Result<Response, Fault> {
    all_topics(call).await
}

async fn topics_of_user(call: Call) -> Result<Response, Fault> {
    let rows = find_topics(&call).await?;
    list::answer(&call, rows.into_iter().map(|row| shown_topic(&row))).await
}

/// Those of the user, and of the vhost and the exchange that the path names.
async fn find_topics(call: &Call) -> Result<Vec<TopicPermissionRow>, Fault> {
    let (vhost, exchange) = (call.vhost(), call.name("exchange"));
    let listed = PermissionOperation::ListUserTopicPermissions { user: call.name("user") };
    let rows = call.rows(operation(listed)).await?;
    let is_it = |row: &TopicPermissionRow| {
        (vhost.is_empty() || row.vhost == vhost) && (exchange.is_empty() || row.exchange == exchange)
    };
    Ok(rows.filter_map(topic_permission).filter(is_it).collect())
}

async fn topics(call: Call) -> Result<Response, Fault> {
    let rows = find_topics(&call).await?;
    if rows.is_empty() {
        return Err(Fault::no_object());
    }
    list::answer(&call, rows.into_iter().map(|row| shown_topic(&row))).await
}

async fn set_topics(call: Call) -> Result<Response, Fault> {
    let [exchange, write, read] = texts(&call.object().await?, ["exchange", "write", "read"])?;
    let is_new = find_topics(&call).await.map_err(missing)?.is_empty();
    let row = TopicPermissionRow { user: call.name("user"), vhost: call.vhost(), exchange, write, read };
    call.told(operation(PermissionOperation::SetTopicPermissions(row))).await.map_err(missing)?;
    Ok(answer_put(is_new))
}

async fn clear_topics(call: Call) -> Result<Response, Fault> {
    if find_topics(&call).await?.is_empty() {
        return Err(Fault::no_object());
    }
    let exchange = Some(call.name("exchange")).filter(|name| !name.is_empty());
    let (user, vhost) = (call.name("user"), call.vhost());
    call.told(operation(PermissionOperation::ClearTopicPermissions { user, vhost, exchange })).await?;
    Ok(done())
}
