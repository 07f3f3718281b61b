//! Messages of a queue as an operator sees them where they are, and single ones deleted or made
//! ready.

use super::test_broker::TestBroker;
use leveret::admin::RefusalKind;
use leveret::ids::Ticket;
use serde_json::{Value, json};

fn browse(name: &str, queue: &str, id: u64) -> Value {
    json!({ "browse": { name: { "vhost": "/", "queue": queue, "id": id } } })
}

fn list(queue: &str, from: &str, count: u64, selection: &Value) -> Value {
    let list = json!({
        "vhost": "/", "queue": queue, "from": from, "count": count, "payload_bytes": 4096,
        "selection": selection,
    });
    json!({ "browse": { "list_messages": list } })
}

fn delayed(queue: &str, from: &str, count: u64) -> Value {
    let list = json!({ "vhost": "/", "queue": queue, "from": from, "count": count, "payload_bytes": 9 });
    json!({ "browse": { "list_delayed": list } })
}

/// The field of each message of a page.
fn column(page: &Value, name: &str) -> Vec<String> {
    let messages = page["message_page"]["messages"].as_array().expect("it is a page");
    messages.iter().map(|message| message[name].as_str().expect("it is a text").to_owned()).collect()
}

impl TestBroker {
    /// The bodies of a page, and where the next one begins.
    fn page(&mut self, queue: &str, from: &str, count: u64, selection: &Value) -> (String, Value) {
        let page = self.ask(&list(queue, from, count, selection)).expect("it is a page");
        (column(&page, "payload").join(" "), page["message_page"]["next"].clone())
    }

    fn counts(&mut self, queue: &str) -> Vec<u64> {
        let asked = json!({ "queues": { "describe_queue": { "vhost": "/", "queue": queue } } });
        let row = &self.ask(&asked).expect("it is there")["queue"]["queue"];
        ["messages_ready", "messages_unacknowledged", "messages_parked"]
            .map(|name| row[name].as_u64().expect("it is a number"))
            .into()
    }
}

/// `q` with `one` unacknowledged by a consumer, `two` fetched, `three` delayed, `four` parked,
/// `five` and `six` ready.
fn furnished() -> TestBroker {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.say(
        "a",
        &[
            "1 queue.declare q durable x-dead-letter-exchange=gone x-retry-delays=[60000]",
            "1 basic.publish '' q one persistent x-tenant=t-1",
            "1 basic.publish '' q two persistent",
            "1 basic.publish '' q three persistent x-tenant=t-2 x-try=3",
            "1 basic.publish '' q four persistent",
            "1 basic.publish '' q five persistent x-tenant=t-2",
            "1 basic.publish '' q six persistent",
            "1 basic.qos 1",
            "1 basic.consume q c-1",
            "1 basic.get q",
            "1 basic.get q",
            "1 basic.get q",
            "1 basic.nack 3 requeue",
            "1 basic.reject 4",
        ],
    );
    fixture
}

#[test]
fn a_look_tells_how_each_message_stands_and_changes_nothing() {
    let mut fixture = furnished();
    let before = fixture.counts("q");
    fixture.world.heard("a");
    let page = fixture.ask(&list("q", "head", 50, &json!({}))).expect("it is a page");
    assert_eq!(column(&page, "payload"), ["one", "two", "three", "four", "five", "six"]);
    assert_eq!(
        column(&page, "state"),
        ["unacknowledged", "unacknowledged", "delayed", "parked", "ready", "ready"]
    );
    assert_eq!(column(&page, "id"), ["0", "1", "2", "3", "4", "5"]);
    let messages = &page["message_page"]["messages"];
    let connection = "127.0.0.1:50000 -> 127.0.0.1:5672";
    let holder = |tag: &str| json!({ "connection": connection, "channel": 1, "consumer_tag": tag });
    let told = messages[0]["unacknowledged_by"].clone();
    assert_eq!((&told["channel"], &told["consumer_tag"]), (&json!(1), &json!("c-1")), "{}", holder("c-1"));
    assert_eq!(messages[1]["unacknowledged_by"]["consumer_tag"], "");
    assert_eq!(messages[2]["delivery_count"], 1);
    let now_ms = fixture.world.now.unix_ms;
    assert_eq!(messages[2]["due_at"], now_ms + 60_000);
    assert_eq!(
        (&messages[3]["parked_because"], &messages[3]["reason"]),
        (&json!("it was rejected, and the exchange does not exist"), &json!("rejected"))
    );
    assert_eq!(
        messages[4],
        json!({
            "id": "4", "state": "ready", "published_at": now_ms, "due_at": null, "expires_at": null,
            "parked_because": null, "reason": null, "unacknowledged_by": null, "redelivered": false,
            "delivery_count": 0, "exchange": "", "routing_key": "q",
            "properties": { "headers": { "x-tenant": "t-2" }, "delivery_mode": 2 }, "payload": "five",
            "payload_encoding": "string", "payload_bytes": 4, "truncated": false,
        })
    );
    assert_eq!(page["message_page"]["looked_at"], 6);
    assert_eq!(page["message_page"]["next"], Value::Null);
    assert_eq!(fixture.counts("q"), before);
    assert_eq!(fixture.world.heard("a"), [""; 0], "nobody is told");
}

