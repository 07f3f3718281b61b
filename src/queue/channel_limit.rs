//! The limit that `basic.qos global=true` sets on all consumers of a channel together, and the
//! queues that wait for room under it.
//!
//! Queues take turns: one that has messages and finds the limit used up, or others before it, waits
//! at the end of the line. The session gives the line its turns whenever something became free
//! ([`crate::broker::Broker::take_turns`]), each queue an equal share of it.
//!
//! Invariant: while queues are in line, the limit is used up, or the session is about to give them
//! their turns.

use super::Queue;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The limit of unacknowledged messages that the consumers of a channel share, and the queues that
/// wait for room under it.
#[derive(Debug, Default)]
pub struct ChannelLimit {
    /// 0: no limit.
    limit: AtomicU32,
    used: AtomicU32,
    /// How many queues are in line.
    waiting: AtomicUsize,
    /// Each queue once. The lock is a leaf.
    line: Mutex<VecDeque<Weak<Queue>>>,
}

impl ChannelLimit {
    /// No limit yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on at most `limit` unacknowledged messages; 0 lifts the limit.
    pub fn set(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The limit; 0 for none.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Whether there is a limit.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.limit() > 0
    }

    /// What is free.
    fn free(&self) -> u32 {
        match self.limit() {
            0 => u32::MAX,
            limit => limit.saturating_sub(self.used.load(Ordering::Relaxed)),
        }
    }

    /// What a queue may take that has no turn: nothing while others are in line.
    pub(super) fn room(&self) -> u32 {
        if self.limit() > 0 && self.waiting.load(Ordering::Relaxed) > 0 { 0 } else { self.free() }
    }

    /// What a queue may take that has a turn, and `share` left of it.
    pub(super) fn room_in_turn(&self, share: u32) -> u32 {
        self.free().min(share)
    }

    /// Takes up to `wanted` of what is free; two queues may race for the last of it, so it may be
    /// less than `room` said.
    pub(super) fn take(&self, wanted: u32) -> u32 {
        let mut taken = 0;
        let _always_updates = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let limit = self.limit();
            taken = if limit == 0 { wanted } else { wanted.min(limit.saturating_sub(used)) };
            Some(used.saturating_add(taken))
        });
        taken
    }

    pub(super) fn release(&self, count: u32) {
        let _always_updates = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(count)));
    }

    /// A queue waits for its turn; `at_turn` tells that its turn ends. It does not wait, and is
    /// told so, when something is free and nobody else waits: then nobody may be about to give it a
    /// turn.
    pub(super) fn wait(&self, queue: &Weak<Queue>, at_turn: bool) -> bool {
        let mut line = self.lock();
        if !at_turn && line.is_empty() && self.free() > 0 {
            return false;
        }
        if !line.iter().any(|other| Weak::ptr_eq(other, queue)) {
            line.push_back(Weak::clone(queue));
            self.waiting.store(line.len(), Ordering::Relaxed);
        }
        true
    }

    /// The queue whose turn it is, and its share of what is free; none when nothing is free or
    /// nobody waits.
    pub(crate) fn next(&self) -> Option<(Arc<Queue>, u32)> {
        let mut line = self.lock();
        loop {
            let (free, waiting) = (self.free(), u32::try_from(line.len()).unwrap_or(u32::MAX));
            if free == 0 {
                return None;
            }
            let first = line.pop_front()?;
            self.waiting.store(line.len(), Ordering::Relaxed);
            if let Some(queue) = first.upgrade() {
                return Some((queue, (free / waiting).max(1)));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Weak<Queue>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
