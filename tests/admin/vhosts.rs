//! Vhosts and their limits: each operation once as it is meant, and once refused.

use super::test_broker::TestBroker;
use leveret::admin::RefusalKind;
use leveret::ids::Ticket;
use serde_json::{Value, json};

fn vhosts(operation: &Value) -> Value {
    json!({ "vhosts": operation })
}

fn add(vhost: &str, kind: &Value) -> Value {
    let asked =
        json!({ "vhost": vhost, "description": "of ann", "tags": ["b", "a"], "default_queue_type": kind });
    vhosts(&json!({ "add_vhost": asked }))
}

fn update(vhost: &str, description: &Value, kind: &Value) -> Value {
    let asked =
        json!({ "vhost": vhost, "description": description, "tags": null, "default_queue_type": kind });
    vhosts(&json!({ "update_vhost_metadata": asked }))
}

fn limit(vhost: &str, limits: &Value) -> Value {
    vhosts(&json!({ "set_vhost_limits": { "vhost": vhost, "limits": limits } }))
}

fn named(operation: &str, vhost: &str) -> Value {
    vhosts(&json!({ operation: { "vhost": vhost } }))
}

const NOWHERE: &str = "there is no vhost 'stagin'; did you mean 'staging'?";

#[test]
fn vhosts_come_change_and_go() {
    let mut fixture = TestBroker::new();
    let all = vhosts(&json!("list_vhosts"));
    fixture.answers(&add("staging", &json!("quorum")), &json!("done"));
    assert!(fixture.ticket > Ticket(0) && fixture.ticket <= fixture.world.broker.log().durable());
    fixture.answers(&add("staging", &json!("stream")), &json!("done"));
    let rows = fixture.ask(&all).unwrap();
    let staging = |description: &str, kind: &str| json!({ "name": "staging", "description": description, "tags": ["a", "b"], "default_queue_type": kind, "tracing": false, "protected_from_deletion": false });
    assert_eq!(rows[0]["name"], "/");
    assert_eq!(rows[1], staging("of ann", "quorum"), "one that is there stays as it is");
    fixture.answers(&update("staging", &json!("of bob"), &Value::Null), &json!("done"));
    assert_eq!(fixture.ask(&all).unwrap()[1], staging("of bob", "quorum"));
    fixture.answers(&named("delete_vhost", "staging"), &json!("done"));
    assert_eq!(fixture.column(&all, "name"), ["/"]);
}

#[test]
fn a_vhost_that_is_protected_stays() {
    let mut fixture = TestBroker::new();
    let protect = |on: bool| vhosts(&json!({ "protect_vhost": { "vhost": "staging", "protected": on } }));
    fixture.refuses(&protect(true), RefusalKind::NoVHost, "there is no vhost 'staging'");
    fixture.answers(&add("staging", &Value::Null), &json!("done"));
    fixture.answers(&protect(true), &json!("done"));
    let all = vhosts(&json!("list_vhosts"));
    assert_eq!(fixture.column(&all, "protected_from_deletion"), [json!(false), json!(true)]);
    let words = "Refusing to delete virtual host 'staging' because it is protected from deletion";
    fixture.refuses(&named("delete_vhost", "staging"), RefusalKind::Conflict, words);
    fixture.answers(&protect(false), &json!("done"));
    fixture.answers(&named("delete_vhost", "staging"), &json!("done"));
}

#[test]
fn limits_of_vhosts_are_set_lifted_and_listed() {
    let mut fixture = TestBroker::new();
    let all = vhosts(&json!({ "list_vhost_limits": { "vhost": null } }));
    fixture.answers(&add("staging", &Value::Null), &json!("done"));
    fixture.answers(&all, &json!([]));
    fixture.answers(&limit("staging", &json!({ "max-queues": 3, "max-connections": 2 })), &json!("done"));
    fixture.answers(&limit("staging", &json!({ "max-queues": -1 })), &json!("done"));
    let rows = json!([{ "vhost": "staging", "max-connections": 2, "max-queues": null }]);
    fixture.answers(&all, &rows);
    fixture.answers(&named("list_vhost_limits", "staging"), &rows);
    fixture.answers(&named("clear_vhost_limits", "staging"), &json!("done"));
    fixture.answers(&all, &json!([]));
    fixture.answers(&limit("/", &json!({ "max-queues": 1 })), &json!("done"));
    fixture.client("a", 50_000);
    fixture.say("a", &["1 queue.declare one", "1 queue.declare two"]);
    let heard = fixture.world.heard("a");
    assert!(heard[1].contains("queue limit in vhost '/' (1) is reached"), "{heard:?}");
}

#[test]
fn what_cannot_be_done_with_vhosts_is_refused_with_the_name() {
    let mut fixture = TestBroker::new();
    fixture.answers(&add("staging", &Value::Null), &json!("done"));
    let before = fixture.ask(&vhosts(&json!("list_vhosts"))).unwrap();
    for operation in [
        update("stagin", &json!("x"), &Value::Null),
        named("delete_vhost", "stagin"),
        limit("stagin", &json!({})),
        named("clear_vhost_limits", "stagin"),
        named("list_vhost_limits", "stagin"),
    ] {
        fixture.refuses(&operation, RefusalKind::NoVHost, NOWHERE);
    }
    let bogus = "the default queue type is classic, quorum or stream, not 'bogus'";
    fixture.refuses(&add("x", &json!("bogus")), RefusalKind::Invalid, bogus);
    fixture.refuses(&update("staging", &Value::Null, &json!("bogus")), RefusalKind::Invalid, bogus);
    fixture.refuses(
        &add("", &Value::Null),
        RefusalKind::Invalid,
        "the name of a vhost has 1 to 255 bytes, not 0",
    );
    fixture.refuses(
        &limit("staging", &json!({ "max-queues": 5_000_000_000_u64 })),
        RefusalKind::Invalid,
        "max-queues of vhost 'staging' is 5000000000; at most 4294967295 is possible",
    );
    assert_eq!(fixture.ask(&vhosts(&json!("list_vhosts"))).unwrap(), before);
}

#[test]
fn who_is_in_a_vhost_that_is_deleted_is_told() {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.answers(&named("delete_vhost", "/"), &json!("done"));
    assert_eq!(
        fixture.world.heard("a"),
        ["0 connection.close 320 CONNECTION_FORCED - vhost '/' is deleted (0,0)"]
    );
}
