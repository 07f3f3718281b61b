//! Dead letters and delayed messages that have nowhere to go are kept, and found again.

use super::{ME_AS_CONSUMER, SimDisk, TestBroker, dies_into, in_order, number, persistent, text, wait_until};
use leveret::arguments::Requeue;
use leveret::broker::vhost::ExchangeDeclare;
use leveret::broker::{Broker, BrokerSettings};
use leveret::config::Limits;
use leveret::ids::SeqRange;
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, Message};
use leveret::queue::Settled;
use leveret::store::{Options, open_backend};

fn at_least_once(queue: &str) -> Vec<(&'static str, FieldValue)> {
    let mut arguments = dies_into(queue).to_vec();
    arguments.push(("x-dead-letter-strategy", text("at-least-once")));
    arguments
}

/// What is parked, ready and unacknowledged.
fn counts(house: &TestBroker, queue: &str) -> (u64, u64, u64) {
    let stats = house.stats(queue);
    (stats.parked, stats.ready, stats.unacked)
}

#[test]
fn parked_messages_outlive_the_broker_and_are_moved_back() {
    let mut house = TestBroker::new();
    house.declare("q", &dies_into("missing"));
    house.publish("q", 0..10);
    (0..5).for_each(|number| assert_eq!(house.reject("q"), number));
    assert_eq!(counts(&house, "q"), (5, 5, 0));
    house.restart();
    assert_eq!(counts(&house, "q"), (5, 5, 0));
    let moved = house.broker.parked().requeue(&house.queue("q"), None, house.now).unwrap();
    assert_eq!((moved.moved, moved.parked), (5, 0));
    assert_eq!(house.drain("q"), [5, 6, 7, 8, 9, 0, 1, 2, 3, 4], "at the end, as if they had just come");
    house.restart();
    assert_eq!(counts(&house, "q"), (0, 0, 0));
}

#[test]
fn a_backlog_of_parked_messages_is_moved_from_disk() {
    const COUNT: u64 = 20_000;
    let mut house = TestBroker::new();
    house.declare("q", &dies_into("missing"));
    house.publish_many("q", COUNT);
    house.take_all("q", false);
    let settled = Settled { consumer: Some(ME_AS_CONSUMER), range: SeqRange::of(0, COUNT) };
    house.broker.reject(&house.queue("q"), &[settled], house.now);
    wait_until("all are parked", || house.stats("q").parked == COUNT);
    house.restart();
    house.declare("other", &[]);
    let moved = house.broker.parked().requeue(&house.queue("q"), Some(("", "other")), house.now).unwrap();
    assert_eq!((moved.moved, moved.parked), (COUNT, 0));
    in_order(&house.drain("other"), 0..COUNT);
}

#[test]
fn a_message_that_is_looked_at_too_often_is_parked_and_begins_anew() {
    let house = TestBroker::new();
    house.declare("q", &[("x-queue-type", text("quorum")), ("x-delivery-limit", number(2))]);
    house.publish("q", [7]);
    let look = || {
        let (held, _) = house.get("q").unwrap();
        house.broker.put_back(&house.queue("q"), &held, Requeue::Declined, house.now);
    };
    (0..3).for_each(|_| look());
    assert_eq!(counts(&house, "q"), (1, 0, 0));
    house.broker.parked().requeue(&house.queue("q"), None, house.now).unwrap();
    (0..2).for_each(|_| look());
    assert_eq!(counts(&house, "q"), (0, 1, 0), "nobody has looked at it before");
}

#[test]
fn a_time_to_live_begins_anew() {
    let mut house = TestBroker::new();
    house.declare("q", &[("x-message-ttl", number(100)), ("x-dead-letter-exchange", text("missing"))]);
    house.publish("q", 0..2);
    house.pass(100);
    assert_eq!(counts(&house, "q"), (2, 0, 0));
    house.pass(100_000);
    house.broker.parked().requeue(&house.queue("q"), None, house.now).unwrap();
    house.pass(99);
    assert_eq!(counts(&house, "q"), (0, 2, 0));
    house.pass(1);
    assert_eq!(counts(&house, "q"), (2, 0, 0));
}

#[test]
fn what_waits_for_a_route_goes_when_it_appears_and_in_order() {
    let mut house = TestBroker::new();
    house.declare("q", &at_least_once("dead"));
    house.publish("q", 0..6);
    house.reject_many("q", 4);
    assert_eq!(counts(&house, "q"), (4, 2, 0));
    house.pass(10_000);
    house.restart();
    house.pass(0);
    assert_eq!(counts(&house, "q"), (4, 2, 0), "it was tried and has no route");
    house.declare("dead", &[]);
    house.pass(100);
    house.reject("q");
    wait_until("they are sent", || house.stats("dead").ready == 5);
    assert_eq!(house.drain("dead"), [0, 1, 2, 3, 4]);
    assert_eq!(counts(&house, "q"), (0, 1, 0));
}

#[test]
fn what_waits_for_room_goes_when_there_is_some_and_in_order() {
    let mut house = TestBroker::new();
    house.declare("dead", &[("x-max-length", number(2)), ("x-overflow", text("reject-publish"))]);
    house.declare("q", &at_least_once("dead"));
    house.publish("q", 0..7);
    house.reject_many("q", 6);
    assert_eq!((counts(&house, "q"), counts(&house, "dead")), ((4, 1, 0), (0, 2, 0)));
    let (held, first) = house.get("dead").unwrap();
    house.broker.settle(&house.queue("dead"), &held, house.now);
    // What dies now comes after what waits, though there is room.
    house.reject("q");
    house.pass(100);
    assert_eq!((counts(&house, "q"), counts(&house, "dead")), ((4, 0, 0), (0, 2, 0)));
    let mut numbers = vec![first];
    while let Some((held, number)) = house.get("dead") {
        house.broker.settle(&house.queue("dead"), &held, house.now);
        numbers.push(number);
        house.pass(100);
    }
    in_order(&numbers, 0..7);
    assert_eq!(counts(&house, "q"), (0, 0, 0));
}

