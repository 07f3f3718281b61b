//! A full disk: what nobody waits for stays where it is, what makes room gets through, and a start
//! finds all of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::dead_letters::wait_until;
use super::fixtures::{ME, durable, persistent};
use super::moves::order;
use super::power_cut::wait_for;
use crate::support::disk::SimDisk;
use leveret::admin::definitions::{DefinitionsOperation, Source};
use leveret::admin::parameters::ParameterOperation;
use leveret::admin::{self, Caller, Operation, RefusalKind, Requester};
use leveret::broker::jobs::{Destination as Elsewhere, JobState};
use leveret::broker::vhost::{Bind, Destination, QueueDeclare};
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::error::BrokerError;
use leveret::ids::SeqRange;
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{BlockBuilder, Message};
use leveret::queue::mailbox::Mailbox;
use leveret::queue::{Got, Queue, Settled};
use leveret::statistics::SamplesWanted;
use leveret::store::change::Health;
use leveret::store::{Options, open_backend};
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const NOW: Now = Now { mono_ms: 1000, unix_ms: 1_795_000_000_000 };

const MIB: u64 = 1 << 20;

/// What the disk has.
const DISK: u64 = 96 * MIB;

/// Bytes of a message.
const BODY: usize = 4000;

/// Queues behind `amq.fanout`.
const FAN: usize = 15;

/// A broker on a disk of which others may have a part, and which they can fill.
struct Full {
    disk: SimDisk,
    others: Arc<AtomicU64>,
    broker: Arc<Broker>,
}

fn start(disk: &SimDisk, others: &Arc<AtomicU64>) -> Arc<Broker> {
    let (seen, taken) = (disk.clone(), Arc::clone(others));
    let free = move || DISK.saturating_sub(seen.bytes() as u64 + taken.load(Ordering::Relaxed));
    let options = Options {
        free_bytes: Some(Arc::new(free)),
        reserve_bytes: Some(20 * MIB),
        blocks: Some(Arc::new(disk.clone())),
        ..Options::default()
    };
    let opened = open_backend(disk.clone(), options).unwrap();
    Broker::start(opened, BrokerSettings::default(), NOW).unwrap()
}

impl Full {
    /// `src` dies into the fanout, `w` nowhere; both have as many messages.
    fn with(src: u64, w: u64) -> Self {
        let (disk, others) = (SimDisk::default(), Arc::<AtomicU64>::default());
        let full = Self { broker: start(&disk, &others), disk, others };
        full.others_have(0);
        (0..FAN).for_each(|number| full.declare_bound(&format!("t{number}")));
        let mut arguments = FieldTable::default();
        arguments.insert("x-dead-letter-exchange".into(), FieldValue::LongString("amq.fanout".into()));
        full.broker.vhost().declare_queue(durable("src", arguments, NOW)).unwrap();
        full.broker.vhost().declare_queue(durable("w", FieldTable::default(), NOW)).unwrap();
        full.publish("src", 0..src);
        full.publish("w", 0..w);
        full
    }

    fn declare_bound(&self, name: &str) {
        let place = self.broker.vhost();
        place.declare_queue(durable(name, FieldTable::default(), NOW)).unwrap();
        let (source, destination) = ("amq.fanout".into(), Destination::Queue(name.into()));
        let bind = Bind { source, destination, routing_key: Vec::new(), arguments: FieldTable::default() };
        place.bind(bind, ME).unwrap();
    }

    fn publish(&self, queue: &str, numbers: Range<u64>) {
        let route = self.broker.vhost().route(b"", queue.as_bytes(), &[0, 0]).unwrap();
        for first in numbers.clone().step_by(100) {
            let mut builder = BlockBuilder::default();
            for number in first..numbers.end.min(first + 100) {
                let body = [&number.to_be_bytes()[..], &[b'x'; BODY]].concat();
                let routing_key = queue.as_bytes();
                let arrived_at_ms = NOW.unix_ms;
                builder.push(&Message { arrived_at_ms, routing_key, body: &body, ..persistent() });
            }
            self.broker.log().wait_for_room();
            let ticket = self.broker.enqueue(&route, builder.build(), NOW).ticket;
            wait_until("it is on disk", || self.broker.log().durable() >= ticket);
        }
    }

