//! The log of one queue: which messages live, where their bytes are, and which may be delivered
//! next.
//!
//! Pure state under the queue's lock; what must happen elsewhere leaves as [`Change`]s. What comes
//! back is in `requeues`, what runs out of time in `expiry`, what has died in `letters`, what
//! bodies take in `sizes`, what is on disk only in `paging`. How a message stands, for whoever
//! looks at it or takes it out by its number, is in `browse`.
//!
//! Invariants: every fresh number (see `lanes`) is live; `returned`, `failed`, `letters` and
//! `waiting` hold live numbers that are not fresh, and all but `failed` share none with each other.

pub(in crate::queue) mod bodies;
pub(in crate::queue::classic) mod browse;
pub(in crate::queue) mod expiry;
pub(super) mod lanes;
pub(in crate::queue) mod letters;
pub(in crate::queue) mod paging;
pub(super) mod requeues;
pub(super) mod sizes;

use self::bodies::{Bodies, bytes_in};
use self::lanes::{Lane, Lanes};
use self::letters::{Dropped, Letters};
use self::requeues::{Requeued, Waiting};
use self::sizes::QueueSizes;
use crate::arguments::Settings;
use crate::ids::{QueueId, SeqRange, lane_of};
use crate::message::{Block, properties};
use crate::queue::Oldest;
use crate::queue::ranges::RangeMap;
use crate::store::change::{Change, RecoveredLane, RecoveredQueue, RecoveredRequeue};
use crate::store::mark::Mark;
use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

/// Where the bytes of live messages are.
#[derive(Debug, Clone)]
pub(super) enum RecordPlace {
    /// In a block whose record 0 would have the number `base` (wrapping).
    Memory {
        block: Arc<Block>,
        base: u64,
        /// Whether the store was told of them, so that it must be told when they are settled.
        logged: bool,
    },
    /// On disk only.
    Disk,
}

impl PartialEq for RecordPlace {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Memory { block, base, logged },
                Self::Memory { block: other_block, base: other_base, logged: other_logged },
            ) => Arc::ptr_eq(block, other_block) && base == other_base && logged == other_logged,
            (Self::Disk, Self::Disk) => true,
            (Self::Memory { .. }, Self::Disk) | (Self::Disk, Self::Memory { .. }) => false,
        }
    }
}

/// The records of `block`, whose record 0 has the number `base`, that `range` names.
pub(super) fn records(block: &Block, base: u64, range: SeqRange) -> Range<u32> {
    let index = |seq: u64| u32::try_from(seq.wrapping_sub(base)).unwrap_or(u32::MAX).min(block.len());
    index(range.first)..index(range.end)
}

/// Pieces of a range that are purged in one go.
const PURGED_AT_ONCE: usize = 1024;

/// Memory that a block takes beside its records: its counts, its offsets, its entry in the map. An
/// estimate, so that a backlog of single messages does not hide in a budget of bytes.
const BLOCK_OVERHEAD: usize = 256;

/// What `records` of `block` add to a queue's memory; the overhead lies with the first record.
pub(super) fn weight(block: &Block, records: Range<u32>) -> usize {
    let overhead = if records.start == 0 { BLOCK_OVERHEAD } else { 0 };
    block.bytes_of(records) + overhead
}

/// The next messages to deliver, all from one block: a plain record.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) first: u64,
    pub(super) block: Arc<Block>,
    pub(super) range: Range<u32>,
    pub(super) redelivered: bool,
    pub(super) deliveries: u32,
}

/// What there is to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    Empty,
    /// These messages are next and in memory; they share one fate (returned alike, or fresh).
    Ready(SeqRange),
    /// These are next, and on disk.
    OnDisk(SeqRange),
}

/// The messages of one queue: which are live, where their bytes are, and which are next.
#[derive(Debug)]
pub(in crate::queue) struct Core {
    queue: QueueId,
    live: RangeMap<RecordPlace>,
    lanes: Lanes,
    returned: RangeMap<Requeued>,
    /// Delivered again and unacknowledged: how often that failed before, perhaps never.
    failed: RangeMap<u32>,
    /// Dead, and not elsewhere yet.
    pub(super) letters: Option<Box<Letters>>,
    /// Back, but not before their time.
    waiting: Waiting,
    /// Whether some message may have an expiration of its own.
    expires: bool,
    /// Bytes of live records in memory.
    resident: usize,
    /// What bodies take.
    bodies: Bodies,
    /// What each body takes; only where that is limited.
    pub(super) sizes: Option<Box<QueueSizes>>,
    /// What the store must be told; taken after each operation.
    changes: Vec<Change>,
    /// Messages dropped for want of a dead-letter exchange, where they are not parked.
    dropped: Dropped,
}

