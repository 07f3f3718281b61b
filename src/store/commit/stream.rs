//! What happens to a stream beside its records, merged: where it begins, where its chunks begin,
//! how far named consumers are.

use crate::store::change::{StreamChunk, StreamNote};
use std::collections::BTreeMap;

/// What happens to a stream beside its records, merged.
#[derive(Debug, Default)]
pub(in crate::store) struct StreamBatch {
    /// Where it begins from now on.
    pub(in crate::store) first: Option<u64>,
    /// Chunks that begin, by the number of their first record.
    pub(in crate::store) chunks: BTreeMap<u64, StreamChunk>,
    /// How far named consumers have come.
    pub(in crate::store) offsets: BTreeMap<Box<str>, u64>,
    /// Named consumers that are forgotten; none of them is in `offsets`.
    pub(in crate::store) forgotten: Vec<Box<str>>,
}

impl StreamBatch {
    pub(in crate::store) fn absorb(&mut self, note: StreamNote) {
        match note {
            StreamNote::Begins(first) => {
                self.first = Some(first);
                self.chunks = self.chunks.split_off(&first);
            }
            StreamNote::Chunk(chunk) => {
                self.chunks.insert(chunk.first, chunk);
            }
            StreamNote::Offset { name, next } => {
                self.forgotten.retain(|other| *other != name);
                self.offsets.insert(name, next);
            }
            StreamNote::Forget { name } => {
                self.offsets.remove(&name);
                self.forgotten.push(name);
            }
        }
    }

    pub(in crate::store) fn merge(&mut self, later: Self) {
        later.notes(|note| self.absorb(note));
    }

    /// Everything as notes that make the same work.
    pub(in crate::store) fn notes(self, mut each: impl FnMut(StreamNote)) {
        if let Some(first) = self.first {
            each(StreamNote::Begins(first));
        }
        self.chunks.into_values().for_each(|chunk| each(StreamNote::Chunk(chunk)));
        self.offsets.into_iter().for_each(|(name, next)| each(StreamNote::Offset { name, next }));
        self.forgotten.into_iter().for_each(|name| each(StreamNote::Forget { name }));
    }
}
