//! The store from outside: what is on disk after anything that can happen to a disk.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cut_short;
mod damage;
mod faults;
mod files;
mod forgery;
pub(crate) mod golden;
mod journal;
mod model;
mod power_cut;
mod raft_log;
mod redb_pages;
mod replica;
mod rows;
mod simulation;

use crate::support::disk::SimDisk;
use leveret::ids::{QueueId, SeqRange, Ticket};
use leveret::message::{Block, BlockBuilder, Message};
use leveret::store::change::{Change, Log, QueueRecord, Waiter};
use leveret::store::{Opened, Options, open_backend};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// How long anything may take at most; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for tickets.
#[derive(Debug, Default)]
struct Told {
    newest: Mutex<Ticket>,
    news: Condvar,
}

impl Waiter for Told {
    fn durable(&self, up_to: Ticket) {
        *self.newest.lock().unwrap() = up_to;
        self.news.notify_all();
    }
}

/// Somebody who waits, and to whom it does not matter who is told.
fn nobody() -> Arc<dyn Waiter> {
    Arc::new(Told::default())
}

/// Waits until `ticket` is on disk.
pub(crate) fn wait_for(log: &Arc<dyn Log>, ticket: Ticket) {
    let told = Arc::new(Told::default());
    let waiter: Arc<dyn Waiter> = Arc::<Told>::clone(&told);
    log.notify(ticket, &waiter);
    let newest = told.newest.lock().unwrap();
    let (newest, waited) = told.news.wait_timeout_while(newest, PATIENCE, |newest| *newest < ticket).unwrap();
    assert!(!waited.timed_out(), "{ticket:?} was never durable: {newest:?}");
    assert!(log.durable() >= ticket);
}

/// Waits until `condition` holds, which no event announces.
#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    assert!(comes_true(condition), "never: {what}");
}

/// Whether `condition` holds before long.
fn comes_true(condition: impl Fn() -> bool) -> bool {
    (0..PATIENCE.as_millis()).any(|_| {
        let holds = condition();
        if !holds {
            thread::park_timeout(Duration::from_millis(1));
        }
        holds
    })
}

/// Appends `changes` and waits until they are on disk.
fn commit(log: &Arc<dyn Log>, changes: impl IntoIterator<Item = Change>) {
    let ticket = log.append(&mut changes.into_iter().collect());
    wait_for(log, ticket);
}

/// Without a journal: every group is a transaction, and can be read back at once.
fn open_sim(disk: &SimDisk) -> Opened {
    open_with(disk, 0)
}

/// With a journal of so many bytes, if the disk is empty.
fn open_with(disk: &SimDisk, journal_bytes: u64) -> Opened {
    open_backend(disk.clone(), Options { journal_bytes, ..Options::default() }).unwrap()
}

/// A block of records with these bodies; `true` means persistent.
fn block<B: AsRef<[u8]>>(bodies: &[(B, bool)]) -> Arc<Block> {
    let mut builder = BlockBuilder::default();
    for (body, persistent) in bodies {
        let properties = [0x10, 0, if *persistent { 2 } else { 1 }];
        builder.push(&Message::published(1_795_000_000_000, (b"", b"q"), &properties, body.as_ref()));
    }
    Arc::new(builder.build())
}

/// Publishes persistent messages with these bodies.
fn publish<B: AsRef<[u8]>>(queue: u64, first: u64, bodies: &[B]) -> Change {
    let bodies: Vec<_> = bodies.iter().map(|body| (body, true)).collect();
    let block = block(&bodies);
    Change::Publish { queue: QueueId(queue), first, range: 0..block.len(), block }
}

fn settle(queue: u64, first: u64, end: u64) -> Change {
    Change::Settle { queue: QueueId(queue), range: SeqRange { first, end } }
}

fn declare(queue: u64) -> Change {
    Change::DeclareQueue(QueueRecord {
        id: QueueId(queue),
        vhost: "/".to_owned(),
        name: format!("q{queue}"),
        auto_delete: false,
        arguments: Vec::new(),
    })
}

/// The bodies on disk of the messages in `range`, by number.
fn bodies(opened: &Opened, queue: u64, range: SeqRange) -> BTreeMap<u64, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut from = range;
    while !from.is_empty() {
        let pages = opened.pages.load(QueueId(queue), from, 100_000).unwrap();
        let Some(last) = pages.last() else { break };
        from.first = last.first + u64::from(last.block.len());
        for page in pages {
            let numbered = (page.first..).zip(0..page.block.len());
            all.extend(numbered.map(|(seq, index)| (seq, page.block.message(index).body.to_vec())));
        }
    }
    all.retain(|&seq, _| range.first <= seq && seq < range.end);
    all
}

/// Everything, in numbers and bodies.
const ALL: SeqRange = SeqRange { first: 0, end: u64::MAX };