impl Core {
    pub(super) fn new(queue: QueueId, settings: &Settings) -> Self {
        Self {
            queue,
            live: RangeMap::default(),
            lanes: Lanes::default(),
            returned: RangeMap::default(),
            failed: RangeMap::default(),
            letters: None,
            waiting: if settings.delays { Waiting::by_message() } else { Waiting::default() },
            expires: false,
            resident: 0,
            bodies: Bodies::default(),
            sizes: None,
            changes: Vec::new(),
            dropped: Dropped::default(),
        }
    }

    /// The state of a queue that was on disk. After a crash any message may have been delivered
    /// before.
    pub(super) fn recover(recovered: &RecoveredQueue, settings: &Settings, clean: bool) -> Self {
        let mut core = Self::new(recovered.record.id, settings);
        core.expires = recovered.expires;
        core.bodies = Bodies::recover(recovered);
        for &range in &recovered.messages {
            core.live.insert(range, RecordPlace::Disk);
        }
        let requeues: BTreeMap<u64, RecoveredRequeue> =
            recovered.requeues.iter().map(|&returned| (returned.seq, returned)).collect();
        for lane in &recovered.lanes {
            let in_lane = |range: &&SeqRange| lane_of(range.first) == lane.lane;
            let messages: Vec<SeqRange> = recovered.messages.iter().filter(in_lane).copied().collect();
            core.recover_lane(lane, &messages, &requeues, clean);
        }
        core.order_letters();
        core
    }

    fn recover_lane(
        &mut self,
        recovered: &RecoveredLane,
        messages: &[SeqRange],
        requeues: &BTreeMap<u64, RecoveredRequeue>,
        clean: bool,
    ) {
        let lane = self.lanes.lane(recovered.lane);
        // Numbers that were delivered and are gone may be given again: they say nothing about new
        // messages.
        let seen = if clean { recovered.delivered_up_to } else { recovered.next };
        let seen = lane.recover(recovered.next, seen);
        // The last stretch without a hole or a failed delivery is fresh; everything before it was
        // returned.
        let unbroken = match messages.last() {
            Some(range) if range.end == lane.tail => range.first,
            Some(_) | None => lane.tail,
        };
        let (first, tail) = (lane.first, lane.tail);
        let after_failed = requeues.range(first..tail).next_back().map_or(first, |(&seq, _)| seq + 1);
        let next = unbroken.max(after_failed).max(seen).min(tail);
        lane.next = next;
        for &range in messages {
            self.put_back_recovered(range.meet(SeqRange { first, end: next }), seen, requeues);
        }
    }

    fn put_back_recovered(&mut self, range: SeqRange, seen: u64, requeues: &BTreeMap<u64, RecoveredRequeue>) {
        let mut at = range.first;
        for (&seq, &RecoveredRequeue { deliveries, due_ms, .. }) in
            requeues.range(range.first..range.end.max(range.first))
        {
            self.put_back_plain(SeqRange { first: at, end: seq }, seen);
            if let Some(mark) = Mark::decode(due_ms) {
                self.recover_letter(seq, mark, deliveries);
            } else if due_ms > 0 {
                self.waiting.insert(due_ms, seq, deliveries);
            } else {
                self.returned.insert(SeqRange::of(seq, 1), Requeued { deliveries, redelivered: true });
            }
            at = seq + 1;
        }
        self.put_back_plain(SeqRange { first: at, end: range.end }, seen);
    }

    fn put_back_plain(&mut self, range: SeqRange, seen: u64) {
        let before = range.meet(SeqRange { first: 0, end: seen });
        self.returned.insert(before, Requeued { deliveries: 0, redelivered: true });
        let unseen = SeqRange { first: range.first.max(before.end), end: range.end };
        self.returned.insert(unseen, Requeued { deliveries: 0, redelivered: false });
    }

    /// Messages that may be delivered.
    pub(super) fn ready(&self) -> u64 {
        self.returned.len() + self.lanes.fresh()
    }

    /// Messages that may be delivered, now or when their time comes.
    pub(super) fn ready_or_waiting(&self) -> u64 {
        self.ready() + self.waiting.len()
    }

