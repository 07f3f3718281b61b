//! What every method of a queue does before it lets go of the lock: deal, tell the log, keep to the
//! budget of memory, and say what is left to do.

pub(in crate::queue) mod core;
mod limits;
pub(in crate::queue) mod reserve;

use self::core::expiry::{ExpiryClock, NextExpiry};
use self::core::paging::{self, MemoryBudget, Paging};
use self::core::requeues::RequeuePolicy;
use self::core::{Core, Head};
use self::reserve::Reservation;
use crate::arguments::{QueueType, Settings};
use crate::blocking;
use crate::clock::Now;
use crate::ids::{QueueId, SeqRange, Ticket};
use crate::queue::consumers::Consumers;
use crate::queue::mailbox::{DeliveryRun, Mail, Mailbox};
use crate::queue::{Effects, Queue, Settled};
use crate::store::change::Change;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, Weak};

/// What waits next in line, bytes: several reads of a page, so that consumers do not wait for each.
const HEAD: usize = 512 << 10;

/// What a queue keeps in memory while memory is plentiful. Persistent messages cost nothing to
/// forget; transient ones have to be written first, which a consumer who is a moment behind should
/// not cause.
pub(in crate::queue) const BUDGET: MemoryBudget =
    MemoryBudget { bytes: 4 << 20, transient_bytes: 16 << 20, head_bytes: HEAD };

/// What a queue keeps in memory when all queues together hold more than [`MEMORY_PLENTY`].
const BUDGET_TIGHT: MemoryBudget =
    MemoryBudget { bytes: 256 << 10, transient_bytes: 256 << 10, head_bytes: HEAD };

/// What a queue without consumers keeps when all together hold more than [`MEMORY_SHORT`]: ten
/// thousand queues with a backlog each then hold 20 MB. One with consumers keeps its head.
pub(in crate::queue) const BUDGET_SHORT: MemoryBudget =
    MemoryBudget { bytes: 2 << 10, transient_bytes: 2 << 10, head_bytes: 2 << 10 };

/// What all queues together may hold before each of them is held short.
pub(in crate::queue) const MEMORY_PLENTY: usize = 20 << 20;

/// What all queues together may hold before those without consumers keep next to nothing.
pub(in crate::queue) const MEMORY_SHORT: usize = 32 << 20;

/// What a queue keeps in memory when all together hold `memory` bytes.
pub(in crate::queue) fn budget(memory: usize, has_consumers: bool) -> MemoryBudget {
    match memory {
        ..=MEMORY_PLENTY => BUDGET,
        memory if memory <= MEMORY_SHORT || has_consumers => BUDGET_TIGHT,
        _ => BUDGET_SHORT,
    }
}

/// What a queue's lock guards.
pub(in crate::queue) struct QueueState {
    pub(in crate::queue) core: Core,
    pub(in crate::queue) consumers: Consumers,
    /// What is in effect: as declared, and as policies have it.
    pub(in crate::queue) settings: Arc<Settings>,
    pub(in crate::queue) paging: Paging,
    /// Sessions whose `basic.get` waits for a page.
    pub(in crate::queue) getters: Vec<Arc<Mailbox>>,
    pub(in crate::queue) deleted: bool,
    /// What was in it when it was deleted, until that is dropped outside of all locks.
    pub(in crate::queue) remains: Option<Box<Core>>,
    /// Queues whose letters were refused for want of room.
    pub(in crate::queue) wanted_by: Vec<(QueueId, Weak<Queue>)>,
    /// What transactions that are about to come have reserved.
    pub(in crate::queue) reserved: Reservation,
    /// What this queue last added to `Queue::memory`.
    pub(in crate::queue) counted: usize,
    /// When the queue is to be called, as the timers know it: milliseconds since 1970.
    pub(in crate::queue) armed_ms: Option<u64>,
    /// When somebody last declared it, consumed from it or asked it for a message: milliseconds
    /// since 1970.
    pub(in crate::queue) used_at_ms: u64,
}

impl QueueState {
    pub(in crate::queue) fn new(core: Core, consumers: Consumers, settings: Arc<Settings>) -> Self {
        Self {
            core,
            consumers,
            settings,
            paging: Paging::default(),
            getters: Vec::new(),
            deleted: false,
            remains: None,
            wanted_by: Vec::new(),
            reserved: Reservation::default(),
            counted: 0,
            armed_ms: None,
            used_at_ms: 0,
        }
    }
}

