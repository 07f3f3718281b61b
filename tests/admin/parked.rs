//! Dead letters that have nowhere to go, as an operator sees them, and what he does with them.

use super::test_broker::TestBroker;
use leveret::admin::{RefusalKind, Requester};
use serde_json::{Value, json};

fn parked(name: &str, queue: &str) -> Value {
    json!({ "parked": { name: { "vhost": "/", "queue": queue } } })
}

fn requeue(queue: &str, to: Option<(&str, &str)>) -> Value {
    json!({ "parked": { "requeue_parked": { "vhost": "/", "queue": queue, "to": to } } })
}

/// `q` with three parked messages, whose dead-letter exchange does not exist, and `empty`.
fn furnished() -> TestBroker {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.say(
        "a",
        &[
            "1 queue.declare q durable x-dead-letter-exchange=gone",
            "1 queue.declare empty durable",
            "1 basic.publish '' q one",
            "1 basic.publish '' q two",
            "1 basic.publish '' q three",
            "1 basic.get q",
            "1 basic.get q",
            "1 basic.get q",
            "1 basic.nack 3 multiple",
        ],
    );
    fixture
}

#[test]
fn parked_messages_are_listed_and_counted() {
    let mut fixture = furnished();
    let rows = fixture.ask(&parked("list_parked", "q")).unwrap();
    assert_eq!(
        rows[0],
        json!({
            "queue": "q", "reason": "rejected", "why": "exchange_missing", "died_at": rows[0]["died_at"],
            "exchange": "", "routing_key": "q", "message_id": null, "body_bytes": 3,
        })
    );
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert_eq!(
        fixture.ask(&json!({ "parked": { "list_parked": { "vhost": "/", "queue": null } } })),
        Ok(rows)
    );
    let queue =
        fixture.ask(&json!({ "queues": { "describe_queue": { "vhost": "/", "queue": "q" } } })).unwrap();
    let queue = &queue["queue"]["queue"];
    assert_eq!((&queue["messages_parked"], &queue["messages"]), (&json!(3), &json!(0)));
    assert_eq!(fixture.world.broker.gauges().messages_parked, 3);
    let status = fixture.ask(&json!({ "node": "status" })).unwrap();
    let status = &status["status"];
    assert_eq!((&status["messages_parked"], &status["messages_delayed"]), (&json!(3), &json!(0)));
    assert!(status["memory_bytes"].as_u64() > Some(0), "{status}");
    fixture.refuses(
        &parked("list_parked", "qq"),
        RefusalKind::NotFound,
        "there is no queue 'qq'; did you mean 'q'?",
    );
}

#[test]
fn parked_messages_are_moved_back_or_elsewhere_or_dropped() {
    let mut fixture = furnished();
    let told = |moved, parked| json!({ "requeued": { "moved": moved, "parked": parked } });
    fixture.refuses(
        &requeue("q", Some(("nowhere", "k"))),
        RefusalKind::NotFound,
        "there is no exchange 'nowhere'",
    );
    fixture.answers(&requeue("q", Some(("", "none"))), &told(0, 3));
    let why: Vec<_> = fixture.column(&parked("list_parked", "q"), "why");
    assert_eq!(why, ["no_route", "no_route", "no_route"], "as it was when they were last tried");
    fixture.world.heard("a");
    fixture.answers(&requeue("q", Some(("", "empty"))), &told(3, 0));
    fixture.say("a", &["1 basic.get empty"]);
    let heard = fixture.world.heard("a").join("\n");
    assert!(heard.contains("one") && heard.contains("empty"), "{heard}");

    let mut fixture = furnished();
    fixture.answers(&requeue("q", None), &told(3, 0));
    fixture.answers(&requeue("q", None), &told(0, 0));
    fixture.say("a", &["1 basic.get q", "1 basic.reject 4"]);
    fixture.answers(&parked("drop_parked", "q"), &json!({ "messages": 1 }));
    fixture.answers(&parked("drop_parked", "q"), &json!({ "messages": 0 }));
    assert_eq!(fixture.world.broker.gauges().messages_parked, 0);
}

/// Who may not read a queue does not see what is parked in it.
#[test]
fn a_user_sees_what_is_parked_in_queues_that_it_may_read() {
    let mut fixture = furnished();
    let add = json!({ "add_user": { "user": "ann", "password": "a", "tags": ["management"] } });
    fixture.answers(&json!({ "users": add }), &json!("done"));
    let ann = Requester::User("ann".to_owned());
    let all = json!({ "parked": { "list_parked": { "vhost": "/", "queue": null } } });
    for (read, rows) in [("^empty$", 0), ("^q$", 3)] {
        let set = json!({ "user": "ann", "vhost": "/", "configure": "", "write": "", "read": read });
        fixture.answers(&json!({ "permissions": { "set_permissions": set } }), &json!("done"));
        let seen = fixture.ask_as(&ann, &all).expect("it is a list");
        assert_eq!(seen.as_array().map(Vec::len), Some(rows), "{read}");
    }
}