    /// Messages that wait for their time.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.len()
    }

    /// When the first of those that wait may be delivered.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.waiting.first()
    }

    /// Bytes of live records in memory.
    pub(super) fn resident(&self) -> usize {
        self.resident
    }

    /// In how many pieces its messages are.
    pub(in crate::queue) fn pieces(&self) -> usize {
        self.live.pieces()
    }

    /// One past the highest number ever delivered, of each lane.
    pub(super) fn delivered_up_to(&self) -> Vec<u64> {
        self.lanes.iter().map(|lane| lane.next).collect()
    }

    /// Messages that were delivered and not settled.
    pub(super) fn unacked(&self) -> u64 {
        self.live.len() - self.ready() - self.waiting.len() - self.dead()
    }

    /// Numbers these records of `block` and appends them to a lane; `logged` tells the store.
    pub(super) fn push(
        &mut self,
        block: &Arc<Block>,
        records: Range<u32>,
        lane: u8,
        logged: bool,
    ) -> SeqRange {
        let range = self.lanes.give(lane, u64::from(records.end - records.start));
        if logged {
            self.changes.push(Change::Publish {
                queue: self.queue,
                first: range.first,
                block: Arc::clone(block),
                range: records.clone(),
            });
        }
        self.expires |= block.expires();
        self.resident += weight(block, records.clone());
        self.bodies.push(block.bodies_of(records.clone()));
        if let Some(sizes) = &mut self.sizes {
            sizes.push(range.first, block, records.clone());
        }
        let base = range.first.wrapping_sub(records.start.into());
        self.live.insert(range, RecordPlace::Memory { block: Arc::clone(block), base, logged });
        range
    }

    /// What is next: messages that came back in their old place, then fresh ones.
    pub(super) fn head(&self) -> Head {
        let returned = self.returned.first().map(|(range, _)| range);
        self.head_of(returned, self.lanes.first_fresh())
    }

    /// What is next of what came back and what is fresh.
    pub(super) fn head_of(&self, returned: Option<SeqRange>, fresh: Option<SeqRange>) -> Head {
        let range = match (returned, fresh) {
            (Some(returned), Some(fresh)) if fresh.first < returned.first => fresh,
            (Some(range), _) | (None, Some(range)) => range,
            (None, None) => return Head::Empty,
        };
        match self.live.at(range.first) {
            Some((piece, RecordPlace::Memory { .. })) => Head::Ready(range.meet(piece)),
            Some((piece, RecordPlace::Disk)) => Head::OnDisk(range.meet(piece)),
            None => Head::Empty,
        }
    }

    /// What is next, and the oldest message, as far as they are in memory.
    pub(super) fn oldest(&self) -> Oldest {
        let shown = |seq: u64| match self.live.at(seq) {
            Some((_, RecordPlace::Memory { block, base, .. })) => {
                Some(block.message(u32::try_from(seq.wrapping_sub(*base)).ok()?))
            }
            Some((_, RecordPlace::Disk)) | None => None,
        };
        let first = |lane: &Lane| self.live.from(lane.first).next().map(|(piece, _)| piece.first);
        let arrivals = self.lanes.iter().filter_map(first).filter_map(shown);
        let head_timestamp = match self.head() {
            Head::Ready(range) => {
                shown(range.first).and_then(|message| properties::decode(message.properties).ok()?.timestamp)
            }
            Head::OnDisk(_) | Head::Empty => None,
        };
        Oldest { arrived_at_ms: arrivals.map(|message| message.arrived_at_ms).min(), head_timestamp }
    }

    /// Bytes of the bodies of messages that may be delivered; known only where that is limited.
    pub(super) fn ready_bytes(&self) -> u64 {
        self.sizes.as_ref().map_or(0, |sizes| sizes.ready())
    }

    /// Bytes of the first of `range`, which is in memory, that make `count` messages at most and
    /// `bytes` at most, but one at least: how many messages that is, and their bytes.
    pub(super) fn fit(&self, range: SeqRange, count: u32, bytes: usize) -> (u32, usize) {
        let Some((_, RecordPlace::Memory { block, base, .. })) = self.live.at(range.first) else {
            return (0, 0);
        };
        let records = records(block, *base, range);
        let most = (records.end - records.start).min(count.max(1));
        let size = |n: u32| block.bytes_of(records.start..records.start + n);
        if size(most) <= bytes {
            return (most, size(most));
        }
        let (mut fits, mut beyond) = (1, most);
        while beyond - fits > 1 {
            let middle = fits + (beyond - fits) / 2;
            if size(middle) <= bytes {
                fits = middle;
            } else {
                beyond = middle;
            }
        }
        (fits, size(fits))
    }

    /// Takes the first `count` messages of what [`Core::head`] said is ready; `settled` removes
    /// them for good.
    pub(super) fn take(&mut self, range: SeqRange, count: u32, settled: bool) -> Option<Taken> {
        let range = SeqRange::of(range.first, u64::from(count));
        let (block, records) = match self.live.at(range.first) {
            Some((_, RecordPlace::Memory { block, base, .. })) => {
                (Arc::clone(block), records(block, *base, range))
            }
            Some((_, RecordPlace::Disk)) | None => return None,
        };
        let mut mark = Requeued { deliveries: 0, redelivered: self.lanes.was_seen(range.first) };
        if self.lanes.is_fresh(range.first) {
            self.lanes.advance(range.end);
        } else {
            self.returned.take(range, |_, returned| mark = returned);
            if mark.redelivered && !settled {
                self.failed.insert(range, mark.deliveries);
            }
        }
        self.bodies.take(block.bodies_of(records.clone()));
        if let Some(sizes) = &mut self.sizes {
            sizes.take(range);
        }
        if settled {
            self.remove(range);
        }
        let Requeued { deliveries, redelivered } = mark;
        Some(Taken { first: range.first, block, range: records, redelivered, deliveries })
    }

    /// Removes messages for good, wherever they are.
    pub(super) fn remove(&mut self, range: SeqRange) -> u64 {
        self.remove_shown(range, |_, _| ())
    }

    /// Removes messages for good, wherever they are, and shows those whose bytes are in memory.
    pub(super) fn remove_shown(&mut self, range: SeqRange, show: impl FnMut(&Block, Range<u32>)) -> u64 {
        let (removed, logged) = self.forget(range, show);
        if logged {
            self.tell_settled(range);
        }
        removed
    }

    /// Takes messages out of memory; how many there were, and whether the store knows of any.
    fn forget(&mut self, range: SeqRange, mut show: impl FnMut(&Block, Range<u32>)) -> (u64, bool) {
        let (mut removed, mut logged, mut freed) = (0, false, 0);
        let bodies = &mut self.bodies;
        self.live.take(range, |piece, place| {
            removed += piece.len();
            match place {
                RecordPlace::Memory { block, base, logged: told } => {
                    logged |= told;
                    let records = records(&block, base, piece);
                    show(&block, records.clone());
                    bodies.remove(block.bodies_of(records.clone()));
                    freed += weight(&block, records);
                }
                RecordPlace::Disk => {
                    logged = true;
                    bodies.remove_from_disk(piece.len());
                }
            }
        });
        self.resident -= freed;
        if self.live.is_empty() {
            self.bodies.clear();
        }
        if !self.failed.is_empty() {
            self.failed.take(range, |_, _| ());
        }
        if let Some(sizes) = &mut self.sizes {
            sizes.remove(range);
        }
        (removed, logged)
    }

    /// What the store must be told since the last call. Taken with its memory: an idle queue keeps
    /// none.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        mem::take(&mut self.changes)
    }

    /// Takes out of what is to be told what was consumed and settled as it came: the disk need not
    /// know of it.
    pub(super) fn forget_consumed(&mut self, pushed: SeqRange) {
        if self.live.is_free(pushed) {
            self.changes.retain(|change| !concerns(change, pushed));
        }
    }

    /// Messages that were dropped since the last call.
    pub(super) fn take_dropped(&mut self) -> Dropped {
        mem::take(&mut self.dropped)
    }

    fn tell_settled(&mut self, range: SeqRange) {
        if let Some(Change::Settle { range: last, .. }) = self.changes.last_mut()
            && last.end == range.first
        {
            last.end = range.end;
            return;
        }
        self.changes.push(Change::Settle { queue: self.queue, range });
    }

    /// Messages that should be on disk are not there, or damaged: the queue goes on without them.
    /// The store is not told, so that what is left of them stays.
    pub(super) fn lose(&mut self, range: SeqRange) -> u64 {
        let mut ready: Vec<SeqRange> = self.lanes.iter().map(|lane| range.meet(lane.fresh())).collect();
        self.returned.take(range, |piece, _| ready.push(piece));
        ready.extend(self.waiting.lose(range).into_iter().map(|seq| SeqRange::of(seq, 1)));
        for piece in ready {
            self.bodies.take(bytes_in(self, piece));
            if let Some(sizes) = &mut self.sizes {
                sizes.take(piece);
            }
        }
        self.lose_letters(range);
        self.pass_by(range);
        self.forget(range, |_, _| ()).0
    }

    /// What never was dealt of `range` is not fresh any more; what is before it stays ready.
    pub(super) fn pass_by(&mut self, range: SeqRange) {
        if let Some(next) = self.lanes.next_before(range) {
            let before = SeqRange { first: next, end: range.first.max(next) };
            self.returned.insert(before, Requeued { deliveries: 0, redelivered: false });
            self.lanes.advance(range.end);
        }
    }

    /// The messages that may be delivered, now or when their time comes.
    pub(super) fn ready_ranges(&self) -> impl Iterator<Item = SeqRange> {
        let returned = self.returned.from(0).map(|(range, _)| range);
        let waiting = self.waiting.numbers().map(|seq| SeqRange::of(seq, 1));
        self.lanes.iter().map(Lane::fresh).chain(returned).chain(waiting)
    }

    /// Takes ready messages out of the line; they stay live, and it is the caller's to say what
    /// becomes of them.
    pub(super) fn withdraw(&mut self, range: SeqRange) {
        self.bodies.take(bytes_in(self, range));
        if let Some(sizes) = &mut self.sizes {
            sizes.take(range);
        }
        if self.lanes.is_fresh(range.first) {
            self.lanes.advance(range.end);
        } else {
            self.returned.take(range, |_, _| ());
        }
    }

    /// Drops the first `most` messages that may be delivered, and then of those that may when their
    /// time comes, in `pieces` pieces at most; how many.
    pub(super) fn purge_part(&mut self, most: u64, mut pieces: usize) -> u64 {
        let mut purged = 0;
        while pieces > 0 && purged < most {
            let next = match self.returned.first().map(|(range, _)| range).or(self.lanes.first_fresh()) {
                Some(range) => self.live.part(range, pieces.min(PURGED_AT_ONCE)),
                None => {
                    let Some(seq) = self.waiting.take_first() else { break };
                    self.bodies.take(bytes_in(self, SeqRange::of(seq, 1)));
                    if let Some(sizes) = &mut self.sizes {
                        sizes.take(SeqRange::of(seq, 1));
                    }
                    pieces -= 1;
                    purged += self.remove(SeqRange::of(seq, 1));
                    continue;
                }
            };
            let part = SeqRange { end: next.end.min(next.first.saturating_add(most - purged)), ..next };
            self.withdraw(part);
            let before = self.live.pieces();
            purged += self.remove(part);
            pieces = pieces.saturating_sub(before.saturating_sub(self.live.pieces()).max(1));
        }
        purged
    }
}

