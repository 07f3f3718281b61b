//! A log for unit tests. It hands what it is told to what the test keeps of it, and everything is
//! on disk at once unless the test says otherwise.

use super::StoreError;
use crate::ids::Ticket;
use crate::store::change::{AtomicBatch, Change, Health, Log, Waiter};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

/// What a test keeps of the changes that its log is told.
pub(crate) trait Keep: Default + Send {
    /// Takes in the changes of one append.
    fn keep(&mut self, changes: Vec<Change>);
}

/// Nothing.
impl Keep for () {
    fn keep(&mut self, _changes: Vec<Change>) {}
}

/// The changes of each append.
impl Keep for Vec<Vec<Change>> {
    fn keep(&mut self, changes: Vec<Change>) {
        self.push(changes);
    }
}

/// A log that never fails, with a ticket for each append.
#[derive(Default)]
pub(crate) struct FakeLog<K> {
    kept: Mutex<K>,
    batch: RwLock<()>,
    /// The newest ticket.
    appended: AtomicU64,
    /// So many of the newest tickets are not on disk.
    lag: AtomicU64,
}

impl<K: Keep> FakeLog<K> {
    /// A log whose disk has these already.
    pub(crate) fn holding(kept: K) -> Self {
        Self { kept: Mutex::new(kept), ..Self::default() }
    }

    /// What was kept so far.
    pub(crate) fn kept(&self) -> MutexGuard<'_, K> {
        self.kept.lock().unwrap()
    }

    /// From now on the newest `tickets` are not on disk.
    pub(crate) fn lag(&self, tickets: u64) {
        self.lag.store(tickets, Ordering::Relaxed);
    }
}

impl<K: Keep> Log for FakeLog<K> {
    fn append(&self, changes: &mut Vec<Change>) -> Ticket {
        let mut kept = self.kept();
        kept.keep(mem::take(changes));
        Ticket(self.appended.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn atomic_batch(&self) -> AtomicBatch<'_> {
        AtomicBatch::new(self, self.batch.read().unwrap())
    }

    fn durable(&self) -> Ticket {
        Ticket(self.appended.load(Ordering::Relaxed).saturating_sub(self.lag.load(Ordering::Relaxed)))
    }

    fn stored(&self) -> Ticket {
        self.durable()
    }

    fn notify(&self, ticket: Ticket, waiter: &Arc<dyn Waiter>) {
        if ticket <= self.durable() {
            waiter.durable(ticket);
        }
    }

    fn pending_bytes(&self) -> usize {
        0
    }

    fn health(&self) -> Health {
        Health::Good
    }

    fn fail(&self, _fault: StoreError) {}

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
