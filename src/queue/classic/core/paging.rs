//! What a queue keeps in memory and what on disk only: a backlog costs disk, not memory.
//!
//! Over its budget a queue forgets the bytes of what the disk has: first of what is unacknowledged
//! (an ack needs no bytes), then of what is waiting beyond the head of the line. Messages that are
//! not on disk (transient ones) are written there first. Bytes come back as pages when a message is
//! due and its bytes are not here.

use super::{Core, Head, RecordPlace, records, weight};
use crate::ids::{SeqRange, Ticket, lane_of};
use crate::queue::memory::MemoryBudget;
use crate::store::change::{Change, Page};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Pieces that are forgotten or spilled in one go, at most, and again as many of those that were
/// spilled: so long the queue's lock is held.
pub(in crate::queue) const PIECES_MAX: usize = 1024;

/// Which numbers of a lane the disk has, and how far forgetting has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// (one past the last number, the ticket with which everything below is stored), in order.
    marks: VecDeque<(u64, Ticket)>,
    /// Everything logged below this number can be read back.
    stored: u64,
    /// Everything fresh below this number that could be forgotten is.
    forgotten: u64,
    /// Everything unacknowledged below this number that could be forgotten is.
    forgotten_unacked: u64,
    /// Below `forgotten_unacked` too there are bytes again, from this number on.
    loaded_from: Option<u64>,
}

impl Progress {
    /// Of a lane that begins at `first`.
    pub(super) fn new(first: u64) -> Self {
        Self { stored: first, forgotten: first, forgotten_unacked: first, ..Self::default() }
    }

    /// Of a lane whose messages, all below `end`, were found on disk.
    pub(super) fn recovered(first: u64, end: u64) -> Self {
        Self { stored: end, ..Self::new(first) }
    }

    /// Messages from `first` on have come back from disk, and can be forgotten once more when they
    /// were delivered.
    fn loaded(&mut self, first: u64) {
        self.loaded_from = Some(self.loaded_from.map_or(first, |before| before.min(first)));
    }

    /// Messages below `end` are stored with `ticket`.
    fn mark(&mut self, end: u64, ticket: Ticket) {
        match self.marks.back_mut() {
            Some(last) if last.0 == end => {}
            Some(last) if last.1 == ticket => last.0 = end,
            None if self.stored == end => {}
            _ => self.marks.push_back((end, ticket)),
        }
    }

    fn advance(&mut self, stored: Ticket) {
        while let Some(&(end, ticket)) = self.marks.front()
            && ticket <= stored
        {
            self.stored = end;
            self.marks.pop_front();
        }
    }
}

/// What a queue has on its way to disk and back.
#[derive(Debug, Default)]
pub(in crate::queue::classic) struct Paging {
    /// Transient messages on their way to disk, in the order of their tickets.
    spilled: VecDeque<(SeqRange, Ticket)>,
    /// The same ranges: the first number, and one past the last.
    spilling: BTreeMap<u64, u64>,
    /// What was left in memory the last time.
    head_bytes: usize,
    /// A page was asked for and has not come.
    pub(in crate::queue::classic) reading: bool,
}

/// Transient messages that the disk is to take.
#[derive(Debug, Default)]
struct Spill {
    ranges: Vec<SeqRange>,
    bytes: usize,
    /// Pieces that were looked at.
    looked_at: usize,
}

/// Everything that the lanes have given is stored with `ticket`.
pub(in crate::queue::classic) fn mark(core: &mut Core, ticket: Ticket) {
    for lane in core.lanes.iter_mut() {
        lane.progress.mark(lane.tail, ticket);
    }
}

/// Learns what is stored; cheap, called with each batch so that the marks stay few.
pub(in crate::queue::classic) fn advance(core: &mut Core, stored: Ticket) {
    for lane in core.lanes.iter_mut() {
        lane.progress.advance(stored);
    }
}

impl Paging {
    /// The ticket under which the spilled ranges of this round were appended.
    pub(in crate::queue::classic) fn spilled(&mut self, ranges: Vec<SeqRange>, ticket: Ticket) {
        for range in ranges {
            match self.spilled.back_mut() {
                Some((last, of)) if *of == ticket && last.end == range.first => {
                    last.end = range.end;
                    self.spilling.insert(last.first, last.end);
                }
                _ => {
                    self.spilled.push_back((range, ticket));
                    self.spilling.insert(range.first, range.end);
                }
            }
        }
    }

