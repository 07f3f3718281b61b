//! The whole broker on a disk that loses power: at any call, whatever it was doing, nothing
//! confirmed is missing.
//!
//! One run works at random on a disk that is cut at one of its calls, opens what the cut left, and
//! holds it against what the run knew before the cut. What it tried and does not know about may be
//! there or not; what is confirmed must be there; what was never tried must not. Copies of one
//! publish, and a dead letter and its source, go together. Dead letters go to a queue that is soon
//! full and drives them on to another, or have nowhere to go and are parked.

use super::fixtures::{ME, durable, persistent};
use crate::broker::start_broker;
use crate::support::disk::{SimDisk, cut_everywhere};
use crate::support::draw::{Draw, seeds};
use leveret::arguments::Requeue;
use leveret::broker::vhost::{Bind, Destination};
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::ids::{ConsumerId, SeqRange, Ticket};
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, BlockBuilder, Message};
use leveret::queue::mailbox::{Mail, Mailbox};
use leveret::queue::{ChannelLimit, Consumer, Got, Queue, Settled};
use leveret::store;
use leveret::store::change::Waiter;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex};

const NOW: Now = Now { mono_ms: 0, unix_ms: 1_000 };
/// Failed deliveries that a message of the queue `work` survives.
const LIMIT: u32 = 2;
/// Messages that the queue `dead` has room for.
const DEAD_MAX: u32 = 3;
const STEPS: usize = 60;

/// What the run knows of one message before the cut.
#[derive(Debug, Clone, Copy)]
struct Known {
    ticket: Ticket,
    /// Published to `work` and `copy` at once.
    doubled: bool,
    /// Its end in `work` was tried: acknowledged.
    acked: bool,
    /// Its death in `work` was tried: rejected, or returned once too often.
    died: bool,
}

/// What is known when the power goes.
#[derive(Debug, Default)]
struct Knowledge {
    messages: BTreeMap<u64, Known>,
    /// The newest ticket that was durable for certain before the cut.
    durable: Ticket,
    /// Queues that come and go: name, ticket of the declare, ticket of the delete.
    passing: Vec<(String, Ticket, Option<Ticket>)>,
    declared: Ticket,
}

/// Rings when a ticket is durable.
#[derive(Default)]
pub(super) struct Bell {
    durable: Mutex<Ticket>,
    rung: Condvar,
}

impl Bell {
    pub(super) fn wait(&self, ticket: Ticket) {
        let mut durable = self.durable.lock().expect("nobody panics with it");
        while *durable < ticket {
            durable = self.rung.wait(durable).expect("nobody panics with it");
        }
    }
}

impl Waiter for Bell {
    fn durable(&self, up_to: Ticket) {
        *self.durable.lock().expect("nobody panics with it") = up_to;
        self.rung.notify_all();
    }
}

struct Run {
    broker: Arc<Broker>,
    work: Arc<Queue>,
    mailbox: Arc<Mailbox>,
    draw: Draw,
    known: Knowledge,
    /// Delivered and not settled: number in the queue, message.
    held: Vec<(u64, u64)>,
    failed: BTreeMap<u64, u32>,
    next: u64,
}

pub(super) fn open(disk: &SimDisk) -> Arc<Broker> {
    // A journal that is full now and then.
    let options = store::Options { journal_bytes: 3000, ..store::Options::default() };
    let opened = store::open_backend(disk.clone(), options).expect("the store opens");
    start_broker(opened, BrokerSettings::default(), NOW).expect("the broker starts")
}

pub(super) fn declare(broker: &Broker, name: &str, arguments: FieldTable) -> (Arc<Queue>, Ticket) {
    let declare = durable(name, arguments, NOW);
    broker.vhost().declare_queue(declare).expect("a plain queue")
}

/// Dead letters go to `queue`; the argument `key` has a value, too.
fn dead_lettering(queue: &str, key: &str, value: u32) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), FieldValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), FieldValue::LongString(queue.into()));
    arguments.insert(key.into(), FieldValue::LongInt(value.cast_signed()));
    arguments
}

fn block(ids: impl IntoIterator<Item = u64>) -> Block {
    let mut builder = BlockBuilder::default();
    for id in ids {
        builder.push(&Message {
            arrived_at_ms: NOW.unix_ms,
            routing_key: b"work",
            body: &id.to_be_bytes(),
            ..persistent()
        });
    }
    builder.build()
}

fn id_of(block: &Block, index: u32) -> u64 {
    u64::from_be_bytes(block.message(index).body.try_into().expect("eight bytes"))
}