/// Whether a change is about nothing but messages in `range`.
fn concerns(change: &Change, range: SeqRange) -> bool {
    match change {
        Change::Publish { first, .. } | Change::Spill { first, .. } => *first == range.first,
        Change::Settle { range: settled, .. } => settled.meet(range) == *settled,
        Change::Requeue { seq, .. } => (range.first..range.end).contains(seq),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::lane_start;
    use crate::queue::tests::recovered;

    #[test]
    fn each_lane_is_recovered_by_itself() {
        let lane = lane_start(2);
        let messages = vec![SeqRange::of(5, 3), SeqRange::of(lane + 10, 2)];
        let lanes = vec![
            RecoveredLane { lane: 0, delivered_up_to: 6, next: 8 },
            RecoveredLane { lane: 2, delivered_up_to: 0, next: lane + 20 },
        ];
        let recovered = RecoveredQueue { lanes, ..recovered(messages, 0) };
        let mut core = Core::recover(&recovered, &Settings::default(), true);
        assert_eq!((core.ready(), core.unacked()), (5, 0));
        assert_eq!(core.lanes.give(2, 1).first, lane + 20);
        assert!(core.lanes.was_seen(5) && !core.lanes.was_seen(6) && !core.lanes.was_seen(lane + 10));
        assert_eq!(core.head(), Head::OnDisk(SeqRange::of(5, 1)));
    }
}
