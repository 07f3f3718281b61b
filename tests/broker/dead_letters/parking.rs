//! Dead letters and delayed messages that have nowhere to go are kept, and found again.

use super::{
    ME_AS_CONSUMER, SimDisk, TestBroker, dies_into, in_order, number, persistent, text, wait_for, wait_until,
};
use crate::broker::start_broker;
use leveret::arguments::Requeue;
use leveret::broker::vhost::ExchangeDeclare;
use leveret::broker::{Broker, BrokerSettings};
use leveret::config::Limits;
use leveret::ids::SeqRange;
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, Message};
use leveret::queue::mailbox::Mailbox;
use leveret::queue::{Got, Settled};
use leveret::store::{Options, open_backend};

fn at_least_once(queue: &str) -> Vec<(&'static str, FieldValue)> {
    let mut arguments = dies_into(queue).to_vec();
    arguments.push(("x-dead-letter-strategy", text("at-least-once")));
    arguments
}

/// What is parked, ready and unacknowledged.
fn counts(fixture: &TestBroker, queue: &str) -> (u64, u64, u64) {
    let stats = fixture.stats(queue);
    (stats.parked, stats.ready, stats.unacked)
}

#[test]
fn parked_messages_outlive_the_broker_and_are_moved_back() {
    let mut fixture = TestBroker::new();
    fixture.declare("q", &dies_into("missing"));
    fixture.publish("q", 0..10);
    (0..5).for_each(|number| assert_eq!(fixture.reject("q"), number));
    assert_eq!(counts(&fixture, "q"), (5, 5, 0));
    fixture.restart();
    assert_eq!(counts(&fixture, "q"), (5, 5, 0));
    let moved = fixture.broker.parked().requeue(&fixture.queue("q"), None, fixture.now).unwrap();
    assert_eq!((moved.moved, moved.parked), (5, 0));
    assert_eq!(fixture.drain("q"), [5, 6, 7, 8, 9, 0, 1, 2, 3, 4], "at the end, as if they had just come");
    fixture.restart();
    assert_eq!(counts(&fixture, "q"), (0, 0, 0));
}

/// Refused publishes die there; a message that is parked is not published again.
#[test]
fn what_does_not_fit_into_its_queue_stays_parked_and_dies_nowhere_else() {
    let fixture = TestBroker::new();
    let mut arguments = dies_into("dead").to_vec();
    arguments.extend([("x-max-length", number(1)), ("x-overflow", text("reject-publish-dlx"))]);
    fixture.declare("q", &arguments);
    fixture.publish("q", [1]);
    fixture.reject("q");
    assert_eq!(counts(&fixture, "q"), (1, 0, 0), "dead is not declared yet");
    fixture.publish("q", [2]);
    fixture.declare("dead", &[]);
    let moved = fixture.broker.parked().requeue(&fixture.queue("q"), None, fixture.now).unwrap();
    assert_eq!((moved.moved, moved.parked), (0, 1));
    assert_eq!((counts(&fixture, "q"), counts(&fixture, "dead")), ((1, 1, 0), (0, 0, 0)));
    fixture.drain("q");
    let moved = fixture.broker.parked().requeue(&fixture.queue("q"), None, fixture.now).unwrap();
    assert_eq!((moved.moved, moved.parked), (1, 0));
    assert_eq!(fixture.drain("q"), [1]);
}

/// Publishes a message of so many bytes to `q`, which rejects it.
fn park_bytes(fixture: &TestBroker, bytes: usize) {
    let message = Message {
        arrived_at_ms: fixture.now.unix_ms,
        routing_key: b"q",
        body: &vec![0; bytes],
        ..persistent()
    };
    let route = fixture.broker.vhost().route(b"", b"q", &[0, 0]).unwrap();
    fixture.broker.enqueue(&route, Block::of(&message), fixture.now);
    let held = [Settled { consumer: None, range: taken(fixture, "q").unwrap().0 }];
    fixture.broker.reject(&fixture.queue("q"), &held, fixture.now);
}

/// Takes the next message of a queue, which stays unacknowledged: its number and its size.
fn taken(fixture: &TestBroker, queue: &str) -> Option<(SeqRange, usize)> {
    let (queue, mailbox) = (fixture.queue(queue), Mailbox::new());
    loop {
        match fixture.broker.get(&queue, false, &mailbox, fixture.now) {
            Got::Message { first, block, index, .. } => {
                return Some((SeqRange::of(first, 1), block.message(index).body.len()));
            }
            Got::Empty => return None,
            Got::Paging => wait_for(&mailbox),
        }
    }
}