    /// Forgets the bytes of what was spilled and is stored.
    fn forget_spilled(&mut self, core: &mut Core, stored: Ticket) {
        let mut left = PIECES_MAX;
        while let Some((range, ticket)) = self.spilled.front_mut()
            && *ticket <= stored
            && left > 0
        {
            let pieces = core.live.from(range.first).take_while(|(piece, _)| piece.first < range.end);
            let (mut end, mut count) = (range.end, 0);
            for (piece, _) in pieces {
                if count == left {
                    end = piece.first;
                    break;
                }
                count += 1;
            }
            left -= count;
            let part = SeqRange { first: range.first, end };
            range.first = end;
            self.spilling.remove(&part.first);
            if range.is_empty() {
                self.spilled.pop_front();
            } else {
                self.spilling.insert(range.first, range.end);
            }
            to_disk(core, part);
        }
    }

    /// Forgets bytes until `core` is within `budget`, as far as the disk has them. `due` is kept:
    /// its bytes are wanted next. Returns the ranges of transient messages for which changes were
    /// added to `core.changes`: pass them to [`Paging::spilled`].
    pub(in crate::queue::classic) fn forget(
        &mut self,
        core: &mut Core,
        budget: MemoryBudget,
        stored: Ticket,
        due: Option<SeqRange>,
    ) -> Vec<SeqRange> {
        self.forget_spilled(core, stored);
        let mut spill = Spill::default();
        let first = core.live.first().map_or(0, |(range, _)| range.first);
        let lanes = core.lanes.len();
        for index in 0..lanes {
            let Some(lane) = core.lanes.at(index) else { continue };
            let (next, mut progress) = (lane.next, std::mem::take(&mut lane.progress));
            let kept = due.filter(|due| lane_of(due.first) == lane_of(lane.first)).map_or(0, |due| due.end);
            self.forget_loaded(core, next, &mut progress, budget, &mut spill);
            let from = progress.forgotten_unacked.max(first).max(kept);
            progress.forgotten_unacked = self.sweep(core, (from, next), progress.stored, budget, &mut spill);
            core.lanes.put(index, progress);
        }
        let shrunk = budget.head_bytes < self.head_bytes;
        self.head_bytes = budget.head_bytes;
        let mut head = None;
        // The last lane first: its messages are the last to be delivered.
        for index in (0..lanes).rev() {
            let Some(lane) = core.lanes.at(index) else { continue };
            let (next, tail, mut progress) = (lane.next, lane.tail, std::mem::take(&mut lane.progress));
            if progress.forgotten < next || shrunk {
                let head = *head.get_or_insert_with(|| head_end(core, budget.head_bytes));
                progress.forgotten = head.clamp(next, tail);
            }
            let span = (progress.forgotten, tail);
            progress.forgotten = self.sweep(core, span, progress.stored, budget, &mut spill);
            core.lanes.put(index, progress);
        }
        for &range in &spill.ranges {
            tell_of_transients(core, range);
        }
        spill.ranges
    }

    /// Forgets what was loaded and delivered of a lane whose fresh messages begin at `next`; not
    /// what is next in line, or it would have to be loaded again at once.
    fn forget_loaded(
        &self,
        core: &mut Core,
        next: u64,
        progress: &mut Progress,
        budget: MemoryBudget,
        spill: &mut Spill,
    ) {
        let Some(from) = progress.loaded_from else { return };
        let head = match core.head() {
            Head::Ready(range) | Head::OnDisk(range) if lane_of(range.first) == lane_of(from) => range.first,
            Head::Ready(_) | Head::OnDisk(_) | Head::Empty => next,
        };
        let end = head.min(next).min(progress.forgotten_unacked);
        let at = self.sweep(core, (from, end), progress.stored, budget, spill).max(from);
        progress.loaded_from = (at < progress.forgotten_unacked).then_some(at);
    }

    /// Whether some of these are on their way to disk under a ticket of their own.
    fn is_spilling(&self, piece: SeqRange) -> bool {
        self.spilling.range(..piece.end).next_back().is_some_and(|(_, &end)| end > piece.first)
    }

