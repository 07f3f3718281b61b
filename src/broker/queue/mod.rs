//! A queue: its settings and one short lock around its log and its consumers.
//!
//! Each method locks once, for a batch, and returns what has to happen elsewhere as [`Effects`]; the lock is never
//! held while another queue is touched. `broker/mod.rs` carries the effects out.

mod consumers;
pub(crate) mod core;
mod paging;
mod ranges;
#[cfg(test)]
mod tests;

pub use self::consumers::{ChannelLimit, Consumer};
pub use self::core::{Dead, DeathReason};

use self::consumers::Consumers;
use self::core::{Core, Fate, Head};
use self::paging::{Budget, Paging, put_pages};
use crate::broker::mailbox::{Mail, Mailbox, Run};
use crate::broker::settings::Settings;
use crate::error::AmqpError;
use crate::ids::{ConnectionId, ConsumerId, QueueId, SeqRange, Ticket};
use crate::message::Block;
use crate::store::change::{Change, Log, Page, RecoveredQueue};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// What waits next in line, bytes: several reads of a page, so that consumers do not wait for each.
const HEAD: usize = 512 << 10;

/// What a queue keeps in memory while memory is plentiful. Persistent messages cost nothing to forget; transient ones have to
/// be written first, which a consumer who is a moment behind should not cause.
const BUDGET: Budget = Budget { bytes: 4 << 20, transient_bytes: 16 << 20, head_bytes: HEAD };

/// What a queue keeps in memory when all queues together hold more than [`MEMORY_PLENTY`].
const BUDGET_TIGHT: Budget = Budget { bytes: 256 << 10, transient_bytes: 256 << 10, head_bytes: HEAD };

/// What a queue without consumers keeps when all together hold more than [`MEMORY_SHORT`]: ten thousand queues with a backlog
/// each then hold 20 MB. One with consumers keeps its head.
const BUDGET_SHORT: Budget = Budget { bytes: 2 << 10, transient_bytes: 2 << 10, head_bytes: 2 << 10 };

/// What all queues together may hold before each of them is held short.
const MEMORY_PLENTY: usize = 20 << 20;

/// What all queues together may hold before those without consumers keep next to nothing.
const MEMORY_SHORT: usize = 32 << 20;

/// Messages that a consumer settled; `consumer` is none for what `basic.get` fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Who held them.
    pub consumer: Option<ConsumerId>,
    /// Which messages.
    pub range: SeqRange,
}

/// What `basic.get` finds.
#[derive(Debug)]
pub enum Got {
    /// Nothing is ready.
    Empty,
    /// The message is being read from disk; the mailbox gets [`Mail::Retry`].
    Paging,
    /// A message.
    Message {
        /// Its sequence number.
        first: u64,
        /// Where it is.
        block: Arc<Block>,
        /// Which record.
        index: u32,
        /// Whether it may have been delivered before.
        redelivered: bool,
        /// How often its delivery failed.
        deliveries: u32,
        /// How many more are ready.
        remaining: u32,
    },
}

/// Why a queue is not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// It has consumers.
    InUse,
    /// It has messages that are ready.
    NotEmpty,
}

/// How a queue stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages that wait for a consumer.
    pub ready: u64,
    /// Messages that were delivered and not settled.
    pub unacked: u64,
    /// Consumers.
    pub consumers: u32,
    /// Bytes of records in memory.
    pub resident: usize,
}

/// What has to happen after a queue's lock is released.
#[must_use]
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages for the dead-letter exchange.
    pub dead: Vec<Dead>,
    /// Messages to read from disk.
    pub page: Option<SeqRange>,
    /// The last consumer of an auto-delete queue is gone.
    pub delete: bool,
    /// Messages that were dropped at the delivery limit, for want of a dead-letter exchange.
    pub dropped: u64,
    /// When it is durable, everything that was done is.
    pub ticket: Ticket,
}

impl Effects {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.page.is_none() && !self.delete && self.dropped == 0
    }
}

/// See the head of this file.
pub struct Queue {
    /// Its id, also the key of its messages on disk.
    pub id: QueueId,
    /// Its name.
    pub name: Arc<str>,
    /// How it was declared.
    pub settings: Settings,
    owner: Option<ConnectionId>,
    log: Arc<dyn Log>,
    /// Bytes that all queues hold in memory.
    memory: Arc<AtomicUsize>,
    state: Mutex<State>,
}