    /// Others have so many bytes, which nobody else can have.
    fn others_have(&self, bytes: u64) {
        self.others.store(bytes, Ordering::Relaxed);
        self.disk.set_capacity(Some(usize::try_from(DISK - bytes).unwrap()));
    }

    /// Others take all that is free, and the store finds that.
    fn fill(&self, but: u64) {
        self.others_have(DISK - self.disk.bytes() as u64 - but);
        let route = self.broker.vhost().route(b"", b"w", &[0, 0]).unwrap();
        let mut builder = BlockBuilder::default();
        let body = vec![b'x'; 300_000];
        builder.push(&Message { routing_key: b"w", body: &body, ..persistent() });
        let block = builder.build();
        wait_until("full", || {
            if self.broker.log().pending_bytes() == 0 {
                self.broker.enqueue(&route, block.clone(), NOW);
            }
            self.broker.health() == Health::Full
        });
    }

    fn queue(&self, name: &str) -> Arc<Queue> {
        self.broker.vhost().queue(name, ME).unwrap()
    }

    fn ready(&self, name: &str) -> u64 {
        self.queue(name).stats().ready
    }

    /// Takes messages, and has them end in this or that way.
    fn take(&self, name: &str, count: u64, end: impl Fn(&Arc<Queue>, &[Settled])) {
        let (queue, mailbox) = (self.queue(name), Mailbox::new());
        for _ in 0..count {
            let seq = loop {
                match self.broker.get(&queue, false, &mailbox, NOW) {
                    Got::Message { first, .. } => break first,
                    Got::Paging => wait_for(&mailbox),
                    Got::Empty => panic!("{name} is empty"),
                }
            };
            end(&queue, &[Settled { consumer: None, range: SeqRange::of(seq, 1) }]);
        }
    }

    fn reject(&self, name: &str, count: u64) {
        self.take(name, count, |queue, settled| self.broker.reject(queue, settled, NOW));
    }

    fn ack(&self, name: &str, count: u64) {
        self.take(name, count, |queue, settled| self.broker.settle(queue, settled, NOW));
    }

    /// What a process finds that comes after this one was killed, on the same full disk.
    fn after_a_kill(&self) -> Self {
        let disk = SimDisk::holding(self.disk.image());
        let others = Arc::new(AtomicU64::new(DISK.saturating_sub(disk.bytes() as u64)));
        disk.set_capacity(Some(disk.bytes()));
        Self { broker: start(&disk, &others), disk, others }
    }

    fn perform(&self, operation: Operation) -> Result<(), (RefusalKind, String)> {
        let (who, samples) = (Requester::Operator("test".to_owned()), SamplesWanted::default());
        let caller = Caller { who, now: NOW, inquiry: None, samples, rows: None };
        let performed = admin::perform(&self.broker, operation, &caller);
        performed.map(|_done| ()).map_err(|refusal| (refusal.kind, refusal.message))
    }
}

fn noted(bytes: usize) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-note".into(), FieldValue::LongString("n".repeat(bytes).into_bytes()));
    arguments
}

/// 30 MB of copies would keep all acknowledgements from the disk.
#[test]
fn dead_letters_wait_for_room_and_acknowledgements_do_not() {
    let full = Full::with(500, 2000);
    full.fill(0);
    full.reject("src", 500);
    full.ack("w", 1500);
    wait_until("acknowledged on disk", || {
        let after = full.after_a_kill();
        after.ready("w") < 600 && after.ready("src") + after.ready("t0") == 500
    });
    assert!(full.ready("t0") < 200, "{} have gone", full.ready("t0"));
    full.others_have(0);
    wait_until("all have gone", || full.ready(&format!("t{}", FAN - 1)) == 500);
    wait_until("there is room", || full.broker.health() == Health::Good);
}

/// Were letters to wait in any case, whatever is meant for consumers elsewhere would keep the disk
/// full for ever.
#[test]
fn dead_letters_go_on_a_few_at_a_time_while_enough_is_left() {
    let full = Full::with(0, 0);
    let mut arguments = FieldTable::default();
    for (key, value) in [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "work")] {
        arguments.insert(key.into(), FieldValue::LongString(value.into()));
    }
    full.broker.vhost().declare_queue(durable("delay", arguments, NOW)).unwrap();
    full.broker.vhost().declare_queue(durable("work", FieldTable::default(), NOW)).unwrap();
    full.publish("delay", 0..2000);
    full.fill(0);
    full.reject("delay", 2000);
    for round in 0..20 {
        wait_until(&format!("some have come, round {round}"), || full.ready("work") >= 100);
        full.ack("work", 100);
    }
    let after = full.after_a_kill();
    assert!(after.ready("delay") + after.ready("work") <= 2000, "and none is there twice");
}

