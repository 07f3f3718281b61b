//! Identifiers as types, so that two of them cannot be exchanged by mistake.
//!
//! Plain values: nothing here allocates, locks or knows what the number points at.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by numbers that this process gives out: see [`IdHasher`].
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Hashes up to 64 bits by one multiplication: for numbers that are given out here, one after the
/// other, so that nobody can choose them to collide. What a client chooses is hashed with a secret.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(byte.into()));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = self.0 << 32 | u64::from(number);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }

    fn finish(&self) -> u64 {
        // 2^64 divided by the golden ratio: neighbouring numbers end up far apart (Knuth, section
        // 6.4).
        let spread = u128::from(self.0) * 0x9e37_79b9_7f4a_7c15;
        #[expect(clippy::cast_possible_truncation, reason = "both halves are wanted")]
        let folded = (spread >> 64) as u64 ^ spread as u64;
        folded
    }
}

/// Names a queue for the life of its data: never used again, not even after the queue is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

/// Names a vhost for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VHostId(pub u64);

/// Names a client's connection for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Names a consumer for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub u64);

/// A commit group of the log; what was appended under a ticket is on disk once that ticket is
/// durable. Ticket 0 is always durable: "nothing to wait for".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// Bits of a sequence number below its lane.
const LANE_BITS: u32 = 56;

/// The lane of a sequence number, its top byte: messages of one priority have numbers of one lane,
/// and a queue delivers lane 0 first. A queue without priorities has no other.
#[must_use]
pub fn lane_of(seq: u64) -> u8 {
    seq.to_be_bytes()[0]
}

/// The first number of a lane.
#[must_use]
pub fn lane_start(lane: u8) -> u64 {
    u64::from(lane) << LANE_BITS
}

/// Sequence numbers of one queue, from `first` up to but not including `end`.
///
/// A message keeps its sequence number from the moment it enters a queue until it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SeqRange {
    /// The first number of the range.
    pub first: u64,
    /// One past the last number of the range.
    pub end: u64,
}

impl SeqRange {
    /// The range of `count` numbers that begins at `first`.
    #[must_use]
    pub fn of(first: u64, count: u64) -> Self {
        Self { first, end: first + count }
    }

    /// How many numbers the range holds.
    #[must_use]
    pub fn len(self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// Whether the range holds no number.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.first
    }

    /// What both ranges hold; empty when they do not meet.
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        let first = self.first.max(other.first);
        Self { first, end: self.end.min(other.end).max(first) }
    }

    /// The smallest range that holds what either holds.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        if self.is_empty() {
            other
        } else if other.is_empty() {
            self
        } else {
            Self { first: self.first.min(other.first), end: self.end.max(other.end) }
        }
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue #{}", self.0)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection #{}", self.0)
    }
}
