//! A map from sequence numbers to values that is stored as ranges: a million neighbours with one
//! value are one entry.
//!
//! What a queue knows of its messages is kept in these: where they are, which came back, how often
//! they failed. Invariant: entries never overlap, none is empty, and `total` is the sum of their
//! lengths.

use crate::ids::SeqRange;
use std::collections::BTreeMap;

/// A map from sequence numbers to values, stored as ranges of equal values.
#[derive(Debug, Clone)]
pub(crate) struct RangeMap<V> {
    /// First number -> (one past the last number, value).
    entries: BTreeMap<u64, (u64, V)>,
    total: u64,
}

impl<V> Default for RangeMap<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), total: 0 }
    }
}

impl<V: Clone + PartialEq> RangeMap<V> {
    /// How many numbers it holds.
    pub(crate) fn len(&self) -> u64 {
        self.total
    }

    /// Whether it holds none.
    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// In how many pieces they are.
    pub(crate) fn pieces(&self) -> usize {
        self.entries.len()
    }

    /// As much of `range`, from its beginning on, as lies in `pieces` pieces at most.
    pub(crate) fn part(&self, range: SeqRange, pieces: usize) -> SeqRange {
        let end = self.entries.range(range.first..range.end).nth(pieces.max(1)).map(|(&first, _)| first);
        SeqRange { end: end.unwrap_or(range.end), ..range }
    }

    /// Puts `value` at every number of `range`, none of which may be there already. Joins
    /// neighbours of equal value.
    pub(crate) fn insert(&mut self, range: SeqRange, value: V) {
        if range.is_empty() {
            return;
        }
        self.total += range.len();
        let mut end = range.end;
        if let Some((next_end, next)) = self.entries.get(&range.end)
            && *next == value
        {
            end = *next_end;
            self.entries.remove(&range.end);
        }
        if let Some((_, (before_end, before))) = self.entries.range_mut(..range.first).next_back() {
            debug_assert!(*before_end <= range.first, "{range:?} is there already");
            if *before_end == range.first && *before == value {
                *before_end = end;
                return;
            }
        }
        self.entries.insert(range.first, (end, value));
    }

    /// Takes out everything that lies in `range`, in order, in pieces of one value each.
    pub(crate) fn take(&mut self, range: SeqRange, mut piece: impl FnMut(SeqRange, V)) {
        if range.is_empty() {
            return;
        }
        let mut at = range.first;
        if let Some((_, (end, value))) = self.entries.range_mut(..range.first).next_back()
            && *end > range.first
        {
            let (old_end, value) = (*end, value.clone());
            *end = range.first;
            at = self.cut(SeqRange { first: range.first, end: old_end }, range.end, value, &mut piece);
        }
        while at < range.end {
            let Some((&first, _)) = self.entries.range(at..range.end).next() else { break };
            let Some((end, value)) = self.entries.remove(&first) else { break };
            at = self.cut(SeqRange { first, end }, range.end, value, &mut piece);
        }
    }

    /// Hands out the part of the removed entry `entry` below `limit`, puts back the rest; returns
    /// the entry's end.
    fn cut(&mut self, entry: SeqRange, limit: u64, value: V, piece: &mut impl FnMut(SeqRange, V)) -> u64 {
        let out = SeqRange { first: entry.first, end: entry.end.min(limit) };
        if entry.end > limit {
            self.entries.insert(limit, (entry.end, value.clone()));
        }
        self.total -= out.len();
        piece(out, value);
        entry.end
    }

    /// As [`RangeMap::take`], but also tells what in `range` was not there, as `None`.
    pub(crate) fn take_with_gaps(&mut self, range: SeqRange, mut piece: impl FnMut(SeqRange, Option<V>)) {
        let mut at = range.first;
        self.take(range, |part, value| {
            if at < part.first {
                piece(SeqRange { first: at, end: part.first }, None);
            }
            at = part.end;
            piece(part, Some(value));
        });
        if at < range.end {
            piece(SeqRange { first: at, end: range.end }, None);
        }
    }

    /// The first entry.
    pub(crate) fn first(&self) -> Option<(SeqRange, &V)> {
        self.entries.first_key_value().map(|(&first, (end, value))| (SeqRange { first, end: *end }, value))
    }