struct State {
    core: Core,
    consumers: Consumers,
    paging: Paging,
    /// Sessions whose `basic.get` waits for a page.
    getters: Vec<Arc<Mailbox>>,
    deleted: bool,
    /// What this queue last added to `Queue::memory`.
    counted: usize,
}

impl Queue {
    /// An empty queue; `owner` is the connection that alone may use it.
    #[must_use]
    pub fn new(
        identity: (QueueId, Arc<str>),
        settings: Settings,
        owner: Option<ConnectionId>,
        shared: &Shared,
    ) -> Arc<Self> {
        let core = Core::new(identity.0);
        Arc::new(Self::with(identity, settings, owner, shared, core))
    }

    /// A queue as it was on disk; `clean` tells whether the last process stopped cleanly.
    #[must_use]
    pub fn recover(
        recovered: &RecoveredQueue,
        settings: Settings,
        clean: bool,
        shared: &Shared,
    ) -> Arc<Self> {
        let identity = (recovered.record.id, Arc::from(recovered.record.name.as_str()));
        Arc::new(Self::with(identity, settings, None, shared, Core::recover(recovered, clean)))
    }

    fn with(
        (id, name): (QueueId, Arc<str>),
        settings: Settings,
        owner: Option<ConnectionId>,
        shared: &Shared,
        core: Core,
    ) -> Self {
        let state = State {
            core,
            consumers: Consumers::default(),
            paging: Paging::default(),
            getters: Vec::new(),
            deleted: false,
            counted: 0,
        };
        let (log, memory) = (Arc::clone(&shared.log), Arc::clone(&shared.memory));
        Self { id, name, settings, owner, log, memory, state: Mutex::new(state) }
    }

