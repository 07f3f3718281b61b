//! The store's formats, read and written again: for who holds them against bytes that nobody wrote.
//!
//! Nothing of the broker uses this. It is here so that the decoders themselves stay the store's
//! own.

use super::FORMAT;
use super::codec::record;
use super::commit::group::Group;
use super::error::StoreError;
use super::redb::segment::{Segment, SegmentView};

/// Under which a row of `segments` is taken to lie.
const KEY: (u64, u64) = (1, 0);

/// What bytes are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A row of `queues`.
    Queue,
    /// A key of `bindings`.
    Binding,
    /// A row of `segments`.
    Segment,
    /// The payload of an entry of the journal, with a row of `exchanges` among what it may hold.
    Entry,
}

/// Reads `bytes` as `format` and writes what was found there. A row comes out as it went in; an
/// entry once it is in order: what is about one queue is together, and nothing is said twice.
///
/// # Errors
/// [`StoreError::Damaged`]: they are nothing that the store ever wrote.
pub fn rewrite(format: Format, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    Ok(match format {
        Format::Queue => record::encode_queue(&record::decode_queue(0, bytes)?),
        Format::Binding => record::encode_binding(&record::decode_binding(bytes)?),
        Format::Segment => Segment::from(SegmentView::decode(KEY, bytes)?).encode(KEY),
        Format::Entry => {
            let mut out = Vec::new();
            Group::decode(1, bytes, FORMAT)?.encode(&mut out);
            out
        }
    })
}
