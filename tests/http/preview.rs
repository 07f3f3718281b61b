//! What an import of definitions would do, before it is done.

use super::client::{Api, json};
use serde_json::{Value, json};

/// The kinds and names in a list of a preview.
fn names(list: &Value) -> Vec<String> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let entries = list.as_array().expect("it is a list").iter();
    entries.map(|entry| format!("{} {}", text(entry, "kind"), text(entry, "name"))).collect()
}

/// Something of each kind; some of it is there already.
fn document() -> Value {
    json!({
        "users": [{ "name": "guest", "password": "hush-hush", "tags": ["monitoring"] }, { "name": "new", "tags": "" }],
        "vhosts": [{ "name": "/" , "metadata": { "description": "Default virtual host" } }, { "name": "more" }],
        "permissions": [{ "user": "new", "vhost": "more", "configure": "", "write": "", "read": ".*" }],
        "policies": [{ "vhost": "/", "name": "p", "pattern": "^b", "apply-to": "queues", "definition": { "max-length": 5 } }],
        "queues": [
            { "name": "kept", "vhost": "/", "durable": true, "arguments": {} },
            { "name": "same", "vhost": "/", "durable": true, "arguments": {} },
            { "name": "q", "vhost": "more", "durable": true, "arguments": {} },
        ],
        "exchanges": [{ "name": "x", "vhost": "more", "type": "topic" }],
        "bindings": [{ "source": "x", "vhost": "more", "destination": "q", "destination_type": "queue", "routing_key": "#" }],
        "global_parameters": [{ "name": "cluster_name", "value": "c" }],
    })
}

#[test]
fn an_import_is_compared_with_what_is_there_before_it_is_done() {
    let api = Api::start();
    api.check("PUT", "/api/queues/%2F/kept", Some(r#"{"durable":true,"arguments":{"x-max-length":1}}"#), 201);
    api.check("PUT", "/api/queues/%2F/same", Some(r#"{"durable":true}"#), 201);
    let policy = r#"{"pattern":"^a","definition":{"max-length":5},"apply-to":"queues"}"#;
    api.check("PUT", "/api/policies/%2F/p", Some(policy), 201);
    let document = document();
    let before = api.check("GET", "/api/definitions", None, 200);
    let preview = |document: &Value| {
        let answer = api.ask("POST", "/api/definitions/preview", Some(&document.to_string()));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("hush-hush"));
        json(&answer)
    };
    let told = preview(&document);
    assert_eq!(
        names(&told["add"]),
        [
            "vhost more",
            "user new",
            "permission new",
            "global_parameter cluster_name",
            "exchange x",
            "queue q",
            "binding x -> queue q by '#'",
        ]
    );
    assert_eq!(names(&told["change"]), ["user guest", "policy p"]);
    assert_eq!(
        told["change"],
        json!([
            {
                "kind": "user", "vhost": null, "name": "guest",
                "before": { "password": "as it is", "tags": ["administrator"] },
                "after": { "password": "another", "tags": ["monitoring"] },
            },
            {
                "kind": "policy", "vhost": "/", "name": "p",
                "before": { "pattern": "^a" }, "after": { "pattern": "^b" },
            },
        ])
    );
    assert_eq!((&told["same"], &told["problems"]), (&json!(2), &json!([])), "the vhost / and the queue same");
    let kept = told["kept"].as_array().expect("it is a list");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(
        kept[0]
            .as_str()
            .is_some_and(|what| what.contains("inequivalent arg 'x-max-length' for queue 'kept'"))
    );
    assert_eq!((&told["skipped"], &told["warnings"]), (&json!([]), &json!([])));
    assert_eq!(api.check("GET", "/api/definitions", None, 200), before, "nothing has changed");

    let wrong = json!({
        "queues": [{ "name": "q", "vhost": "none" }, { "name": "q2", "vhost": "/", "arguments": { "x-max-length": -1 } }],
    });
    let told = preview(&wrong);
    assert_eq!(told["problems"].as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(api.check("GET", "/api/definitions", None, 200), before, "nothing has changed");

    api.check("POST", "/api/definitions", Some(&document.to_string()), 204);
    let login = super::client::login("guest", "hush-hush");
    let body = document.to_string();
    let refused =
        api.ask_with(("POST", "/api/definitions/preview"), &[("Authorization", &login)], Some(&body));
    assert_eq!(refused.status, 401, "it takes an administrator");
}

#[test]
fn a_virtual_host_may_have_the_name_of_a_path() {
    let api = Api::start();
    api.check("PUT", "/api/vhosts/preview", None, 201);
    let exported = api.check("GET", "/api/definitions/preview", None, 200);
    assert_eq!(exported["original_vhost_name"], "preview");
}

#[test]
fn what_an_import_skips_is_not_among_what_it_adds() {
    let api = Api::start();
    api.check("PUT", "/api/queues/%2F/kept", Some("{}"), 201);
    let loose = json!({
        "policies": [{ "vhost": "/", "name": "m", "pattern": "", "definition": { "max-lenght": 5 } }],
        "bindings": [{ "source": "gone", "vhost": "/", "destination": "kept", "destination_type": "queue", "routing_key": "k" }],
    });
    let told = api.check("POST", "/api/definitions/preview", Some(&loose.to_string()), 200);
    assert_eq!(told["add"], json!([]), "what is skipped is not added");
    let user = json!({ "users": [{ "name": "bob", "password": "hush-hush", "tags": ["x"] }] });
    let user = api.check("POST", "/api/definitions/preview", Some(&user.to_string()), 200);
    let nothing = "the tag 'x' of user 'bob' gives no rights";
    assert!(user["warnings"][0].as_str().is_some_and(|what| what.starts_with(nothing)), "{user}");
    assert_eq!(user["skipped"], json!([]), "it is imported");
    assert_eq!(
        told["skipped"],
        json!([
            "policy 'm' in vhost '/': the key 'max-lenght' has no effect in Leveret; did you mean 'max-length'?",
            "policy 'm' in vhost '/' is left out: Leveret uses none of its keys",
            "the binding from 'gone' to 'kept': no exchange 'gone' in vhost '/'",
        ])
    );
}
