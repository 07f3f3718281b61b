//! Operations as an operator reads them in the log: the name of the command, then each argument as
//! `key=value`, as in `requeue_parked vhost=/ queue=jobs`.

use super::{Operation, secret};
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

/// The one entry of an object.
fn only(value: &Value) -> Option<(&String, &Value)> {
    value.as_object().and_then(|object| object.iter().next())
}

fn add(text: &mut String, key: &str, value: &Value) {
    // Writing to a string does not fail.
    let _written = match value {
        Value::Null => Ok(()),
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
        let delete = json!({ "delete_user": { "user": "a b\n" } });
        check(json!({ "users": delete }), r#"delete_user user="a b\n""#);
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
