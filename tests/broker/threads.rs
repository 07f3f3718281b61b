//! A thread of the broker that panics: nobody goes on without it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::fixtures::{ME, durable, persistent};
use crate::broker::start_broker;
use crate::support::disk::SimDisk;
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::ids::{QueueId, SeqRange, Ticket};
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{BlockBuilder, Message};
use leveret::store::change::{AtomicBatch, Change, Health, Log, Page, PageSource, Waiter};
use leveret::store::{Opened, Options, StoreError, open_backend};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const NOW: Now = Now { mono_ms: 1000, unix_ms: 1_795_000_000_000 };

/// How long it may take until a panic is noticed.
const PATIENCE_MS: u32 = 60_000;

/// More letters than a call sends itself.
const LETTERS: u64 = 2000;

/// A store that panics when the thread of this name uses it.
struct Panicking<T: ?Sized>(&'static str, Arc<T>);

impl<T: ?Sized> Panicking<T> {
    fn of_others(&self) -> &T {
        assert_ne!(thread::current().name(), Some(self.0), "a fault made for the test");
        &self.1
    }
}

impl Log for Panicking<dyn Log> {
    fn append(&self, changes: &mut Vec<Change>) -> Ticket {
        self.of_others().append(changes)
    }
    fn atomic_batch(&self) -> AtomicBatch<'_> {
        self.of_others().atomic_batch()
    }
    fn durable(&self) -> Ticket {
        self.1.durable()
    }
    fn stored(&self) -> Ticket {
        self.1.stored()
    }
    fn notify(&self, ticket: Ticket, waiter: &Arc<dyn Waiter>) {
        self.1.notify(ticket, waiter);
    }
    fn pending_bytes(&self) -> usize {
        self.1.pending_bytes()
    }
    fn pending_changes(&self) -> usize {
        self.1.pending_changes()
    }
    fn health(&self) -> Health {
        self.1.health()
    }
    fn fail(&self, fault: StoreError) {
        self.1.fail(fault);
    }
    fn close(&self) -> Result<(), StoreError> {
        self.1.close()
    }
}

impl PageSource for Panicking<dyn PageSource> {
    fn load(&self, queue: QueueId, range: SeqRange, bytes_max: usize) -> Result<Vec<Page>, StoreError> {
        self.of_others().load(queue, range, bytes_max)
    }
}

/// A broker with a queue of letters that are due soon; the thread of this name panics over its
/// first work.
fn start(thread: &'static str) -> Arc<Broker> {
    let disk = SimDisk::default();
    let broker =
        start_broker(open_backend(disk.clone(), Options::default()).unwrap(), BrokerSettings::default(), NOW);
    let broker = broker.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-message-ttl".into(), FieldValue::LongLongInt(1000));
    arguments.insert("x-dead-letter-exchange".into(), FieldValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), FieldValue::LongString("dead".into()));
    let declare = |name, arguments| broker.vhost().declare_queue(durable(name, arguments, NOW)).unwrap();
    declare("dead", FieldTable::default());
    declare("letters", arguments);
    let mut block = BlockBuilder::default();
    for _ in 0..LETTERS {
        block.push(&Message { arrived_at_ms: NOW.unix_ms, routing_key: b"letters", ..persistent() });
    }
    let route = broker.vhost().route(b"", b"letters", &[0, 0]).unwrap();
    broker.enqueue(&route, block.build(), NOW);
    broker.shutdown().unwrap();
    drop(broker);
    let Opened { log, pages, recovered } =
        open_backend(SimDisk::holding(disk.image()), Options::default()).unwrap();
    let opened = Opened {
        log: Arc::new(Panicking(thread, log)),
        pages: Arc::new(Panicking(thread, pages)),
        recovered,
    };
    start_broker(opened, BrokerSettings::default(), NOW).unwrap()
}

/// A panic of the thread of this name, which has to do with letters that die, ends the broker,
/// which says why.
#[track_caller]
fn check(thread: &'static str) {
    let broker = start(thread);
    let later = Now { mono_ms: NOW.mono_ms + 2000, unix_ms: NOW.unix_ms + 2000 };
    let has_failed = (0..PATIENCE_MS).any(|_| {
        broker.tick(later);
        thread::park_timeout(Duration::from_millis(1));
        broker.health() == Health::Failed
    });
    assert!(has_failed, "the broker goes on without {thread}");
    let queue = |name| broker.vhost().queue(name, ME).unwrap().stats();
    assert!(queue("dead").ready < LETTERS);
    let why = broker.shutdown().unwrap_err();
    let text = why.to_string();
    assert!(
        text.contains(thread) && text.contains("a fault made for the test") && !text.contains('\n'),
        "{text}"
    );
    assert!(why.keeps_what_was_confirmed());
}

#[test]
fn a_panic_of_the_pager_ends_the_broker() {
    check("leveret-pager");
}

#[test]
fn a_panic_of_the_sender_of_letters_ends_the_broker() {
    check("leveret-letters");
}
