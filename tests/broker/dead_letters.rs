//! Dead letters: chains of any length, the order in which they arrive, and what becomes of those
//! that have nowhere to go.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chains;
mod order;
mod parking;
mod retries;

use super::fixtures::{ME, durable, persistent};
use super::power_cut::wait_for;
use crate::broker::start_broker;
use crate::support::disk::SimDisk;
use leveret::broker::vhost::{Bind, Destination};
use leveret::broker::{Broker, BrokerSettings, Enqueued};
use leveret::clock::Now;
use leveret::ids::{ConsumerId, SeqRange};
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{BlockBuilder, Message};
use leveret::policy::{ApplyTo, Policy, Rank, Value};
use leveret::queue::mailbox::{Mail, Mailbox};
use leveret::queue::{ChannelLimit, Consumer, Got, Queue, QueueStats, Settled};
use leveret::store::{Options, open_backend};
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long something may take that another thread does.
const PATIENCE_MS: u32 = 60_000;

/// Messages that one call of a session brings at most.
const AT_ONCE: u64 = 4096;

const ME_AS_CONSUMER: ConsumerId = ConsumerId(1);

/// A broker, and the time that it is told.
struct TestBroker {
    disk: SimDisk,
    broker: Arc<Broker>,
    now: Now,
}

fn text(text: &str) -> FieldValue {
    FieldValue::LongString(text.into())
}

fn number(number: i64) -> FieldValue {
    FieldValue::LongLongInt(number)
}

/// Dead letters go to the queue of that name.
fn dies_into(queue: &str) -> [(&'static str, FieldValue); 2] {
    [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(queue))]
}

fn open(disk: &SimDisk, now: Now) -> Arc<Broker> {
    let opened = open_backend(disk.clone(), Options::default()).unwrap();
    start_broker(opened, BrokerSettings::default(), now).unwrap()
}

