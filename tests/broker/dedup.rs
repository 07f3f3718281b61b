//! Deduplication: what was taken in once is not taken in again, whatever happened to the power in
//! between.

use super::fixtures::{ME, persistent};
use super::power_cut::{Bell, declare, open, wait_for};
use crate::broker::start_broker;
use crate::support::disk::{SimDisk, cut_everywhere};
use crate::support::draw::{Draw, seeds};
use crate::support::log::{MemoryLog, NoPages};
use leveret::broker::vhost::{Bind, Destination, ExchangeDeclare};
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::ids::{SeqRange, Ticket};
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, BlockBuilder, Message};
use leveret::message::{properties, table};
use leveret::queue::mailbox::Mailbox;
use leveret::queue::{Got, Settled};
use leveret::store::Opened;
use leveret::store::change::{Recovered, Waiter};
use std::collections::BTreeMap;
use std::sync::Arc;

const NOW: Now = at(0);

const fn at(ms: u64) -> Now {
    Now { mono_ms: ms, unix_ms: 1_000 + ms }
}

fn arguments(entries: &[(&str, FieldValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

const ON: (&str, FieldValue) = ("x-message-deduplication", FieldValue::Boolean(true));

fn string(text: &str) -> FieldValue {
    FieldValue::LongString(text.into())
}

/// Persistent messages whose bodies and headers are these; "-" has no header.
fn block(ids: &[&str]) -> Block {
    let mut builder = BlockBuilder::default();
    for id in ids {
        let (mut headers, mut raw) = (Vec::new(), Vec::new());
        if *id != "-" {
            table::encode(&arguments(&[("x-deduplication-header", string(id))]), &mut headers);
        }
        let (headers, delivery_mode) = (Some(headers.as_slice()), Some(2));
        let own = properties::Properties { headers, delivery_mode, ..properties::Properties::default() };
        properties::encode(&own, &mut raw);
        builder.push(&Message {
            arrived_at_ms: NOW.unix_ms,
            properties: &raw,
            body: id.as_bytes(),
            ..persistent()
        });
    }
    builder.build()
}

/// A durable fanout exchange bound to these queues.
fn declare_exchange(broker: &Broker, name: &str, arguments: FieldTable, queues: &[&str]) -> Ticket {
    let declare = ExchangeDeclare {
        name: name.into(),
        kind: "fanout".into(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
    };
    let mut last = broker.vhost().declare_exchange(declare).expect("a new exchange");
    for queue in queues {
        let bind = Bind {
            source: name.into(),
            destination: Destination::Queue((*queue).into()),
            routing_key: Vec::new(),
            arguments: FieldTable::default(),
        };
        last = broker.vhost().bind(bind, ME).expect("both ends exist");
    }
    last
}

fn publish(broker: &Broker, exchange: &str, key: &str, ids: &[&str], now: Now) -> Ticket {
    let route = broker.vhost().route(exchange.as_bytes(), key.as_bytes(), &[0, 0]).expect("it exists");
    let enqueued = broker.enqueue(&route, block(ids), now);
    assert_eq!(enqueued.refused, []);
    enqueued.ticket
}

/// Takes one message out of a queue, which is settled or not.
fn take(broker: &Arc<Broker>, queue: &str, no_ack: bool) -> Option<(u64, String)> {
    let queue = broker.vhost().queue(queue, ME).expect("it was declared");
    let mailbox = Mailbox::new();
    loop {
        match broker.get(&queue, no_ack, &mailbox, NOW) {
            Got::Message { first, block, index, .. } => {
                return Some((first, String::from_utf8_lossy(block.message(index).body).into_owned()));
            }
            Got::Empty => return None,
            Got::Paging => wait_for(&mailbox),
        }
    }
}

fn drain(broker: &Arc<Broker>, queue: &str) -> Vec<String> {
    std::iter::from_fn(|| take(broker, queue, true)).map(|(_, id)| id).collect()
}

struct TestBroker {
    broker: Arc<Broker>,
    log: Arc<MemoryLog>,
}

impl TestBroker {
    /// Queues `once`, which deduplicates, and `all`, which does not; both bound to the exchange
    /// `x`, with `at_exchange`.
    fn new(at_queue: &[(&str, FieldValue)], at_exchange: &[(&str, FieldValue)]) -> Self {
        let log = MemoryLog::new();
        let recovered = Recovered { clean: true, ..Recovered::default() };
        let opened = Opened { log: Arc::clone(&log) as _, pages: Arc::new(NoPages), recovered };
        let broker = start_broker(opened, BrokerSettings::default(), NOW).expect("an empty store");
        declare(&broker, "once", arguments(at_queue));
        declare(&broker, "all", FieldTable::default());
        declare_exchange(&broker, "x", arguments(at_exchange), &["once", "all"]);
        log.take_gated();
        Self { broker, log }
    }

    fn publish(&self, exchange: &str, ids: &[&str]) -> Ticket {
        publish(&self.broker, exchange, "once", ids, NOW)
    }

    #[track_caller]
    fn check(&self, once: &[&str], all: &[&str]) {
        assert_eq!((drain(&self.broker, "once"), drain(&self.broker, "all")), (owned(once), owned(all)));
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_queue_takes_each_message_once_and_others_take_all() {
    let fixture = TestBroker::new(&[ON], &[]);
    fixture.publish("x", &["a", "b", "a", "-", "-"]);
    fixture.check(&["a", "b", "-", "-"], &["a", "b", "a", "-", "-"]);
    fixture.publish("", &["b", "c", "-"]);
    fixture.publish("x", &["c", "c"]);
    fixture.check(&["c", "-"], &["c", "c"]);
}

#[test]
fn an_exchange_takes_each_message_once_for_all_its_queues() {
    let fixture = TestBroker::new(&[], &[ON]);
    fixture.publish("x", &["a", "b", "a", "-", "-"]);
    fixture.publish("x", &["b", "c"]);
    fixture.check(&["a", "b", "-", "-", "c"], &["a", "b", "-", "-", "c"]);
    fixture.publish("", &["a", "a"]);
    fixture.check(&["a", "a"], &[]);
}

#[test]
fn both_may_deduplicate() {
    let fixture = TestBroker::new(&[ON], &[ON]);
    fixture.publish("", &["a"]);
    fixture.publish("x", &["a", "b", "b"]);
    fixture.publish("", &["b"]);
    fixture.check(&["a", "b"], &["a", "b"]);
}

/// What is remembered reaches the disk with the message; who does not deduplicate appends what he
/// did before.
#[test]
fn memory_and_message_are_one_commit() {
    let fixture = TestBroker::new(&[ON], &[]);
    fixture.publish("", &["a", "b"]);
    assert_eq!(fixture.log.take_gated(), [true, true]);
    fixture.publish("", &["a"]);
    fixture.publish("", &["-"]);
    assert_eq!(fixture.log.take_gated(), [true]);
    publish(&fixture.broker, "", "all", &["a"], NOW);
    assert_eq!(fixture.log.take_gated(), [false]);
    let fixture = TestBroker::new(&[ON], &[ON]);
    fixture.publish("x", &["a", "b"]);
    assert_eq!(fixture.log.take_gated(), [true; 4], "two queues and two memories");
}

/// A duplicate must not be confirmed before what it repeats: the power may go in between.
#[test]
fn a_duplicate_waits_for_the_disk_as_the_first_one_does() {
    for (at_queue, at_exchange) in [(&[ON][..], &[][..]), (&[], &[ON])] {
        let fixture = TestBroker::new(at_queue, at_exchange);
        fixture.log.hold();
        let first = fixture.publish("x", &["a"]);
        assert!(first > leveret::store::change::Log::durable(&*fixture.log));
        assert_eq!(fixture.publish("x", &["a"]), first);
        assert_eq!(fixture.publish("x", &["a"]), first);
    }
}

#[test]
fn a_value_counts_for_its_time_and_while_there_is_room() {
    let limits = |size, ttl| {
        let (size, ttl) = (FieldValue::LongInt(size), FieldValue::LongInt(ttl));
        [ON, ("x-cache-size", size), ("x-cache-ttl", ttl)]
    };
    let fixture = TestBroker::new(&limits(2, 50), &[]);
    let publish = |id, ms| publish(&fixture.broker, "", "once", &[id], at(ms));
    for ms in [0, 10, 49, 50, 99, 100] {
        publish("a", ms);
    }
    fixture.check(&["a", "a", "a"], &[]);
    for id in ["b", "c", "b", "c", "a"] {
        publish(id, 101);
    }
    fixture.check(&["b", "c", "a"], &[]);
}

#[test]
fn what_goes_nowhere_is_not_remembered() {
    let fixture = TestBroker::new(&[], &[]);
    declare_exchange(&fixture.broker, "y", arguments(&[ON]), &[]);
    let to = |name: &str| fixture.broker.vhost().route(name.as_bytes(), b"", &[0, 0]).expect("it exists");
    fixture.publish("y", &["a"]);
    assert!(!to("y").knows(&block(&["a"]).message(0), NOW));
    declare_exchange(&fixture.broker, "z", arguments(&[ON]), &["once"]);
    fixture.publish("z", &["a"]);
    fixture.broker.vhost().delete_queue("once", ME, false, false).expect("it is there");
    let route = to("z");
    assert!(route.queues.is_empty());
    assert!(route.knows(&block(&["a"]).message(0), NOW), "it was delivered, though nobody is bound any more");
    assert!(!route.knows(&block(&["b"]).message(0), NOW));
}

#[test]
fn what_is_declared_anew_has_seen_nothing() {
    let fixture = TestBroker::new(&[ON], &[ON]);
    fixture.publish("x", &["a"]);
    fixture.broker.vhost().delete_queue("once", ME, false, false).expect("it is there");
    fixture.broker.vhost().delete_exchange("x", false).expect("it is there");
    declare(&fixture.broker, "once", arguments(&[ON]));
    declare_exchange(&fixture.broker, "x", arguments(&[ON]), &["once"]);
    fixture.publish("x", &["a"]);
    fixture.check(&["a"], &["a"]);
}

/// What a full queue refuses was not taken in: it may come again, and no duplicate of it is
/// confirmed.
#[test]
fn what_is_refused_is_not_remembered() {
    let full =
        [("x-max-length", FieldValue::LongInt(1)), ("x-overflow", string("reject-publish")), ON].to_vec();
    for (at_queue, at_exchange) in [(&full[..], &[][..]), (&full[..2], &[ON])] {
        let fixture = TestBroker::new(at_queue, at_exchange);
        let refused = |ids: &[&str]| {
            let route = fixture.broker.vhost().route(b"x", b"", &[0, 0]).expect("it exists");
            fixture.broker.enqueue(&route, block(ids), NOW).refused
        };
        let places =
            |refused: Vec<std::ops::Range<u32>>| -> Vec<u32> { refused.into_iter().flatten().collect() };
        assert_eq!(places(refused(&["a", "b", "a", "b", "-", "b"])), [1, 3, 4, 5]);
        assert_eq!(drain(&fixture.broker, "once"), ["a"]);
        assert_eq!(refused(&["a"]), []);
        assert_eq!(refused(&["b"]), []);
        assert_eq!(places(refused(&["c", "a", "c"])), [0, 2]);
        assert_eq!(drain(&fixture.broker, "once"), ["b"]);
    }
}

/// A dead letter is the broker's own doing, and no duplicate of what it was.
#[test]
fn a_dead_letter_comes_back_to_where_it_was_seen() {
    let back = [ON, ("x-dead-letter-exchange", string("")), ("x-dead-letter-routing-key", string("retry"))];
    let fixture = TestBroker::new(&back, &[]);
    let back = [("x-dead-letter-exchange", string("")), ("x-dead-letter-routing-key", string("once"))];
    declare(&fixture.broker, "retry", arguments(&back));
    fixture.publish("", &["a"]);
    for name in ["once", "retry"] {
        let queue = fixture.broker.vhost().queue(name, ME).expect("it was declared");
        let (first, _) = take(&fixture.broker, name, false).expect("it came here");
        let settled = [Settled { consumer: None, range: SeqRange::of(first, 1) }];
        fixture.broker.reject(&queue, &settled, NOW);
    }
    fixture.publish("", &["a"]);
    fixture.check(&["a"], &[]);
}

/// What one run knows of a message to one place before the cut.
#[derive(Debug, Default)]
struct Known {
    /// The tickets of all its publishes.
    tickets: Vec<Ticket>,
    /// It was acknowledged, and from this ticket on for good.
    acked: Option<Ticket>,
}

struct Run {
    broker: Arc<Broker>,
    draw: Draw,
    known: BTreeMap<(&'static str, u64), Known>,
    declared: Ticket,
    durable: Ticket,
    next: u64,
}

/// Where messages are sent, and the queue they come to: `once` itself, and `through` by an
/// exchange.
const WAYS: [(&str, &str); 2] = [("", "once"), ("x", "through")];

impl Run {
    fn start(disk: &SimDisk, seed: u64) -> Self {
        let broker = open(disk);
        // Few enough that slots are used again, and more than a run forgets.
        let size = ("x-cache-size", FieldValue::LongInt(200));
        declare(&broker, "once", arguments(&[ON, size.clone()]));
        declare(&broker, "through", FieldTable::default());
        let declared = declare_exchange(&broker, "x", arguments(&[ON, size]), &["through"]);
        let (draw, known, durable) = (Draw::new(seed), BTreeMap::new(), Ticket(0));
        Self { broker, draw, known, declared, durable, next: 0 }
    }

    /// Publishes some that are new and some that are not.
    fn publish(&mut self) {
        let (exchange, queue) = *self.draw.pick(&WAYS);
        let mut ids = Vec::new();
        for _ in 0..=self.draw.below(3) {
            let again = self.next > 0 && self.draw.one_in(2);
            let id = if again { self.draw.below(self.next) } else { self.next };
            self.next = self.next.max(id + 1);
            ids.push(id);
            // Known as tried before it is tried.
            self.known.entry((queue, id)).or_default();
        }
        let texts: Vec<_> = ids.iter().map(u64::to_string).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let ticket = publish(&self.broker, exchange, queue, &texts, NOW);
        for id in ids {
            self.known.entry((queue, id)).or_default().tickets.push(ticket);
        }
    }

    fn consume(&mut self) {
        let (_, queue) = *self.draw.pick(&WAYS);
        let Some((_, id)) = take(&self.broker, queue, true) else { return };
        // Where the settlement is, or will be.
        let ticket = self.broker.log().append(&mut Vec::new());
        let known = self.known.entry((queue, id.parse().expect("a number"))).or_default();
        assert!(known.acked.is_none(), "{queue} had {id} twice");
        known.acked = Some(ticket);
    }

    fn wait(&self) {
        let newest = self.known.values().flat_map(|known| &known.tickets).max().copied().unwrap_or_default();
        let bell = Arc::new(Bell::default());
        self.broker.log().notify(newest, &(Arc::clone(&bell) as Arc<dyn Waiter>));
        bell.wait(newest);
    }

    fn work(&mut self, disk: &SimDisk, cut_at: u64) {
        for _step in 0..60 {
            match self.draw.below(8) {
                0..=3 => self.publish(),
                4..=6 => self.consume(),
                _ => self.wait(),
            }
            let durable = self.broker.log().durable();
            if disk.calls() >= cut_at {
                break;
            }
            self.durable = durable;
        }
        self.broker.shutdown().expect("the disk itself works");
    }

    /// A publisher that knows of nothing but what was confirmed sends everything again: all of it
    /// is there once.
    fn check(&self, disk: &SimDisk, what: &str) {
        if self.declared > self.durable {
            return;
        }
        let broker = open(disk);
        for (exchange, queue) in WAYS {
            for id in 0..self.next {
                publish(&broker, exchange, queue, &[&id.to_string()], NOW);
            }
            let found = drain(&broker, queue);
            for id in 0..self.next {
                let count = found.iter().filter(|text| **text == id.to_string()).count();
                let none = Known::default();
                let known = self.known.get(&(queue, id)).unwrap_or(&none);
                let confirmed = known.tickets.iter().any(|ticket| *ticket <= self.durable);
                let settled = known.acked.is_some_and(|ticket| ticket <= self.durable);
                match known.acked {
                    None => assert_eq!(count, 1, "{what}: {id} in {queue}"),
                    Some(_) if confirmed && settled => {
                        assert_eq!(count, 0, "{what}: {id} was consumed and came to {queue} again")
                    }
                    Some(_) => assert!(count <= 1, "{what}: {id} came to {queue} {count} times"),
                }
            }
        }
        broker.shutdown().expect("the disk works");
        // And once more after an orderly stop.
        let broker = open(disk);
        for (exchange, queue) in WAYS {
            (0..self.next).for_each(|id| {
                publish(&broker, exchange, queue, &[&id.to_string()], NOW);
            });
            assert_eq!(drain(&broker, queue), owned(&[]), "{what}: {queue} took it again");
        }
        broker.shutdown().expect("the disk works");
    }
}

#[test]
fn a_confirmed_message_is_a_duplicate_wherever_the_power_went() {
    for (seed, step) in seeds(1).zip([2, 5]) {
        let worked = |disk: &SimDisk, at| {
            let mut run = Run::start(disk, seed);
            run.work(disk, at);
            run
        };
        cut_everywhere((seed, step), worked, |disk, run, what| run.check(&disk, what));
    }
}
