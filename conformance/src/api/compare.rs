//! Where two records differ: statuses, headers, fields, their types and values.

use serde_json::Value;
use std::fmt;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The line of the step.
    pub request: String,
    /// Where in the answer: `status`, `header NAME`, or the path of a field, in which `[]` is any
    /// entry of a list.
    pub at: String,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, at, what } = self;
        write!(f, "{request} | {at} | {what}")
    }
}

/// All differences between what two brokers answered to the same steps; `names` are what each calls
/// itself, and no difference.
#[must_use]
pub fn differences(theirs: &Value, ours: &Value, names: [&str; 2]) -> Vec<Difference> {
    let answers = |record: &Value, name: &str| -> Vec<Value> {
        let text = record.to_string().replace(name, "NODE");
        serde_json::from_str(&text).unwrap_or_default()
    };
    let (theirs, ours) = (answers(theirs, names[0]), answers(ours, names[1]));
    let mut all = Vec::new();
    if theirs.len() != ours.len() {
        let what = format!("{} answers, not {}", ours.len(), theirs.len());
        all.push(Difference { request: "all".to_owned(), at: "number".to_owned(), what });
    }
    for (their, our) in theirs.iter().zip(&ours) {
        let request = text(&their["request"]);
        let mut found = Found { request: &request, all: &mut all };
        if their["request"] != our["request"] {
            found.add("request", format!("{} instead", our["request"]));
        } else if their["status"] != our["status"] {
            found.add("status", format!("{} instead of {}", our["status"], their["status"]));
        } else {
            found.headers(their, our);
            let is_unordered = request.contains("/api/definitions");
            found.values("", [&their["body"], &our["body"]], is_unordered);
        }
    }
    all
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

struct Found<'a> {
    request: &'a str,
    all: &'a mut Vec<Difference>,
}

impl Found<'_> {
    fn add(&mut self, at: &str, what: String) {
        self.all.push(Difference { request: self.request.to_owned(), at: at.to_owned(), what });
    }

    /// RabbitMQ tells what is allowed with every answer, which is of no interest but where it says
    /// nothing else.
    fn headers(&mut self, their: &Value, our: &Value) {
        let says_nothing = their["status"] == 405 || self.request.contains("OPTIONS ");
        for name in ["allow", "content-type", "location", "www-authenticate"] {
            let (theirs, ours) = (&their["headers"][name], &our["headers"][name]);
            if theirs != ours && (name != "allow" || says_nothing) {
                self.add(&format!("header {name}"), format!("{ours} instead of {theirs}"));
            }
        }
    }

    fn values(&mut self, at: &str, [their, our]: [&Value; 2], is_unordered: bool) {
        match (their, our) {
            (Value::Object(theirs), Value::Object(ours)) => {
                for (name, value) in theirs {
                    let at = format!("{at}.{name}");
                    match ours.get(name) {
                        Some(own) => self.values(&at, [value, own], is_unordered),
                        None => self.add(&at, format!("missing: {value}")),
                    }
                }
                for (name, value) in ours.iter().filter(|(name, _)| !theirs.contains_key(*name)) {
                    self.add(&format!("{at}.{name}"), format!("added: {value}"));
                }
            }
            (Value::Array(theirs), Value::Array(ours)) => {
                let at = format!("{at}[]");
                if theirs.len() != ours.len() {
                    self.add(&at, format!("{} entries instead of {}", ours.len(), theirs.len()));
                    return;
                }
                let sorted = |list: &[Value]| {
                    let mut list = list.to_vec();
                    list.sort_by_key(|entry| if is_unordered { key(entry) } else { String::new() });
                    list
                };
                for (their, our) in sorted(theirs).iter().zip(&sorted(ours)) {
                    self.values(&at, [their, our], is_unordered);
                }
            }
            (their, our) if kind(their) != kind(our) => {
                self.add(at, format!("{our}, not of the type of {their}"));
            }
            (their, our) if their != our => self.add(at, format!("{our} instead of {their}")),
            _ => {}
        }
    }
}

/// What an entry of a list is known by whose order means nothing.
fn key(entry: &Value) -> String {
    let parts = ["component", "vhost", "name", "source", "destination", "routing_key", "arguments", "user"];
    parts.iter().map(|part| entry[part].to_string()).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(their: &Value, our: &Value, expected: &[(&str, &str)]) {
        let record = |body: &Value| json!([{"request": "GET /", "status": 200, "headers": {}, "body": body}]);
        let found = differences(&record(their), &record(our), ["rabbit@a", "hare@b"]);
        let found: Vec<_> = found.iter().map(|one| (one.at.as_str(), one.what.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn fields_types_and_values_are_compared() {
        check(&json!({"a": [1, {"b": "rabbit@a"}]}), &json!({"a": [1, {"b": "hare@b"}]}), &[]);
        check(&json!({"a": 1, "b": 2}), &json!({"a": 2}), &[(".a", "2 instead of 1"), (".b", "missing: 2")]);
        check(&json!([{}, {}]), &json!([{}, {"c": null}]), &[("[].c", "added: null")]);
        check(&json!({"a": "1"}), &json!({"a": 1}), &[(".a", "1, not of the type of \"1\"")]);
        check(&json!([1]), &json!([]), &[("[]", "0 entries instead of 1")]);
    }
}
