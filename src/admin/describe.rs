//! Operations as an operator reads them in the log: the name of the command, then each argument as
//! `key=value`, as in `requeue_parked vhost=/ queue=jobs`.

use super::parked::RequeueResult;
use super::{Answer, Operation, Told, secret};
use serde_json::Value;
use std::fmt::Write;

/// The operation in one line, without passwords and documents that hold their hashes.
pub(super) fn describe(operation: &Operation) -> String {
    let mut text = String::new();
    // An operation is { group: { name: { argument: value } } }, or { group: name } without
    // arguments.
    let written = secret::hidden(|| serde_json::to_value(operation)).unwrap_or_default();
    let Some((_group, operation)) = only(&written) else { return text };
    match only(operation) {
        Some((name, arguments)) => {
            text.push_str(name);
            for (key, value) in arguments.as_object().into_iter().flatten() {
                add(&mut text, key, value);
            }
        }
        None => text.push_str(operation.as_str().unwrap_or_default()),
    }
    text
}

/// What a change came to, for the log: how much was changed, where the answer says that.
pub(super) fn changed(change: &str, answer: &Answer) -> String {
    // What is deleted is gone, whatever was in it.
    let is_deletion = change.starts_with("delete_");
    let counted = |count: u64, what: &str| match count {
        0 if is_deletion => format!("changed: {change}"),
        0 => format!("nothing changed: {change}"),
        1 => format!("changed: {change}: 1 {what}"),
        count => format!("changed: {change}: {count} {what}s"),
    };
    let Answer::One(told) = answer else { return format!("changed: {change}") };
    match **told {
        Told::Messages(count) => counted(count, "message"),
        Told::Connections(count) => counted(count, "connection"),
        Told::Requeued(RequeueResult { moved, parked: 0 }) => counted(moved, "message"),
        Told::Requeued(RequeueResult { moved, parked }) => {
            format!("{}; still parked: {parked}", counted(moved, "message"))
        }
        _ => format!("changed: {change}"),
    }
}

/// The one entry of an object.
fn only(value: &Value) -> Option<(&String, &Value)> {
    value.as_object().and_then(|object| object.iter().next())
}

fn add(text: &mut String, key: &str, value: &Value) {
    // Writing to a string does not fail.
    let _written = match value {
        Value::Null => Ok(()),
        Value::Object(none) if none.is_empty() => Ok(()),
        Value::String(word) if is_plain(word) => write!(text, " {key}={word}"),
        Value::String(_) | Value::Array(_) | Value::Object(_) | Value::Bool(_) | Value::Number(_) => {
            write!(text, " {key}={value}")
        }
    };
}

/// Whether a text needs no quotes.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control() || "\"=".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(operation: Value, expected: &str) {
        let operation: Operation = serde_json::from_value(operation).unwrap();
        assert_eq!(describe(&operation), expected);
    }

    #[test]
    fn an_operation_is_its_command_and_its_arguments() {
        let requeue = |to: Value| json!({ "parked": { "requeue_parked": { "vhost": "/", "queue": "jobs", "to": to } } });
        check(requeue(json!(["nope", "x"])), r#"requeue_parked vhost=/ queue=jobs to=["nope","x"]"#);
        check(requeue(Value::Null), "requeue_parked vhost=/ queue=jobs");
        check(json!({ "node": "ping" }), "ping");
        let redrive = |which: Value| json!({ "jobs": { "redrive_messages": { "vhost": "/", "queue": "q", "which": which } } });
        check(redrive(json!({})), "redrive_messages vhost=/ queue=q to=queue");
        let some = "redrive_messages vhost=/ queue=q to=queue which={\"selection\":{\"state\":\"parked\"},\"limit\":5}";
        check(redrive(json!({ "selection": { "state": "parked" }, "limit": 5 })), some);
        let delete = json!({ "delete_user": { "user": "a b\n" } });
        check(json!({ "users": delete }), r#"delete_user user="a b\n""#);
    }

    #[test]
    fn a_change_is_told_with_how_much_it_changed() {
        let told = |told: Told| changed("drop_parked queue=q", &Answer::One(Box::new(told)));
        assert_eq!(told(Told::Done), "changed: drop_parked queue=q");
        assert_eq!(told(Told::Messages(1)), "changed: drop_parked queue=q: 1 message");
        assert_eq!(told(Told::Messages(0)), "nothing changed: drop_parked queue=q");
        assert_eq!(told(Told::Connections(2)), "changed: drop_parked queue=q: 2 connections");
        let deleted = changed("delete_queue queue=q", &Answer::One(Box::new(Told::Messages(0))));
        assert_eq!(deleted, "changed: delete_queue queue=q");
        let requeued = |moved, parked| told(Told::Requeued(RequeueResult { moved, parked }));
        assert_eq!(requeued(3, 0), "changed: drop_parked queue=q: 3 messages");
        assert_eq!(requeued(0, 3), "nothing changed: drop_parked queue=q; still parked: 3");
    }

    #[test]
    fn passwords_are_not_shown() {
        let add = json!({ "add_user": { "user": "ann", "password": "hush", "tags": ["a"] } });
        check(json!({ "users": add }), r#"add_user user=ann password=*** tags=["a"]"#);
        for name in ["change_password", "authenticate_user"] {
            let operation = json!({ "users": { name: { "user": "ann", "password": "hush" } } });
            check(operation, &format!("{name} user=ann password=***"));
        }
        let import =
            json!({ "document": { "users": [{ "password_hash": "hush" }] }, "vhost": null, "strict": true });
        check(
            json!({ "definitions": { "import_definitions": import } }),
            "import_definitions document=*** strict=true skip_if_unchanged=false",
        );
    }
}
