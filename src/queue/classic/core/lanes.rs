//! Lanes: the numbers that a queue gives, one lane for each priority in use.
//!
//! The top byte of a number is its lane, so that the order of numbers is the order of delivery:
//! lane 0 is the highest priority, and a queue without priorities has no other. Within a lane
//!
//! ```text
//!   ... settled ... | live ........................................ | tail
//!                   unacked, with returned ones between  ^next  fresh
//! ```
//!
//! Invariant: lanes are in order, and next <= tail in each.

use super::paging::Progress;
use crate::arguments::Priorities;
use crate::ids::{SeqRange, lane_of, lane_start};
use crate::message::Block;
use std::ops::Range;

/// The numbers of one lane.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Its first number.
    pub(super) first: u64,
    /// The first number that was never dealt.
    pub(super) next: u64,
    /// The number that the next message gets.
    pub(super) tail: u64,
    /// Numbers below this were here when the process started and may have been delivered before.
    seen: u64,
    /// How far its messages are on disk and out of memory.
    pub(super) progress: Progress,
}

impl Lane {
    fn new(lane: u8) -> Self {
        let first = lane_start(lane);
        Self { first, next: first, tail: first, seen: first, progress: Progress::new(first) }
    }

    /// As a file has it: `tail` is the number that the next message gets there, and those below
    /// `seen` may have been delivered. How far the latter are in this lane.
    pub(super) fn recover(&mut self, tail: u64, seen: u64) -> u64 {
        self.tail = tail.max(self.first);
        self.progress = Progress::recovered(self.first, self.tail);
        self.seen = seen.clamp(self.first, self.tail);
        self.seen
    }

    /// What was never dealt.
    pub(super) fn fresh(&self) -> SeqRange {
        SeqRange { first: self.next, end: self.tail }
    }
}

/// The sequence numbers of a queue, one lane for each priority in use.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
}

impl Lanes {
    /// The lanes, in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Lane> {
        self.lanes.iter()
    }

    /// The lanes, in order.
    pub(super) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Lane> {
        self.lanes.iter_mut()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// The lane at place `index` of the order.
    pub(super) fn at(&mut self, index: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(index)
    }

    /// Puts back what was taken from the lane at place `index`.
    pub(super) fn put(&mut self, index: usize, progress: Progress) {
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.progress = progress;
        }
    }

    /// The lane of this name, made when it is missing.
    pub(super) fn lane(&mut self, lane: u8) -> &mut Lane {
        let first = lane_start(lane);
        let index = self.lanes.binary_search_by_key(&first, |lane| lane.first).unwrap_or_else(|index| {
            self.lanes.insert(index, Lane::new(lane));
            index
        });
        &mut self.lanes[index]
    }

    /// The lane that has given `seq`.
    fn of(&self, seq: u64) -> Option<&Lane> {
        let first = lane_start(lane_of(seq));
        let index = self.lanes.binary_search_by_key(&first, |lane| lane.first).ok()?;
        self.lanes.get(index)
    }

    /// Numbers for `count` messages.
    pub(super) fn give(&mut self, lane: u8, count: u64) -> SeqRange {
        let lane = self.lane(lane);
        let range = SeqRange::of(lane.tail, count);
        lane.tail = range.end;
        range
    }

    /// What is next among what was never dealt.
    pub(super) fn first_fresh(&self) -> Option<SeqRange> {
        self.lanes.iter().map(Lane::fresh).find(|fresh| !fresh.is_empty())
    }

    /// How many were never dealt.
    pub(super) fn fresh(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.fresh().len()).sum()
    }

    /// Whether `seq` was never dealt.
    pub(super) fn is_fresh(&self, seq: u64) -> bool {
        self.of(seq).is_some_and(|lane| seq >= lane.next)
    }

    /// Everything of the lane below `end` was dealt.
    pub(super) fn advance(&mut self, end: u64) {
        // An end may be the first number of the lane above; the number before it says which lane it
        // is.
        let lane = self.lane(lane_of(end.saturating_sub(1)));
        lane.next = lane.next.max(end.min(lane.tail));
    }

    /// Where the fresh numbers of a lane begin, if some of `range` are among them.
    pub(super) fn next_before(&self, range: SeqRange) -> Option<u64> {
        self.of(range.first).map(|lane| lane.next).filter(|&next| next < range.end)
    }

    /// Whether the message of this number may have been delivered by an earlier process.
    pub(super) fn was_seen(&self, seq: u64) -> bool {
        self.of(seq).is_some_and(|lane| seq < lane.seen)
    }
}

/// Cuts `block` into records of one lane each, in order.
pub(in crate::queue::classic) fn split(
    block: &Block,
    priorities: Option<Priorities>,
    mut part: impl FnMut(u8, Range<u32>),
) {
    let Some(Priorities { most, unset }) = priorities else { return part(0, 0..block.len()) };
    if !block.is_prioritized() {
        return part(most - unset.min(most), 0..block.len());
    }
    let lane = |index: u32| most - block.priority(index).unwrap_or(unset).min(most);
    let mut start = 0;
    while start < block.len() {
        let this = lane(start);
        let end = (start + 1..block.len()).find(|&index| lane(index) != this).unwrap_or(block.len());
        part(this, start..end);
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{BlockBuilder, Message};

    fn block(priorities: &[Option<u8>]) -> Block {
        let mut builder = BlockBuilder::default();
        for &priority in priorities {
            builder.push(&Message {
                persistent: true,
                priority,
                ..Message::published(0, (b"", b"q"), &[0, 0], b"")
            });
        }
        builder.build()
    }

    #[track_caller]
    fn check_split(priorities: &[Option<u8>], of: Option<(u8, u8)>, expected: &[(u8, Range<u32>)]) {
        let mut parts = Vec::new();
        let of = of.map(|(most, unset)| Priorities { most, unset });
        split(&block(priorities), of, |lane, records| parts.push((lane, records)));
        assert_eq!(parts, expected);
    }

    #[test]
    fn a_block_is_cut_where_the_priority_changes() {
        check_split(&[Some(1), Some(2)], None, &[(0, 0..2)]);
        check_split(&[None, None], Some((10, 0)), &[(10, 0..2)]);
        check_split(&[None, None], Some((31, 4)), &[(27, 0..2)]);
        check_split(&[None, Some(4), Some(0)], Some((31, 4)), &[(27, 0..2), (31, 2..3)]);
        check_split(
            &[Some(3), Some(3), None, Some(200), Some(10)],
            Some((10, 0)),
            &[(7, 0..2), (10, 2..3), (0, 3..5)],
        );
        check_split(&[Some(255), Some(0)], Some((255, 0)), &[(0, 0..1), (255, 1..2)]);
    }

    #[test]
    fn the_first_lane_with_something_fresh_is_next() {
        let mut lanes = Lanes::default();
        let low = lanes.give(9, 3);
        let high = lanes.give(2, 2);
        assert_eq!((lanes.first_fresh(), lanes.fresh(), lanes.len()), (Some(high), 5, 2));
        lanes.advance(high.end);
        assert!(!lanes.is_fresh(high.first) && lanes.is_fresh(low.first));
        assert_eq!((lanes.first_fresh(), lanes.fresh()), (Some(low), 3));
        lanes.advance(low.first + 1);
        assert_eq!(lanes.first_fresh(), Some(SeqRange { first: low.first + 1, end: low.end }));
        assert_eq!(lanes.give(9, 1).first, low.end);
    }
}
