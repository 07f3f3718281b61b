//! A stream on a disk that loses power: what was confirmed is there or was trimmed, no number is
//! given twice, and a named consumer goes on no later than where it was.

use super::fixtures::{ME, durable};
use crate::broker::start_broker;
use crate::support::disk::{SimDisk, cut_everywhere};
use crate::support::draw::{Draw, seeds};
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::ids::{ConsumerId, SeqRange, Ticket};
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, BlockBuilder, Message};
use leveret::queue::mailbox::{Mail, Mailbox};
use leveret::queue::{ChannelLimit, Consumer, Queue, Reading, Settled, Start};
use leveret::store;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Wake};
use std::thread::{self, Thread};

const NOW: Now = Now { mono_ms: 0, unix_ms: 1_000 };
const STEPS: usize = 60;

fn open(disk: &SimDisk) -> Arc<Broker> {
    // A journal that is full now and then.
    let options = store::Options { journal_bytes: 20_000, ..store::Options::default() };
    let opened = store::open_backend(disk.clone(), options).expect("the store opens");
    start_broker(opened, BrokerSettings::default(), NOW).expect("the broker starts")
}

fn declare(broker: &Broker, max_bytes: i32) -> (Arc<Queue>, Ticket) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), FieldValue::LongString("stream".into()));
    arguments.insert("x-max-length-bytes".into(), FieldValue::LongInt(max_bytes));
    let declare = durable("s", arguments, NOW);
    broker.vhost().declare_queue(declare).expect("a stream")
}

/// Messages whose bodies begin with their numbers; none is persistent.
fn block(numbers: std::ops::Range<u64>) -> Block {
    let mut builder = BlockBuilder::default();
    for number in numbers {
        let mut body = number.to_be_bytes().to_vec();
        body.resize(8 + usize::try_from(number * 37 % 900).expect("small"), b'x');
        builder.push(&Message::published(NOW.unix_ms + number, (b"", b"s"), &[0, 0], &body));
    }
    builder.build()
}

