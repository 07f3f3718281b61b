//! What an operator does with the parked messages of a queue.

use super::{Cause, DeathReason, Letters};
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::classic::core::{RecordPlace, records};
use crate::queue::ranges::RangeMap;
use crate::store::change::Page;
use crate::store::mark::Mark;
use std::ops::Range;
use std::sync::Arc;

/// Consecutive parked messages that died alike, as an operator sees them.
#[derive(Debug, Clone)]
pub(crate) struct ParkedRun {
    pub(crate) reason: DeathReason,
    pub(crate) cause: Cause,
    /// When they died, milliseconds since 1970.
    pub(crate) died_ms: u64,
    pub(crate) range: SeqRange,
    /// Where the first of them are, unless on disk alone.
    pub(crate) records: Option<(Arc<Block>, Range<u32>)>,
}

impl Letters {
    /// The parked messages after the first `skipped`, of those that are `live`.
    pub(super) fn parked_run(&self, live: &RangeMap<RecordPlace>, skipped: u64) -> Option<ParkedRun> {
        let mut skipped = skipped;
        let entry = self.parked.iter().find(|entry| {
            let is_it = skipped < entry.range.len();
            skipped -= if is_it { 0 } else { entry.range.len() };
            is_it
        })?;
        let range = SeqRange { first: entry.range.first + skipped, end: entry.range.end };
        let (piece, place) = live.at(range.first)?;
        let range = range.meet(piece);
        let records = match place {
            RecordPlace::Memory { block, base, .. } => {
                Some((Arc::clone(block), records(block, *base, range)))
            }
            RecordPlace::Disk => None,
        };
        let (reason, died_ms) = (entry.reason, Mark::ms_of(entry.place));
        Some(ParkedRun { reason, cause: entry.cause.unwrap_or(Cause::NoRoute), died_ms, range, records })
    }

    /// The first parked messages, if they are on disk and no page of them was shown.
    pub(super) fn unread_parked(&self, live: &RangeMap<RecordPlace>) -> Option<SeqRange> {
        let front = self.parked.front()?.range;
        match live.at(front.first)? {
            (piece, RecordPlace::Disk) if self.read(front.first).is_none() => Some(front.meet(piece)),
            _ => None,
        }
    }

    /// Takes in pages of the first parked messages.
    pub(in crate::queue::classic) fn show_parked(&mut self, pages: Vec<Page>) {
        self.pages = pages.into_iter().map(|page| (page.first, Arc::new(page.block))).collect();
    }
}