/// Waits for what another thread does.
#[track_caller]
pub(super) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..PATIENCE_MS {
        if condition() {
            return;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    panic!("never: {what}");
}

/// These numbers are there, in order, and no others; a failure shows the first that are not.
#[track_caller]
fn in_order(found: &[u64], expected: Range<u64>) {
    let wrong = (0..).zip(found).zip(expected.clone()).find(|((_, found), expected)| *found != expected);
    assert_eq!(wrong, None, "(place, found), expected");
    assert_eq!(found.len() as u64, expected.end - expected.start);
}

impl TestBroker {
    fn new() -> Self {
        let (disk, now) = (SimDisk::default(), Now { mono_ms: 1000, unix_ms: 1_795_000_000_000 });
        Self { broker: open(&disk, now), disk, now }
    }

    fn declare(&self, name: &str, arguments: &[(&'static str, FieldValue)]) -> Arc<Queue> {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        self.broker.vhost().declare_queue(durable(name, table, self.now)).unwrap().0
    }

    fn bind(&self, exchange: &str, queue: &str) {
        let bind = Bind {
            source: exchange.into(),
            destination: Destination::Queue(queue.into()),
            routing_key: Vec::new(),
            arguments: FieldTable::default(),
        };
        self.broker.vhost().bind(bind, ME).unwrap();
    }

    fn queue(&self, name: &str) -> Arc<Queue> {
        self.broker.vhost().queue(name, ME).unwrap()
    }

    fn stats(&self, name: &str) -> QueueStats {
        self.queue(name).stats()
    }

    /// Publishes numbers to the queue of that name, one block for all of them.
    fn publish(&self, name: &str, numbers: impl IntoIterator<Item = u64>) -> Enqueued {
        let mut builder = BlockBuilder::default();
        for number in numbers {
            builder.push(&Message {
                arrived_at_ms: self.now.unix_ms,
                routing_key: name.as_bytes(),
                body: &number.to_be_bytes(),
                ..persistent()
            });
        }
        let route = self.broker.vhost().route(b"", name.as_bytes(), &[0, 0]).unwrap();
        self.broker.enqueue(&route, builder.build(), self.now)
    }

    /// Publishes the numbers below `count`, as a session does that reads them from its socket.
    fn publish_many(&self, name: &str, count: u64) {
        for first in (0..count).step_by(usize::try_from(AT_ONCE).unwrap()) {
            self.publish(name, first..(first + AT_ONCE).min(count));
        }
    }

    /// Takes the next message of a queue, which stays unacknowledged: its number in the queue, and
    /// the one in its body.
    fn get(&self, name: &str) -> Option<([Settled; 1], u64)> {
        let (queue, mailbox) = (self.queue(name), Mailbox::new());
        loop {
            match self.broker.get(&queue, false, &mailbox, self.now) {
                Got::Message { first, block, index, .. } => {
                    let held = [Settled { consumer: None, range: SeqRange::of(first, 1) }];
                    let body = block.message(index).body;
                    return Some((held, u64::from_be_bytes(body.try_into().unwrap())));
                }
                Got::Empty => return None,
                Got::Paging => wait_for(&mailbox),
            }
        }
    }

    /// Takes everything that is ready in a queue: what was published, in the order in which it
    /// came.
    fn take_all(&self, name: &str, no_ack: bool) -> Vec<u64> {
        let (queue, mailbox) = (self.queue(name), Mailbox::new());
        let consumer = Consumer { no_ack, ..Consumer::new(ME_AS_CONSUMER, &mailbox, ChannelLimit::new()) };
        self.broker.subscribe(&queue, consumer, self.now).unwrap();
        let (mut numbers, mut mail) = (Vec::new(), Vec::new());
        loop {
            // What has been dealt by then is in the mailbox.
            let ready = queue.stats().ready;
            mailbox.take(&mut mail);
            if mail.is_empty() {
                if ready == 0 {
                    break;
                }
                thread::park_timeout(Duration::from_millis(1));
            }
            for mail in mail.drain(..) {
                let Mail::Deliver(run) = mail else { continue };
                let body = |index| run.block.message(index).body.try_into().unwrap();
                numbers.extend(run.range.clone().map(|index| u64::from_be_bytes(body(index))));
                self.broker.credit(&queue, run.consumer, run.block.bytes_of(run.range.clone()), self.now);
            }
        }
        self.broker.cancel(&queue, ME_AS_CONSUMER, self.now);
        numbers
    }

    /// As [`Self::take_all`], and nothing of it is left.
    fn drain(&self, name: &str) -> Vec<u64> {
        self.take_all(name, true)
    }

    /// Takes the next message of a queue and rejects it; its number.
    fn reject(&self, name: &str) -> u64 {
        let (held, number) = self.get(name).unwrap();
        self.broker.reject(&self.queue(name), &held, self.now);
        number
    }

    fn reject_many(&self, name: &str, count: u64) {
        (0..count).for_each(|_| {
            self.reject(name);
        });
    }

    /// Time passes, and what is due by the clock is done.
    fn pass(&mut self, ms: u64) {
        self.now = Now { mono_ms: self.now.mono_ms + ms, unix_ms: self.now.unix_ms + ms };
        self.broker.tick(self.now);
    }

    /// Stops the broker and starts it again on what is on disk.
    fn restart(&mut self) {
        self.broker.shutdown().unwrap();
        self.disk = SimDisk::holding(self.disk.image());
        self.broker = open(&self.disk, self.now);
    }

    /// The process is killed once everything is on disk, and started again after so long.
    fn crash(&mut self, ms: u64) {
        let log = self.broker.log();
        wait_until("all is on disk", || log.durable() >= log.last_appended());
        self.now = Now { mono_ms: self.now.mono_ms + ms, unix_ms: self.now.unix_ms + ms };
        self.disk = SimDisk::holding(self.disk.image());
        self.broker = open(&self.disk, self.now);
    }

    /// Sets a policy for the queue of that name.
    fn set_policy(&self, queue: &str, definition: &[(&str, Value)]) {
        let policy = Policy {
            vhost: "/".to_owned(),
            name: format!("of {queue}"),
            pattern: format!("^{queue}$"),
            apply_to: ApplyTo::All,
            priority: 0,
            definition: definition.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        };
        self.broker.policies().set(Rank::User, policy, self.now).unwrap();
    }
}
