//! What is kept of a run of records beside the records: how many, how many bytes, and which are gone.
//!
//! A row of `segments`, integers big-endian:
//!
//! ```text
//!  0  u8   flags: bit 0 = the records follow here and not in `bodies`,
//!           bit 1 = some may have an expiration of their own
//!  1  u32  how many records
//!  5  u32  bytes of all records
//!  9  u16  s, bytes of the settled marks
//! 11  u16  t, bytes of the transient marks
//! 13  settled marks | transient marks | records
//! ```
//!
//! Marks are a bit each, the first record's in the lowest bit of the first byte; zero bytes at the end are left
//! out. A settled record is gone; a transient one is there until the broker stops. Reading this and not the
//! records is what makes a start quick, so a large run's records lie in a row of their own.

use super::error::StoreError;
use crate::ids::SeqRange;
use std::ops::Range;

/// A run takes no further record beyond this many bytes: as a block, and for its reason.
pub(super) const RUN_BYTES_MAX: usize = crate::message::BLOCK_BYTES_MAX;

/// A run takes no further record beyond this many: its marks then stay under 2 KiB.
pub(super) const RUN_RECORDS_MAX: u32 = 8192;

/// Runs of at most this many bytes have their records in `segments`: a small commit then touches one table, and a
/// start reads at most this much for each such run.
pub(super) const INLINE_BYTES_MAX: usize = 2048;

const INLINE: u8 = 1;
const EXPIRES: u8 = 2;
const HEAD: usize = 13;

/// One bit for each record of a run; bits beyond the end of the vector are zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks(Vec<u8>);

impl Marks {
    /// Marks `range`; returns how many were not marked before.
    pub(super) fn set(&mut self, range: Range<u32>) -> u32 {
        let end = range.end as usize;
        if self.0.len() * 8 < end && !range.is_empty() {
            self.0.resize(end.div_ceil(8), 0);
        }
        let mut new = 0;
        for at in range {
            let byte = &mut self.0[at as usize / 8];
            new += u32::from(*byte & bit(at) == 0);
            *byte |= bit(at);
        }
        new
    }

    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Marks what `other` marks, `by` records further on.
    pub(super) fn set_shifted(&mut self, other: &Self, by: u32) {
        for at in
            (0..).zip(&other.0).filter(|(_, byte)| **byte != 0).flat_map(|(byte, _)| byte * 8..byte * 8 + 8)
        {
            if marked(&other.0, at) {
                self.set(by + at..by + at + 1);
            }
        }
    }
}

fn bit(at: u32) -> u8 {
    1 << (at % 8)
}

/// Whether `marks` are for `count` records at most.
fn fit(marks: &[u8], count: u32) -> bool {
    let (whole, more) = ((count / 8) as usize, count % 8);
    let last_fits = marks.get(whole).is_none_or(|last| u32::from(*last) >> more == 0);
    marks.len() <= (count as usize).div_ceil(8) && last_fits
}

fn marked(marks: &[u8], at: u32) -> bool {
    marks.get(at as usize / 8).is_some_and(|byte| byte & bit(at) != 0)
}

/// A run as its row says, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentView<'a> {
    /// How many records, settled ones included.
    pub(super) count: u32,
    /// Bytes of all records.
    pub(super) bytes: u32,
    /// Whether a record may have an expiration of its own.
    pub(super) expires: bool,
    settled: &'a [u8],
    transient: &'a [u8],
    /// The records, when they are here.
    pub(super) inline: Option<&'a [u8]>,
}

impl<'a> SegmentView<'a> {
    /// Reads a row of `segments`.
    pub(super) fn decode(row: &'a [u8]) -> Result<Self, StoreError> {
        Self::parse(row).ok_or_else(|| StoreError::Damaged("a row of `segments` is malformed".to_owned()))
    }

    fn parse(row: &'a [u8]) -> Option<Self> {
        let (head, rest) = row.split_first_chunk::<HEAD>()?;
        let [flags, c0, c1, c2, c3, b0, b1, b2, b3, s0, s1, t0, t1] = *head;
        let (settled, rest) = rest.split_at_checked(u16::from_be_bytes([s0, s1]).into())?;
        let (transient, rest) = rest.split_at_checked(u16::from_be_bytes([t0, t1]).into())?;
        let (count, bytes) = (u32::from_be_bytes([c0, c1, c2, c3]), u32::from_be_bytes([b0, b1, b2, b3]));
        let inline = (flags & INLINE != 0).then_some(rest);
        let records_fit = rest.len() == if inline.is_some() { bytes as usize } else { 0 };
        let marks_fit = fit(settled, count) && fit(transient, count);
        let is_known = flags & !(INLINE | EXPIRES) == 0 && (1..=RUN_RECORDS_MAX).contains(&count);
        (is_known && records_fit && marks_fit).then_some(Self {
            count,
            bytes,
            expires: flags & EXPIRES != 0,
            settled,
            transient,
            inline,
        })
    }

    /// How many records are not settled, transient ones included.
    pub(super) fn unsettled(&self) -> u32 {
        self.count.saturating_sub(self.settled.iter().map(|byte| byte.count_ones()).sum())
    }

    /// Whether some records are transient.
    pub(super) fn has_transient(&self) -> bool {
        !self.transient.is_empty()
    }

    /// Calls `take` with the numbers of the records that outlive the broker, when the first one's number is `first`;
    /// of a stream transient ones are among them.
    pub(super) fn each_lasting(&self, first: u64, transients_last: bool, mut take: impl FnMut(SeqRange)) {
        let transient = if transients_last { &[] } else { self.transient };
        if self.settled.is_empty() && transient.is_empty() {
            return take(SeqRange::of(first, self.count.into()));
        }
        let gone = |&at: &u32| marked(self.settled, at) || marked(transient, at);
        let mut at = 0;
        while at < self.count {
            let end = (at..self.count).find(gone).unwrap_or(self.count);
            if at < end {
                take(SeqRange { first: first + u64::from(at), end: first + u64::from(end) });
            }
            at = end + 1;
        }
    }

