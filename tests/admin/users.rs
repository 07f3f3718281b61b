//! Users, their limits and their permissions: each operation once as it is meant, and once refused.

use super::test_broker::TestBroker;
use leveret::admin::RefusalKind;
use leveret::ids::Ticket;
use leveret::store::change::Log;
use serde_json::{Value, json};

fn users(operation: &Value) -> Value {
    json!({ "users": operation })
}

fn permissions(operation: &Value) -> Value {
    json!({ "permissions": operation })
}

fn add(user: &str, password: &str) -> Value {
    users(&json!({ "add_user": { "user": user, "password": password, "tags": [] } }))
}

/// What every operation on a user says when there is none of the name.
const NOBODY: &str = "there is no user 'gest'; did you mean 'guest'?";

#[test]
fn users_come_change_and_go() {
    let mut fixture = TestBroker::new();
    let authenticate =
        |password: &str| users(&json!({ "authenticate_user": { "user": "ann", "password": password } }));
    fixture.answers(&add("ann", "secret"), &json!("done"));
    fixture.answers(&authenticate("secret"), &json!("done"));
    fixture.refuses(&authenticate("other"), RefusalKind::Denied, "wrong password for user 'ann'");
    let change = json!({ "change_password": { "user": "ann", "password": "other" } });
    fixture.answers(&users(&change), &json!("done"));
    fixture.answers(&authenticate("other"), &json!("done"));
    fixture.answers(&users(&json!({ "clear_password": { "user": "ann" } })), &json!("done"));
    fixture.refuses(&authenticate("other"), RefusalKind::Denied, "wrong password for user 'ann'");
    let tags = json!({ "set_user_tags": { "user": "ann", "tags": ["monitoring", "a"] } });
    fixture.answers(&users(&tags), &json!("done"));
    fixture.answers(
        &users(&json!("list_users")),
        &json!([
            { "user": "ann", "tags": ["a", "monitoring"] },
            { "user": "guest", "tags": ["administrator"] },
        ]),
    );
    fixture.answers(&users(&json!({ "delete_user": { "user": "ann" } })), &json!("done"));
    assert_eq!(fixture.column(&users(&json!("list_users")), "user"), ["guest"]);
}

#[test]
fn what_cannot_be_done_with_users_is_refused_with_the_name() {
    let mut fixture = TestBroker::new();
    fixture.refuses(&add("guest", "x"), RefusalKind::UserExists, "user 'guest' already exists");
    fixture.refuses(&add("ann", ""), RefusalKind::Invalid, "a password may not be empty");
    fixture.refuses(&add("", "x"), RefusalKind::Invalid, "the name of a user has 1 to 255 bytes, not 0");
    for operation in [
        json!({ "change_password": { "user": "gest", "password": "x" } }),
        json!({ "clear_password": { "user": "gest" } }),
        json!({ "authenticate_user": { "user": "gest", "password": "x" } }),
        json!({ "set_user_tags": { "user": "gest", "tags": [] } }),
        json!({ "delete_user": { "user": "gest" } }),
        json!({ "set_user_limits": { "user": "gest", "limits": { "max-channels": 1 } } }),
        json!({ "clear_user_limits": { "user": "gest", "which": "all" } }),
        json!({ "list_user_limits": { "user": "gest" } }),
    ] {
        fixture.refuses(&users(&operation), RefusalKind::NoUser, NOBODY);
    }
    assert_eq!(fixture.column(&users(&json!("list_users")), "user"), ["guest"]);
}

#[test]
fn limits_are_changed_one_by_one() {
    let mut fixture = TestBroker::new();
    let set = |limits: &Value| users(&json!({ "set_user_limits": { "user": "guest", "limits": limits } }));
    let list = users(&json!({ "list_user_limits": { "user": null } }));
    fixture.answers(&list, &json!([]));
    fixture.answers(&set(&json!({ "max-connections": 5 })), &json!("done"));
    fixture.answers(&set(&json!({ "max-channels": 7 })), &json!("done"));
    let both = json!([{ "user": "guest", "max-connections": 5, "max-channels": 7 }]);
    fixture.answers(&list, &both);
    fixture.answers(&set(&json!({ "max-channels": -1 })), &json!("done"));
    fixture.answers(&list, &json!([{ "user": "guest", "max-connections": 5, "max-channels": null }]));
    let too_many = "max-channels of user 'guest' is 5000000000; at most 4294967295 is possible";
    fixture.refuses(&set(&json!({ "max-channels": 5_000_000_000_i64 })), RefusalKind::Invalid, too_many);
    let clear = json!({ "clear_user_limits": { "user": "guest", "which": "max-connections" } });
    fixture.answers(&users(&clear), &json!("done"));
    fixture.answers(&list, &json!([]));
}

