//! What is kept of a run of records beside the records: how many, how many bytes, and which are
//! gone.
//!
//! A row of `segments`, integers big-endian:
//!
//! ```text
//!  0  u8   flags: bit 0 = the records follow here and not in `bodies`,
//!           bit 1 = some may have an expiration of their own,
//!           bit 2 = there are checksums, as in every row since format 5,
//!           bit 3 = its queue has a record
//!  1  u32  how many records
//!  5  u32  bytes of all records
//!  9  u16  s, bytes of the settled marks
//! 11  u16  t, bytes of the transient marks
//! 13  u32  CRC-32 of the records                                          } only with
//! 17  u32  CRC-32 of u64 queue | u64 first number | bytes 0 to 17 | marks  } bit 2
//!     settled marks | transient marks | records
//! ```
//!
//! The second checksum is looked at whenever the row is read, the first when the records are. Both
//! are against accidents: where a row lies and how long it is nobody but the store decides, so
//! there is nothing for clients to forge.
//!
//! Marks are a bit each, the first record's in the lowest bit of the first byte; zero bytes at the
//! end are left out. A settled record is gone; a transient one is there until the broker stops.
//! Reading this and not the records is what makes a start quick, so a large run's records lie in a
//! row of their own.

use super::table::RowKey;
use crate::ids::{QueueId, SeqRange};
use crate::store::error::StoreError;
use crc32fast::Hasher;
use std::ops::Range;

/// A run takes no further record beyond this many bytes: as a block, and for its reason.
pub(super) const RUN_BYTES_MAX: usize = crate::message::BLOCK_BYTES_MAX;

/// A run takes no further record beyond this many: its marks then stay under 2 KiB.
pub(super) const RUN_RECORDS_MAX: u32 = 8192;

/// Runs of at most this many bytes have their records in `segments`: a small commit then touches
/// one table, and a start reads at most this much for each such run.
pub(super) const INLINE_BYTES_MAX: usize = 2048;

const INLINE: u8 = 1;
const EXPIRES: u8 = 2;
const CHECKED: u8 = 4;
const DECLARED: u8 = 8;
const HEAD: usize = 13;
/// Bytes of both checksums.
const CHECKS: usize = 8;

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
pub(in crate::store) struct SegmentView<'a> {
    /// How many records, settled ones included.
    pub(super) count: u32,
    /// Bytes of all records.
    pub(super) bytes: u32,
    /// Whether a record may have an expiration of its own.
    pub(super) expires: bool,
    /// Whether its queue has a record.
    pub(super) declared: bool,
    /// The checksum of the records, unless the row is older than those are.
    checksum: Option<u32>,
    settled: &'a [u8],
    transient: &'a [u8],
    /// The records, when they are here.
    pub(super) inline: Option<&'a [u8]>,
}

impl<'a> SegmentView<'a> {
    /// Reads the row of `segments` that lies under `key`.
    pub(in crate::store) fn decode(key: RowKey, row: &'a [u8]) -> Result<Self, StoreError> {
        let (view, checksum) = Self::parse(row).ok_or_else(|| damaged(key, "is malformed"))?;
        let marks = (view.settled, view.transient);
        if checksum.is_some_and(|found| found != row_checksum(key, &row[..HEAD + CHECKS - 4], marks)) {
            return Err(damaged(key, "does not match its checksum"));
        }
        Ok(view)
    }

    /// What a row says of itself, true or not, and the checksum that it has.
    fn parse(row: &'a [u8]) -> Option<(Self, Option<u32>)> {
        let (head, rest) = row.split_first_chunk::<HEAD>()?;
        let [flags, c0, c1, c2, c3, b0, b1, b2, b3, s0, s1, t0, t1] = *head;
        let (checks, rest) = rest.split_at_checked(if flags & CHECKED == 0 { 0 } else { CHECKS })?;
        let (of_records, of_row) = checks.split_at(checks.len() / 2);
        let (settled, rest) = rest.split_at_checked(u16::from_be_bytes([s0, s1]).into())?;
        let (transient, rest) = rest.split_at_checked(u16::from_be_bytes([t0, t1]).into())?;
        let (count, bytes) = (u32::from_be_bytes([c0, c1, c2, c3]), u32::from_be_bytes([b0, b1, b2, b3]));
        let inline = (flags & INLINE != 0).then_some(rest);
        let records_fit = rest.len() == if inline.is_some() { bytes as usize } else { 0 };
        let marks_fit = fit(settled, count) && fit(transient, count);
        let known =
            if flags & CHECKED == 0 { INLINE | EXPIRES } else { INLINE | EXPIRES | CHECKED | DECLARED };
        let is_known = flags & !known == 0;
        let view = Self {
            count,
            bytes,
            expires: flags & EXPIRES != 0,
            declared: flags & DECLARED != 0,
            checksum: number(of_records),
            settled,
            transient,
            inline,
        };
        let is_run = (1..=RUN_RECORDS_MAX).contains(&count);
        (is_known && is_run && records_fit && marks_fit).then_some((view, number(of_row)))
    }