#[test]
fn pages_follow_each_other_from_either_end() {
    let mut fixture = furnished();
    let all = json!({});
    let (mut from, mut seen) = (json!("head"), Vec::new());
    while let Some(at) = from.as_str().map(str::to_owned) {
        let (bodies, next) = fixture.page("q", &at, 4, &all);
        seen.push(bodies);
        from = next;
    }
    assert_eq!(seen, ["one two three four", "five six"]);
    assert_eq!(fixture.page("q", "tail", 2, &all), ("six five".to_owned(), json!("tail:3")));
    assert_eq!(fixture.page("q", "tail:3", 2, &all), ("four three".to_owned(), json!("tail:1")));
    assert_eq!(fixture.page("q", "tail:1", 2, &all), ("two one".to_owned(), Value::Null));
    assert_eq!(fixture.page("q", "3", 50, &all).0, "four five six");
    assert_eq!(fixture.page("q", "99", 50, &all), (String::new(), Value::Null));
    let now_ms = fixture.world.now.unix_ms;
    assert_eq!(fixture.page("q", &format!("time:{now_ms}"), 1, &all).0, "one");
    assert_eq!(fixture.page("q", &format!("time:{}", now_ms + 1), 1, &all), (String::new(), Value::Null));
    fixture.refuses(
        &list("q", "middle", 1, &all),
        RefusalKind::Invalid,
        "from is 'head', 'tail', 'time:' and milliseconds, or a number, not 'middle'",
    );
}

#[test]
fn messages_are_found_by_state_header_text_and_reason() {
    let mut fixture = furnished();
    for (selection, expected) in [
        (json!({ "state": "ready" }), "five six"),
        (json!({ "state": "unacknowledged" }), "one two"),
        (json!({ "state": "delayed" }), "three"),
        (json!({ "state": "parked" }), "four"),
        (json!({ "header": "x-tenant" }), "one three five"),
        (json!({ "header": "x-tenant:t-2" }), "three five"),
        (json!({ "header": "x-try:3" }), "three"),
        (json!({ "header": "x-tenant:t-2", "text": "iv" }), "five"),
        (json!({ "text": "our" }), "four"),
        (json!({ "reason": "rejected" }), "four"),
        (json!({ "reason": "expired" }), ""),
    ] {
        assert_eq!(
            fixture.page("q", "head", 50, &selection),
            (expected.to_owned(), Value::Null),
            "{selection}"
        );
    }
}

#[test]
fn one_message_is_deleted_unless_a_consumer_has_it() {
    let mut fixture = furnished();
    for id in [0, 1] {
        let why = format!("message {id} of queue 'q' is unacknowledged: its consumer decides about it");
        fixture.refuses(&browse("delete_message", "q", id), RefusalKind::Conflict, &why);
    }
    for (id, counts) in [(5, [1, 2, 1]), (3, [1, 2, 0]), (2, [1, 2, 0]), (4, [0, 2, 0])] {
        fixture.answers(&browse("delete_message", "q", id), &json!("done"));
        assert!(fixture.ticket > Ticket(0), "it is told once it is on disk");
        assert_eq!(fixture.counts("q"), counts, "{id}");
        let why = format!("there is no message {id} in queue 'q'");
        fixture.refuses(&browse("delete_message", "q", id), RefusalKind::NotFound, &why);
    }
    assert_eq!(fixture.page("q", "head", 50, &json!({})).0, "one two");
    fixture.world.heard("a");
    fixture.say("a", &["1 basic.ack 1", "1 basic.ack 2"]);
    assert_eq!(fixture.counts("q"), [0, 0, 0]);
}

