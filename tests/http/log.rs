//! The last lines of the log, for who may see them.

use super::client::{Api, login};
use serde_json::json;

#[test]
fn the_last_lines_of_the_log_are_shown_without_what_is_secret() {
    let api = Api::start();
    api.check("PUT", "/api/users/ann", Some(r#"{"password":"hush-hush","tags":"monitoring"}"#), 201);
    api.check("PUT", "/api/users/bob", Some(r#"{"password":"bob","tags":"management"}"#), 201);
    let lines = api.check("GET", "/api/log?lines=100", None, 200);
    let lines = lines["lines"].as_array().expect("there are lines");
    let added = lines.iter().find(|line| line["text"].as_str().is_some_and(|text| text.contains("user=ann")));
    let added = added.expect("what an operator does is in the log");
    assert_eq!((&added["level"], &added["target"]), (&json!("info"), &json!("leveret::admin")));
    assert!(added["at"].as_u64().is_some_and(|at| at > 1_600_000_000_000));
    assert!(!json!(lines).to_string().contains("hush-hush"));
    let last = api.check("GET", "/api/log?lines=1", None, 200);
    assert_eq!(last["lines"].as_array().map(Vec::len), Some(1));
    api.check("GET", "/api/log?lines=all", None, 400);
    let ann = login("ann", "hush-hush");
    assert_eq!(api.ask_with(("GET", "/api/log"), &[("Authorization", &ann)], None).status, 200);
    assert_eq!(api.ask_as("bob", ("GET", "/api/log"), None).status, 401);
}