    /// Forgets pieces from `from` on until within budget or at `end`; returns how far it came.
    fn sweep(
        &self,
        core: &mut Core,
        (from, end): (u64, u64),
        stored: u64,
        budget: MemoryBudget,
        spill: &mut Spill,
    ) -> u64 {
        let mut at = from;
        while core.resident > budget.bytes + spill.bytes && at < end && spill.looked_at < PIECES_MAX {
            spill.looked_at += 1;
            let Some((piece, place)) = core.live.at(at).or_else(|| core.live.from(at).next()) else {
                return end;
            };
            let piece = piece.meet(SeqRange { first: at, end });
            if piece.is_empty() {
                return end;
            }
            match place {
                RecordPlace::Disk => {}
                RecordPlace::Memory { logged: true, .. } if self.is_spilling(piece) => {}
                RecordPlace::Memory { logged: true, .. } if piece.end > stored => return at,
                RecordPlace::Memory { logged: true, .. } => to_disk(core, piece),
                RecordPlace::Memory { logged: false, .. }
                    if core.resident <= budget.transient_bytes + spill.bytes =>
                {
                    return at;
                }
                RecordPlace::Memory { block, base, logged: false } => {
                    spill.bytes += weight(block, records(block, *base, piece));
                    spill.ranges.push(piece);
                }
            }
            at = piece.end;
        }
        at
    }
}

/// Where the part of the fresh messages ends that stays in memory.
fn head_end(core: &Core, head_bytes: usize) -> u64 {
    let mut bytes = 0;
    let mut end = 0;
    for lane in core.lanes.iter() {
        end = lane.tail;
        for (piece, place) in core.live.from(lane.next).take_while(|(piece, _)| piece.first < lane.tail) {
            if let RecordPlace::Memory { block, base, .. } = place {
                bytes += weight(block, records(block, *base, piece));
            }
            if bytes >= head_bytes {
                return piece.end;
            }
        }
    }
    end
}

/// The disk has these: keep no bytes.
fn to_disk(core: &mut Core, range: SeqRange) {
    replace(core, range, |core, piece, place| match place {
        RecordPlace::Memory { block, base, logged: true } => {
            let records = records(&block, base, piece);
            core.bodies.move_to_disk(piece.len(), block.bodies_of(records.clone()));
            core.resident -= weight(&block, records);
            RecordPlace::Disk
        }
        RecordPlace::Memory { .. } | RecordPlace::Disk => place,
    });
}

/// Gives every live piece of `range` a new place.
fn replace(
    core: &mut Core,
    range: SeqRange,
    mut new: impl FnMut(&mut Core, SeqRange, RecordPlace) -> RecordPlace,
) {
    let mut pieces = Vec::new();
    core.live.take(range, |piece, place| pieces.push((piece, place)));
    for (piece, place) in pieces {
        let place = new(core, piece, place);
        core.live.insert(piece, place);
    }
}

/// Appends the change that writes transient messages to disk, and remembers that the store knows
/// them.
fn tell_of_transients(core: &mut Core, range: SeqRange) {
    let queue = core.queue;
    replace(core, range, |core, piece, place| match place {
        RecordPlace::Memory { block, base, logged: false } => {
            let range = records(&block, base, piece);
            core.changes.push(Change::Spill { queue, first: piece.first, block: Arc::clone(&block), range });
            RecordPlace::Memory { block, base, logged: true }
        }
        RecordPlace::Memory { .. } | RecordPlace::Disk => place,
    });
}

/// Puts the bytes of `pages` where `core` has messages without; those that lay below the first page
/// but `from` or after it are not on disk, although they should be: they are dropped, and their
/// number is returned.
pub(in crate::queue::classic) fn put_pages(core: &mut Core, wanted: SeqRange, pages: Vec<Page>) -> u64 {
    let mut at = wanted.first;
    let mut lost = 0;
    for page in pages {
        let block = Arc::new(page.block);
        let range = SeqRange::of(page.first, u64::from(block.len()));
        lost += drop_missing(core, SeqRange { first: at, end: range.first.min(wanted.end) });
        at = at.max(range.end);
        replace(core, range, |core, piece, place| match place {
            RecordPlace::Disk => {
                let records = records(&block, page.first, piece);
                core.bodies.move_to_memory(piece.len(), block.bodies_of(records.clone()));
                core.resident += weight(&block, records);
                RecordPlace::Memory { block: Arc::clone(&block), base: page.first, logged: true }
            }
            RecordPlace::Memory { .. } => place,
        });
    }
    if at == wanted.first {
        lost += drop_missing(core, wanted);
    }
    core.lanes.lane(lane_of(wanted.first)).progress.loaded(wanted.first);
    lost
}

fn drop_missing(core: &mut Core, range: SeqRange) -> u64 {
    let mut missing = Vec::new();
    core.live.within(range, |piece, place| missing.extend((*place == RecordPlace::Disk).then_some(piece)));
    missing.into_iter().map(|piece| core.lose(piece)).sum()
}
