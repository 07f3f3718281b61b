//! Letters that wait for room, as a strategy of `at-least-once` has it, and the order in which they
//! arrive.

use super::{ME, TestBroker, dies_into, in_order, number, persistent, text};
use leveret::broker::vhost::{Bind, Destination};
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, Message};
use std::thread;
use std::time::Duration;

/// How often it is looked for what arrives.
const LOOKS: u32 = 20_000;

fn full_with(messages: i64) -> [(&'static str, FieldValue); 2] {
    [("x-max-length", number(messages)), ("x-overflow", text("reject-publish"))]
}

fn at_least_once() -> (&'static str, FieldValue) {
    ("x-dead-letter-strategy", text("at-least-once"))
}

/// Takes whatever arrives in a queue as time passes, until it is so much.
fn arrivals(fixture: &mut TestBroker, name: &str, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..LOOKS {
        // A consumer that leaves might take what is dealt to it at the last moment.
        while let Some((held, number)) = fixture.get(name) {
            fixture.broker.settle(&fixture.queue(name), &held, fixture.now);
            numbers.push(number);
        }
        if numbers.len() >= count {
            break;
        }
        fixture.pass(100);
        thread::park_timeout(Duration::from_millis(1));
    }
    numbers
}

#[test]
fn what_waited_for_room_before_a_stop_is_not_overtaken_after_it() {
    for killed in [true, false] {
        let mut fixture = TestBroker::new();
        fixture.declare("dead", &full_with(20));
        let [exchange, key] = dies_into("dead");
        fixture.declare("q", &[("x-message-ttl", number(1000)), at_least_once(), exchange, key]);
        fixture.publish("q", 0..50);
        fixture.pass(1000);
        assert_eq!((fixture.stats("q").parked, fixture.stats("dead").ready), (30, 20));
        fixture.publish("q", 50..100);
        in_order(&fixture.drain("dead"), 0..20);
        if killed {
            fixture.crash(1000);
        } else {
            fixture.now.unix_ms += 1000;
            fixture.restart();
        }
        in_order(&arrivals(&mut fixture, "dead", 80), 20..100);
        assert_eq!((fixture.stats("q").parked, fixture.stats("q").ready), (0, 0), "killed: {killed}");
    }
}

fn bind(fixture: &TestBroker, exchange: &str, queue: &str, key: &str) {
    let bind = Bind {
        source: exchange.into(),
        destination: Destination::Queue(queue.into()),
        routing_key: key.into(),
        arguments: FieldTable::default(),
    };
    fixture.broker.vhost().bind(bind, ME).unwrap();
}

/// Publishes a number to `amq.fanout` under each of these keys.
fn publish(fixture: &TestBroker, keys: &[&str], numbers: std::ops::Range<u64>) {
    for number in numbers {
        for key in keys {
            let message = Message {
                arrived_at_ms: fixture.now.unix_ms,
                exchange: b"amq.fanout",
                routing_key: key.as_bytes(),
                body: &number.to_be_bytes(),
                ..persistent()
            };
            let route = fixture.broker.vhost().route(b"amq.fanout", key.as_bytes(), &[0, 0]).unwrap();
            fixture.broker.enqueue(&route, Block::of(&message), fixture.now);
        }
    }
}

/// A queue whose letters go to `a`, to `b`, which have room for a few, and to `c`, which is
/// declared later.
#[test]
fn letters_to_several_queues_arrive_in_order_in_each() {
    for strategy_comes_later in [false, true] {
        let mut fixture = TestBroker::new();
        for (name, room) in [("a", 4), ("b", 7)] {
            fixture.declare(name, &full_with(room));
            bind(&fixture, "amq.topic", name, name);
        }
        let mut dying = vec![("x-message-ttl", number(1000)), ("x-dead-letter-exchange", text("amq.topic"))];
        dying.extend((!strategy_comes_later).then(at_least_once));
        fixture.declare("q", &dying);
        fixture.bind("amq.fanout", "q");
        publish(&fixture, &["a", "b", "c"], 0..300);
        fixture.pass(1000);
        super::wait_until("all have died", || fixture.stats("q").parked == 300 - 4 + 300 - 7 + 300);
        fixture.declare("c", &[]);
        bind(&fixture, "amq.topic", "c", "c");
        let mut found = ["a", "b"].map(|name| fixture.drain(name));
        publish(&fixture, &["a", "b", "c"], 300..400);
        if strategy_comes_later {
            let strategy = leveret::policy::Value::Text("at-least-once".into());
            fixture.now.unix_ms += 1000;
            fixture.set_policy("q", &[("dead-letter-strategy", strategy)]);
        } else {
            fixture.crash(1000);
        }
        for (found, name) in found.iter_mut().zip(["a", "b"]) {
            found.extend(arrivals(&mut fixture, name, 400 - found.len()));
            in_order(found, 0..400);
        }
        in_order(&arrivals(&mut fixture, "c", 400), 0..400);
        assert_eq!(fixture.stats("q").parked, 0);
    }
}