#[test]
fn permissions_are_set_listed_and_cleared() {
    let mut fixture = TestBroker::new();
    fixture.answers(&add("ann", "secret"), &json!("done"));
    let own = json!({ "user": "ann", "vhost": "/", "configure": "^a", "write": ".*", "read": "" });
    fixture.answers(&permissions(&json!({ "set_permissions": own })), &json!("done"));
    let of_ann = permissions(&json!({ "list_user_permissions": { "user": "ann" } }));
    fixture.answers(&of_ann, &json!([own]));
    let all = permissions(&json!({ "list_permissions": { "vhost": "/" } }));
    assert_eq!(fixture.column(&all, "user"), ["ann", "guest"]);
    let clear = permissions(&json!({ "clear_permissions": { "user": "ann", "vhost": "/" } }));
    fixture.answers(&clear, &json!("done"));
    fixture.answers(&of_ann, &json!([]));
    let topic = json!({ "user": "ann", "vhost": "/", "exchange": "amq.topic", "write": "a", "read": "b" });
    fixture.answers(&permissions(&json!({ "set_topic_permissions": topic })), &json!("done"));
    fixture.answers(&permissions(&json!({ "list_topic_permissions": { "vhost": "/" } })), &json!([topic]));
    let of_ann = permissions(&json!({ "list_user_topic_permissions": { "user": "ann" } }));
    fixture.answers(&of_ann, &json!([topic]));
    let clear = json!({ "clear_topic_permissions": { "user": "ann", "vhost": "/", "exchange": null } });
    fixture.answers(&permissions(&clear), &json!("done"));
    fixture.answers(&of_ann, &json!([]));
}

#[test]
fn permissions_of_nobody_and_nowhere_are_refused() {
    let mut fixture = TestBroker::new();
    let row = |user: &str, vhost: &str, read: &str| {
        json!({ "set_permissions":
            { "user": user, "vhost": vhost, "configure": "", "write": "", "read": read } })
    };
    let topic = |user: &str| {
        json!({ "set_topic_permissions":
            { "user": user, "vhost": "/", "exchange": "x", "write": "", "read": "" } })
    };
    for operation in [
        row("gest", "/", ""),
        json!({ "clear_permissions": { "user": "gest", "vhost": "/" } }),
        json!({ "list_user_permissions": { "user": "gest" } }),
        topic("gest"),
        json!({ "clear_topic_permissions": { "user": "gest", "vhost": "/", "exchange": null } }),
        json!({ "list_user_topic_permissions": { "user": "gest" } }),
    ] {
        fixture.refuses(&permissions(&operation), RefusalKind::NoUser, NOBODY);
    }
    for operation in [
        row("guest", "v", ""),
        json!({ "clear_permissions": { "user": "guest", "vhost": "v" } }),
        json!({ "list_permissions": { "vhost": "v" } }),
        json!({ "list_topic_permissions": { "vhost": "v" } }),
    ] {
        let (kind, message) = fixture.ask(&permissions(&operation)).unwrap_err();
        assert_eq!(kind, RefusalKind::NoVHost, "{operation}");
        assert!(message.starts_with("there is no vhost 'v'"), "{message}");
    }
    let (kind, message) = fixture.ask(&permissions(&row("guest", "/", "("))).unwrap_err();
    assert_eq!(kind, RefusalKind::Invalid);
    assert!(message.contains("'('"), "{message}");
}

#[test]
fn a_change_names_the_ticket_to_wait_for() {
    let mut fixture = TestBroker::new();
    fixture.world.log.hold();
    fixture.answers(&add("ann", "secret"), &json!("done"));
    assert!(fixture.ticket > fixture.world.log.durable());
    fixture.world.log.sync();
    assert!(fixture.ticket <= fixture.world.log.durable());
    fixture.answers(&json!({ "node": "ping" }), &json!("done"));
    assert_eq!(fixture.ticket, Ticket(0), "there is nothing to wait for");
}
