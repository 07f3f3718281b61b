//! Length limits: how much may be ready in a queue, and what gives way beyond that (RabbitMQ:
//! maxlength.md).
//!
//! Only what is ready, or will be after a delay, counts: its messages, and the bytes of their
//! bodies. A full queue that refuses decides before a consumer who waits is considered; one that
//! drops its head deals first, so what is consumed at once drives nothing out. Queues with a limit
//! of bytes know the size of each of their messages, also of those that are on disk only.

use super::QueueState;
use super::core::letters::DeathReason;
use super::core::{Core, Head, RecordPlace, records};
use crate::arguments::{LengthLimit, Overflow};
use crate::clock::Now;
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::Queue;
use crate::queue::ranges::RangeMap;
use crate::store::StoreError;
use crate::store::change::PageSource;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// Bytes read at a time to learn the sizes of messages.
const WEIGHED_AT_ONCE: usize = 1 << 20;

/// What the bodies of a queue's messages weigh.
#[derive(Debug, Default)]
pub(in crate::queue) struct QueueSizes {
    /// Of all that live; equal neighbours are one entry.
    live: RangeMap<u32>,
    /// The sum over those that are ready.
    ready: u64,
}

impl QueueSizes {
    /// Records `range` of `block` come, ready, under the number `first` and those after it.
    pub(in crate::queue) fn push(&mut self, first: u64, block: &Block, range: Range<u32>) {
        for (seq, index) in (first..).zip(range) {
            let size = body_size(block, index);
            self.live.insert(SeqRange::of(seq, 1), size);
            self.ready += u64::from(size);
        }
    }

    /// These are ready no more.
    pub(in crate::queue) fn take(&mut self, range: SeqRange) {
        self.ready -= self.sum(range);
    }

    /// These are ready again.
    pub(in crate::queue) fn put_back(&mut self, range: SeqRange) {
        self.ready += self.sum(range);
    }

    /// These, which are not ready, are gone.
    pub(in crate::queue) fn remove(&mut self, range: SeqRange) {
        self.live.take(range, |_, _| ());
    }

    /// Bytes of those that are ready.
    pub(in crate::queue) fn ready(&self) -> u64 {
        self.ready
    }

    fn sum(&self, range: SeqRange) -> u64 {
        let mut sum = 0;
        self.live.within(range, |piece, &size| sum += piece.len() * u64::from(size));
        sum
    }
}

/// The bytes of a body.
pub(in crate::queue) fn body_size(block: &Block, index: u32) -> u32 {
    u32::try_from(block.message(index).body.len()).unwrap_or(u32::MAX)
}

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
            state.core.sizes = Some(Box::new(self.weighed(&state.core, pages)?));
        }
        Ok(())
    }

    /// The sizes of all messages; those that are on disk alone are read.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::queue) fn weighed(
        &self,
        core: &Core,
        pages: &dyn PageSource,
    ) -> Result<QueueSizes, StoreError> {
        let mut sizes = QueueSizes::default();
        let mut unread: Vec<SeqRange> = Vec::new();
        for (range, place) in core.live.from(0) {
            match place {
                RecordPlace::Memory { block, base, .. } => {
                    sizes.push(range.first, block, records(block, *base, range))
                }
                RecordPlace::Disk => unread.push(range),
            }
        }
        unread.reverse();
        while let Some(wanted) = unread.pop() {
            let mut read_to = wanted.first;
            for page in pages.load(self.id, wanted, WEIGHED_AT_ONCE)? {
                let end = page.first + u64::from(page.block.len());
                for (seq, index) in (page.first..end).zip(0..) {
                    if seq >= read_to && seq < wanted.end && core.live.at(seq).is_some() {
                        sizes.push(seq, &page.block, index..index + 1);
                    }
                }
                read_to = read_to.max(end);
            }
            // What is not on disk is found missing when it is due.
            if read_to > wanted.first && read_to < wanted.end {
                unread.push(SeqRange { first: read_to, end: wanted.end });
            }
        }
        sizes.ready = core.ready_ranges().map(|range| sizes.sum(range)).sum();
        Ok(sizes)
    }
}

/// Some records of a block as a block, which shares its bytes.
fn part(block: &Arc<Block>, range: Range<u32>) -> Arc<Block> {
    if range == (0..block.len()) {
        return Arc::clone(block);
    }
    Arc::new(Block::from_bytes(block.slice(range)).expect("records of a block are a block"))
}
