//! Who may do what: each operation, asked for by each kind of user.

use super::test_broker::TestBroker;
use leveret::admin::{RefusalKind, Requester};
use serde_json::{Value, json};

/// Everybody, by the letter that stands for them in the table: an operator; users with a tag each,
/// of whom the first two have no permission anywhere; and one without a tag who may do everything
/// as a client.
const EVERYBODY: [(char, &str, &[&str], Option<&str>); 5] = [
    ('A', "admin", &["administrator"], None),
    ('M', "monitor", &["monitoring"], None),
    ('P', "maker", &["policymaker"], Some("^own")),
    ('U', "user", &["management"], Some("^own")),
    ('N', "none", &["impersonator"], Some(".*")),
];

/// A broker with these users, a vhost without any, and in `/` queues, a client of the first user
/// and one of `user`.
fn fixture() -> TestBroker {
    let mut fixture = TestBroker::new();
    for (_, user, tags, pattern) in EVERYBODY {
        let add = json!({ "add_user": { "user": user, "password": user, "tags": tags } });
        fixture.answers(&json!({ "users": add }), &json!("done"));
        let Some(own) = pattern else { continue };
        let set = json!({ "user": user, "vhost": "/", "configure": own, "write": own, "read": own });
        fixture.answers(&json!({ "permissions": { "set_permissions": set } }), &json!("done"));
    }
    let limits = json!({ "user": "maker", "limits": { "max-channels": 9 } });
    fixture.answers(&json!({ "users": { "set_user_limits": limits } }), &json!("done"));
    let other = json!({ "vhost": "other", "description": "", "tags": [], "default_queue_type": null });
    fixture.answers(&json!({ "vhosts": { "add_vhost": other } }), &json!("done"));
    let limits = json!({ "vhost": "other", "limits": { "max-queues": 9 } });
    fixture.answers(&json!({ "vhosts": { "set_vhost_limits": limits } }), &json!("done"));
    fixture.client("a", 50_000);
    fixture.say("a", &["1 queue.declare own", "1 queue.declare theirs", "1 basic.consume theirs c"]);
    fixture.say("a", &["1 exchange.declare own-inside direct internal"]);
    fixture.client_of("user", "b", 50_001);
    fixture
}

fn user(name: &str) -> Requester {
    Requester::User(name.to_owned())
}

/// Who is let do this, by their letters.
fn allowed(operation: &Value) -> String {
    let operator = ('O', Requester::Operator("test".to_owned()));
    let users = EVERYBODY.iter().map(|(letter, name, ..)| (*letter, user(name)));
    let let_do = std::iter::once(operator).chain(users).filter(|(_, who)| {
        use RefusalKind::{Forbidden, HiddenVHost};
        !matches!(fixture().ask_as(who, operation), Err((Forbidden | HiddenVHost, _)))
    });
    let_do.map(|(letter, _)| letter).collect()
}

#[track_caller]
fn check(group: &str, expected: &[(&str, Value)]) {
    for (letters, operation) in expected {
        assert_eq!(allowed(&json!({ group: operation })), *letters, "{operation}");
    }
}

#[test]
fn the_broker_as_a_whole_is_for_those_who_monitor() {
    check(
        "node",
        &[
            ("OAMPU", json!("ping")),
            ("OAM", json!("status")),
            ("OAM", json!({ "list_damaged": { "records": false } })),
            ("OA", json!({ "list_damaged": { "records": true } })),
        ],
    );
    let import = json!({ "document": {}, "vhost": "/" });
    check(
        "definitions",
        &[("OA", json!("export_definitions")), ("OA", json!({ "import_definitions": import }))],
    );
}

