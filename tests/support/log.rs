//! A log in memory, whose test decides when the disk has what, and when it fails.

use leveret::blocking;
use leveret::ids::{QueueId, SeqRange, Ticket};
use leveret::store::StoreError;
use leveret::store::change::{AtomicBatch, Change, Health, Log, Page, PageSource, Waiter};
use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

thread_local! {
    /// What [`blocking::runs`] was when this thread took an atomic batch.
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

/// A log in memory, whose test decides when changes are durable and when it fails.
pub(crate) struct MemoryLog {
    gate: RwLock<()>,
    state: Mutex<State>,
}

struct State {
    durable: u64,
    /// Something was appended since the last sync.
    pending: bool,
    pending_bytes: usize,
    pending_changes: usize,
    /// Nothing is durable before [`MemoryLog::sync`].
    manual: bool,
    /// The disk has everything right after it was asked how much is pending.
    hasty: bool,
    health: Health,
    waiters: Vec<(Ticket, Arc<dyn Waiter>)>,
    /// Of each append, whether it was made in an atomic batch.
    gated: Vec<bool>,
    /// How many atomic batches there were.
    batches: usize,
    /// Appends in a batch that was open while its thread did something that takes long.
    long: usize,
    /// How often somebody waited while much is pending.
    waits: usize,
    /// What the changes of the largest append weigh.
    largest: usize,
}

impl MemoryLog {
    /// A log on which everything is durable at once.
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            durable: 0,
            pending: false,
            pending_bytes: 0,
            pending_changes: 0,
            manual: false,
            hasty: false,
            health: Health::Good,
            waiters: Vec::new(),
            gated: Vec::new(),
            batches: 0,
            long: 0,
            waits: 0,
            largest: 0,
        };
        Arc::new(Self { gate: RwLock::new(()), state: Mutex::new(state) })
    }

    /// From now on nothing is durable before [`MemoryLog::sync`].
    pub(crate) fn hold(&self) {
        self.state().manual = true;
    }

    /// From now on everything is durable as soon as somebody has asked how much is pending.
    pub(crate) fn sync_when_asked(&self) {
        self.state().hasty = true;
    }

    /// Everything that was appended is on disk.
    pub(crate) fn sync(&self) {
        let mut state = self.state();
        state.sync();
    }

    pub(crate) fn set_health(&self, health: Health) {
        self.state().health = health;
    }

    /// Of each append since the last call, whether it was made in an atomic batch: those reach the
    /// disk together.
    pub(crate) fn take_gated(&self) -> Vec<bool> {
        std::mem::take(&mut self.state().gated)
    }

    /// How many atomic batches there were.
    pub(crate) fn batches(&self) -> usize {
        self.state().batches
    }

    /// How many appends were made in a batch that was open while its thread did something that
    /// takes long.
    pub(crate) fn long_batches(&self) -> usize {
        self.state().long
    }

    /// How often somebody would have waited, if much had been pending.
    pub(crate) fn waits(&self) -> usize {
        self.state().waits
    }

    /// What the changes of the largest append since the last call weigh.
    pub(crate) fn take_largest(&self) -> usize {
        std::mem::take(&mut self.state().largest)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sync(&mut self) {
        self.durable += u64::from(self.pending);
        self.pending = false;
        (self.pending_bytes, self.pending_changes) = (0, 0);
        let durable = Ticket(self.durable);
        for (_, waiter) in self.waiters.extract_if(.., |(ticket, _)| *ticket <= durable) {
            waiter.durable(durable);
        }
    }
}

impl Log for MemoryLog {
    fn wait_for_room(&self) {
        self.state().waits += 1;
    }

    fn append(&self, changes: &mut Vec<Change>) -> Ticket {
        let gated = self.gate.try_write().is_err();
        let mut state = self.state();
        state.gated.push(gated);
        state.long += usize::from(gated && blocking::runs() > RUNS.get());
        state.largest = state.largest.max(changes.iter().map(Change::weight).sum());
        for change in changes.drain(..) {
            state.pending = true;
            state.pending_changes += change.weight();
            if let Change::Publish { block, range, .. } | Change::Spill { block, range, .. } = change {
                state.pending_bytes += block.bytes_of(range);
            }
        }
        let ticket = Ticket(state.durable + u64::from(state.pending));
        if !state.manual {
            state.sync();
        }
        ticket
    }

    fn atomic_batch(&self) -> AtomicBatch<'_> {
        self.state().batches += 1;
        RUNS.set(blocking::runs());
        AtomicBatch::new(self, self.gate.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn durable(&self) -> Ticket {
        Ticket(self.state().durable)
    }

    fn stored(&self) -> Ticket {
        self.durable()
    }

    fn notify(&self, ticket: Ticket, waiter: &Arc<dyn Waiter>) {
        let mut state = self.state();
        if ticket.0 <= state.durable {
            waiter.durable(Ticket(state.durable));
        } else {
            state.waiters.push((ticket, Arc::clone(waiter)));
        }
    }

    fn pending_bytes(&self) -> usize {
        let mut state = self.state();
        let pending_bytes = state.pending_bytes;
        if state.hasty {
            state.sync();
        }
        pending_bytes
    }

    fn pending_changes(&self) -> usize {
        self.state().pending_changes
    }

    fn health(&self) -> Health {
        self.state().health
    }

    fn fail(&self, _fault: StoreError) {
        self.set_health(Health::Failed);
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Has no pages: nothing is forgotten in a test that uses it.
pub(crate) struct NoPages;

impl PageSource for NoPages {
    fn load(&self, _: QueueId, _: SeqRange, _: usize) -> Result<Vec<Page>, StoreError> {
        Ok(Vec::new())
    }
}
