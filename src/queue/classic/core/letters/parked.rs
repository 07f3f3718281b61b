//! What an operator does with the parked messages of a queue.

use super::{Batch, Cause, DeathReason};
use crate::clock::Now;
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::classic::core::{RecordPlace, records};
use crate::queue::{Effects, Queue};
use crate::store::change::Page;
use crate::store::mark::Mark;
use std::ops::Range;
use std::sync::Arc;

/// Entries of parked messages that are dropped in one go at most: so long the queue's lock is held.
const DROPPED_MAX: usize = 1024;

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

impl Queue {
    /// The parked messages after the first `skipped`.
    pub(crate) fn parked_run(&self, skipped: u64) -> Option<ParkedRun> {
        let state = self.lock();
        let letters = state.core.letters.as_ref()?;
        let mut skipped = skipped;
        let entry = letters.parked.iter().find(|entry| {
            let is_it = skipped < entry.range.len();
            skipped -= if is_it { 0 } else { entry.range.len() };
            is_it
        })?;
        let range = SeqRange { first: entry.range.first + skipped, end: entry.range.end };
        let (piece, place) = state.core.live.at(range.first)?;
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
    pub(crate) fn unread_parked(&self) -> Option<SeqRange> {
        let state = self.lock();
        let letters = state.core.letters.as_ref()?;
        let front = letters.parked.front()?.range;
        match state.core.live.at(front.first)? {
            (piece, RecordPlace::Disk) if letters.read(front.first).is_none() => Some(front.meet(piece)),
            _ => None,
        }
    }

    /// Takes in pages for [`Queue::next_parked`].
    pub(crate) fn show_parked(&self, pages: Vec<Page>) {
        let mut state = self.lock();
        if let Some(letters) = state.core.letters.as_deref_mut() {
            letters.pages = pages.into_iter().map(|page| (page.first, Arc::new(page.block))).collect();
        }
    }

    /// Takes out the first parked messages,
    /// `most` at most, which stay in the queue until [`Queue::letters_sent`]. None if there are
    /// none, or they have to be read first.
    pub(crate) fn next_parked(&self, most: u64) -> Option<Batch> {
        let mut state = self.lock();
        let parts = state.core.next_parts(|letters| &mut letters.parked, most);
        let (settings, refused_by) = (Arc::clone(&state.settings), Vec::new());
        (!parts.is_empty()).then_some(Batch { settings, parts, refused_by })
    }

    /// Drops parked messages, some at a time: how many, and when that is durable. None once there
    /// are no more.
    pub(crate) fn drop_parked(&self, now: Now) -> Option<(u64, Effects)> {
        let mut state = self.lock();
        let mut dropped = 0;
        for _ in 0..DROPPED_MAX {
            let letters = state.core.letters.as_deref_mut()?;
            let Some(entry) = letters.parked.pop_front() else { break };
            dropped += entry.range.len();
            state.core.letters_gone(&entry, entry.range, entry.bytes);
        }
        state.used_at_ms = now.unix_ms;
        (dropped > 0).then(|| (dropped, self.finish(state, now)))
    }
}
