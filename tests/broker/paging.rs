//! Messages that are on disk only: read when they are due, again when that failed, and forgotten
//! again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::fixtures::{ME, persistent};
use crate::broker::start_broker;
use crate::support::disk::SimDisk;
use leveret::arguments::Requeue;
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::{Now, mono_ms};
use leveret::ids::{QueueId, SeqRange};
use leveret::message::{Block, Message};
use leveret::queue::mailbox::Mailbox;
use leveret::queue::{Got, Settled};
use leveret::store::change::{Change, Page, PageSource, QueueRecord};
use leveret::store::{Opened, Options, StoreError, open_backend};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

const NOW: Now = Now { mono_ms: 0, unix_ms: 1_000 };
const PATIENCE_MS: u64 = 20_000;

/// Pages that cannot be read so many times, where they are those of the first queue.
struct Failing {
    pages: Arc<dyn PageSource>,
    left: AtomicU32,
}

impl PageSource for Failing {
    fn load(&self, queue: QueueId, range: SeqRange, bytes_max: usize) -> Result<Vec<Page>, StoreError> {
        let is_due = queue == QueueId(1)
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok();
        if is_due { Err(StoreError::Stopped) } else { self.pages.load(queue, range, bytes_max) }
    }
}

/// A broker on two queues, `q1` and `q2`, each with `count` messages on disk; pages of the first
/// fail at first.
fn start(count: u32, body: &[u8], failures: u32) -> (Arc<Broker>, Arc<Failing>) {
    let disk = SimDisk::default();
    let message = Message { routing_key: b"q", properties: &[0, 0], body, ..persistent() };
    let opened = open_backend(disk.clone(), Options::default()).unwrap();
    for id in [QueueId(1), QueueId(2)] {
        let name = format!("q{}", id.0);
        let declare = QueueRecord { id, vhost: "/".into(), name, auto_delete: false, arguments: Vec::new() };
        let block = Arc::new(Block::of(&message));
        let mut changes = vec![Change::DeclareQueue(declare)];
        changes.extend((0..count.into()).map(|first| {
            let block = Arc::clone(&block);
            Change::Publish { queue: id, first, block, range: 0..1 }
        }));
        opened.log.append(&mut changes);
    }
    opened.log.close().unwrap();
    drop(opened);
    let Opened { log, pages, recovered } = open_backend(disk, Options::default()).unwrap();
    let failing = Arc::new(Failing { pages, left: AtomicU32::new(failures) });
    let opened = Opened { log, pages: Arc::clone(&failing) as _, recovered };
    (start_broker(opened, BrokerSettings::default(), NOW).unwrap(), failing)
}

/// Asks for a message of `queue` until it is there, as a session does whose mailbox wakes; it stays
/// unacknowledged.
fn get(broker: &Arc<Broker>, queue: &str) -> Vec<u8> {
    let queue = broker.vhost().queue(queue, ME).unwrap();
    let mailbox = Mailbox::new();
    let until_ms = mono_ms() + PATIENCE_MS;
    loop {
        match broker.get(&queue, false, &mailbox, NOW) {
            Got::Message { block, index, .. } => return block.message(index).body.to_vec(),
            Got::Paging => {}
            Got::Empty => panic!("the message of {queue:?} is lost"),
        }
        let mut mail = Vec::new();
        while mail.is_empty() {
            assert!(mono_ms() < until_ms, "the message of {queue:?} is never read");
            thread::park_timeout(Duration::from_millis(1));
            mailbox.take(&mut mail);
        }
    }
}

#[test]
fn a_page_that_cannot_be_read_is_asked_for_again() {
    let (broker, failing) = start(1, b"hare", 3);
    assert_eq!(get(&broker, "q1"), b"hare");
    assert_eq!(failing.left.load(Ordering::Relaxed), 0);
}

#[test]
fn a_queue_that_cannot_be_read_does_not_hold_up_others() {
    let (broker, _failing) = start(1, b"hare", u32::MAX);
    let damaged = broker.vhost().queue("q1", ME).unwrap();
    assert!(matches!(broker.get(&damaged, true, &Mailbox::new(), NOW), Got::Paging));
    assert_eq!(get(&broker, "q2"), b"hare");
    assert!(
        matches!(broker.get(&damaged, true, &Mailbox::new(), NOW), Got::Paging),
        "it waits, nothing is lost"
    );
}

#[test]
fn what_a_start_found_is_forgotten_again_once_it_was_delivered() {
    const COUNT: u32 = 100;
    let body = vec![b'x'; 200_000];
    let (broker, _) = start(COUNT, &body, 0);
    let queue = broker.vhost().queue("q1", ME).unwrap();
    for round in ["first", "second"] {
        for _ in 0..COUNT {
            assert_eq!(get(&broker, "q1").len(), body.len());
        }
        let stats = queue.stats();
        assert_eq!((stats.ready, stats.unacked), (0, COUNT.into()));
        assert!(stats.resident < 5 << 20, "the {round} time {} bytes are held", stats.resident);
        // The client is gone, and the next one gets them again.
        broker.put_back(
            &queue,
            &[Settled { consumer: None, range: SeqRange::of(0, COUNT.into()) }],
            Requeue::Failed,
            NOW,
        );
    }
}