/// A smaller message would find the room that a larger one before it did not.
#[test]
fn what_a_full_queue_refuses_is_not_overtaken_when_it_is_moved() {
    for to in [None, Some(("amq.fanout", ""))] {
        let mut fixture = TestBroker::new();
        let limit = || vec![("x-max-length-bytes", number(100)), ("x-overflow", text("reject-publish"))];
        let mut dying = dies_into("missing").to_vec();
        dying.extend(limit());
        fixture.declare("q", &dying);
        fixture.declare("full", &limit());
        fixture.declare("open", &[]);
        for queue in ["full", "open"] {
            fixture.bind("amq.fanout", queue);
        }
        [60, 70, 20, 30].into_iter().for_each(|bytes| park_bytes(&fixture, bytes));
        let target = if to.is_some() { "full" } else { "q" };
        let requeue = |fixture: &TestBroker| {
            let moved = fixture.broker.parked().requeue(&fixture.queue("q"), to, fixture.now).unwrap();
            (moved.moved, moved.parked)
        };
        assert_eq!(requeue(&fixture), (1, 3), "{to:?}: 70 does not fit beside 60");
        assert_eq!(requeue(&fixture), (0, 3), "{to:?}");
        fixture.restart();
        assert_eq!(taken(&fixture, target).map(|(_, bytes)| bytes), Some(60));
        assert_eq!(requeue(&fixture), (2, 1), "{to:?}: 30 does not fit beside 70 and 20");
        let sizes: Vec<usize> = std::iter::from_fn(|| taken(&fixture, target)).map(|(_, n)| n).collect();
        assert_eq!(sizes, [70, 20], "{to:?}");
        assert_eq!(requeue(&fixture), (1, 0), "{to:?}");
        assert_eq!(taken(&fixture, target).map(|(_, bytes)| bytes), Some(30));
    }
}

#[test]
fn a_backlog_of_parked_messages_is_moved_from_disk() {
    const COUNT: u64 = 20_000;
    let mut fixture = TestBroker::new();
    fixture.declare("q", &dies_into("missing"));
    fixture.publish_many("q", COUNT);
    fixture.take_all("q", false);
    let settled = Settled { consumer: Some(ME_AS_CONSUMER), range: SeqRange::of(0, COUNT) };
    fixture.broker.reject(&fixture.queue("q"), &[settled], fixture.now);
    wait_until("all are parked", || fixture.stats("q").parked == COUNT);
    fixture.restart();
    fixture.declare("other", &[]);
    let moved =
        fixture.broker.parked().requeue(&fixture.queue("q"), Some(("", "other")), fixture.now).unwrap();
    assert_eq!((moved.moved, moved.parked), (COUNT, 0));
    in_order(&fixture.drain("other"), 0..COUNT);
}

#[test]
fn a_message_that_is_looked_at_too_often_is_parked_and_begins_anew() {
    let fixture = TestBroker::new();
    fixture.declare("q", &[("x-queue-type", text("quorum")), ("x-delivery-limit", number(2))]);
    fixture.publish("q", [7]);
    let look = || {
        let (held, _) = fixture.get("q").unwrap();
        fixture.broker.put_back(&fixture.queue("q"), &held, Requeue::Declined, fixture.now);
    };
    (0..3).for_each(|_| look());
    assert_eq!(counts(&fixture, "q"), (1, 0, 0));
    fixture.broker.parked().requeue(&fixture.queue("q"), None, fixture.now).unwrap();
    (0..2).for_each(|_| look());
    assert_eq!(counts(&fixture, "q"), (0, 1, 0), "nobody has looked at it before");
}

#[test]
fn a_time_to_live_begins_anew() {
    let mut fixture = TestBroker::new();
    fixture.declare("q", &[("x-message-ttl", number(100)), ("x-dead-letter-exchange", text("missing"))]);
    fixture.publish("q", 0..2);
    fixture.pass(100);
    assert_eq!(counts(&fixture, "q"), (2, 0, 0));
    fixture.pass(100_000);
    fixture.broker.parked().requeue(&fixture.queue("q"), None, fixture.now).unwrap();
    fixture.pass(99);
    assert_eq!(counts(&fixture, "q"), (0, 2, 0));
    fixture.pass(1);
    assert_eq!(counts(&fixture, "q"), (2, 0, 0));
}

