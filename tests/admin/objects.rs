//! Queues, consumers, exchanges and bindings as an operator sees them, and what he does to queues.

use super::test_broker::TestBroker;
use leveret::admin::RefusalKind;
use serde_json::{Value, json};

fn queues(name: &str, queue: &str) -> Value {
    json!({ "queues": { name: { "vhost": "/", "queue": queue } } })
}

fn delete(queue: &str, if_empty: bool, if_unused: bool) -> Value {
    let asked = json!({ "vhost": "/", "queue": queue, "if_empty": if_empty, "if_unused": if_unused });
    json!({ "queues": { "delete_queue": asked } })
}

fn list(room: &str, what: &str) -> Value {
    json!({ room: { what: { "vhost": "/" } } })
}

/// `q` with three messages, two of which `c` on `a` holds; `own`, exclusive; `s`, a stream; `t`
/// bound to `q` and `amq.fanout`.
fn furnished() -> TestBroker {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.say(
        "a",
        &[
            "1 queue.declare q durable x-max-priority=5",
            "1 queue.declare own exclusive",
            "1 queue.declare s durable x-queue-type=stream",
            "1 exchange.declare t topic durable",
            "1 queue.bind q t k.#",
            "1 exchange.bind amq.fanout t f",
            "1 basic.publish '' q one",
            "1 basic.publish '' q two",
            "1 basic.publish '' q three",
            "1 basic.qos 2",
            "1 basic.consume q c x-priority=3",
        ],
    );
    fixture
}

#[test]
fn queues_are_listed_with_what_is_in_them() {
    let mut fixture = furnished();
    let rows = fixture.ask(&list("queues", "list_queues")).unwrap();
    assert_eq!(
        rows[1],
        json!({
            "name": "q", "vhost": "/", "type": "classic", "durable": true, "auto_delete": false,
            "exclusive": false, "arguments": { "x-max-priority": 5 }, "policy": null, "operator_policy": null,
            "effective_policy_definition": {}, "state": "running", "messages": 3,
            "messages_ready": 1, "messages_unacknowledged": 2, "messages_parked": 0, "consumers": 1,
            "messages_delayed": 0, "messages_ram": 3, "message_bytes": 11, "message_bytes_ready": 5,
            "message_bytes_unacknowledged": 6, "message_bytes_ram": 11, "oldest_message_age_ms": 0,
            "average_message_wait_ms": null,
            "head_message_timestamp": null, "memory": rows[1]["memory"], "owner_pid": null, "exclusive_consumer_tag": null,
            "single_active_consumer_tag": null, "consumer_capacity": rows[1]["consumer_capacity"],
            "consumer_utilisation": rows[1]["consumer_capacity"],
        })
    );
    assert_eq!(rows[0]["name"], "own");
    assert_eq!(rows[0]["owner_pid"], "127.0.0.1:50000");
    assert_eq!((&rows[2]["name"], &rows[2]["type"]), (&json!("s"), &json!("stream")));
    let nowhere = json!({ "queues": { "list_queues": { "vhost": "/x" } } });
    fixture.refuses(&nowhere, RefusalKind::NoVHost, "there is no vhost '/x'; did you mean '/'?");
}

#[test]
fn consumers_are_listed_and_where_one_is_served_at_a_time_it_is_told_which() {
    let mut fixture = furnished();
    fixture.client("b", 50_001);
    fixture.say(
        "b",
        &[
            "1 queue.declare one x-single-active-consumer=true",
            "1 basic.consume one first no-ack",
            "1 basic.consume one second",
            "1 basic.publish '' one m",
            "1 queue.declare alone",
            "1 basic.consume alone only exclusive",
            "1 basic.qos 10",
            "1 basic.consume s reader x-stream-offset=first",
        ],
    );
    let all = list("queues", "list_consumers");
    let rows = fixture.ask(&all).unwrap();
    let of =
        |tag: &str| rows.as_array().unwrap().iter().find(|row| row["consumer_tag"] == tag).unwrap().clone();
    assert_eq!(
        of("c"),
        json!({
            "queue_name": "q", "vhost": "/", "user": "guest", "channel_pid": "127.0.0.1:50000 (1)", "consumer_tag": "c",
            "ack_required": true, "prefetch_count": 2, "active": true, "activity_status": "up",
            "exclusive": false, "arguments": { "x-priority": 3 },
        })
    );
    assert_eq!((&of("first")["active"], &of("first")["ack_required"]), (&json!(true), &json!(false)));
    assert_eq!(of("first")["activity_status"], "single_active");
    assert_eq!(
        (&of("second")["active"], &of("second")["activity_status"]),
        (&json!(false), &json!("waiting"))
    );
    assert_eq!(of("only")["exclusive"], true);
    assert_eq!((&of("reader")["queue_name"], &of("reader")["prefetch_count"]), (&json!("s"), &json!(10)));
    let queues = fixture.ask(&list("queues", "list_queues")).unwrap();
    let tags = |queue: &str| {
        let row = queues.as_array().unwrap().iter().find(|row| row["name"] == queue).unwrap();
        [&row["exclusive_consumer_tag"], &row["single_active_consumer_tag"]]
    };
    assert_eq!(tags("alone"), [&json!("only"), &json!(null)]);
    assert_eq!(tags("one"), [&json!(null), &json!("first")]);
    fixture.say("b", &["1 channel.close"]);
    assert_eq!(fixture.column(&all, "consumer_tag"), ["c"]);
}

