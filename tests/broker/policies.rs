//! Policies on queues and exchanges that are there: what comes of a change at once, and over
//! restarts.

mod exchanges;
mod over_restarts;

use super::fixtures::{ME, durable, persistent};
use crate::broker::start_broker;
use crate::support::disk::SimDisk;
use leveret::arguments::Requeue;
use leveret::auth::vhost::VHostRecord;
use leveret::broker::policies::PolicyError;
use leveret::broker::{Broker, BrokerSettings, Enqueued, Rooms};
use leveret::clock::Now;
use leveret::ids::{ConsumerId, SeqRange};
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, BlockBuilder, Message};
use leveret::policy::{ApplyTo, Policy, Rank, Value};
use leveret::queue::mailbox::{Mail, Mailbox};
use leveret::queue::{ChannelLimit, Consumer, Got, Queue, Settled};
use leveret::routing::route::Route;
use leveret::store::{Options, open_backend};
use std::sync::Arc;

/// A broker, and the time that it is told.
struct Bench {
    disk: SimDisk,
    broker: Arc<Broker>,
    now: Now,
}

fn open(disk: &SimDisk, now: Now) -> Arc<Broker> {
    let opened = open_backend(disk.clone(), Options::default()).expect("the disk works");
    start_broker(opened, BrokerSettings::default(), now).expect("the store is sound")
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn string(text: &str) -> FieldValue {
    FieldValue::LongString(text.into())
}

/// A policy for names that begin with `q`.
fn policy(name: &str, definition: &[(&str, Value)]) -> Policy {
    Policy {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        pattern: "^q".to_owned(),
        apply_to: ApplyTo::All,
        priority: 0,
        definition: definition.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
    }
}

impl Bench {
    fn new() -> Self {
        let (disk, now) = (SimDisk::default(), Now { mono_ms: 1000, unix_ms: 1_795_000_000_000 });
        Self { broker: open(&disk, now), disk, now }
    }

    /// Stops the broker and starts it again on what is on disk.
    fn restart(self) -> Self {
        self.broker.shutdown().expect("the disk works");
        let disk = SimDisk::holding(self.disk.image());
        Self { broker: open(&disk, self.now), disk, now: self.now }
    }

    /// Time passes, and what is due by the clock is done.
    fn pass(&mut self, ms: u64) {
        self.now = Now { mono_ms: self.now.mono_ms + ms, unix_ms: self.now.unix_ms + ms };
        self.broker.tick(self.now);
    }

    fn set(&self, definition: &[(&str, Value)]) {
        self.broker.policies().set(Rank::User, policy("p", definition), self.now).expect("a good policy");
    }

    fn delete(&self) {
        self.broker.policies().delete(Rank::User, "/", "p", self.now).expect("it is there");
    }

    fn declare(&self, name: &str, arguments: &[(&str, FieldValue)]) -> Arc<Queue> {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        let declare = durable(name, table, self.now);
        self.broker.vhost().declare_queue(declare).expect("it can be declared").0
    }

    fn publish(&self, key: &str, bodies: &[&str]) -> Enqueued {
        self.publish_to("", key, bodies)
    }

    fn publish_to(&self, exchange: &str, key: &str, bodies: &[&str]) -> Enqueued {
        let (route, block) = self.on_the_way(exchange, key, bodies);
        self.broker.enqueue(&route, block, self.now)
    }

    fn on_the_way(&self, exchange: &str, key: &str, bodies: &[&str]) -> (Arc<Route>, Block) {
        let route =
            self.broker.vhost().route(exchange.as_bytes(), key.as_bytes(), &[0, 0]).expect("it is there");
        let mut builder = BlockBuilder::default();
        for body in bodies {
            builder.push(&Message {
                arrived_at_ms: self.now.unix_ms,
                exchange: exchange.as_bytes(),
                routing_key: key.as_bytes(),
                body: body.as_bytes(),
                ..persistent()
            });
        }
        (route, builder.build())
    }

    /// Takes out everything that a queue has ready: the bodies, with a space between.
    fn drain(&self, name: &str) -> String {
        let queue = self.broker.vhost().queue(name, ME).expect("it is there");
        let (mailbox, mut found) = (Mailbox::new(), Vec::new());
        loop {
            match self.broker.get(&queue, true, &mailbox, self.now) {
                Got::Empty => return found.join(" "),
                Got::Paging => super::power_cut::wait_for(&mailbox),
                Got::Message { block, index, .. } => {
                    found.push(String::from_utf8_lossy(block.message(index).body).into_owned());
                }
            }
        }
    }

    /// Gets one message, and gives it back as one that could not be handled.
    fn fail(&self, queue: &Arc<Queue>) -> bool {
        let mailbox = Mailbox::new();
        let first = loop {
            match self.broker.get(queue, false, &mailbox, self.now) {
                Got::Empty => return false,
                Got::Paging => super::power_cut::wait_for(&mailbox),
                Got::Message { first, .. } => break first,
            }
        };
        let settled = [Settled { consumer: None, range: SeqRange::of(first, 1) }];
        self.broker.put_back(queue, &settled, Requeue::Failed, self.now);
        true
    }

    fn is_there(&self, name: &str) -> bool {
        self.broker.vhost().queue(name, ME).is_ok()
    }
}

fn to_dead() -> [(&'static str, Value); 2] {
    [("dead-letter-exchange", text("")), ("dead-letter-routing-key", text("dead"))]
}

#[test]
fn messages_that_are_there_live_no_longer_than_a_policy_says() {
    let mut bench = Bench::new();
    bench.declare("q", &[]);
    bench.declare("dead", &[]);
    bench.publish("q", &["a", "b"]);
    bench.pass(500);
    let [exchange, key] = to_dead();
    bench.set(&[("message-ttl", Value::Integer(1000)), exchange, key]);
    bench.publish("q", &["c"]);
    bench.pass(499);
    assert_eq!(bench.drain("dead"), "");
    bench.pass(1);
    assert_eq!(bench.drain("dead"), "a b");
    bench.pass(499);
    bench.delete();
    bench.pass(9000);
    assert_eq!((bench.drain("q"), bench.drain("dead")), ("c".to_owned(), String::new()));
}

#[test]
fn a_policy_that_comes_late_ends_what_is_too_old_at_once() {
    let mut bench = Bench::new();
    bench.declare("q", &[("x-queue-type", string("quorum"))]);
    bench.publish("q", &["a"]);
    bench.pass(5000);
    bench.publish("q", &["b"]);
    bench.set(&[("message-ttl", Value::Integer(1000))]);
    assert_eq!(bench.drain("q"), "b");
}

#[test]
fn what_is_too_much_is_dead_lettered_at_once() {
    let bench = Bench::new();
    bench.declare("dead", &[]);
    for name in ["q", "q-quorum"] {
        let kind = if name == "q" { "classic" } else { "quorum" };
        bench.declare(name, &[("x-queue-type", string(kind))]);
        bench.publish(name, &["0", "1", "2", "3", "4"]);
        let [exchange, key] = to_dead();
        bench.set(&[("max-length", Value::Integer(2)), exchange, key]);
        assert_eq!(bench.drain("dead"), "0 1 2", "{name}");
        bench.publish(name, &["5"]);
        assert_eq!((bench.drain("dead"), bench.drain(name)), ("3".to_owned(), "4 5".to_owned()), "{name}");
        bench.delete();
        bench.publish(name, &["6", "7", "8"]);
        assert_eq!(bench.drain(name), "6 7 8", "{name}");
    }
}

#[test]
fn bytes_are_counted_from_the_first_message_on() {
    let mut bench = Bench::new();
    let queue = bench.declare("q", &[]);
    bench.publish("q", &["aaaa", "bb"]);
    // These are on disk alone.
    bench = bench.restart();
    bench.publish("q", &["cc"]);
    let again = bench.broker.vhost().queue("q", ME).expect("it is durable");
    let Got::Message { first, .. } = got(&bench, &again) else { panic!("there are messages") };
    bench.set(&[("max-length-bytes", Value::Integer(4))]);
    let held = [Settled { consumer: None, range: SeqRange::of(first, 1) }];
    assert_eq!(again.stats().ready, 2, "the largest is held");
    bench.broker.put_back(&again, &held, Requeue::Declined, bench.now);
    assert_eq!((bench.drain("q"), queue.name.len()), ("bb cc".to_owned(), 1));
    bench.publish("q", &["dddd", "e"]);
    assert_eq!(bench.drain("q"), "e");
}

fn got(bench: &Bench, queue: &Arc<Queue>) -> Got {
    let mailbox = Mailbox::new();
    loop {
        match bench.broker.get(queue, false, &mailbox, bench.now) {
            Got::Paging => super::power_cut::wait_for(&mailbox),
            got => return got,
        }
    }
}

#[test]
fn a_policy_makes_a_queue_refuse_and_take_again() {
    let bench = Bench::new();
    bench.declare("q", &[]);
    bench.publish("q", &["0", "1", "2"]);
    let before = bench.broker.vhost().epoch();
    bench.set(&[("max-length", Value::Integer(2)), ("overflow", text("reject-publish"))]);
    assert_ne!(bench.broker.vhost().epoch(), before, "routes are looked up again");
    let route = bench.broker.vhost().route(b"", b"q", &[0, 0]).unwrap();
    assert!(route.may_refuse && !route.atomic);
    assert_eq!(bench.publish("q", &["3"]).refused, vec![0..1]);
    assert_eq!(bench.drain("q"), "0 1 2", "what is there stays");
    bench.publish("q", &["4", "5"]);
    bench.set(&[("max-length", Value::Integer(1)), ("dead-letter-exchange", text(""))]);
    let route = bench.broker.vhost().route(b"", b"q", &[0, 0]).unwrap();
    assert!(!route.may_refuse);
    assert_eq!(bench.drain("q"), "5");
    bench.delete();
    let route = bench.broker.vhost().route(b"", b"q", &[0, 0]).unwrap();
    assert!(!route.may_refuse && !route.atomic);
}

#[test]
fn a_transaction_on_its_way_is_taken_whole_whatever_a_policy_says() {
    let bench = Bench::new();
    bench.declare("q", &[]);
    let refusing = [("max-length", Value::Integer(1)), ("overflow", text("reject-publish"))];
    let commit_under = |definition: &[(&str, Value)]| {
        let publishes = vec![bench.on_the_way("", "q", &["a", "b", "c"])];
        let rooms = Rooms::reserve(&publishes, bench.now).expect("there is room");
        bench.set(definition);
        bench.broker.commit_tx(publishes, rooms, &[], bench.now);
        bench.drain("q")
    };
    assert_eq!(commit_under(&refusing), "a b c", "nothing is refused once there was room");
    bench.set(&[("max-length", Value::Integer(3)), ("overflow", text("reject-publish"))]);
    assert_eq!(commit_under(&[("max-length", Value::Integer(1))]), "c", "what is too much goes");
    bench.set(&refusing);
    let publishes = vec![bench.on_the_way("", "q", &["a", "b", "c"])];
    assert!(Rooms::reserve(&publishes, bench.now).is_none(), "room is asked for by what is in effect");
}

#[test]
fn a_queue_that_nobody_uses_goes_as_a_policy_says() {
    let mut bench = Bench::new();
    bench.declare("q", &[]);
    bench.declare("q-used", &[]);
    bench.pass(9000);
    bench.set(&[("expires", Value::Integer(1000))]);
    bench.pass(999);
    assert!(bench.is_there("q"), "the lease begins with the policy");
    bench.declare("q-used", &[]);
    bench.pass(1);
    assert_eq!((bench.is_there("q"), bench.is_there("q-used")), (false, true));
    bench.delete();
    bench.pass(9000);
    assert!(bench.is_there("q-used"));
    bench.set(&[("expires", Value::Integer(5000))]);
    bench.declare("q", &[("x-expires", FieldValue::LongInt(1000))]);
    bench.pass(1000);
    assert_eq!((bench.is_there("q"), bench.is_there("q-used")), (false, true), "the shorter counts");
}

#[test]
fn deliveries_are_limited_and_put_off_as_a_policy_says() {
    let mut bench = Bench::new();
    bench.declare("dead", &[]);
    for kind in ["classic", "quorum"] {
        let name = &format!("q-{kind}");
        let queue = bench.declare(name, &[("x-queue-type", string(kind))]);
        bench.publish(name, &["a"]);
        assert!(bench.fail(&queue) && bench.fail(&queue));
        let [exchange, key] = to_dead();
        bench.set(&[("delivery-limit", Value::Integer(2)), exchange, key]);
        assert!(bench.fail(&queue));
        assert_eq!((bench.drain("dead"), bench.drain(name)), ("a".to_owned(), String::new()));
        bench.publish(name, &["b"]);
        assert!(bench.fail(&queue) && bench.fail(&queue));
        drop(queue);
        bench = bench.restart();
        let queue = bench.declare(name, &[("x-queue-type", string(kind))]);
        assert!(bench.fail(&queue), "{kind}: it is counted over a restart");
        assert_eq!((bench.drain("dead"), bench.drain(name)), ("b".to_owned(), String::new()));
        bench.delete();
    }
    let queue = bench.declare("q", &[("x-queue-type", string("quorum"))]);
    bench.set(&[("retry-delays", Value::Integers(vec![100, 300]))]);
    bench.publish("q", &["b"]);
    assert!(bench.fail(&queue) && !bench.fail(&queue));
    bench.pass(100);
    assert!(bench.fail(&queue));
    bench.delete();
    bench.pass(299);
    assert!(!bench.fail(&queue), "it waits as long as it was told to");
    bench.pass(1);
    assert!(bench.fail(&queue) && bench.fail(&queue));
}

#[test]
fn consumers_that_come_have_the_timeout_of_a_policy() {
    let bench = Bench::new();
    let queue = bench.declare("q", &[("x-queue-type", string("quorum"))]);
    assert_eq!(queue.consumer_timeout_ms(), Some(1_800_000));
    bench.set(&[("consumer-timeout", Value::Integer(5000))]);
    assert_eq!(queue.consumer_timeout_ms(), Some(5000));
    bench.delete();
    assert_eq!(queue.consumer_timeout_ms(), Some(1_800_000));
    assert_eq!(bench.declare("other", &[]).consumer_timeout_ms(), None);
}

#[test]
fn a_stream_is_shortened_as_a_policy_says() {
    let bench = Bench::new();
    let queue = bench.declare("q", &[("x-queue-type", string("stream"))]);
    let body = "x".repeat(1000);
    (0..100).for_each(|_| drop(bench.publish("q", &[&body])));
    assert_eq!(queue.stats().ready, 100);
    bench.set(&[("max-length-bytes", Value::Integer(20_000))]);
    (0..100).for_each(|_| drop(bench.publish("q", &[&body])));
    assert!(queue.stats().ready < 110, "{}", queue.stats().ready);
    bench.delete();
    let before = queue.stats().ready;
    (0..100).for_each(|_| drop(bench.publish("q", &[&body])));
    assert_eq!(queue.stats().ready, before + 100);
    // A policy with a key that streams do not have is not for them.
    bench.set(&[("max-length-bytes", Value::Integer(20_000)), ("max-length", Value::Integer(1))]);
    assert_eq!(bench.broker.vhost().policies().of_queue(&queue).policy, None);
}

#[test]
fn a_consumer_stays_where_it_is_when_a_policy_changes() {
    let bench = Bench::new();
    let (queue, mailbox) = (bench.declare("q", &[]), Mailbox::new());
    let consumer = Consumer { prefetch: 1, ..Consumer::new(ConsumerId(1), &mailbox, ChannelLimit::new()) };
    bench.broker.subscribe(&queue, consumer, bench.now).unwrap();
    bench.publish("q", &["a", "b", "c"]);
    bench.set(&[("max-length", Value::Integer(1))]);
    let mut mail = Vec::new();
    mailbox.take(&mut mail);
    assert!(matches!(&mail[..], [Mail::Deliver(run)] if run.first == 0));
    let settled = [Settled { consumer: Some(ConsumerId(1)), range: SeqRange::of(0, 1) }];
    bench.broker.settle(&queue, &settled, bench.now);
    mailbox.take(&mut mail);
    let Some(Mail::Deliver(run)) = mail.last() else { panic!("it is dealt the next") };
    assert_eq!(run.block.message(run.range.start).body, b"c");
}

#[test]
fn both_ranks_are_in_effect_and_told_of() {
    let bench = Bench::new();
    let queue = bench.declare("q", &[("x-max-length", FieldValue::LongInt(7))]);
    bench.set(&[("max-length", Value::Integer(5)), ("message-ttl", Value::Integer(9))]);
    let length = |bench: &Bench| {
        let found = bench.broker.vhost().policies().of_queue(&queue);
        let length = queue.in_effect().length.map(|limit| limit.messages);
        (found.policy, found.operator, length)
    };
    assert_eq!(length(&bench), (Some("p".to_owned()), None, Some(5)));
    let policies = bench.broker.policies();
    policies.set(Rank::Operator, policy("o", &[("max-length", Value::Integer(3))]), bench.now).unwrap();
    assert_eq!(length(&bench), (Some("p".to_owned()), Some("o".to_owned()), Some(3)));
    let definition = bench.broker.vhost().policies().of_queue(&queue).definition;
    let expected = [("max-length", Value::Integer(3)), ("message-ttl", Value::Integer(9))]
        .map(|(key, value)| (key.to_owned(), value));
    assert_eq!(definition, expected.into());
    bench.delete();
    policies.delete(Rank::Operator, "/", "o", bench.now).unwrap();
    assert_eq!(length(&bench), (None, None, Some(7)));
}

#[test]
fn a_policy_is_for_its_vhost_and_goes_with_it() {
    let mut bench = Bench::new();
    bench.broker.vhosts().create(VHostRecord::named("v")).expect("a new vhost");
    let queue = bench.declare("q", &[]);
    let elsewhere = || Policy { vhost: "v".to_owned(), ..policy("p", &[("max-length", Value::Integer(1))]) };
    bench.broker.policies().set(Rank::User, elsewhere(), bench.now).expect("it is there");
    bench.broker.policies().set(Rank::Operator, elsewhere(), bench.now).expect("it is there");
    assert!(queue.in_effect().length.is_none());
    bench.set(&[("max-length", Value::Integer(2))]);
    bench.broker.vhosts().delete("v").expect("it is there");
    bench.broker.vhosts().create(VHostRecord::named("v")).expect("a new vhost");
    bench = bench.restart();
    let left: Vec<String> = bench.broker.policies().list(Rank::User).into_iter().map(|of| of.vhost).collect();
    assert_eq!((left, bench.broker.policies().list(Rank::Operator)), (vec!["/".to_owned()], Vec::new()));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let bench = Bench::new();
    let policies = bench.broker.policies();
    let set = |policy: Policy| policies.set(Rank::User, policy, bench.now).map(drop);
    let good = || policy("p", &[("expires", Value::Integer(1))]);
    let elsewhere = Policy { vhost: "v".to_owned(), ..good() };
    assert_eq!(set(elsewhere), Err(PolicyError::NoSuchVHost("v".to_owned())));
    let said = "0 is not a valid queue expiry".to_owned();
    assert_eq!(set(policy("p", &[("expires", Value::Integer(0))])), Err(PolicyError::Invalid(said)));
    let gone = |vhost: &str| policies.delete(Rank::User, vhost, "p", bench.now).map(drop);
    assert_eq!(gone("/"), Err(PolicyError::NoSuchPolicy("p".to_owned())));
    assert_eq!(gone("v"), Err(PolicyError::NoSuchVHost("v".to_owned())));
    assert_eq!(policies.list(Rank::User), []);
    for number in 0..1000 {
        set(Policy { name: format!("p{number}"), pattern: "^never$".to_owned(), ..good() }).unwrap();
    }
    assert_eq!(set(good()), Err(PolicyError::Invalid("there are 1000 policies already".to_owned())));
    assert_eq!(set(Policy { name: "p7".to_owned(), ..good() }), Ok(()), "in place of another");
}