impl Queue {
    /// Gives consumers what their windows take. The messages `new` just came: they do not expire
    /// here.
    pub(in crate::queue) fn dispatch(&self, state: &mut QueueState, now: Now, new: SeqRange) {
        loop {
            self.deal_turns(state, now, new);
            let waits = state.consumers.take_held_back() && state.core.head() != Head::Empty;
            if !waits || state.consumers.wait_in_line(&self.this) {
                break;
            }
        }
        state.consumers.post();
    }

    fn deal_turns(&self, state: &mut QueueState, now: Now, new: SeqRange) {
        let may_expire = state.core.may_expire(state.settings.ttl_ms);
        let (clock, dead_letters) = (clock(&state.settings, now, new), state.settings.dead_letters());
        while let Some(turn) = state.consumers.turn() {
            if may_expire {
                let _looked_at_in_the_end = state.core.expire(clock, dead_letters);
            }
            let Head::Ready(mut range) = state.core.head() else { break };
            if may_expire {
                let most = range.first.saturating_add(turn.count.into());
                range = state.core.fit_time(SeqRange { end: range.end.min(most), ..range }, clock);
                if range.is_empty() {
                    break;
                }
            }
            let (count, _) = state.core.fit(range, turn.count, turn.bytes);
            let count = state.consumers.reserve(turn, count);
            if count == 0 {
                break;
            }
            let Some(taken) = state.core.take(range, count, turn.no_ack) else { break };
            let bytes = taken.block.bytes_of(taken.range.clone());
            state.consumers.dispatch(turn, count, bytes, |consumer| {
                Mail::Deliver(DeliveryRun {
                    consumer,
                    first: taken.first,
                    block: taken.block,
                    range: taken.range,
                    redelivered: taken.redelivered,
                    deliveries: taken.deliveries,
                })
            });
        }
    }