#[test]
fn users_are_for_administrators() {
    check(
        "users",
        &[
            ("OA", json!({ "add_user": { "user": "ann", "password": "a", "tags": [] } })),
            ("OA", json!({ "change_password": { "user": "user", "password": "a" } })),
            ("OA", json!({ "clear_password": { "user": "user" } })),
            ("OA", json!({ "authenticate_user": { "user": "user", "password": "user" } })),
            ("OA", json!({ "set_user_tags": { "user": "user", "tags": ["administrator"] } })),
            ("OA", json!({ "delete_user": { "user": "guest" } })),
            ("OA", json!("list_users")),
            ("OA", json!({ "set_user_limits": { "user": "user", "limits": {} } })),
            ("OA", json!({ "clear_user_limits": { "user": "user", "which": "all" } })),
            ("OAMPU", json!({ "list_user_limits": { "user": null } })),
            ("OAMU", json!({ "list_user_limits": { "user": "user" } })),
        ],
    );
    let row = json!({ "user": "user", "vhost": "/", "configure": "", "write": "", "read": "" });
    let topic = json!({ "user": "user", "vhost": "/", "exchange": "amq.topic", "write": "", "read": "" });
    let clear = json!({ "user": "user", "vhost": "/", "exchange": null });
    check(
        "permissions",
        &[
            ("OA", json!({ "set_permissions": row })),
            ("OA", json!({ "clear_permissions": { "user": "user", "vhost": "/" } })),
            ("OA", json!({ "list_permissions": { "vhost": "/" } })),
            ("OA", json!({ "list_user_permissions": { "user": "user" } })),
            ("OA", json!({ "set_topic_permissions": topic })),
            ("OA", json!({ "clear_topic_permissions": clear })),
            ("OA", json!({ "list_topic_permissions": { "vhost": "/" } })),
            ("OA", json!({ "list_user_topic_permissions": { "user": "user" } })),
        ],
    );
}

#[test]
fn vhosts_are_for_administrators_and_seen_by_those_who_monitor() {
    let add = json!({ "vhost": "new", "description": "", "tags": [], "default_queue_type": null });
    let update = json!({ "vhost": "/", "description": "", "tags": null, "default_queue_type": null });
    check(
        "vhosts",
        &[
            ("OA", json!({ "add_vhost": add })),
            ("OA", json!({ "update_vhost_metadata": update })),
            ("OA", json!({ "delete_vhost": { "vhost": "other" } })),
            ("OA", json!({ "trace_on": { "vhost": "/" } })),
            ("OA", json!({ "trace_off": { "vhost": "/" } })),
            ("OAMPU", json!("list_vhosts")),
            ("OA", json!({ "set_vhost_limits": { "vhost": "/", "limits": {} } })),
            ("OA", json!({ "clear_vhost_limits": { "vhost": "other" } })),
            ("OAMPU", json!({ "list_vhost_limits": { "vhost": null } })),
            ("OAMPU", json!({ "list_vhost_limits": { "vhost": "/" } })),
            ("OAM", json!({ "list_vhost_limits": { "vhost": "other" } })),
        ],
    );
}

#[test]
fn policies_are_for_policymakers_in_their_vhosts() {
    let set = |vhost: &str| {
        json!({ "vhost": vhost, "policy": "p", "pattern": "", "apply_to": "all", "priority": 0,
            "definition": { "max-length": 1 } })
    };
    let clear = |vhost: &str| json!({ "vhost": vhost, "policy": "p" });
    check(
        "policies",
        &[
            ("OAP", json!({ "set_policy": set("/") })),
            ("OA", json!({ "set_policy": set("other") })),
            ("OAP", json!({ "clear_policy": clear("/") })),
            ("OA", json!({ "clear_policy": clear("other") })),
            ("OA", json!({ "set_operator_policy": set("/") })),
            ("OA", json!({ "clear_operator_policy": clear("/") })),
            ("OAPU", json!({ "list_policies": { "vhost": "/" } })),
            ("OA", json!({ "list_policies": { "vhost": "other" } })),
            ("OAPU", json!({ "list_operator_policies": { "vhost": "/" } })),
        ],
    );
}

#[test]
fn what_is_in_a_vhost_is_for_those_who_may_enter_it() {
    let delete = |queue: &str| json!({ "vhost": "/", "queue": queue, "if_empty": false, "if_unused": false });
    check(
        "queues",
        &[
            ("OAPU", json!({ "list_queues": { "vhost": "/" } })),
            ("OA", json!({ "list_queues": { "vhost": "other" } })),
            ("OAMPU", json!({ "list_consumers": { "vhost": "/" } })),
            ("OAM", json!({ "list_consumers": { "vhost": "other" } })),
            ("OAPU", json!({ "describe_queue": { "vhost": "/", "queue": "theirs" } })),
            ("OPU", json!({ "purge_queue": { "vhost": "/", "queue": "own" } })),
            ("O", json!({ "purge_queue": { "vhost": "/", "queue": "theirs" } })),
            ("OPU", json!({ "delete_queue": delete("own") })),
            ("O", json!({ "delete_queue": delete("theirs") })),
        ],
    );
    check(
        "exchanges",
        &[
            ("OAPU", json!({ "list_exchanges": { "vhost": "/" } })),
            ("OAPU", json!({ "list_bindings": { "vhost": "/" } })),
            ("OAPU", json!({ "describe_exchange": { "vhost": "/", "exchange": "amq.topic" } })),
            ("OA", json!({ "list_exchanges": { "vhost": "other" } })),
        ],
    );
}