#[test]
fn a_delayed_or_parked_message_is_made_ready() {
    let mut fixture = furnished();
    fixture.answers(&browse("requeue_message", "q", 2), &json!("done"));
    fixture.answers(&browse("requeue_message", "q", 3), &json!("done"));
    assert!(fixture.ticket > Ticket(0));
    let ready = fixture.page("q", "head", 50, &json!({ "state": "ready" })).0;
    assert_eq!(ready, "three five six four", "what was parked comes as if it had just arrived");
    assert_eq!(fixture.counts("q"), [4, 2, 0]);
    fixture.refuses(
        &browse("requeue_message", "q", 5),
        RefusalKind::Conflict,
        "message 5 of queue 'q' is ready, and neither delayed nor parked",
    );
    fixture.refuses(
        &browse("requeue_message", "q", 3),
        RefusalKind::NotFound,
        "there is no message 3 in queue 'q'",
    );
}

#[test]
fn what_waits_for_later_is_listed_in_order_of_time_and_cancelled() {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.say(
        "a",
        &[
            "1 exchange.declare later x-delayed-message durable x-delayed-type=direct",
            "1 queue.declare q durable",
            "1 queue.bind q later k",
            "1 basic.publish later k third persistent x-delay=3000",
            "1 basic.publish later k first persistent x-delay=1000",
            "1 basic.publish later k second persistent x-delay=2000",
        ],
    );
    let queue = "amq.delayed.later";
    let page = fixture.ask(&delayed(queue, "head", 2)).expect("it is a page");
    assert_eq!(column(&page, "payload"), ["first", "second"]);
    let now_ms = fixture.world.now.unix_ms;
    assert_eq!(page["message_page"]["messages"][0]["due_at"], now_ms + 1000);
    let next = page["message_page"]["next"].as_str().expect("there is more").to_owned();
    let page = fixture.ask(&delayed(queue, &next, 2)).expect("it is a page");
    assert_eq!(
        (column(&page, "payload"), &page["message_page"]["next"]),
        (vec!["third".into()], &Value::Null)
    );
    fixture.answers(&browse("delete_message", queue, 2), &json!("done"));
    fixture.answers(&browse("requeue_message", queue, 0), &json!("done"));
    fixture.say("a", &["1 basic.get q"]);
    let heard = fixture.world.heard("a").join("\n");
    assert!(heard.contains("third"), "{heard}");
    let page = fixture.ask(&delayed(queue, "head", 9)).expect("it is a page");
    assert_eq!(column(&page, "payload"), ["first"]);
    assert_eq!(fixture.page(queue, "head", 9, &json!({ "state": "delayed" })).0, "first");
}

#[test]
fn a_stream_is_looked_at_by_offset_and_gives_nothing_away() {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.say("a", &["1 queue.declare s durable x-queue-type=stream"]);
    fixture.say("a", &["1 basic.publish '' s one", "1 basic.publish '' s two", "1 basic.publish '' s three"]);
    assert_eq!(fixture.page("s", "1", 50, &json!({})), ("two three".to_owned(), Value::Null));
    assert_eq!(fixture.page("s", "tail", 1, &json!({})), ("three".to_owned(), json!("tail:1")));
    let message = fixture.ask(&json!({ "browse": { "get_message": {
        "vhost": "/", "queue": "s", "id": 1, "payload_bytes": 2,
    } } }));
    let message = &message.expect("it is there")["message"];
    assert_eq!(
        (&message["payload"], &message["payload_bytes"], &message["truncated"]),
        (&json!("tw"), &json!(3), &json!(true))
    );
    fixture.refuses(
        &browse("delete_message", "s", 1),
        RefusalKind::Invalid,
        "queue 's' is a stream: its messages are removed by size and age only",
    );
}
