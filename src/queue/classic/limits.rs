//! Length limits: how much may be ready in a queue, and what gives way beyond that (RabbitMQ:
//! maxlength.md).
//!
//! Only what is ready, or will be after a delay, counts: its messages, and the bytes of their
//! bodies. A full queue that refuses decides before a consumer who waits is considered; one that
//! drops its head deals first, so what is consumed at once drives nothing out. Queues with a limit
//! of bytes know the size of each of their messages, also of those that are on disk only.

use super::Classic;
use super::core::letters::DeathReason;
use super::core::sizes::body_size;
use super::core::{Core, Head};
use crate::arguments::{LengthLimit, Overflow};
use crate::clock::Now;
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::Queue;
use std::mem;
use std::ops::Range;
use std::sync::{Arc, Weak};

impl LengthLimit {
    /// Whether more is ready than may be.
    fn is_exceeded(&self, core: &Core) -> bool {
        core.ready_or_waiting() > self.messages || self.bytes.is_some_and(|most| core.ready_bytes() > most)
    }

    /// Whether nothing more may come.
    fn is_reached(&self, classic: &Classic) -> bool {
        let Classic { core, reserved, .. } = classic;
        core.ready_or_waiting() + reserved.messages() >= self.messages
            || self.bytes.is_some_and(|most| core.ready_bytes() + reserved.bytes >= most)
    }

    /// How many of the first records of `range` may come.
    fn room_for(&self, classic: &Classic, block: &Block, range: Range<u32>) -> u32 {
        let Classic { core, reserved, .. } = classic;
        let room = self.messages.saturating_sub(core.ready_or_waiting() + reserved.messages());
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

impl Classic {
    /// Appends what `limit` allows of `block` and deals it; what it does not is returned.
    pub(super) fn append_within(
        &mut self,
        queue: &Queue,
        limit: LengthLimit,
        (block, logged): (&Arc<Block>, bool),
        now: Now,
    ) -> Vec<Range<u32>> {
        if limit.overflow == Overflow::DropHead {
            self.append(queue, block, logged, now);
            self.trim(now);
            return Vec::new();
        }
        let mut refused: Vec<Range<u32>> = Vec::new();
        let mut at = 0;
        // A consumer makes room for what comes after what it takes: a part of the block at a time.
        while at < block.len() {
            let fits = limit.room_for(self, block, at..block.len());
            if fits > 0 {
                self.append(queue, &part(block, at..at + fits), logged, now);
                at += fits;
                continue;
            }
            match refused.last_mut() {
                Some(last) if last.end == at => last.end += 1,
                _ => refused.push(at..at + 1),
            }
            at += 1;
        }
        if limit.overflow == Overflow::RejectAndDeadLetter && self.settings.dead_letters() {
            for records in &refused {
                self.core.refuse(block, records.clone(), now.unix_ms);
            }
        }
        refused
    }

    /// Calls a queue once, when a letter of its that was refused may find room.
    pub(super) fn call_when_there_is_room(&mut self, source: &Queue) {
        if self.wanted_by.iter().all(|&(id, _)| id != source.id) {
            self.wanted_by.push((source.id, Weak::clone(&source.this)));
        }
    }

    /// Those who are to be called because there is room.
    pub(super) fn room_for(&mut self) -> Vec<Weak<Queue>> {
        let is_full = |classic: &Self| classic.settings.length.is_some_and(|limit| limit.is_reached(classic));
        if self.wanted_by.is_empty() || is_full(self) {
            return Vec::new();
        }
        mem::take(&mut self.wanted_by).into_iter().map(|(_, source)| source).collect()
    }

    /// Drops what is too much off the head.
    pub(super) fn trim(&mut self, now: Now) {
        let Some(limit) = self.settings.length.filter(|limit| limit.overflow == Overflow::DropHead) else {
            return;
        };
        let dead_letters = self.settings.dead_letters();
        while limit.is_exceeded(&self.core) {
            let (Head::Ready(head) | Head::OnDisk(head)) = self.core.head() else { break };
            let there = self.core.ready_or_waiting();
            let excess = there.saturating_sub(limit.messages).max(1);
            let head = SeqRange::of(head.first, head.len().min(excess));
            self.core.withdraw(head);
            self.core.die(head, DeathReason::MaxLen, dead_letters, now.unix_ms);
        }
    }
}

/// Some records of a block as a block, which shares its bytes.
fn part(block: &Arc<Block>, range: Range<u32>) -> Arc<Block> {
    if range == (0..block.len()) {
        return Arc::clone(block);
    }
    Arc::new(Block::from_bytes(block.slice(range)).expect("records of a block are a block"))
}