#[test]
fn parked_messages_are_for_those_who_may_read_the_queue_and_write_where_they_go() {
    let requeue = |queue: &str, to: Value| json!({ "vhost": "/", "queue": queue, "to": to });
    check(
        "parked",
        &[
            ("OAPU", json!({ "list_parked": { "vhost": "/", "queue": null } })),
            ("OPU", json!({ "list_parked": { "vhost": "/", "queue": "own" } })),
            ("O", json!({ "list_parked": { "vhost": "/", "queue": "theirs" } })),
            ("OPU", json!({ "requeue_parked": requeue("own", json!(null)) })),
            ("O", json!({ "requeue_parked": requeue("theirs", json!(null)) })),
            ("OPU", json!({ "requeue_parked": requeue("own", json!(["own-x", "key"])) })),
            ("O", json!({ "requeue_parked": requeue("own", json!(["amq.topic", "key"])) })),
            ("O", json!({ "requeue_parked": requeue("own", json!(["own-inside", "key"])) })),
            ("OPU", json!({ "drop_parked": { "vhost": "/", "queue": "own" } })),
            ("O", json!({ "drop_parked": { "vhost": "/", "queue": "theirs" } })),
        ],
    );
}

#[test]
fn connections_are_for_their_users() {
    let close = |port: u16| json!({ "connection": format!("127.0.0.1:{port}"), "reason": "go" });
    check(
        "clients",
        &[
            ("OAMPU", json!("list_connections")),
            ("OAMPU", json!("list_channels")),
            ("OAM", json!({ "describe_connection": { "connection": "127.0.0.1:50000" } })),
            ("OAMU", json!({ "describe_connection": { "connection": "127.0.0.1:50001" } })),
            ("OA", json!({ "close_connection": close(50_000) })),
            ("OAU", json!({ "close_connection": close(50_001) })),
        ],
    );
}

/// A list that everybody may ask for has in it what the one sees who asks.
#[test]
fn lists_show_what_one_may_see() {
    let mut fixture = fixture();
    let mut check = |operation: Value, column: &str, expected: &[(&str, Value)]| {
        for (name, values) in expected {
            let rows = fixture.ask_as(&user(name), &operation).expect("it is a list");
            let rows = rows.as_array().expect("it is a list");
            let shown: Vec<_> = rows.iter().map(|row| row[column].clone()).collect();
            assert_eq!(json!(shown), *values, "{operation} of {name}");
        }
    };
    let all = json!(["/", "other"]);
    check(
        json!({ "vhosts": "list_vhosts" }),
        "name",
        &[("admin", all.clone()), ("monitor", all), ("user", json!(["/"]))],
    );
    check(
        json!({ "vhosts": { "list_vhost_limits": { "vhost": null } } }),
        "vhost",
        &[("admin", json!(["other"])), ("monitor", json!(["other"])), ("user", json!([]))],
    );
    let limits = json!({ "users": { "list_user_limits": { "user": null } } });
    check(limits, "user", &[("monitor", json!(["maker"])), ("maker", json!(["maker"])), ("user", json!([]))]);
    let both = json!(["guest", "user"]);
    let connections =
        [("admin", both.clone()), ("monitor", both), ("user", json!(["user"])), ("maker", json!([]))];
    check(json!({ "clients": "list_connections" }), "user", &connections);
    check(json!({ "clients": "list_channels" }), "user", &connections);
    let consumers = json!({ "queues": { "list_consumers": { "vhost": "/" } } });
    check(consumers, "queue_name", &[("monitor", json!(["theirs"])), ("user", json!([]))]);
}

