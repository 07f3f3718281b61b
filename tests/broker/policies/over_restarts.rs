//! Policies are there again after a restart, and after a power cut those that were durable.

use super::{Bench, policy, text, to_dead};
use crate::broker::dead_letters::wait_until;
use crate::broker::fixtures::{ME, durable_before};
use crate::support::disk::{SimDisk, cut_everywhere};
use crate::support::draw::{Draw, seeds};
use leveret::clock::Now;
use leveret::ids::Ticket;
use leveret::message::table::FieldValue;
use leveret::policy::{ApplyTo, Policy, PolicyChange, Rank, Value};
use leveret::store::change::Change;
use std::collections::BTreeMap;

#[test]
fn policies_and_what_comes_of_them_outlive_the_broker() {
    let mut bench = Bench::new();
    bench.declare("q", &[]);
    bench.declare("dead", &[]);
    let [exchange, key] = to_dead();
    bench.set(&[
        ("max-length-bytes", Value::Integer(3)),
        ("message-ttl", Value::Integer(1000)),
        exchange,
        key,
    ]);
    let operators = Policy {
        apply_to: ApplyTo::ClassicQueues,
        priority: -3,
        pattern: String::new(),
        ..policy("o", &[("max-length", Value::Integer(2)), ("overflow", text("drop-head"))])
    };
    bench.broker.policies().set(Rank::Operator, operators.clone(), bench.now).unwrap();
    let gone = policy("gone", &[("retry-delays", Value::Integers(vec![1, 2]))]);
    bench.broker.policies().set(Rank::User, gone, bench.now).unwrap();
    bench.broker.policies().delete(Rank::User, "/", "gone", bench.now).unwrap();
    bench.publish("q", &["a", "b"]);
    let all = |bench: &Bench| [Rank::User, Rank::Operator].map(|rank| bench.broker.policies().list(rank));
    let before = all(&bench);
    assert_eq!((before[0].len(), &before[1][..]), (1, &[operators][..]));
    bench = bench.restart();
    assert_eq!(all(&bench), before);
    bench.publish("q", &["cc"]);
    assert_eq!(bench.drain("q"), "b cc", "the bytes on disk count");
    bench.publish("q", &["d"]);
    bench.pass(1000);
    assert_eq!(bench.drain("q"), "");
    bench.declare("q-new", &[("x-max-length", FieldValue::LongInt(1))]);
    bench.publish("q-new", &["a", "b"]);
    assert_eq!(bench.drain("q-new"), "b");
}

/// A crash may come between a policy, or a message, and what it drives out of a queue.
#[test]
fn a_queue_that_a_crash_left_above_its_limit_keeps_to_it_from_the_start() {
    for (limit, bytes) in [("max-length", 1), ("max-length-bytes", 2)] {
        let bench = Bench::new();
        for name in ["q-lettered", "q-drops", "q-refuses"] {
            bench.declare(name, &[]);
            bench.publish(name, &["aa", "bb", "cc"]);
        }
        bench.declare("dead", &[]);
        let [exchange, key] = to_dead();
        let limited = |name: &str, rest: &[(&str, Value)]| {
            let definition = [&[(limit, Value::Integer(bytes))], rest].concat();
            let of_one = Policy { pattern: format!("^{name}$"), ..policy(name, &definition) };
            Change::Policy(PolicyChange::Put(Rank::User, of_one))
        };
        bench.broker.log().append(&mut vec![
            limited("q-lettered", &[exchange, key]),
            limited("q-drops", &[]),
            limited("q-refuses", &[("overflow", text("reject-publish"))]),
        ]);
        let bench = bench.restart();
        let ready = |name: &str| bench.broker.vhost().queue(name, ME).expect("it was declared").stats().ready;
        let expected = [("q-lettered", 1), ("q-drops", 1), ("q-refuses", 3)];
        assert_eq!(expected.map(|(name, _)| (name, ready(name))), expected, "{limit}");
        wait_until("what was driven out is among the dead", || ready("dead") == 2);
        assert_eq!(bench.drain("dead"), "aa bb");
    }
}

/// What the policies of a broker say of the length, by name.
type Lengths = BTreeMap<String, i64>;

fn lengths(bench: &Bench) -> Lengths {
    let length = |policy: Policy| match policy.definition.get("max-length") {
        Some(Value::Integer(length)) => (policy.name, *length),
        other => panic!("a policy says {other:?}"),
    };
    bench.broker.policies().list(Rank::User).into_iter().map(length).collect()
}

/// Sets and deletes policies until the power goes; after each step what there is, and its ticket.
fn work(bench: &Bench, seed: u64, cut_at: u64) -> (Vec<(Ticket, Lengths)>, Ticket) {
    let (mut draw, mut durable) = (Draw::new(seed), Ticket(0));
    let mut steps = vec![(Ticket(0), Lengths::new())];
    bench.declare("q", &[]);
    for _step in 0..20 {
        let name = format!("p{}", draw.below(3));
        let policies = bench.broker.policies();
        let there = lengths(bench).contains_key(&name);
        let ticket = if there && draw.one_in(2) {
            policies.delete(Rank::User, "/", &name, bench.now)
        } else {
            let length = Value::Integer(draw.below(50).cast_signed());
            policies.set(Rank::User, policy(&name, &[("max-length", length)]), bench.now)
        };
        steps.push((ticket.expect("it can be done"), lengths(bench)));
        bench.publish("q", &["a", "b", "c"]);
        let Some(ticket) = durable_before(&bench.disk, cut_at, &bench.broker) else { break };
        durable = ticket;
    }
    bench.broker.shutdown().expect("the disk itself works");
    (steps, durable)
}

#[test]
fn a_policy_that_was_durable_is_there_wherever_the_power_goes() {
    for seed in seeds(0x0001_1C1E).take(1) {
        let now = Now { mono_ms: 0, unix_ms: 1000 };
        let bench = |disk: &SimDisk| Bench { broker: super::open(disk, now), disk: disk.clone(), now };
        let worked = |disk: &SimDisk, at| work(&bench(disk), seed, at);
        cut_everywhere((seed, 7), worked, |disk, (steps, durable), what| {
            let found = lengths(&bench(&disk));
            let possible = steps.iter().rposition(|(ticket, _)| *ticket <= durable).unwrap_or_default();
            let one_of = steps[possible..].iter().any(|(_, lengths)| *lengths == found);
            assert!(one_of, "{what}: {found:?} of {:?}", &steps[possible..]);
        });
    }
}