#[test]
fn what_waits_for_a_route_goes_when_it_appears_and_in_order() {
    let mut fixture = TestBroker::new();
    fixture.declare("q", &at_least_once("dead"));
    fixture.publish("q", 0..6);
    fixture.reject_many("q", 4);
    assert_eq!(counts(&fixture, "q"), (4, 2, 0));
    fixture.pass(10_000);
    fixture.restart();
    fixture.pass(0);
    assert_eq!(counts(&fixture, "q"), (4, 2, 0), "it was tried and has no route");
    fixture.declare("dead", &[]);
    fixture.pass(100);
    fixture.reject("q");
    wait_until("they are sent", || fixture.stats("dead").ready == 5);
    assert_eq!(fixture.drain("dead"), [0, 1, 2, 3, 4]);
    assert_eq!(counts(&fixture, "q"), (0, 1, 0));
}

/// They are tried again no sooner than a moment after the last time.
#[test]
fn what_dies_as_a_route_appears_comes_after_what_waits_for_it() {
    let mut fixture = TestBroker::new();
    fixture.declare("q", &at_least_once("dead"));
    fixture.publish("q", 0..4);
    fixture.reject_many("q", 2);
    fixture.pass(10_000);
    fixture.declare("dead", &[]);
    fixture.reject("q");
    assert_eq!(counts(&fixture, "q"), (3, 1, 0));
    fixture.pass(100);
    assert_eq!(fixture.drain("dead"), [0, 1, 2]);
    fixture.reject("q");
    assert_eq!(fixture.drain("dead"), [3]);
}

#[test]
fn what_waits_for_room_goes_when_there_is_some_and_in_order() {
    let mut fixture = TestBroker::new();
    fixture.declare("dead", &[("x-max-length", number(2)), ("x-overflow", text("reject-publish"))]);
    fixture.declare("q", &at_least_once("dead"));
    fixture.publish("q", 0..7);
    fixture.reject_many("q", 6);
    assert_eq!((counts(&fixture, "q"), counts(&fixture, "dead")), ((4, 1, 0), (0, 2, 0)));
    let (held, first) = fixture.get("dead").unwrap();
    fixture.broker.settle(&fixture.queue("dead"), &held, fixture.now);
    // What dies now comes after what waits, though there is room.
    fixture.reject("q");
    fixture.pass(100);
    assert_eq!((counts(&fixture, "q"), counts(&fixture, "dead")), ((4, 0, 0), (0, 2, 0)));
    let mut numbers = vec![first];
    while let Some((held, number)) = fixture.get("dead") {
        fixture.broker.settle(&fixture.queue("dead"), &held, fixture.now);
        numbers.push(number);
        fixture.pass(100);
    }
    in_order(&numbers, 0..7);
    assert_eq!(counts(&fixture, "q"), (0, 0, 0));
}

#[test]
fn one_queue_that_refuses_keeps_the_letter_from_no_other() {
    let fixture = TestBroker::new();
    fixture.declare("full", &[("x-max-length", number(0)), ("x-overflow", text("reject-publish"))]);
    fixture.declare("open", &[]);
    for queue in ["full", "open"] {
        fixture.bind("amq.fanout", queue);
    }
    fixture.declare("q", &[("x-dead-letter-exchange", text("amq.fanout"))]);
    fixture.publish("q", [7]);
    fixture.reject("q");
    assert_eq!((fixture.drain("open"), counts(&fixture, "q")), (vec![7], (1, 0, 0)));
}

/// It cannot wait for the others: its queue has no place for it.
#[test]
fn what_is_driven_out_goes_to_those_who_have_room() {
    let fixture = TestBroker::new();
    fixture.declare("full", &[("x-max-length", number(0)), ("x-overflow", text("reject-publish"))]);
    fixture.declare("open", &[]);
    for queue in ["full", "open"] {
        fixture.bind("amq.fanout", queue);
    }
    let mut arguments = at_least_once("");
    arguments.extend([("x-dead-letter-exchange", text("amq.fanout")), ("x-max-length", number(1))]);
    fixture.declare("q", &arguments);
    fixture.publish("q", 0..3);
    assert_eq!((fixture.drain("open"), counts(&fixture, "q")), (vec![0, 1], (0, 1, 0)));
}

fn publish_delayed(broker: &Broker, fixture: &TestBroker, number: u64, delay_ms: i32) {
    // Headers with `x-delay`, a signed integer of four bytes.
    let mut raw = vec![0x30, 0, 0, 0, 0, 13, 7];
    raw.extend_from_slice(b"x-delayI");
    raw.extend_from_slice(&delay_ms.to_be_bytes());
    raw.push(2);
    let message = Message {
        arrived_at_ms: fixture.now.unix_ms,
        exchange: b"later",
        properties: &raw,
        body: &number.to_be_bytes(),
        ..persistent()
    };
    let route = broker.vhost().route(b"later", b"", &raw).unwrap();
    broker.enqueue(&route, Block::of(&message), fixture.now);
}