    /// The numbers of all its records, when the first one's is `first`.
    pub(super) fn range(&self, first: u64) -> SeqRange {
        SeqRange::of(first, self.count.into())
    }
}

/// A run as its row says, to be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Segment {
    /// How many records, settled ones included.
    pub(super) count: u32,
    /// Bytes of all records.
    pub(super) bytes: u32,
    /// Whether a record may have an expiration of its own.
    pub(super) expires: bool,
    /// Which are gone.
    pub(super) settled: Marks,
    /// Which are not to be found by the next start.
    pub(super) transient: Marks,
    /// The records, when they are here.
    pub(super) inline: Option<Vec<u8>>,
}

impl From<SegmentView<'_>> for Segment {
    fn from(view: SegmentView<'_>) -> Self {
        Self {
            count: view.count,
            bytes: view.bytes,
            expires: view.expires,
            settled: Marks(view.settled.to_vec()),
            transient: Marks(view.transient.to_vec()),
            inline: view.inline.map(<[u8]>::to_vec),
        }
    }
}

impl Segment {
    /// The row of `segments`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let inline = self.inline.as_deref().unwrap_or_default();
        let mut row = Vec::with_capacity(HEAD + self.settled.0.len() + self.transient.0.len() + inline.len());
        row.push(if self.inline.is_some() { INLINE } else { 0 } | if self.expires { EXPIRES } else { 0 });
        row.extend_from_slice(&self.count.to_be_bytes());
        row.extend_from_slice(&self.bytes.to_be_bytes());
        for marks in [&self.settled, &self.transient] {
            let len = u16::try_from(marks.0.len()).expect("RUN_RECORDS_MAX marks are under 2 KiB");
            row.extend_from_slice(&len.to_be_bytes());
        }
        row.extend_from_slice(&self.settled.0);
        row.extend_from_slice(&self.transient.0);
        row.extend_from_slice(inline);
        row
    }

    /// Whether nothing of it is left.
    pub(super) fn is_gone(&self) -> bool {
        self.settled.count() >= self.count
    }

    /// The numbers of all its records, when the first one's is `first`.
    pub(super) fn range(&self, first: u64) -> SeqRange {
        SeqRange::of(first, self.count.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasting(view: &SegmentView<'_>, first: u64) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        view.each_lasting(first, false, |range| all.push((range.first, range.end)));
        all
    }

    /// The bytes that the head of this file draws; a change here is a new format.
    #[test]
    fn the_row_is_as_drawn() {
        let inline = Some(b"abc".to_vec());
        let mut segment = Segment { count: 10, bytes: 3, expires: true, inline, ..Segment::default() };
        assert_eq!(segment.settled.set(1..3), 2);
        assert_eq!(segment.settled.set(2..4), 1);
        assert_eq!(segment.transient.set(9..10), 1);
        let row = segment.encode();
        assert_eq!(row, b"\x03\0\0\0\x0a\0\0\0\x03\0\x01\0\x02\x0e\0\x02abc");
        let view = SegmentView::decode(&row).unwrap();
        assert_eq!(Segment::from(view), segment);
        assert_eq!(view.unsettled(), 7);
        assert_eq!(lasting(&view, 100), [(100, 101), (104, 109)]);
    }

    #[test]
    fn an_untouched_run_needs_no_marks() {
        let row = Segment { count: 7000, bytes: 250_000, ..Segment::default() }.encode();
        assert_eq!(row.len(), HEAD);
        assert_eq!(lasting(&SegmentView::decode(&row).unwrap(), 5), [(5, 7005)]);
    }

    #[test]
    fn marks_move_along() {
        let (mut low, mut high) = (Marks::default(), Marks::default());
        high.set(0..1);
        high.set(9..12);
        low.set(2..3);
        low.set_shifted(&high, 13);
        let mut expected = Marks::default();
        for range in [2..3, 13..14, 22..25] {
            expected.set(range);
        }
        assert_eq!(low, expected);
        assert_eq!(low.count(), 5);
    }

    #[test]
    fn malformed_rows_are_refused() {
        let row = b"\x01\0\0\0\x0a\0\0\0\x03\0\x01\0\x02\x0e\0\x02abc";
        for end in 0..row.len() {
            assert!(SegmentView::decode(&row[..end]).is_err(), "cut at {end}");
        }
        assert!(SegmentView::decode(b"\x04\0\0\0\x0a\0\0\0\x03\0\0\0\0").is_err());
        assert!(SegmentView::decode(b"\0\0\0\0\x01\0\0\0\x03\0\x02\0\0\x01\x01").is_err());
        let ninth = b"\0\0\0\0\x08\0\0\0\x03\0\x02\0\0\x01\x01";
        assert!(SegmentView::decode(ninth).is_err(), "a mark of a record that is none");
        assert!(SegmentView::decode(b"\0\0\0\0\x07\0\0\0\x03\0\x01\0\0\x80").is_err());
        assert!(SegmentView::decode(b"\0\0\0\0\x07\0\0\0\x03\0\x01\0\0\x40").is_ok());
        assert!(SegmentView::decode(b"\0\0\0\0\0\0\0\0\0\0\0\0\0").is_err(), "a run of nothing");
        assert!(SegmentView::decode(b"\0\0\0\x20\0\0\0\0\x03\0\0\0\0").is_ok());
        assert!(SegmentView::decode(b"\0\0\0\x20\x01\0\0\0\x03\0\0\0\0").is_err(), "no run is so long");
    }
}
