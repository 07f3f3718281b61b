//! What can be asked of a stream: how much of it is kept, and for how long (RabbitMQ: streams.md).

use super::table::{MAX_AGE, MAX_LENGTH_BYTES, SEGMENT_BYTES, number, string};
use crate::clock::interval_ms;
use crate::message::table::FieldTable;

/// How much of a stream is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// What is older, in milliseconds, may go.
    pub age_ms: Option<u64>,
    /// Bytes of records beyond which the oldest go.
    pub bytes: Option<u64>,
    /// Bytes of records that go together.
    pub segment_bytes: Option<u64>,
}

impl Retention {
    /// What the arguments of a stream ask for; what is wrong with one makes it count as absent.
    pub(super) fn new(arguments: &FieldTable) -> Self {
        Self {
            age_ms: string(arguments, MAX_AGE).as_deref().and_then(interval_ms),
            bytes: number(arguments, MAX_LENGTH_BYTES),
            segment_bytes: number(arguments, SEGMENT_BYTES),
        }
    }
}