/// A consumer and what it was dealt.
struct Reader {
    broker: Arc<Broker>,
    queue: Arc<Queue>,
    id: ConsumerId,
    mailbox: Arc<Mailbox>,
    held: VecDeque<u64>,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Reader {
    fn new(broker: &Arc<Broker>, queue: &Arc<Queue>, prefetch: u32, reading: Reading) -> Self {
        let (id, mailbox) = (broker.new_consumer_id(), Mailbox::new());
        let consumer = Consumer {
            prefetch,
            reading: Some(Box::new(reading)),
            ..Consumer::new(id, &mailbox, ChannelLimit::new())
        };
        broker.subscribe(queue, consumer, NOW).expect("there is a stream");
        Self { broker: Arc::clone(broker), queue: Arc::clone(queue), id, mailbox, held: VecDeque::new() }
    }

    fn named(broker: &Arc<Broker>, queue: &Arc<Queue>) -> Self {
        let track = Some("reader".into());
        Self::new(broker, queue, 20, Reading { start: Start::First, track, ..Reading::default() })
    }

    fn take_mail(&mut self) {
        let mut mail = Vec::new();
        self.mailbox.take(&mut mail);
        for mail in mail {
            let Mail::Deliver(run) = mail else { continue };
            for (number, index) in (run.first..).zip(run.range.clone()) {
                let body = run.block.message(index).body;
                assert_eq!(body[..8], number.to_be_bytes(), "each message has the number it was given");
                self.held.push_back(number);
            }
            self.broker.credit(&self.queue, run.consumer, run.block.bytes_of(run.range.clone()), NOW);
        }
    }

    /// Waits until something comes.
    fn wait(&mut self) {
        let waker = Arc::new(Unpark(thread::current())).into();
        while self.mailbox.poll(&Context::from_waker(&waker)).is_pending() {
            thread::park();
        }
        self.take_mail();
    }

    fn ack(&mut self, count: usize) {
        for number in self.held.drain(..count.min(self.held.len())) {
            let settled = Settled { consumer: Some(self.id), range: SeqRange::of(number, 1) };
            self.broker.settle(&self.queue, &[settled], NOW);
        }
    }
}

/// What is known when the power goes.
#[derive(Debug, Default)]
struct Knowledge {
    declared: Ticket,
    durable: Ticket,
    /// Of each publish: its ticket, one past its last number, the first number not acknowledged
    /// before it.
    published: Vec<(Ticket, u64, u64)>,
    /// One past the last number that was tried.
    tried: u64,
    /// The first number that was never acknowledged.
    unacked: u64,
    /// The first number that was not trimmed.
    first: u64,
}

fn work(disk: &SimDisk, seed: u64, cut_at: u64) -> Knowledge {
    let broker = open(disk);
    let mut draw = Draw::new(seed);
    let (queue, declared) = declare(&broker, 30_000);
    let mut known = Knowledge { declared, ..Knowledge::default() };
    let mut reader = Reader::named(&broker, &queue);
    let route = broker.vhost().route(b"", b"s", &[0, 0]).expect("the default exchange");
    for _step in 0..STEPS {
        if draw.one_in(3) {
            reader.take_mail();
            let count = usize::try_from(draw.below(30)).expect("few");
            known.unacked = reader.held.get(count).or(reader.held.back()).map_or(known.unacked, |n| n + 1);
            reader.ack(count);
        } else {
            let numbers = known.tried..known.tried + 1 + draw.below(12);
            known.tried = numbers.end;
            let unacked = reader.held.front().copied().unwrap_or(0);
            let end = numbers.end;
            let ticket = broker.enqueue(&route, block(numbers), NOW).ticket;
            known.published.push((ticket, end, unacked));
        }
        let durable = broker.log().durable();
        known.first = known.tried - queue.stats().ready;
        if disk.calls() >= cut_at {
            return known;
        }
        known.durable = durable;
    }
    broker.shutdown().expect("the disk itself works");
    known
}

fn check(disk: &SimDisk, known: &Knowledge, what: &str) {
    let broker = open(disk);
    if broker.vhost().queue("s", ME).is_err() {
        assert!(known.declared > known.durable, "{what}: the stream was declared");
        return;
    }
    let queue = broker.vhost().queue("s", ME).expect("it is there");
    let confirmed = known.published.iter().rev().find(|(ticket, ..)| *ticket <= known.durable);
    let (end, acked) = confirmed.map_or((0, 0), |&(_, end, acked)| (end, acked));
    let ready = queue.stats().ready;
    let mut all = Reader::new(&broker, &queue, 60_000, Reading { start: Start::First, ..Reading::default() });
    while (all.held.len() as u64) < ready {
        all.wait();
    }
    let first = all.held.front().copied().unwrap_or(0);
    assert!(all.held.iter().copied().eq(first..first + ready), "{what}: nothing is missing between");
    assert!(first + ready >= end, "{what}: {first} + {ready} are there and {end} confirmed");
    assert!(first + ready <= known.tried && first <= known.first, "{what}: {first} + {ready}");
    // What is published now gets a number that nothing confirmed had, and comes to a named consumer
    // where it was.
    let route = broker.vhost().route(b"", b"s", &[0, 0]).expect("the default exchange");
    broker.enqueue(&route, block(first + ready..first + ready + 1), NOW);
    let mut named = Reader::named(&broker, &queue);
    named.wait();
    let at = named.held[0];
    assert!((acked.max(first)..=known.unacked.max(first)).contains(&at), "{what}: it goes on at {at}");
    broker.shutdown().expect("the disk works");
}

#[test]
fn a_stream_survives_wherever_the_power_goes() {
    for (seed, step) in seeds(0x0005_7EA4).zip([1, 3]) {
        let worked = |disk: &SimDisk, at| work(disk, seed, at);
        cut_everywhere((seed, step), worked, |disk, known, what| check(&disk, &known, what));
    }
}

#[test]
fn many_rows_are_read_back_by_many_readers() {
    let disk = SimDisk::default();
    let broker = open(&disk);
    let (queue, _) = declare(&broker, i32::MAX);
    let route = broker.vhost().route(b"", b"s", &[0, 0]).expect("the default exchange");
    let count = 40_000;
    for first in (0..count).step_by(500) {
        broker.enqueue(&route, block(first..first + 500), NOW);
    }
    drop(queue);
    broker.shutdown().expect("the disk works");
    drop(broker);
    let broker = open(&disk);
    let queue = broker.vhost().queue("s", ME).expect("it is there");
    let mut readers: Vec<_> = (0..8)
        .map(|n| {
            let start = Start::Since(NOW.unix_ms + n * 4000);
            Reader::new(&broker, &queue, 300, Reading { start, ..Reading::default() })
        })
        .collect();
    for (reader, n) in readers.iter_mut().zip(0..) {
        let mut at = n * 4000;
        while at < count {
            reader.wait();
            for &number in &reader.held {
                assert_eq!(number, at);
                at += 1;
            }
            reader.ack(usize::MAX);
        }
    }
    assert!(queue.stats().resident < 8 << 20, "{:?}", queue.stats());
}