    /// The entry that holds `seq`.
    pub(crate) fn at(&self, seq: u64) -> Option<(SeqRange, &V)> {
        let (&first, (end, value)) = self.entries.range(..=seq).next_back()?;
        (*end > seq).then_some((SeqRange { first, end: *end }, value))
    }

    /// The entries that begin at `seq` or after it, in order.
    pub(crate) fn from(&self, seq: u64) -> impl Iterator<Item = (SeqRange, &V)> {
        self.entries.range(seq..).map(|(&first, (end, value))| (SeqRange { first, end: *end }, value))
    }

    /// The last entry that begins below `seq`.
    pub(crate) fn before(&self, seq: u64) -> Option<(SeqRange, &V)> {
        let (&first, (end, value)) = self.entries.range(..seq).next_back()?;
        Some((SeqRange { first, end: *end }, value))
    }

    /// Shows everything that lies in `range`, in order, in pieces of one value each.
    pub(crate) fn within(&self, range: SeqRange, mut piece: impl FnMut(SeqRange, &V)) {
        if range.is_empty() {
            return;
        }
        let begun_before = self.entries.range(..range.first).next_back();
        for (&first, (end, value)) in
            begun_before.into_iter().chain(self.entries.range(range.first..range.end))
        {
            let part = SeqRange { first, end: *end }.meet(range);
            if !part.is_empty() {
                piece(part, value);
            }
        }
    }

    /// Whether nothing lies in `range`.
    pub(crate) fn is_free(&self, range: SeqRange) -> bool {
        self.at(range.first).is_none()
            && self.from(range.first).next().is_none_or(|(next, _)| next.first >= range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Draw, for_seeds};
    use std::collections::BTreeMap;

    fn check_against_single_numbers(draw: &mut Draw) {
        let mut next = |below: u64| draw.below(below);
        let (mut ranges, mut naive) = (RangeMap::<u64>::default(), BTreeMap::<u64, u64>::new());
        for step in 0..3_000 {
            let range = SeqRange::of(next(200), next(20));
            let value = next(3);
            if next(2) == 0 {
                let free = (range.first..range.end).all(|seq| !naive.contains_key(&seq));
                if free {
                    ranges.insert(range, value);
                    naive.extend((range.first..range.end).map(|seq| (seq, value)));
                }
            } else {
                let mut taken = Vec::new();
                ranges.take_with_gaps(range, |part, value| {
                    assert!(!part.is_empty(), "step {step}");
                    taken.extend((part.first..part.end).map(|seq| (seq, value)));
                });
                let expected: Vec<_> =
                    (range.first..range.end).map(|seq| (seq, naive.remove(&seq))).collect();
                assert_eq!(taken, expected, "step {step}");
            }
            assert_eq!(ranges.len(), naive.len() as u64, "step {step}");
            let mut seen = Vec::new();
            ranges.within(range, |part, value| seen.extend((part.first..part.end).map(|seq| (seq, *value))));
            let expected: Vec<_> =
                naive.range(range.first..range.end).map(|(&seq, &value)| (seq, value)).collect();
            assert_eq!(seen, expected, "step {step}");
            let probe = next(220);
            assert_eq!(ranges.at(probe).map(|(_, value)| *value), naive.get(&probe).copied(), "step {step}");
            assert_eq!(ranges.first().map(|(range, _)| range.first), naive.keys().next().copied());
            let before = ranges.before(probe).map(|(range, _)| range.end.min(probe));
            assert_eq!(before, naive.range(..probe).next_back().map(|(&seq, _)| seq + 1), "step {step}");
        }
    }

    #[test]
    fn agrees_with_a_map_of_single_numbers() {
        for_seeds(check_against_single_numbers);
    }

    #[test]
    fn neighbours_of_equal_value_are_one_entry() {
        let mut ranges = RangeMap::default();
        for first in [0, 20, 10, 30] {
            ranges.insert(SeqRange::of(first, 10), 'a');
        }
        assert_eq!((ranges.pieces(), ranges.len()), (1, 40));
    }
}