#[test]
fn a_refusal_says_what_is_missing() {
    let mut fixture = fixture();
    let mut check = |name: &str, operation: Value, kind: RefusalKind, words: &str| {
        let refused = fixture.ask_as(&user(name), &operation);
        assert_eq!(refused, Err((kind, words.to_owned())), "{operation} of {name}");
    };
    check(
        "user",
        json!({ "users": "list_users" }),
        RefusalKind::Forbidden,
        "this requires the tag 'administrator', which user 'user' does not have",
    );
    check(
        "none",
        json!({ "node": "ping" }),
        RefusalKind::Forbidden,
        "this requires the tag 'management', which user 'none' does not have",
    );
    check("gone", json!({ "node": "ping" }), RefusalKind::Forbidden, "user 'gone' was deleted");
    let queues = |vhost: &str| json!({ "queues": { "list_queues": { "vhost": vhost } } });
    check(
        "user",
        queues("other"),
        RefusalKind::HiddenVHost,
        "access to vhost 'other' refused for user 'user'",
    );
    check("user", queues("othe"), RefusalKind::NoVHost, "there is no vhost 'othe'");
    check("admin", queues("othe"), RefusalKind::NoVHost, "there is no vhost 'othe'; did you mean 'other'?");
    let purge = |queue: &str| json!({ "queues": { "purge_queue": { "vhost": "/", "queue": queue } } });
    check(
        "admin",
        purge("theirs"),
        RefusalKind::Forbidden,
        "read access to queue 'theirs' in vhost '/' refused for user 'admin'",
    );
    check("user", purge("their"), RefusalKind::NotFound, "there is no queue 'their'; did you mean 'theirs'?");
    let limits = json!({ "users": { "list_user_limits": { "user": "guest" } } });
    check("user", limits, RefusalKind::Forbidden, "access to user 'guest' refused for user 'user'");
    let describe = |name: &str| json!({ "clients": { "describe_connection": { "connection": name } } });
    check(
        "user",
        describe("127.0.0.1:50000"),
        RefusalKind::Forbidden,
        "access to connection '127.0.0.1:50000' refused for user 'user'",
    );
    let nobody = "there is no connection '127.0.0.1:5000'";
    check("user", describe("127.0.0.1:5000"), RefusalKind::NotFound, nobody);
    let guess = format!("{nobody}; did you mean '127.0.0.1:50000' or '127.0.0.1:50001'?");
    check("monitor", describe("127.0.0.1:5000"), RefusalKind::NotFound, &guess);
}

/// An operator may use every queue, a user no other connection's.
#[test]
fn exclusive_queues_are_for_their_connections_and_operators() {
    let mut fixture = fixture();
    fixture.say("a", &["1 queue.declare own-x exclusive"]);
    let purge = json!({ "queues": { "purge_queue": { "vhost": "/", "queue": "own-x" } } });
    let Err((kind, words)) = fixture.ask_as(&user("user"), &purge) else { panic!("it is refused") };
    assert_eq!(kind, RefusalKind::Conflict);
    assert!(words.starts_with("cannot obtain exclusive access to locked queue 'own-x'"), "{words}");
    fixture.answers(&purge, &json!({ "messages": 0 }));
}

#[test]
fn keys_are_for_those_who_may_use_them() {
    let mut fixture = fixture();
    fixture.say("a", &["1 exchange.declare own-topic topic"]);
    let topic = json!({ "user": "user", "vhost": "/", "exchange": "own-topic", "write": "^a", "read": "" });
    fixture.answers(&json!({ "permissions": { "set_topic_permissions": topic } }), &json!("done"));
    let requeue = |key: &str| json!({ "parked": { "requeue_parked": { "vhost": "/", "queue": "own", "to": ["own-topic", key] } } });
    assert!(fixture.ask_as(&user("user"), &requeue("a")).is_ok());
    let words = "write access to topic 'b' in exchange 'own-topic' in vhost '/' refused for user 'user'";
    let refused = Err((RefusalKind::Forbidden, words.to_owned()));
    assert_eq!(fixture.ask_as(&user("user"), &requeue("b")), refused);
}

#[test]
fn a_user_logs_in_with_its_password_and_from_where_it_may() {
    let fixture = fixture();
    let broker = &fixture.world.broker;
    let log_in = |name: &str, password: &str, is_local: bool| {
        let logged_in = Requester::log_in(broker, (name, password.as_bytes()), "here", is_local);
        logged_in.map_err(|refusal| (refusal.kind, refusal.message))
    };
    assert_eq!(log_in("user", "user", false), Ok(user("user")));
    assert_eq!(log_in("guest", "guest", true), Ok(user("guest")));
    for (name, password, is_local) in
        [("user", "other", true), ("user", "", true), ("nobody", "user", true), ("guest", "guest", false)]
    {
        let words = format!("login was refused for user '{name}'");
        assert_eq!(log_in(name, password, is_local), Err((RefusalKind::Denied, words)));
    }
}