#[test]
fn little_is_defined_on_a_full_disk_and_a_start_finds_it() {
    let full = Full::with(0, 2000);
    full.fill(0);
    let place = full.broker.vhost();
    let declare = |number: u32| place.declare_queue(durable(&format!("q{number}"), noted(14_000), NOW));
    let declared = (0..1000).take_while(|&number| declare(number).is_ok()).count();
    assert!((50..100).contains(&declared), "{declared} were declared");
    let refused = declare(1000).unwrap_err();
    assert!(matches!(refused, BrokerError::Scarce { .. }), "{refused}");
    assert_eq!(
        refused.to_string(),
        "cannot declare queue 'q1000' in vhost '/': the disk is full, and nothing more can be defined \
         before there is room"
    );
    let bind = |key: &str| Bind {
        source: "amq.headers".into(),
        destination: Destination::Queue("w".into()),
        routing_key: key.into(),
        arguments: noted(14_000),
    };
    let refused = place.bind(bind("k"), ME).unwrap_err().to_string();
    assert!(refused.contains("cannot bind to exchange 'amq.headers' in vhost '/': the disk"), "{refused}");
    declare(0).expect("what is there is declared again");
    let transient = |number: u32| {
        let queue = durable(&format!("t{number}"), noted(14_000), NOW);
        place.declare_queue(QueueDeclare { durable: false, ..queue })
    };
    assert!((100..200).all(|number| transient(number).is_ok()), "these take no disk");
    // Operators are told the same.
    let set = |value: String| {
        let (name, value) = ("p".to_owned(), json!(value));
        Operation::Parameters(ParameterOperation::SetGlobalParameter { name, value })
    };
    let (kind, why) = full.perform(set("v".repeat(20_000))).unwrap_err();
    assert_eq!(kind, RefusalKind::Unavailable);
    assert!(why.starts_with("the disk is full, and nothing more"), "{why}");
    let queue = |number| {
        json!({"name": format!("d{number}"), "vhost": "/", "durable": true,
        "auto_delete": false, "arguments": {"x-note": "n".repeat(8000)}})
    };
    let document = Source(json!({"queues": (0..200).map(queue).collect::<Vec<_>>()}));
    let import = DefinitionsOperation::ImportDefinitions {
        document,
        vhost: None,
        strict: false,
        skip_if_unchanged: false,
    };
    let (kind, why) = full.perform(Operation::Definitions(import)).unwrap_err();
    assert_eq!(kind, RefusalKind::Unavailable);
    assert!(why.starts_with("nothing is defined: the disk is full"), "{why}");
    // What is deleted makes room for as much, and nothing of it keeps a start from the disk.
    for number in 0..40 {
        place.delete_queue(&format!("q{number}"), ME, false, false).unwrap();
    }
    let last = (2000..2030).map(|number| declare(number).unwrap().1).max().unwrap();
    full.ack("w", 1000);
    wait_until("on disk", || full.broker.log().durable() >= last);
    wait_until("acknowledged on disk", || full.after_a_kill().ready("w") <= 1001);
    let after = full.after_a_kill();
    assert!(after.broker.vhost().queue("q2029", ME).is_ok() && after.broker.vhost().queue("q0", ME).is_err());
    full.others_have(0);
    wait_until("room", || full.broker.health() == Health::Good);
    assert!((3000..3100).all(|number| declare(number).is_ok()));
}

#[test]
fn messages_are_moved_once_there_is_room() {
    let full = Full::with(500, 0);
    full.fill(0);
    let destination = Elsewhere::Exchange { exchange: "amq.fanout".into(), routing_key: String::new() };
    let job = full.broker.begin_job(order(&full.queue("src"), destination)).unwrap();
    let waits = Some("it waits for room: the disk is full");
    wait_until("it waits", || job.progress().reason.as_deref() == waits);
    assert_eq!((job.progress().moved, job.progress().state), (0, JobState::Running));
    full.others_have(0);
    wait_until("done", || job.progress().state == JobState::Done);
    assert_eq!((full.ready("t0"), job.progress().reason), (500, None));
}
