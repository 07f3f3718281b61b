//! What an operator does with the parked messages of a queue.

use super::{Cause, Death, DeathReason, Entry, Letters};
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::classic::core::{RecordPlace, records};
use crate::queue::ranges::RangeMap;
use crate::store::change::Page;
use crate::store::mark::Mark;
use std::collections::VecDeque;
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

impl Letters {
    /// How those died that are in the queue, by their numbers.
    pub(in crate::queue::classic) fn deaths(&self) -> &RangeMap<Death> {
        &self.dead
    }

    /// Takes out a parked message, whose record has so many bytes; whether it is parked.
    pub(in crate::queue::classic) fn take_parked(&mut self, seq: u64, bytes: u64) -> bool {
        let Some(entry) = self.take_entry(seq, bytes) else { return false };
        self.discount(&entry, 1, bytes);
        self.dead.take(entry.range, |_, _| ());
        true
    }

    /// Has a parked message, whose record has so many bytes, tried again now; whether it is parked.
    pub(in crate::queue::classic) fn retry_parked(&mut self, seq: u64, bytes: u64) -> bool {
        let Some(entry) = self.take_entry(seq, bytes) else { return false };
        self.line.push_back(entry);
        self.grown = true;
        true
    }

    /// Takes the entry of one parked message off those of its neighbours, wherever it stands.
    fn take_entry(&mut self, seq: u64, bytes: u64) -> Option<Entry> {
        let (_, &death) = self.dead.at(seq)?;
        death.cause?;
        // It is among those that are tried again, if it is not here.
        take_entry(&mut self.parked, (seq, bytes), death)
            .or_else(|| take_entry(&mut self.line, (seq, bytes), death))
    }
}

/// As [`Letters::take_entry`], from one of both lists.
fn take_entry(entries: &mut VecDeque<Entry>, (seq, bytes): (u64, u64), death: Death) -> Option<Entry> {
    // They stand in order as a rule, and one that has begun a second earlier may hold it.
    let since = Mark::place_at(death.at_s.saturating_sub(1).saturating_mul(1000));
    let near = entries.partition_point(|entry| entry.place < since);
    let holds = |&at: &usize| (entries[at].range.first..entries[at].range.end).contains(&seq);
    let at = (near..entries.len()).chain(0..near).find(holds)?;
    let entry = entries.remove(at)?;
    let ends = [SeqRange { end: seq, ..entry.range }, SeqRange { first: seq + 1, ..entry.range }];
    let others = entry.bytes.saturating_sub(bytes);
    let before = others * ends[0].len() / (entry.range.len() - 1).max(1);
    let parts = ends.into_iter().zip([before, others - before]);
    for (range, bytes) in parts.rev().filter(|(range, _)| !range.is_empty()) {
        entries.insert(at, Entry { range, bytes, ..entry });
    }
    Some(Entry { range: SeqRange::of(seq, 1), bytes, ..entry })
}