impl Run {
    /// With `parks`, dead letters have nowhere to go.
    fn start(disk: &SimDisk, seed: u64, parks: bool) -> Self {
        let broker = open(disk);
        let (_, dead) = if parks {
            declare(&broker, "unused", FieldTable::default())
        } else {
            let _ = declare(&broker, "far", FieldTable::default());
            declare(&broker, "dead", dead_lettering("far", "x-max-length", DEAD_MAX))
        };
        let (_, copy) = declare(&broker, "copy", FieldTable::default());
        let (work, last) = declare(&broker, "work", dead_lettering("dead", "x-delivery-limit", LIMIT));
        let mailbox = Mailbox::new();
        let consumer =
            Consumer { prefetch: 20, ..Consumer::new(ConsumerId(1), &mailbox, ChannelLimit::new()) };
        broker.subscribe(&work, consumer, NOW).expect("nobody else consumes");
        let known = Knowledge { declared: last.max(dead).max(copy), ..Knowledge::default() };
        Self {
            broker,
            work,
            mailbox,
            draw: Draw::new(seed),
            known,
            held: Vec::new(),
            failed: BTreeMap::new(),
            next: 0,
        }
    }

    fn publish(&mut self, doubled: bool) {
        let count = 1 + self.draw.below(4);
        let ids: Vec<u64> = (self.next..self.next + count).collect();
        self.next += count;
        let mut route = self.broker.vhost().route(b"", b"work", &[0, 0]).expect("the default exchange");
        if doubled {
            route = self.broker.vhost().route(b"amq.fanout", b"", &[0, 0]).expect("a fanout");
        }
        // Known as tried before it is tried.
        for &id in &ids {
            self.known
                .messages
                .insert(id, Known { ticket: Ticket(u64::MAX), doubled, acked: false, died: false });
        }
        let ticket = self.broker.enqueue(&route, block(ids.iter().copied()), NOW).ticket;
        for id in ids {
            self.known.messages.entry(id).and_modify(|known| known.ticket = ticket);
        }
    }

    fn take_mail(&mut self) {
        let mut mail = Vec::new();
        self.mailbox.take(&mut mail);
        for mail in mail {
            let Mail::Deliver(run) = mail else { continue };
            for (seq, index) in (run.first..).zip(run.range.clone()) {
                self.held.push((seq, id_of(&run.block, index)));
            }
            let bytes = run.block.bytes_of(run.range.clone());
            self.broker.credit(&self.work, run.consumer, bytes, NOW);
        }
    }

    fn settle(&mut self) {
        self.take_mail();
        if self.held.is_empty() {
            return;
        }
        let index = usize::try_from(self.draw.below(self.held.len() as u64)).expect("few");
        let (seq, id) = self.held.swap_remove(index);
        let settled = [Settled { consumer: Some(ConsumerId(1)), range: SeqRange::of(seq, 1) }];
        let known = self.known.messages.get_mut(&id).expect("published");
        match self.draw.below(4) {
            0 | 1 => {
                known.acked = true;
                self.broker.settle(&self.work, &settled, NOW);
            }
            2 => {
                known.died = true;
                self.broker.reject(&self.work, &settled, NOW);
            }
            _ => {
                let failed = self.failed.entry(id).or_default();
                *failed += 1;
                known.died |= *failed > LIMIT;
                self.broker.put_back(&self.work, &settled, Requeue::Failed, NOW);
            }
        }
    }

    fn come_or_go(&mut self) {
        match self.known.passing.iter().position(|(_, _, deleted)| deleted.is_none()) {
            Some(index) if self.draw.below(2) == 0 => {
                let name = self.known.passing[index].0.clone();
                self.known.passing[index].2 = Some(Ticket(u64::MAX));
                let (_, ticket) =
                    self.broker.vhost().delete_queue(&name, ME, false, false).expect("it is there");
                self.known.passing[index].2 = Some(ticket);
            }
            _ => {
                let name = format!("passing-{}", self.known.passing.len());
                let (_, ticket) = declare(&self.broker, &name, FieldTable::default());
                self.known.passing.push((name, ticket, None));
            }
        }
    }

    /// Works until the power goes or there is nothing more to do.
    fn work(mut self, disk: &SimDisk, cut_at: u64) -> Knowledge {
        for name in ["work", "copy"] {
            let bind = Bind {
                source: "amq.fanout".into(),
                destination: Destination::Queue(name.into()),
                routing_key: Vec::new(),
                arguments: FieldTable::default(),
            };
            let ticket = self.broker.vhost().bind(bind, ME).expect("both ends exist");
            self.known.declared = self.known.declared.max(ticket);
        }
        for _step in 0..STEPS {
            match self.draw.below(10) {
                0..=2 => self.publish(false),
                3 | 4 => self.publish(true),
                5..=7 => self.settle(),
                8 => self.come_or_go(),
                _ => self.wait(),
            }
            let durable = self.broker.log().durable();
            if disk.calls() >= cut_at {
                break;
            }
            self.known.durable = durable;
        }
        self.broker.shutdown().expect("the disk itself works");
        let durable = self.broker.log().durable();
        if disk.calls() < cut_at {
            self.known.durable = durable;
        }
        self.known
    }