    /// How many records a row says that it has, though it may be damaged; 0 if it cannot be told.
    pub(super) fn count_of_damaged(row: &'a [u8]) -> u32 {
        Self::parse(row).map_or(0, |(view, _)| view.count)
    }

    /// The records that a row seems to have with it, though it may be damaged: what lies behind its
    /// marks, or all behind its head.
    pub(super) fn inline_of_damaged(row: &'a [u8]) -> &'a [u8] {
        match Self::parse(row) {
            Some((view, _)) => view.inline.unwrap_or_default(),
            None => row.get(HEAD..).unwrap_or_default(),
        }
    }

    /// Whether these are the records that were written, as far as that can be told: a row from
    /// before format 5 has no checksum.
    pub(super) fn matches(&self, records: &[u8]) -> bool {
        matches(records, self.bytes, self.checksum)
    }

    /// How many records are not settled, transient ones included.
    pub(super) fn unsettled(&self) -> u32 {
        self.count.saturating_sub(self.settled.iter().map(|byte| byte.count_ones()).sum())
    }

    /// Whether some records are transient.
    pub(super) fn has_transient(&self) -> bool {
        !self.transient.is_empty()
    }

    /// Calls `take` with the numbers of the records that outlive the broker, when the first one's
    /// number is `first`; of a stream transient ones are among them.
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

/// A run as its row says, to be changed: a plain record, of which
/// [`SegmentView::decode`] checks what must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store) struct Segment {
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
    /// Whether its queue has a record.
    pub(super) declared: bool,
    /// The checksum of the records; a row without stays without, whatever else of it changes.
    pub(super) checksum: Option<u32>,
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
            declared: view.declared,
            checksum: view.checksum,
            inline: view.inline.map(<[u8]>::to_vec),
        }
    }
}

