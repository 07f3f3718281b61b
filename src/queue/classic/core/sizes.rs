//! What the bodies of messages take in a queue whose bytes are limited, also of those that are on
//! disk only.

use super::{Core, RecordPlace, records};
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::ranges::RangeMap;
use crate::store::StoreError;
use crate::store::change::PageSource;
use std::ops::Range;

/// Bytes read at a time to learn the sizes of messages.
const WEIGHED_AT_ONCE: usize = 1 << 20;

/// What the bodies of a queue's messages take.
#[derive(Debug, Default)]
pub(in crate::queue::classic) struct QueueSizes {
    /// Of all that live; equal neighbours are one entry.
    live: RangeMap<u32>,
    /// The sum over those that are ready.
    ready: u64,
}

impl QueueSizes {
    /// The sizes of all messages; those that are on disk alone are read.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::queue::classic) fn read(core: &Core, pages: &dyn PageSource) -> Result<Self, StoreError> {
        let mut sizes = Self::default();
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
            for page in pages.load(core.queue, wanted, WEIGHED_AT_ONCE)? {
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

    /// Records `range` of `block` come, ready, under the number `first` and those after it.
    pub(super) fn push(&mut self, first: u64, block: &Block, range: Range<u32>) {
        for (seq, index) in (first..).zip(range) {
            let size = body_size(block, index);
            self.live.insert(SeqRange::of(seq, 1), size);
            self.ready += u64::from(size);
        }
    }

    /// These are ready no more.
    pub(super) fn take(&mut self, range: SeqRange) {
        self.ready -= self.sum(range);
    }

    /// These are ready again.
    pub(super) fn put_back(&mut self, range: SeqRange) {
        self.ready += self.sum(range);
    }

    /// These, which are not ready, are gone.
    pub(super) fn remove(&mut self, range: SeqRange) {
        self.live.take(range, |_, _| ());
    }

    /// Bytes of those that are ready.
    pub(super) fn ready(&self) -> u64 {
        self.ready
    }

    fn sum(&self, range: SeqRange) -> u64 {
        let mut sum = 0;
        self.live.within(range, |piece, &size| sum += piece.len() * u64::from(size));
        sum
    }
}

/// The bytes of a body.
pub(in crate::queue::classic) fn body_size(block: &Block, index: u32) -> u32 {
    u32::try_from(block.message(index).body.len()).unwrap_or(u32::MAX)
}