    /// Whether it and its persistent messages survive a restart.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.settings.durable
    }

    /// The connection that alone may use it.
    #[must_use]
    pub fn owner(&self) -> Option<ConnectionId> {
        self.owner
    }

    /// How it stands.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        let state = self.lock();
        QueueStats {
            ready: state.core.ready(),
            unacked: state.core.unacked(),
            consumers: u32::try_from(state.consumers.len()).unwrap_or(u32::MAX),
            resident: state.core.resident,
        }
    }

    /// One past the highest number ever delivered: what a clean stop writes down.
    #[must_use]
    pub fn delivered_up_to(&self) -> u64 {
        self.lock().core.next
    }

    /// Appends the records of `block`. The ticket tells when its persistent ones are on disk.
    pub(super) fn enqueue(&self, block: &Arc<Block>) -> (Ticket, Effects) {
        let mut state = self.lock();
        if state.deleted || block.is_empty() {
            return (Ticket(0), Effects::default());
        }
        let logged = self.settings.durable && block.persistent() > 0;
        let was_empty = state.core.ready() == 0;
        let range = state.core.push(block, logged);
        self.deal(&mut state);
        if logged && was_empty && state.core.live.is_free(range) {
            // Consumed and settled as it came: the disk need not know of it.
            state.core.changes.retain(|change| !concerns(change, range));
        }
        let ticket = self.flush(&mut state);
        if logged && ticket > Ticket(0) {
            state.paging.mark(range.end, ticket);
        }
        (if logged { ticket } else { Ticket(0) }, self.finish(state, ticket))
    }

    /// Messages are acknowledged.
    pub(super) fn settle(&self, settled: &[Settled]) -> Effects {
        let mut state = self.lock();
        for part in settled {
            state.core.remove(part.range);
        }
        self.release_and_finish(state, settled)
    }

    /// Messages come back; `counted` ones have failed once more.
    pub(super) fn put_back(&self, settled: &[Settled], counted: bool) -> Effects {
        let mut state = self.lock();
        for part in settled {
            state.core.put_back(part.range, counted, self.fate());
        }
        self.release_and_finish(state, settled)
    }

    /// Messages are rejected for good.
    pub(super) fn reject(&self, settled: &[Settled]) -> Effects {
        let mut state = self.lock();
        for part in settled {
            state.core.die(part.range, DeathReason::Rejected, self.fate().dead_letters);
        }
        self.release_and_finish(state, settled)
    }

    fn release_and_finish(&self, mut state: MutexGuard<'_, State>, settled: &[Settled]) -> Effects {
        for part in settled {
            if let Some(id) = part.consumer {
                state.consumers.release(id, u32::try_from(part.range.len()).unwrap_or(u32::MAX));
            }
        }
        self.deal(&mut state);
        self.finish_flushed(state)
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// 403: exclusive use. 404: the queue was deleted meanwhile.
    pub(super) fn subscribe(&self, consumer: Consumer) -> Result<Effects, AmqpError> {
        let mut state = self.lock();
        if state.deleted {
            return Err(AmqpError::no_queue(&self.name));
        }
        state.consumers.add(consumer, &self.name)?;
        self.deal(&mut state);
        Ok(self.finish_flushed(state))
    }

    /// Removes a consumer; what it holds stays unacknowledged.
    pub(super) fn cancel(&self, id: ConsumerId) -> Effects {
        let mut state = self.lock();
        let removed = state.consumers.remove(id);
        self.deal(&mut state);
        let delete = removed && self.settings.auto_delete && state.consumers.is_empty() && !state.deleted;
        Effects { delete, ..self.finish_flushed(state) }
    }

    /// The session has encoded `bytes` of what was dealt to this consumer.
    pub(super) fn credit(&self, id: ConsumerId, bytes: usize) -> Effects {
        let mut state = self.lock();
        state.consumers.credit(id, bytes);
        self.deal(&mut state);
        self.finish_flushed(state)
    }

    /// Deals again: a limit outside this queue has changed.
    pub(super) fn poke(&self) -> Effects {
        let mut state = self.lock();
        self.deal(&mut state);
        self.finish_flushed(state)
    }

    /// Takes one message.
    pub(super) fn get(&self, no_ack: bool, mailbox: &Arc<Mailbox>) -> (Got, Effects) {
        let mut state = self.lock();
        let got = match state.core.head() {
            Head::Empty => Got::Empty,
            Head::OnDisk(_) => {
                state.getters.push(Arc::clone(mailbox));
                Got::Paging
            }
            Head::Ready(range) => match state.core.take(range, 1, no_ack) {
                None => Got::Empty,
                Some(taken) => Got::Message {
                    first: taken.first,
                    block: taken.block,
                    index: taken.range.start,
                    redelivered: taken.redelivered,
                    deliveries: taken.deliveries,
                    remaining: u32::try_from(state.core.ready()).unwrap_or(u32::MAX),
                },
            },
        };
        (got, self.finish_flushed(state))
    }

    /// Drops everything that is ready; how much that was.
    pub(super) fn purge(&self) -> (u64, Ticket, Effects) {
        let mut state = self.lock();
        let purged = state.core.purge();
        let ticket = self.flush(&mut state);
        (purged, ticket, self.finish(state, ticket))
    }

    /// Pages have come from disk. Returns how many messages were not there that should have been.
    pub(super) fn pages_loaded(&self, wanted: SeqRange, pages: Vec<Page>) -> (u64, Effects) {
        let mut state = self.lock();
        state.paging.reading = false;
        let lost = put_pages(&mut state.core, wanted, pages);
        state.core.bury();
        for getter in state.getters.drain(..) {
            getter.post(&mut vec![Mail::Retry]);
        }
        self.deal(&mut state);
        (lost, self.finish_flushed(state))
    }

    /// Marks it as deleted and tells its consumers; how many messages were ready.
    ///
    /// # Errors
    /// It has consumers, or messages that are ready, where it should not.
    pub fn close(&self, if_unused: bool, if_empty: bool) -> Result<u64, Busy> {
        let mut state = self.lock();
        // In RabbitMQ's order.
        if if_empty && state.core.ready() > 0 {
            return Err(Busy::NotEmpty);
        }
        if if_unused && !state.consumers.is_empty() {
            return Err(Busy::InUse);
        }
        state.deleted = true;
        let ready = state.core.ready();
        state.consumers.cancel_all();
        for getter in state.getters.drain(..) {
            getter.post(&mut vec![Mail::Retry]);
        }
        let counted = std::mem::take(&mut state.counted);
        self.memory.fetch_sub(counted, Ordering::Relaxed);
        state.core = Core::new(self.id);
        Ok(ready)
    }

    /// Gives consumers what their windows take.
    fn deal(&self, state: &mut State) {
        while let Some(turn) = state.consumers.turn(self.settings.single_active) {
            let Head::Ready(range) = state.core.head() else { break };
            let (count, _) = state.core.fit(range, turn.count, turn.bytes);
            let count = state.consumers.reserve(turn, count);
            if count == 0 {
                break;
            }
            let Some(taken) = state.core.take(range, count, turn.no_ack) else { break };
            let bytes = taken.block.bytes_of(taken.range.clone());
            state.consumers.deal(turn, count, bytes, |consumer| {
                Mail::Deliver(Run {
                    consumer,
                    first: taken.first,
                    block: taken.block,
                    range: taken.range,
                    redelivered: taken.redelivered,
                    deliveries: taken.deliveries,
                })
            });
        }
        state.consumers.post();
    }

    /// Hands the changes to the log, in the order they happened.
    fn flush(&self, state: &mut State) -> Ticket {
        if state.core.changes.is_empty() {
            return Ticket(0);
        }
        if state.deleted {
            state.core.changes.clear();
            return Ticket(0);
        }
        // Taken with its memory: an idle queue keeps none.
        self.log.append(&mut std::mem::take(&mut state.core.changes))
    }

    fn finish_flushed(&self, mut state: MutexGuard<'_, State>) -> Effects {
        let ticket = self.flush(&mut state);
        self.finish(state, ticket)
    }

    /// Keeps to the memory budget and collects the effects.
    fn finish(&self, mut guard: MutexGuard<'_, State>, ticket: Ticket) -> Effects {
        let state = &mut *guard;
        if state.deleted {
            return Effects::default();
        }
        let stored = self.log.stored();
        state.paging.advance(stored);
        let budget = match self.memory.load(Ordering::Relaxed) {
            ..=MEMORY_PLENTY => BUDGET,
            memory if memory <= MEMORY_SHORT || !state.consumers.is_empty() => BUDGET_TIGHT,
            _ => BUDGET_SHORT,
        };
        if state.core.resident > budget.bytes {
            let spill = state.paging.forget(&mut state.core, self.id, budget, stored);
            if !spill.is_empty() {
                let ticket = self.flush(state);
                state.paging.spilled(spill, ticket);
            }
        }
        self.count_memory(state);
        Effects {
            dead: std::mem::take(&mut state.core.dead),
            page: self.page_wanted(state),
            delete: false,
            dropped: std::mem::take(&mut state.core.dropped_at_limit),
            ticket,
        }
    }

    fn count_memory(&self, state: &mut State) {
        let resident = state.core.resident;
        if resident >= state.counted {
            self.memory.fetch_add(resident - state.counted, Ordering::Relaxed);
        } else {
            self.memory.fetch_sub(state.counted - resident, Ordering::Relaxed);
        }
        state.counted = resident;
    }

    /// The messages on disk that are due, unless they are being read already.
    fn page_wanted(&self, state: &mut State) -> Option<SeqRange> {
        if state.paging.reading {
            return None;
        }
        let dying = state.core.dying.first().map(|(range, _)| range);
        let wanted = dying.or_else(|| {
            let asked =
                !state.getters.is_empty() || state.consumers.turn(self.settings.single_active).is_some();
            match state.core.head() {
                Head::OnDisk(range) if asked => Some(range),
                Head::OnDisk(_) | Head::Ready(_) | Head::Empty => None,
            }
        });
        state.paging.reading = wanted.is_some();
        wanted
    }

    fn fate(&self) -> Fate {
        Fate {
            dead_letters: self.settings.dead_letter_exchange.is_some(),
            limit: self.settings.delivery_limit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a queue's lock is poisoned only by a broken invariant of its log")
    }
}

/// What all queues share.
#[derive(Clone)]
pub struct Shared {
    /// Where changes go.
    pub log: Arc<dyn Log>,
    /// Bytes that all queues hold in memory.
    pub memory: Arc<AtomicUsize>,
}

/// Whether a change is about nothing but messages in `range`.
fn concerns(change: &Change, range: SeqRange) -> bool {
    match change {
        Change::Publish { first, .. } => *first == range.first,
        Change::Settle { range: settled, .. } => settled.meet(range) == *settled,
        _ => false,
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} '{}')", self.id, self.name)
    }
}