    /// Hands the changes to the log, in the order they happened.
    pub(in crate::queue) fn flush(&self, state: &mut QueueState) -> Ticket {
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

    /// Takes out of what is to be logged what was consumed and settled as it came: the disk need
    /// not know of it.
    pub(in crate::queue) fn forget_consumed(state: &mut QueueState, pushed: SeqRange) {
        if state.core.live.is_free(pushed) {
            state.core.changes.retain(|change| !concerns(change, pushed));
        }
    }

    pub(in crate::queue) fn release_and_finish(
        &self,
        mut state: MutexGuard<'_, QueueState>,
        settled: &[Settled],
        now: Now,
    ) -> Effects {
        for part in settled {
            if let Some(id) = part.consumer {
                state.consumers.release(id, u32::try_from(part.range.len()).unwrap_or(u32::MAX));
            }
        }
        self.deal_and_finish(state, now)
    }

    pub(in crate::queue) fn deal_and_finish(
        &self,
        mut state: MutexGuard<'_, QueueState>,
        now: Now,
    ) -> Effects {
        self.dispatch(&mut state, now, SeqRange::default());
        self.finish(state, now)
    }

    /// Ends what has expired, tells the log, keeps to the memory budget and collects the effects.
    pub(in crate::queue) fn finish(&self, mut state: MutexGuard<'_, QueueState>, now: Now) -> Effects {
        self.conclude(&mut state, now)
    }

    /// As [`Queue::finish`], and keeps the lock.
    pub(in crate::queue) fn conclude(&self, state: &mut QueueState, now: Now) -> Effects {
        if state.deleted {
            state.core.changes.clear();
            return Effects::default();
        }
        let next = if self.settings.delays {
            NextExpiry { at_ms: state.core.release_due(now.unix_ms), unread: None }
        } else {
            let clock = clock(&state.settings, now, SeqRange::default());
            state.core.expire(clock, state.settings.dead_letters())
        };
        let ticket = self.flush(state);
        if ticket > Ticket(0) {
            paging::mark(&mut state.core.lanes, ticket);
        }
        let stored = self.log.stored();
        paging::advance(&mut state.core.lanes, stored);
        let budget = budget(self.memory.load(Ordering::Relaxed), !state.consumers.is_empty());
        if state.core.resident > budget.bytes {
            let due = self.due(state, next);
            let spill = state.paging.forget(&mut state.core, budget, stored, due);
            if !spill.is_empty() {
                let ticket = self.flush(state);
                state.paging.spilled(spill, ticket);
            }
        }
        self.count_memory(state);
        self.arm(state, next);
        Effects {
            letters: state.core.calls_for_sender(),
            page: self.page_wanted(state, next),
            delete: false,
            expired: false,
            refused: Vec::new(),
            room_for: self.room_for(state),
            dropped: std::mem::take(&mut state.core.dropped_at_limit),
            ticket,
        }
    }

    fn count_memory(&self, state: &mut QueueState) {
        let resident = state.core.resident;
        if resident >= state.counted {
            self.memory.fetch_add(resident - state.counted, Ordering::Relaxed);
        } else {
            self.memory.fetch_sub(state.counted - resident, Ordering::Relaxed);
        }
        state.counted = resident;
    }

    /// What is next in a queue whose messages expire: its bytes stay, for they say when.
    fn due(&self, state: &QueueState, next: NextExpiry) -> Option<SeqRange> {
        next.at_ms?;
        match state.core.head() {
            Head::Ready(range) => Some(range),
            Head::OnDisk(_) | Head::Empty => None,
        }
    }

    /// The messages on disk that are due, unless they are being read already.
    fn page_wanted(&self, state: &mut QueueState, next: NextExpiry) -> Option<SeqRange> {
        if state.paging.reading {
            return None;
        }
        let wanted = state.core.unread_letters().or_else(|| {
            let asked = !state.getters.is_empty() || state.consumers.turn().is_some();
            match state.core.head() {
                Head::OnDisk(range) if asked => Some(range),
                Head::OnDisk(_) | Head::Ready(_) | Head::Empty => next.unread,
            }
        });
        state.paging.reading = wanted.is_some();
        wanted
    }

    /// Has the queue called when its next message expires or comes back, or when nobody has used it
    /// for too long. A call that comes too early does no harm, so a time that is put off is left as
    /// it is.
    pub(in crate::queue) fn arm(&self, state: &mut QueueState, next: NextExpiry) {
        let lease = Self::lease_ends(state);
        // What is being read is called for by its page.
        let waiting = if next.unread.is_none() { state.core.waiting.first() } else { None };
        let times = [next.at_ms, waiting, lease, Self::letters_due(state)];
        let Some(at_ms) = times.into_iter().flatten().min() else { return };
        if state.armed_ms.is_none_or(|armed_ms| at_ms < armed_ms) {
            self.timers.set(&self.this, (state.armed_ms, at_ms), self.id);
            state.armed_ms = Some(at_ms);
        }
    }

    /// When the queue goes unless somebody uses it.
    pub(in crate::queue) fn lease_ends(state: &QueueState) -> Option<u64> {
        let expires_ms = state.settings.expires_ms?;
        // What is parked waits for somebody, who must find it.
        (state.consumers.is_empty() && state.core.dead() == 0)
            .then(|| state.used_at_ms.saturating_add(expires_ms))
    }

    pub(in crate::queue) fn lock(&self) -> MutexGuard<'_, QueueState> {
        let waited = |_taken| blocking::wait(|| self.state.lock());
        let state = self.state.try_lock().or_else(waited);
        state.expect("a queue's lock is poisoned only by a broken invariant of its log")
    }
}

/// By what messages expire under these settings; those that are `new` do not.
pub(in crate::queue) fn clock(settings: &Settings, now: Now, new: SeqRange) -> ExpiryClock {
    // As RabbitMQ has it: a classic queue looks at what is next, a quorum queue at what is next of
    // each priority.
    let each_lane = settings.kind == QueueType::Quorum;
    ExpiryClock { ttl_ms: settings.ttl_ms, now_unix_ms: now.unix_ms, new, each_lane }
}

/// What becomes under these settings of messages that come back.
pub(in crate::queue) fn fate(settings: &Settings, now: Now) -> RequeuePolicy<'_> {
    RequeuePolicy {
        keeps: settings.dead_letters() || settings.parks(),
        limit: settings.delivery_limit,
        retry: &settings.retry,
        now_unix_ms: now.unix_ms,
    }
}

/// Whether a change is about nothing but messages in `range`.
fn concerns(change: &Change, range: SeqRange) -> bool {
    match change {
        Change::Publish { first, .. } => *first == range.first,
        Change::Settle { range: settled, .. } => settled.meet(range) == *settled,
        Change::Requeue { seq, .. } => (range.first..range.end).contains(seq),
        _ => false,
    }
}
