//! Queues that drive each other's messages out, in any number: nothing is thrown away on the way.

use super::{ME_AS_CONSUMER, TestBroker, dies_into, in_order, number, text, wait_until};
use leveret::ids::SeqRange;
use leveret::policy::Value;
use leveret::queue::Settled;

/// More than a step may hold, and more than fits into memory.
const COUNT: u64 = 140_000;

/// `q1`, whose dead letters go to `q2`, which is full with ten, whose dead letters go to `q3`.
fn chain() -> TestBroker {
    let fixture = TestBroker::new();
    fixture.declare("q3", &[]);
    let [exchange, key] = dies_into("q3");
    fixture.declare("q2", &[("x-max-length", number(10)), exchange, key]);
    fixture.declare("q1", &dies_into("q2"));
    fixture
}

/// The last ten messages are in `q2`, all others in `q3`, in order.
#[track_caller]
fn check_end(fixture: &TestBroker, count: u64) {
    wait_until("everything is at its end", || fixture.stats("q2").ready + fixture.stats("q3").ready == count);
    in_order(&fixture.drain("q2"), count - 10..count);
    in_order(&fixture.drain("q3"), 0..count - 10);
}

#[test]
fn a_policy_that_empties_a_queue_into_a_chain_loses_nothing() {
    let fixture = chain();
    fixture.publish_many("q1", COUNT);
    fixture.set_policy("q1", &[("max-length", Value::Integer(0))]);
    check_end(&fixture, COUNT);
}

#[test]
fn a_rejection_of_everything_loses_nothing_in_a_chain() {
    let fixture = chain();
    fixture.publish_many("q1", COUNT);
    let held = fixture.take_all("q1", false);
    assert_eq!(held.len() as u64, COUNT);
    let all = Settled { consumer: Some(ME_AS_CONSUMER), range: SeqRange::of(0, COUNT) };
    fixture.broker.reject(&fixture.queue("q1"), &[all], fixture.now);
    check_end(&fixture, COUNT);
}

/// Each of ten queues has room for ten, and what it drives out goes into the next.
#[test]
fn a_long_chain_keeps_ten_in_each_queue() {
    let fixture = TestBroker::new();
    let name = |n: u64| format!("q{n:02}");
    fixture.declare(&name(10), &[]);
    for n in (0..10).rev() {
        let [exchange, key] = dies_into(&name(n + 1));
        fixture.declare(&name(n), &[("x-max-length", number(10)), exchange, key]);
    }
    const COUNT: u64 = 20_000;
    fixture.publish_many(&name(0), COUNT);
    wait_until("everything is at its end", || fixture.stats(&name(10)).ready == COUNT - 100);
    for n in 0..10 {
        let first = COUNT - 10 * (n + 1);
        in_order(&fixture.drain(&name(n)), first..first + 10);
    }
    in_order(&fixture.drain(&name(10)), 0..COUNT - 100);
}

/// More copies than a batch makes: it is cut, and goes on where it was.
#[test]
fn a_fanout_of_dead_letters_is_whole_and_in_order() {
    const COUNT: u64 = 200;
    let fixture = TestBroker::new();
    let names: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    for name in &names {
        fixture.declare(name, &[]);
        fixture.bind("amq.fanout", name);
    }
    fixture.declare("q", &[("x-max-length", number(0)), ("x-dead-letter-exchange", text("amq.fanout"))]);
    fixture.publish("q", 0..COUNT);
    let sum = || names.iter().map(|name| fixture.stats(name).ready).sum::<u64>();
    wait_until("all have all", || sum() == COUNT * 40);
    for name in &names {
        in_order(&fixture.drain(name), 0..COUNT);
    }
}