#[test]
fn a_delayed_message_without_a_queue_waits_for_one() {
    let mut fixture = TestBroker::new();
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
    fixture.broker.vhost().declare_exchange(later).unwrap();
    for number in 0..3 {
        publish_delayed(&fixture.broker, &fixture, number, 50);
    }
    publish_delayed(&fixture.broker, &fixture, 3, 5000);
    fixture.pass(50);
    assert_eq!(counts(&fixture, "amq.delayed.later"), (3, 1, 0));
    fixture.restart();
    fixture.pass(0);
    assert_eq!(counts(&fixture, "amq.delayed.later"), (3, 1, 0));
    fixture.declare("q", &[]);
    fixture.bind("later", "q");
    fixture.pass(100);
    // What is on its way to be tried, once it was read from the disk, is tried again after it.
    wait_until("they are routed", || {
        fixture.broker.tick(fixture.now);
        fixture.stats("q").ready == 3
    });
    assert_eq!(fixture.drain("q"), [0, 1, 2]);
    fixture.pass(5000);
    wait_until("it is routed", || {
        fixture.broker.tick(fixture.now);
        fixture.stats("q").ready == 1
    });
    assert_eq!(fixture.drain("q"), [3]);
    wait_until("it is forgotten", || counts(&fixture, "amq.delayed.later") == (0, 0, 0));
}

#[test]
fn no_more_is_parked_than_the_settings_say() {
    let mut fixture = TestBroker::new();
    let limits = Limits { parked_max: 3, ..Limits::default() };
    fixture.disk = SimDisk::default();
    let opened = open_backend(fixture.disk.clone(), Options::default()).unwrap();
    fixture.broker =
        start_broker(opened, BrokerSettings { limits, ..BrokerSettings::default() }, fixture.now).unwrap();
    fixture.declare("q", &dies_into("missing"));
    fixture.publish("q", 0..5);
    fixture.reject_many("q", 5);
    assert_eq!(counts(&fixture, "q"), (3, 0, 0));
    let metrics = fixture.broker.metrics();
    assert_eq!((metrics.parked.get(), metrics.dead_letters_dropped_at_limit.get()), (3, 2));
}

/// Arguments may be longer than any exchange's name or routing key is.
#[test]
fn what_has_too_long_a_way_is_parked_and_neither_ends_the_broker_nor_is_lost() {
    let mut fixture = TestBroker::new();
    let long = "k".repeat(256);
    fixture.declare("out", &[]);
    fixture.bind("amq.fanout", "out");
    fixture.declare(
        "key",
        &[("x-dead-letter-exchange", text("amq.fanout")), ("x-dead-letter-routing-key", text(&long))],
    );
    fixture.declare("exchange", &[("x-dead-letter-exchange", text(&long))]);
    for name in ["key", "exchange"] {
        fixture.publish(name, 0..3);
        fixture.reject_many(name, 3);
        assert_eq!(counts(&fixture, name), (3, 0, 0), "{name}");
    }
    fixture.restart();
    assert_eq!((counts(&fixture, "key"), counts(&fixture, "exchange")), ((3, 0, 0), (3, 0, 0)));
    let moved = fixture
        .broker
        .parked()
        .requeue(&fixture.queue("key"), Some(("amq.fanout", &long)), fixture.now)
        .unwrap();
    assert_eq!((moved.moved, moved.parked), (0, 3));
    assert_eq!(fixture.drain("out"), [0; 0]);
}

/// What is said not to be moved has not been delivered anywhere.
#[test]
fn what_one_target_refuses_is_moved_to_none() {
    let fixture = TestBroker::new();
    fixture.declare("parking", &dies_into("missing"));
    fixture.publish("parking", 0..3);
    fixture.reject_many("parking", 3);
    fixture.declare("open", &[]);
    fixture.declare("full", &[("x-max-length", number(0)), ("x-overflow", text("reject-publish"))]);
    fixture.bind("amq.fanout", "open");
    fixture.bind("amq.fanout", "full");
    let moved = fixture
        .broker
        .parked()
        .requeue(&fixture.queue("parking"), Some(("amq.fanout", "")), fixture.now)
        .unwrap();
    assert_eq!((moved.moved, moved.parked), (0, 3));
    assert_eq!(fixture.drain("open"), [0; 0]);
}
