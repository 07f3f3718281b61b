//! What queues and exchanges that deduplicate have seen.

use crate::ids::QueueId;

/// Who has seen something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeenBy {
    /// A queue.
    Queue(QueueId),
    /// An exchange.
    Exchange {
        /// Its vhost.
        vhost: String,
        /// Its name.
        name: String,
    },
}

/// A value that a message had, by which another one is told to be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRecord {
    /// Who has seen it.
    pub by: SeenBy,
    /// Where it is kept: it replaces what was there.
    pub slot: u64,
    /// Grows with each value that this owner sees.
    pub number: u64,
    /// Until when it counts, milliseconds since 1970.
    pub until_ms: u64,
    /// The value.
    pub value: Vec<u8>,
}