#[test]
fn one_queue_that_refuses_keeps_the_letter_from_no_other() {
    let house = TestBroker::new();
    house.declare("full", &[("x-max-length", number(0)), ("x-overflow", text("reject-publish"))]);
    house.declare("open", &[]);
    for queue in ["full", "open"] {
        house.bind("amq.fanout", queue);
    }
    house.declare("q", &[("x-dead-letter-exchange", text("amq.fanout"))]);
    house.publish("q", [7]);
    house.reject("q");
    assert_eq!((house.drain("open"), counts(&house, "q")), (vec![7], (1, 0, 0)));
}

fn publish_delayed(broker: &Broker, house: &TestBroker, number: u64, delay_ms: i32) {
    // Headers with `x-delay`, a signed integer of four bytes.
    let mut raw = vec![0x30, 0, 0, 0, 0, 13, 7];
    raw.extend_from_slice(b"x-delayI");
    raw.extend_from_slice(&delay_ms.to_be_bytes());
    raw.push(2);
    let message = Message {
        arrived_at_ms: house.now.unix_ms,
        exchange: b"later",
        properties: &raw,
        body: &number.to_be_bytes(),
        ..persistent()
    };
    let route = broker.vhost().route(b"later", b"", &raw).unwrap();
    broker.enqueue(&route, Block::of(&message), house.now);
}

#[test]
fn a_delayed_message_without_a_queue_waits_for_one() {
    let mut house = TestBroker::new();
    let mut arguments = FieldTable::default();
    arguments.insert("x-delayed-type".into(), text("fanout"));
    let later = ExchangeDeclare {
        name: "later".into(),
        kind: "x-delayed-message".into(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
    };
    house.broker.vhost().declare_exchange(later).unwrap();
    for number in 0..3 {
        publish_delayed(&house.broker, &house, number, 50);
    }
    publish_delayed(&house.broker, &house, 3, 5000);
    house.pass(50);
    assert_eq!(counts(&house, "amq.delayed.later"), (3, 1, 0));
    house.restart();
    house.pass(0);
    assert_eq!(counts(&house, "amq.delayed.later"), (3, 1, 0));
    house.declare("q", &[]);
    house.bind("later", "q");
    house.pass(100);
    wait_until("they are routed", || house.stats("q").ready == 3);
    assert_eq!(house.drain("q"), [0, 1, 2]);
    house.pass(5000);
    wait_until("it is routed", || house.stats("q").ready == 1);
    assert_eq!((house.drain("q"), counts(&house, "amq.delayed.later")), (vec![3], (0, 0, 0)));
}

#[test]
fn no_more_is_parked_than_the_settings_say() {
    let mut house = TestBroker::new();
    let limits = Limits { parked_max: 3, ..Limits::default() };
    house.disk = SimDisk::default();
    let opened = open_backend(house.disk.clone(), Options::default()).unwrap();
    house.broker =
        Broker::start(opened, BrokerSettings { limits, ..BrokerSettings::default() }, house.now).unwrap();
    house.declare("q", &dies_into("missing"));
    house.publish("q", 0..5);
    house.reject_many("q", 5);
    assert_eq!(counts(&house, "q"), (3, 0, 0));
    let metrics = house.broker.metrics();
    assert_eq!((metrics.parked.get(), metrics.dead_letters_dropped_at_limit.get()), (3, 2));
}

/// Arguments may be longer than any exchange's name or routing key is.
#[test]
fn what_has_too_long_a_way_is_parked_and_neither_ends_the_broker_nor_is_lost() {
    let mut house = TestBroker::new();
    let long = "k".repeat(256);
    house.declare("out", &[]);
    house.bind("amq.fanout", "out");
    house.declare(
        "key",
        &[("x-dead-letter-exchange", text("amq.fanout")), ("x-dead-letter-routing-key", text(&long))],
    );
    house.declare("exchange", &[("x-dead-letter-exchange", text(&long))]);
    for name in ["key", "exchange"] {
        house.publish(name, 0..3);
        house.reject_many(name, 3);
        assert_eq!(counts(&house, name), (3, 0, 0), "{name}");
    }
    house.restart();
    assert_eq!((counts(&house, "key"), counts(&house, "exchange")), ((3, 0, 0), (3, 0, 0)));
    let moved =
        house.broker.parked().requeue(&house.queue("key"), Some(("amq.fanout", &long)), house.now).unwrap();
    assert_eq!((moved.moved, moved.parked), (0, 3));
    assert_eq!(house.drain("out"), [0; 0]);
}

/// What is said not to be moved has not been delivered anywhere.
#[test]
fn what_one_target_refuses_is_moved_to_none() {
    let house = TestBroker::new();
    house.declare("parking", &dies_into("missing"));
    house.publish("parking", 0..3);
    house.reject_many("parking", 3);
    house.declare("open", &[]);
    house.declare("full", &[("x-max-length", number(0)), ("x-overflow", text("reject-publish"))]);
    house.bind("amq.fanout", "open");
    house.bind("amq.fanout", "full");
    let moved =
        house.broker.parked().requeue(&house.queue("parking"), Some(("amq.fanout", "")), house.now).unwrap();
    assert_eq!((moved.moved, moved.parked), (0, 3));
    assert_eq!(house.drain("open"), [0; 0]);
}
