//! The pages of a stream that are in memory because somebody reads them, or did a moment ago.
//!
//! Readers own their pages; what is kept here beside them is where each is, so that two readers
//! share one, and the last few, for readers who are not far behind another.

use super::log::{StreamLog, weight};
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::ranges::RangeMap;
use crate::store::change::Page;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

/// What is kept of the last pages, bytes.
const RECENT_BYTES: usize = 2 << 20;

/// The pages of a stream that are in memory because a consumer reads them.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// By the number of the first record.
    shared: BTreeMap<u64, (Weak<Block>, usize)>,
    recent: VecDeque<Arc<Block>>,
    recent_bytes: usize,
    /// Numbers that should be on disk and are not.
    holes: RangeMap<()>,
    /// A page was asked for and has not come.
    pub(super) reading: bool,
    /// Bytes in pages when that was last looked at.
    resident: usize,
    /// Pages came or went since.
    pub(super) stale: bool,
}

impl Pages {
    /// Takes in what was read; how many messages were not there that should have been.
    pub(super) fn load(&mut self, wanted: SeqRange, pages: Vec<Page>, log: &StreamLog) -> u64 {
        self.reading = false;
        self.stale = true;
        let found = pages.first().map_or(wanted.end, |page| page.first);
        let here = SeqRange { first: log.first(), end: log.tail_first() };
        let hole = SeqRange { first: wanted.first, end: found.clamp(wanted.first, wanted.end) }.meet(here);
        let mut lost = 0;
        self.holes.take_with_gaps(hole, |part, known| {
            lost += if known.is_none() { part.len() } else { 0 };
        });
        self.holes.insert(hole, ());
        for page in pages {
            let block = Arc::new(page.block);
            let bytes = weight(&block);
            // Rows are joined now and then: pages of the rows before would hide this one.
            let hidden = page.first + 1..page.first + u64::from(block.len()).max(1);
            while let Some((&first, _)) = self.shared.range(hidden.clone()).next() {
                self.shared.remove(&first);
            }
            self.shared.insert(page.first, (Arc::downgrade(&block), bytes));
            self.recent_bytes += bytes;
            self.recent.push_back(block);
        }
        lost
    }

    /// The page that holds `seq`, if it is here, and its first number.
    pub(super) fn find(&self, seq: u64) -> Option<(u64, Arc<Block>)> {
        let (&first, (block, _)) = self.shared.range(..=seq).next_back()?;
        let block = block.upgrade()?;
        (seq - first < u64::from(block.len())).then_some((first, block))
    }

    /// The first number from `seq` on that is not known to be missing.
    pub(super) fn beyond_hole(&self, seq: u64) -> u64 {
        self.holes.at(seq).map_or(seq, |(hole, ())| hole.end)
    }

    /// Lets go of all but the last pages; of these too when memory is
    /// `tight`. Numbers below `first` are gone.
    pub(super) fn forget(&mut self, tight: bool, first: u64) {
        let most = if tight { 0 } else { RECENT_BYTES };
        while self.recent_bytes > most
            && let Some(block) = self.recent.pop_front()
        {
            self.recent_bytes -= weight(&block);
            self.stale = true;
        }
        if !self.holes.is_empty() {
            self.holes.take(SeqRange { first: 0, end: first }, |_, ()| ());
        }
    }

    /// What pages take in memory, wherever they are held.
    pub(super) fn resident(&mut self) -> usize {
        if self.stale {
            self.shared.retain(|_, (block, _)| block.strong_count() > 0);
            self.resident = self.shared.values().map(|(_, bytes)| bytes).sum();
            self.stale = false;
        }
        self.resident
    }
}
