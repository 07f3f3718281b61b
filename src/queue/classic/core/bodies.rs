//! How many bytes the bodies of a queue's messages have, for who asks how large it is.
//!
//! Those in memory are counted as blocks count them. Of those on disk the sum is known, and each is
//! taken to be as large as the others: of messages that differ in size, it is right again once all
//! that were on disk have gone. Limits of length count by themselves (`sizes`).

use super::{Core, RecordPlace, records};
use crate::ids::SeqRange;
use crate::store::change::RecoveredQueue;

/// Bytes of a record beside its body that are always there; names and properties come on top.
const HEAD: u64 = 20;

/// Bytes of the bodies of a queue's messages.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    /// In memory.
    memory: u64,
    /// On disk only, and how many messages that are.
    disk: u64,
    disk_count: u64,
    /// Of those, in memory or not, that may not be delivered now or later.
    taken: u64,
}

/// How large a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BodyBytes {
    /// Of all messages.
    pub all: u64,
    /// Of those that may be delivered, now or later.
    pub ready: u64,
    /// Of those that are in memory.
    pub memory: u64,
    /// Messages that are on disk only.
    pub on_disk: u64,
}

impl Bodies {
    /// What was on disk at the start.
    pub(super) fn recover(recovered: &RecoveredQueue) -> Self {
        let disk_count = recovered.messages.iter().map(|range| range.len()).sum();
        Self { disk: recovered.bytes.saturating_sub(HEAD * disk_count), disk_count, ..Self::default() }
    }

    /// A message has come, with so many bytes.
    #[inline]
    pub(super) fn push(&mut self, bytes: u64) {
        self.memory += bytes;
    }

    /// So many bytes are delivered, or on their way out.
    #[inline]
    pub(super) fn take(&mut self, bytes: u64) {
        self.taken += bytes;
    }

    /// So many bytes may be delivered again.
    pub(super) fn put_back(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_sub(bytes);
    }

    /// The queue is empty: what is left of estimates is nothing.
    #[inline]
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Messages with so many bytes, which were taken, are gone from memory.
    #[inline]
    pub(super) fn remove(&mut self, bytes: u64) {
        self.memory = self.memory.saturating_sub(bytes);
        self.taken = self.taken.saturating_sub(bytes);
    }

    /// So many messages, which were taken, are gone from disk.
    pub(super) fn remove_from_disk(&mut self, count: u64) {
        let bytes = self.leave_disk(count);
        self.taken = self.taken.saturating_sub(bytes);
    }

    /// So many messages with so many bytes are on disk only.
    pub(super) fn move_to_disk(&mut self, count: u64, bytes: u64) {
        self.memory = self.memory.saturating_sub(bytes);
        self.disk += bytes;
        self.disk_count += count;
    }

    /// They are in memory again.
    pub(super) fn move_to_memory(&mut self, count: u64, bytes: u64) {
        self.leave_disk(count);
        self.memory += bytes;
    }

    /// Bytes of so many messages on disk.
    fn on_disk(&self, count: u64) -> u64 {
        if count >= self.disk_count {
            return self.disk;
        }
        u64::try_from(u128::from(self.disk) * u128::from(count) / u128::from(self.disk_count))
            .unwrap_or(u64::MAX)
    }

    fn leave_disk(&mut self, count: u64) -> u64 {
        let bytes = self.on_disk(count);
        self.disk -= bytes;
        self.disk_count = self.disk_count.saturating_sub(count);
        bytes
    }
}

/// Bytes of the bodies of these messages.
pub(super) fn bytes_in(core: &Core, range: SeqRange) -> u64 {
    let mut bytes = 0;
    core.live.within(range, |piece, place| {
        bytes += match place {
            RecordPlace::Memory { block, base, .. } => block.bodies_of(records(block, *base, piece)),
            RecordPlace::Disk => core.bodies.on_disk(piece.len()),
        }
    });
    bytes
}

/// How large the queue is.
pub(in crate::queue::classic) fn body_bytes(core: &Core) -> BodyBytes {
    let Bodies { memory, disk, disk_count, taken } = core.bodies;
    let all = memory + disk;
    // Nothing is out, so that what is left of an estimate is nothing.
    let taken = if core.live.len() == core.ready_or_waiting() { 0 } else { taken.min(all) };
    BodyBytes { all, ready: all - taken, memory, on_disk: disk_count }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_disk_leaves_it_with_its_share() {
        let mut bodies = Bodies::default();
        bodies.push(100);
        bodies.move_to_disk(4, 80);
        bodies.take(20);
        bodies.remove_from_disk(1);
        assert_eq!((bodies.memory, bodies.disk, bodies.taken), (20, 60, 0));
        bodies.move_to_memory(1, 25);
        assert_eq!((bodies.memory, bodies.disk, bodies.disk_count), (45, 40, 2));
        bodies.remove_from_disk(2);
        assert_eq!((bodies.disk, bodies.disk_count), (0, 0));
    }
}
