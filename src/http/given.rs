//! What bodies of declarations say.

use super::answer::Fault;
use super::query::Query;
use crate::admin::value::Arguments;
use crate::near::did_you_mean;
use serde_json::{Map, Value, json};

/// A bool, or a text that says one.
///
/// # Errors
/// It is neither.
pub(super) fn flag(given: &Map<String, Value>, name: &str) -> Result<bool, Fault> {
    match given.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(other) => Err(Fault::bad_request(json!(["not_boolean", other]))),
    }
}

/// Arguments by name; an empty list is an empty object, as Erlang writes it.
///
/// # Errors
/// It is no object.
pub(super) fn arguments(given: &Map<String, Value>) -> Result<Arguments, Fault> {
    match given.get("arguments") {
        None | Some(Value::Null) => Ok(Arguments::new()),
        Some(Value::Array(list)) if list.is_empty() => Ok(Arguments::new()),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|_error| Fault::bad_request("the arguments are not an object")),
    }
}

/// A text, or the default.
///
/// # Errors
/// It is something else.
pub(super) fn text(given: &Map<String, Value>, name: &str, default: &str) -> Result<String, Fault> {
    match given.get(name) {
        None | Some(Value::Null) => Ok(default.to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Fault::bad_request(format!("{name} is not a text"))),
    }
}

/// What is needed and not given, as RabbitMQ lists it.
///
/// # Errors
/// Something is.
pub(super) fn check_given(given: &Map<String, Value>, names: &[&str]) -> Result<(), Fault> {
    let missing = names.iter().filter(|name| !given.contains_key(**name));
    let missing: Vec<String> = missing.map(|name| format!("{{key_missing,{name}}}")).collect();
    if missing.is_empty() { Ok(()) } else { Err(Fault::bad_request(format!("[{}]", missing.join(",")))) }
}

/// Whether there are no fields but those of these names: a path that RabbitMQ does not have takes
/// no others, as a slip would mean something else.
///
/// # Errors
/// There is another one.
pub(super) fn check_known(given: &Map<String, Value>, names: &[&str]) -> Result<(), Fault> {
    check_names("field", given.keys().map(String::as_str), names)
}

/// As [`check_known`], of the parameters of a query.
///
/// # Errors
/// There is another one.
pub(super) fn check_query(query: &Query, names: &[&str]) -> Result<(), Fault> {
    check_names("parameter", query.names(), names)
}

fn check_names<'a>(
    what: &str,
    mut given: impl Iterator<Item = &'a str>,
    known: &[&str],
) -> Result<(), Fault> {
    match given.find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let near = did_you_mean(name, known);
            Err(Fault::bad_request(format!("there is no {what} '{name}'{near}")))
        }
    }
}
