//! Users and their limits.

use super::answer::{Fault, done, put as answer_put};
use super::call::Call;
use super::list;
use super::route::{Route, delete, get, post, put};
use super::vhosts::{limit_wanted, limits_in_effect, tags};
use crate::admin::definitions::UserEntry;
use crate::admin::permissions::PermissionOperation;
use crate::admin::users::{Credential, LimitsChange, UserLimitsRow, UserOperation};
use crate::admin::vhosts::VHostOperation;
use crate::admin::{Operation, Password, Row, Told};
use crate::auth::password::Algorithm;
use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Users that are deleted by one request, at most.
const BULK_MAX: usize = 10_000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/users", "List all users", all),
        get(
            "/api/users/without-permissions",
            "List the users without permissions in any virtual host",
            without_permissions,
        ),
        post("/api/users/bulk-delete", "Delete multiple users", bulk_delete),
        get("/api/users/{user}", "Get a user", one),
        put("/api/users/{user}", "Create or update a user", set),
        delete("/api/users/{user}", "Delete a user", remove),
        get("/api/user-limits", "List the limits of all users", all_limits),
        get("/api/user-limits/{user}", "List the limits of a user", limits),
        put("/api/user-limits/{user}/{name}", "Set a limit of a user", change_limit),
        delete("/api/user-limits/{user}/{name}", "Clear a limit of a user", change_limit),
    ]
}

async fn entries(call: &Call, user: Option<String>) -> Result<Vec<UserEntry>, Fault> {
    let rows = call.rows(Operation::Users(UserOperation::ExportUsers { user })).await?;
    Ok(rows.filter_map(|row| if let Row::UserEntry(entry) = row { Some(*entry) } else { None }).collect())
}

/// A user in RabbitMQ's words.
fn shown(entry: UserEntry) -> Value {
    let algorithm = entry.hashing_algorithm.unwrap_or_else(|| "rabbit_password_hashing_sha256".to_owned());
    json!({
        "name": entry.name,
        "password_hash": entry.password_hash,
        "hashing_algorithm": algorithm,
        "tags": entry.tags,
        "limits": entry.limits,
    })
}

async fn all(call: Call) -> Result<Response, Fault> {
    let entries = entries(&call, None).await?;
    list::answer(&call, entries.into_iter().map(shown)).await
}

async fn one(call: Call) -> Result<Response, Fault> {
    let mut entries = entries(&call, Some(call.name("user"))).await?;
    let entry = entries.pop().ok_or_else(Fault::no_object)?;
    Ok(call.one(shown(entry)).await)
}

async fn without_permissions(call: Call) -> Result<Response, Fault> {
    let mut entries = entries(&call, None).await?;
    let vhosts = call.rows(Operation::VHosts(VHostOperation::ListVhosts)).await?;
    let vhosts = vhosts.filter_map(|row| if let Row::VHost(row) = row { Some(row.name) } else { None });
    let permissions = call
        .rows_of_all(vhosts.collect(), |vhost| {
            Operation::Permissions(PermissionOperation::ListPermissions { vhost })
        })
        .await?;
    let users: BTreeSet<String> = permissions
        .filter_map(|row| if let Row::Permission(row) = row { Some(row.user) } else { None })
        .collect();
    entries.retain(|entry| !users.contains(&entry.name));
    list::answer(&call, entries.into_iter().map(shown)).await
}

async fn set(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    let text = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Fault::bad_request(format!("{name} is not a text"))),
    };
    let tags = given.get("tags").map(tags).transpose()?;
    let tags = tags.ok_or_else(|| Fault::bad_request("tags_not_present"))?;
    let password = match (text("password")?, text("password_hash")?) {
        (Some(_), Some(_)) => {
            return Err(Fault::bad_request("both_password_and_password_hash_are_provided"));
        }
        (Some(password), None) => Credential::Password(Password(password)),
        (None, Some(hash)) => {
            let by_length = || Algorithm::of_hash(&hash).unwrap_or(Algorithm::Sha256).name().to_owned();
            let algorithm = text("hashing_algorithm")?.unwrap_or_else(by_length);
            Credential::Hash { hash: Password(hash), algorithm }
        }
        (None, None) => Credential::Nothing,
    };
    let operation = UserOperation::PutUser { user: call.name("user"), password, tags };
    let told = call.told(Operation::Users(operation)).await?;
    Ok(answer_put(told == Told::Created))
}

async fn remove(call: Call) -> Result<Response, Fault> {
    call.told(Operation::Users(UserOperation::DeleteUser { user: call.name("user") })).await?;
    Ok(done())
}

async fn bulk_delete(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    let users = given.get("users").and_then(Value::as_array);
    let users = users.ok_or_else(|| Fault::bad_request("[{key_missing,users}]"))?;
    for user in users.iter().take(BULK_MAX).filter_map(Value::as_str) {
        let deleted = call.told(Operation::Users(UserOperation::DeleteUser { user: user.to_owned() })).await;
        match deleted {
            Ok(_) => {}
            Err(fault) if fault.is_missing() => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(done())
}

async fn all_limits(call: Call) -> Result<Response, Fault> {
    super::overview::check_administers(&call)?;
    list_limits(&call, None).await
}

async fn limits(call: Call) -> Result<Response, Fault> {
    let user = call.name("user");
    list_limits(&call, Some(user)).await
}

/// Who has no limits is not listed, even if nobody else was asked for.
async fn list_limits(call: &Call, user: Option<String>) -> Result<Response, Fault> {
    let rows = call.rows(Operation::Users(UserOperation::ListUserLimits { user })).await?;
    let limited = |row: &UserLimitsRow| row.max_connections.or(row.max_channels).is_some();
    let rows = rows.filter_map(|row| if let Row::UserLimits(row) = row { Some(row) } else { None });
    let rows = rows.filter(limited).map(|row| shown_limits(&row));
    list::answer(call, rows.collect::<Vec<_>>().into_iter()).await
}

fn shown_limits(row: &UserLimitsRow) -> Value {
    let limits = [("max-connections", row.max_connections), ("max-channels", row.max_channels)];
    json!({"user": row.user, "value": limits_in_effect(limits)})
}

async fn change_limit(call: Call) -> Result<Response, Fault> {
    let ((name, value), user) = (limit_wanted(&call).await?, call.name("user"));
    let mut limits = LimitsChange::default();
    match name.as_str() {
        "max-connections" => limits.max_connections = Some(value),
        "max-channels" => limits.max_channels = Some(value),
        _ => {
            let why = format!("Unrecognised terms [{{<<\"{name}\">>,{value}}}] in user-limits");
            return Err(Fault::bad_request(why));
        }
    }
    let operation = UserOperation::SetUserLimits { user: user.clone(), limits };
    // A user who is gone has no limit either, which is what whoever deletes it wants: 404 says so.
    let is_set = call.method != Method::DELETE;
    let set = call.told(Operation::Users(operation)).await;
    let no_user = || Fault::bad_request(json!(["no_such_user", user]));
    set.map_err(|fault| if is_set && fault.is_missing() { no_user() } else { fault })?;
    Ok(done())
}
