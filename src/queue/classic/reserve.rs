//! Room that a transaction takes in a queue before its messages come, so that it knows that none
//! will be refused.
//!
//! What is reserved counts as ready for whoever else publishes, so that a queue is never
//! overfilled. As for messages that come without a transaction, a consumer who waits makes room:
//! what it would be dealt needs none. Whoever leaves in between, or is dealt what came back
//! meanwhile, makes the queue longer than its limit as a message does that comes back.

use super::Classic;
use super::core::sizes::body_size;
use crate::arguments::LengthLimit;
use crate::clock::Now;
use crate::ids::Ticket;
use crate::message::Block;
use crate::queue::{Effects, Queue};
use std::sync::{Arc, Weak};

/// What a transaction is to put into one queue.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// The bytes of each body, in order.
    pub(crate) sizes: Vec<u32>,
    /// Bytes of all records.
    pub(crate) bytes: usize,
}

impl Wanted {
    /// Record `index` of `block` is to come.
    pub(crate) fn add(&mut self, block: &Block, index: u32) {
        self.sizes.push(body_size(block, index));
        self.bytes += block.bytes_of(index..index + 1);
    }
}

/// What is reserved.
#[must_use]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// The first so many messages go to consumers who wait.
    pub(in crate::queue) dealt: u64,
    /// So many messages stay.
    pub(in crate::queue) kept: u64,
    /// The bytes of the bodies of those that stay.
    pub(in crate::queue) bytes: u64,
}

impl Reservation {
    /// How many messages it is for.
    pub(in crate::queue) fn messages(self) -> u64 {
        self.dealt + self.kept
    }

    fn add(&mut self, other: Self) {
        self.dealt += other.dealt;
        self.kept += other.kept;
        self.bytes += other.bytes;
    }

    fn remove(&mut self, other: Self) {
        self.dealt = self.dealt.saturating_sub(other.dealt);
        self.kept = self.kept.saturating_sub(other.kept);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    /// Takes out what the records of `block` need.
    fn take(&mut self, block: &Block) -> Self {
        let dealt = self.dealt.min(block.len().into());
        let kept = self.kept.min(u64::from(block.len()) - dealt);
        let first_kept = u32::try_from(dealt).unwrap_or(u32::MAX);
        let bytes: u64 = (first_kept..block.len()).map(|index| u64::from(body_size(block, index))).sum();
        let taken = Self { dealt, kept, bytes: bytes.min(self.bytes) };
        self.remove(taken);
        taken
    }
}

impl LengthLimit {
    /// The room that all of `wanted` would need, if there is so much.
    fn reserve(&self, classic: &mut Classic, wanted: &Wanted) -> Option<Reservation> {
        let reserved = classic.reserved;
        let mut spare = if classic.core.ready() == 0 { classic.consumers.spare(wanted.bytes) } else { 0 };
        spare = spare.saturating_sub(reserved.dealt);
        let there = classic.core.ready_or_waiting() + reserved.kept;
        // A queue without a limit of bytes does not know them.
        let bytes_there = self.bytes.map_or(0, |_| classic.core.ready_bytes() + reserved.bytes);
        let mut room = Reservation::default();
        for &size in &wanted.sizes {
            let bytes = bytes_there + room.bytes + u64::from(size);
            if there + room.kept >= self.messages || self.bytes.is_some_and(|most| bytes > most) {
                return None;
            }
            if spare > 0 {
                spare -= 1;
                room.dealt += 1;
            } else {
                room.kept += 1;
                room.bytes += u64::from(size);
            }
        }
        Some(room)
    }
}

impl Classic {
    /// Reserves room for all of `wanted`; none if some of it would be refused.
    pub(in crate::queue) fn reserve(&mut self, wanted: &Wanted) -> Option<Reservation> {
        let limit = self.settings.length.filter(|_| self.settings.may_refuse() && !self.deleted);
        let Some(limit) = limit else { return Some(Reservation::default()) };
        let room = limit.reserve(self, wanted)?;
        self.reserved.add(room);
        Some(room)
    }

    /// As [`Classic::reserve`], of room for a letter of `source`: that is called once there may be
    /// some, if there is none.
    pub(in crate::queue) fn reserve_for(&mut self, source: &Queue, wanted: &Wanted) -> Option<Reservation> {
        let room = self.reserve(wanted);
        if room.is_none() {
            self.call_when_there_is_room(source);
        }
        room
    }

    /// Nothing comes for this room: who is to be called because of that.
    pub(in crate::queue) fn give_back(&mut self, room: Reservation) -> Vec<Weak<Queue>> {
        self.reserved.remove(room);
        self.room_for()
    }

    /// As [`Classic::enqueue`], of records for which there is room, or was when it was asked for:
    /// none is refused.
    pub(in crate::queue) fn enqueue_reserved(
        &mut self,
        queue: &Queue,
        room: &mut Reservation,
        block: &Arc<Block>,
        now: Now,
    ) -> (Ticket, Effects) {
        if self.deleted || block.is_empty() {
            return (Ticket(0), Effects::default());
        }
        self.reserved.remove(room.take(block));
        let logged = queue.settings.durable && block.persistent() > 0;
        self.append(queue, block, logged, now);
        self.trim(now);
        let effects = self.finish(queue, now);
        (if logged { effects.ticket } else { Ticket(0) }, effects)
    }
}
