//! Length limits: how much may be ready in a queue, and what gives way beyond that (RabbitMQ:
//! maxlength.md).
//!
//! Only what is ready, or will be after a delay, counts: its messages, and the bytes of their
//! bodies. A full queue that refuses decides before a consumer who waits is considered; one that
//! drops its head deals first, so what is consumed at once drives nothing out. Queues with a limit
//! of bytes know the size of each of their messages, also of those that are on disk only.

use super::QueueState;
use super::core::letters::DeathReason;
use super::core::sizes::{QueueSizes, body_size};
use super::core::{Core, Head};
use crate::arguments::{LengthLimit, Overflow};
use crate::clock::Now;
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::Queue;
use crate::store::StoreError;
use crate::store::change::PageSource;
use std::ops::Range;
use std::sync::{Arc, Weak};

impl LengthLimit {
    /// Whether more is ready than may be.
    fn is_exceeded(&self, core: &Core) -> bool {
        core.ready() + core.waiting.len() > self.messages
            || self.bytes.is_some_and(|most| core.ready_bytes() > most)
    }

    /// Whether nothing more may come.
    fn is_reached(&self, state: &QueueState) -> bool {
        let QueueState { core, reserved, .. } = state;
        core.ready() + core.waiting.len() + reserved.messages() >= self.messages
            || self.bytes.is_some_and(|most| core.ready_bytes() + reserved.bytes >= most)
    }

    /// How many of the first records of `range` may come.
    fn room_for(&self, state: &QueueState, block: &Block, range: Range<u32>) -> u32 {
        let QueueState { core, reserved, .. } = state;
        let room = self.messages.saturating_sub(core.ready() + core.waiting.len() + reserved.messages());
        let count = (range.end - range.start).min(u32::try_from(room).unwrap_or(u32::MAX));
        let Some(most) = self.bytes else { return count };
        let mut bytes = core.ready_bytes() + reserved.bytes;
        let fits = |&index: &u32| {
            bytes += u64::from(body_size(block, index));
            bytes <= most
        };
        let fitting = (range.start..range.start + count).take_while(fits).count();
        u32::try_from(fitting).unwrap_or(count)
    }
}

impl Queue {
    /// Appends what `limit` allows of `block` and deals it; what it does not is returned.
    pub(in crate::queue) fn append_within(
        &self,
        state: &mut QueueState,
        limit: LengthLimit,
        (block, logged): (&Arc<Block>, bool),
        now: Now,
    ) -> Vec<Range<u32>> {
        if limit.overflow == Overflow::DropHead {
            self.append(state, block, logged, now);
            Self::trim(state, now);
            return Vec::new();
        }
        let mut refused: Vec<Range<u32>> = Vec::new();
        let mut at = 0;
        // A consumer makes room for what comes after what it takes: a part of the block at a time.
        while at < block.len() {
            let fits = limit.room_for(state, block, at..block.len());
            if fits > 0 {
                self.append(state, &part(block, at..at + fits), logged, now);
                at += fits;
                continue;
            }
            match refused.last_mut() {
                Some(last) if last.end == at => last.end += 1,
                _ => refused.push(at..at + 1),
            }
            at += 1;
        }
        if limit.overflow == Overflow::RejectAndDeadLetter && state.settings.dead_letters() {
            for records in &refused {
                state.core.refuse(block, records.clone(), now.unix_ms);
            }
        }
        refused
    }

    /// Calls a queue once, when a letter of its that was refused may find room.
    pub(crate) fn call_when_there_is_room(&self, source: &Self) {
        let mut state = self.lock();
        if state.wanted_by.iter().all(|&(id, _)| id != source.id) {
            state.wanted_by.push((source.id, Weak::clone(&source.this)));
        }
    }

    /// Those who are to be called because there is room.
    pub(in crate::queue) fn room_for(&self, state: &mut QueueState) -> Vec<Weak<Self>> {
        let is_full = |state: &QueueState| state.settings.length.is_some_and(|limit| limit.is_reached(state));
        if state.wanted_by.is_empty() || is_full(state) {
            return Vec::new();
        }
        std::mem::take(&mut state.wanted_by).into_iter().map(|(_, source)| source).collect()
    }

    /// Drops what is too much off the head.
    pub(in crate::queue) fn trim(state: &mut QueueState, now: Now) {
        let Some(limit) = state.settings.length.filter(|limit| limit.overflow == Overflow::DropHead) else {
            return;
        };
        let dead_letters = state.settings.dead_letters();
        while limit.is_exceeded(&state.core) {
            let (Head::Ready(head) | Head::OnDisk(head)) = state.core.head() else { break };
            let there = state.core.ready() + state.core.waiting.len();
            let excess = there.saturating_sub(limit.messages).max(1);
            let head = SeqRange::of(head.first, head.len().min(excess));
            state.core.withdraw(head);
            state.core.die(head, DeathReason::MaxLen, dead_letters, now.unix_ms);
        }
    }

    /// Learns the sizes of messages that were on disk when the process started, if they matter.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn weigh(&self, pages: &dyn PageSource) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.core.sizes.is_some() {
            state.core.sizes = Some(Box::new(QueueSizes::read(&state.core, pages)?));
        }
        Ok(())
    }
}

/// Some records of a block as a block, which shares its bytes.
fn part(block: &Arc<Block>, range: Range<u32>) -> Arc<Block> {
    if range == (0..block.len()) {
        return Arc::clone(block);
    }
    Arc::new(Block::from_bytes(block.slice(range)).expect("records of a block are a block"))
}