#[test]
fn exchanges_and_bindings_are_listed() {
    let mut fixture = furnished();
    let names = fixture.column(&list("exchanges", "list_exchanges"), "name");
    let (log, trace) = ("amq.rabbitmq.log", "amq.rabbitmq.trace");
    assert_eq!(
        names,
        ["", "amq.direct", "amq.fanout", "amq.headers", "amq.match", log, trace, "amq.topic", "t"]
    );
    let bindings = fixture.ask(&list("exchanges", "list_bindings")).unwrap();
    assert_eq!(bindings.as_array().unwrap().len(), 5);
    assert_eq!(
        bindings[1],
        json!({
            "source_name": "", "source_kind": "exchange", "destination_name": "q",
            "destination_kind": "queue", "routing_key": "q", "arguments": {}, "properties_key": "q",
        })
    );
    assert_eq!((&bindings[3]["source_name"], &bindings[3]["routing_key"]), (&json!("t"), &json!("k.#")));
    assert_eq!(bindings[4]["destination_kind"], "exchange");
}

#[test]
fn a_queue_and_an_exchange_are_described_with_all_that_belongs_to_them() {
    let mut fixture = furnished();
    let told = fixture.ask(&queues("describe_queue", "q")).unwrap();
    let told = &told["queue"];
    assert_eq!(told["queue"]["name"], "q");
    assert_eq!(told["bindings"].as_array().unwrap().len(), 1);
    assert_eq!(told["consumers"][0]["consumer_tag"], "c");
    let describe =
        |name: &str| json!({ "exchanges": { "describe_exchange": { "vhost": "/", "exchange": name } } });
    let told = fixture.ask(&describe("t")).unwrap();
    assert_eq!(told["exchange"]["bindings"].as_array().unwrap().len(), 2);
    let told = fixture.ask(&describe("")).unwrap();
    assert_eq!(told["exchange"]["bindings"].as_array().unwrap().len(), 3);
    let near = "there is no exchange 'amq.tpic'; did you mean 'amq.topic'?";
    fixture.refuses(&describe("amq.tpic"), RefusalKind::NotFound, near);
    fixture.refuses(
        &queues("describe_queue", "qq"),
        RefusalKind::NotFound,
        "there is no queue 'qq'; did you mean 'q'?",
    );
}

#[test]
fn queues_are_purged_and_deleted_whoever_owns_them() {
    let mut fixture = furnished();
    fixture.refuses(&delete("q", true, false), RefusalKind::Conflict, "queue 'q' in vhost '/' not empty");
    fixture.answers(&queues("purge_queue", "q"), &json!({ "messages": 1 }));
    fixture.answers(&queues("purge_queue", "q"), &json!({ "messages": 0 }));
    fixture.refuses(&delete("q", true, true), RefusalKind::Conflict, "queue 'q' in vhost '/' in use");
    fixture.world.heard("a");
    fixture.answers(&delete("q", true, false), &json!({ "messages": 0 }));
    assert_eq!(fixture.world.heard("a"), Vec::<String>::new(), "it does not understand cancels");
    fixture.answers(&delete("own", false, false), &json!({ "messages": 0 }));
    let stream = "queue 's' is a stream, which cannot be purged";
    fixture.refuses(&queues("purge_queue", "s"), RefusalKind::Invalid, stream);
    assert_eq!(fixture.column(&list("queues", "list_queues"), "name"), ["s"]);
    fixture.refuses(&queues("purge_queue", "none"), RefusalKind::NotFound, "there is no queue 'none'");
    fixture.refuses(&delete("none", false, false), RefusalKind::NotFound, "there is no queue 'none'");
}