    /// Waits until everything so far is on disk, as a publisher that waits for its confirm does.
    fn wait(&mut self) {
        let newest = self.known.messages.values().map(|known| known.ticket).max().unwrap_or_default();
        let bell = Arc::new(Bell::default());
        self.broker.log().notify(newest, &(Arc::clone(&bell) as Arc<dyn Waiter>));
        bell.wait(newest);
    }
}

/// Where each message is found, and how often, after the cut.
fn read_back(broker: &Arc<Broker>) -> BTreeMap<&'static str, Vec<u64>> {
    let mut found = BTreeMap::new();
    for name in ["work", "copy", "dead", "far"] {
        let Ok(queue) = broker.vhost().queue(name, ME) else { continue };
        found.insert(name, drain(broker, &queue));
        if name == "work" {
            let parked = queue.stats().parked;
            let moved = broker.parked().requeue(&queue, None, NOW).expect("the disk can be read").moved;
            assert_eq!(moved, parked);
            found.insert("parked", drain(broker, &queue));
        }
    }
    found
}

fn drain(broker: &Arc<Broker>, queue: &Arc<Queue>) -> Vec<u64> {
    let mut ids = Vec::new();
    let mailbox = Mailbox::new();
    loop {
        match broker.get(queue, true, &mailbox, NOW) {
            Got::Message { block, index, .. } => ids.push(id_of(&block, index)),
            Got::Empty => return ids,
            Got::Paging => wait_for(&mailbox),
        }
    }
}

pub(super) fn wait_for(mailbox: &Mailbox) {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let context = std::task::Context::from_waker(&waker);
    while mailbox.poll(&context).is_pending() {
        std::thread::park();
    }
    mailbox.take(&mut Vec::new());
}

fn check(disk: &SimDisk, known: &Knowledge, what: &str) {
    let broker = open(disk);
    for (name, declared, deleted) in &known.passing {
        let there = broker.vhost().queue(name, ME).is_ok();
        match deleted {
            None if *declared <= known.durable => assert!(there, "{what}: {name} was declared"),
            Some(deleted) if *deleted <= known.durable => assert!(!there, "{what}: {name} was deleted"),
            _ => {}
        }
    }
    let found = read_back(&broker);
    if known.declared <= known.durable {
        assert!(found.contains_key("work") && found.contains_key("copy"), "{what}: the queues were declared");
    }
    let in_queue = |name: &str, id: u64| {
        found.get(name).map_or(0, |ids| ids.iter().filter(|&&other| other == id).count())
    };
    let all: BTreeSet<u64> = found.values().flatten().copied().collect();
    for id in all {
        assert!(known.messages.contains_key(&id), "{what}: message {id} was never tried");
    }
    for (&id, message) in &known.messages {
        let (work, copy) = (in_queue("work", id), in_queue("copy", id));
        let dead = in_queue("dead", id) + in_queue("far", id) + in_queue("parked", id);
        assert!(work <= 1 && copy <= 1 && dead <= 1, "{what}: message {id} is doubled: {work} {copy} {dead}");
        assert!(work + dead <= 1, "{what}: message {id} is dead and alive");
        let confirmed = message.ticket > Ticket(0) && message.ticket <= known.durable;
        if confirmed && !message.acked {
            assert_eq!(work + dead, 1, "{what}: message {id} was confirmed and is lost");
        }
        if !message.died {
            assert_eq!(dead, 0, "{what}: message {id} never died");
        }
        if message.doubled {
            assert!(!confirmed || copy == 1, "{what}: the copy of message {id} was confirmed and is lost");
            let ended = message.acked;
            assert!(ended || copy == work + dead, "{what}: message {id} is in one of its two queues only");
        } else {
            assert_eq!(copy, 0, "{what}: message {id} was not published there");
        }
    }
    broker.shutdown().expect("the disk works");
}

/// Who purges a queue wants it to be empty after a crash too, also if the last message was settled
/// a moment before.
#[test]
fn a_purge_waits_for_what_was_settled_before_it() {
    let broker = open(&SimDisk::default());
    let (queue, declared) = declare(&broker, "work", FieldTable::default());
    let route = broker.vhost().route(b"", b"work", &[0, 0]).expect("the default exchange");
    let published = broker.enqueue(&route, block([1]), NOW).ticket;
    let got = broker.get(&queue, true, &Mailbox::new(), NOW);
    assert!(matches!(got, Got::Message { .. }), "{got:?}");
    let (purged, ticket) = broker.purge(&queue, NOW);
    assert_eq!(purged, 0);
    assert!(ticket >= published && published >= declared, "{ticket:?} after {published:?}");
}

#[test]
fn nothing_confirmed_is_lost_wherever_the_power_goes() {
    for (seed, step) in seeds(0x000C_0FFE).zip([1, 3]) {
        let worked =
            |disk: &SimDisk, at: u64| Run::start(disk, seed, (at / step).is_multiple_of(2)).work(disk, at);
        cut_everywhere((seed, step), worked, |disk, known, what| check(&disk, &known, what));
    }
}