impl Segment {
    /// The row of `segments` that lies under `key`.
    pub(in crate::store) fn encode(&self, key: RowKey) -> Vec<u8> {
        let inline = self.inline.as_deref().unwrap_or_default();
        let marks = self.settled.0.len() + self.transient.0.len();
        let mut row = Vec::with_capacity(HEAD + CHECKS + marks + inline.len());
        let flags = [
            (self.inline.is_some(), INLINE),
            (self.expires, EXPIRES),
            (self.checksum.is_some(), CHECKED),
            (self.declared && self.checksum.is_some(), DECLARED),
        ];
        row.push(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
        row.extend_from_slice(&self.count.to_be_bytes());
        row.extend_from_slice(&self.bytes.to_be_bytes());
        for marks in [&self.settled, &self.transient] {
            let len = u16::try_from(marks.0.len()).expect("RUN_RECORDS_MAX marks are under 2 KiB");
            row.extend_from_slice(&len.to_be_bytes());
        }
        if let Some(checksum) = self.checksum {
            row.extend_from_slice(&checksum.to_be_bytes());
            let checksum = row_checksum(key, &row, (&self.settled.0, &self.transient.0));
            row.extend_from_slice(&checksum.to_be_bytes());
        }
        row.extend_from_slice(&self.settled.0);
        row.extend_from_slice(&self.transient.0);
        row.extend_from_slice(inline);
        row
    }

    /// As [`SegmentView::matches`].
    pub(super) fn matches(&self, records: &[u8]) -> bool {
        matches(records, self.bytes, self.checksum)
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

/// The checksum that a row says it has, whether it matches or not; 0 of a row without.
pub(super) fn checksum_of(row: &[u8]) -> u32 {
    let is_checked = row.first().is_some_and(|flags| flags & CHECKED != 0);
    row.get(HEAD + CHECKS - 4..HEAD + CHECKS).filter(|_| is_checked).and_then(number).unwrap_or(0)
}

fn row_checksum((queue, first): RowKey, head: &[u8], (settled, transient): (&[u8], &[u8])) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&queue.to_be_bytes());
    hasher.update(&first.to_be_bytes());
    for part in [head, settled, transient] {
        hasher.update(part);
    }
    hasher.finalize()
}

fn matches(records: &[u8], bytes: u32, checksum: Option<u32>) -> bool {
    records.len() == bytes as usize && checksum.is_none_or(|checksum| checksum == crc32fast::hash(records))
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn damaged((queue, first): RowKey, what: &str) -> StoreError {
    StoreError::Damaged(format!("the row of `segments` of {} from number {first} on {what}", QueueId(queue)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RowKey = (7, 100);

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
        let row = segment.encode(KEY);
        assert_eq!(row, b"\x03\0\0\0\x0a\0\0\0\x03\0\x01\0\x02\x0e\0\x02abc");
        let view = SegmentView::decode(KEY, &row).unwrap();
        assert_eq!(Segment::from(view), segment);
        assert_eq!(view.unsettled(), 7);
        assert_eq!(lasting(&view, 100), [(100, 101), (104, 109)]);
    }

    #[test]
    fn a_row_with_checksums_is_as_drawn() {
        let (inline, checksum) = (Some(b"abc".to_vec()), Some(crc32fast::hash(b"abc")));
        let mut segment =
            Segment { count: 10, bytes: 3, declared: true, inline, checksum, ..Segment::default() };
        segment.settled.set(1..3);
        let row = segment.encode(KEY);
        let covered =
            [&b"\x0d\0\0\0\x0a\0\0\0\x03\0\x01\0\0"[..], &crc32fast::hash(b"abc").to_be_bytes()].concat();
        let key = b"\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x64";
        let checksum = crc32fast::hash(&[&key[..], &covered, &[6]].concat());
        assert_eq!(row, [&covered[..], &checksum.to_be_bytes(), b"\x06abc"].concat());
        assert_eq!(checksum_of(&row), checksum);
        let view = SegmentView::decode(KEY, &row).unwrap();
        assert_eq!(Segment::from(view), segment);
        assert!(view.matches(b"abc") && !view.matches(b"abd") && !view.matches(b"ab"));
        assert!(SegmentView::decode((7, 101), &row).is_err() && SegmentView::decode((6, 100), &row).is_err());
    }

    /// The flags too: a row does not become one without checksums.
    #[test]
    fn no_bit_of_a_row_or_of_its_records_is_turned_unnoticed() {
        for inline in [None, Some(b"abc".to_vec())] {
            let checksum = Some(crc32fast::hash(b"abc"));
            let mut segment = Segment { count: 10, bytes: 3, inline, checksum, ..Segment::default() };
            segment.settled.set(1..3);
            segment.transient.set(3..10);
            let row = segment.encode(KEY);
            for bit in 0..row.len() * 8 {
                let mut turned = row.clone();
                turned[bit / 8] ^= 1 << (bit % 8);
                let noticed = match SegmentView::decode(KEY, &turned) {
                    Ok(view) => !view.matches(view.inline.unwrap_or(b"abc")),
                    Err(_) => true,
                };
                assert!(noticed, "bit {bit}");
            }
        }
    }

    #[test]
    fn an_untouched_run_needs_no_marks() {
        let row = Segment { count: 7000, bytes: 250_000, ..Segment::default() }.encode(KEY);
        assert_eq!(row.len(), HEAD);
        assert_eq!(lasting(&SegmentView::decode(KEY, &row).unwrap(), 5), [(5, 7005)]);
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
            assert!(SegmentView::decode(KEY, &row[..end]).is_err(), "cut at {end}");
        }
        assert!(SegmentView::decode(KEY, b"\x04\0\0\0\x0a\0\0\0\x03\0\0\0\0").is_err());
        assert!(SegmentView::decode(KEY, b"\0\0\0\0\x01\0\0\0\x03\0\x02\0\0\x01\x01").is_err());
        let ninth = b"\0\0\0\0\x08\0\0\0\x03\0\x02\0\0\x01\x01";
        assert!(SegmentView::decode(KEY, ninth).is_err(), "a mark of a record that is none");
        assert!(SegmentView::decode(KEY, b"\0\0\0\0\x07\0\0\0\x03\0\x01\0\0\x80").is_err());
        assert!(SegmentView::decode(KEY, b"\0\0\0\0\x07\0\0\0\x03\0\x01\0\0\x40").is_ok());
        assert!(SegmentView::decode(KEY, b"\0\0\0\0\0\0\0\0\0\0\0\0\0").is_err(), "a run of nothing");
        assert!(SegmentView::decode(KEY, b"\0\0\0\x20\0\0\0\0\x03\0\0\0\0").is_ok());
        assert!(SegmentView::decode(KEY, b"\0\0\0\x20\x01\0\0\0\x03\0\0\0\0").is_err(), "no run is so long");
    }
}
