//! What the commit thread knows of a queue's rows without looking: counters, not a map of rows.

use super::segment::{INLINE_BYTES_MAX, RUN_BYTES_MAX};
use crate::ids::{IdMap, QueueId, SeqRange};
use crate::store::commit::merge::OnDisk;

/// Rows below this many bytes are small: in time they are joined with their neighbours.
const SMALL_BYTES: usize = 16 * 1024;

/// So many rows that follow each other are joined, or so few as make a run of [`RUN_BYTES_MAX`]:
/// first those whose records are inline, then all small ones. A record is thus rewritten at most
/// twice or so, however small.
const JOIN_ROWS: u32 = 128;

/// Queues that have something on disk.
pub(super) type QueueIndexes = IdMap<QueueId, QueueIndex>;

/// Every queue that has something on disk.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    pub(super) queues: QueueIndexes,
    /// Those with messages that were spilled.
    pub(super) local: QueueIndexes,
}

impl Indexes {
    /// What may be on disk of a queue.
    pub(super) fn on_disk(&self, id: QueueId) -> OnDisk {
        let (index, local) = (self.queues.get(&id), self.local.get(&id));
        OnDisk {
            messages: index.map_or_else(SeqRange::default, QueueIndex::range),
            declared: index.is_some_and(|index| index.declared),
            anything: index.is_some(),
            spilled: local.map_or_else(SeqRange::default, QueueIndex::range),
        }
    }
}

/// One queue's part of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct QueueIndex {
    /// Whether it has a queue's record: only then its messages survive a restart.
    pub(super) declared: bool,
    /// Messages in its rows that are not settled.
    pub(super) live: u64,
    /// Every row's numbers lie within; not tight.
    low: u64,
    high: u64,
    /// Rows of `returns`.
    pub(super) requeues: u64,
    /// The last rows, as long as they follow each other: those whose records are inline, and all
    /// small ones.
    inline: Tail,
    small: Tail,
}

/// Consecutive rows at the end of a queue.
#[derive(Debug, Clone, Copy, Default)]
struct Tail {
    first: u64,
    end: u64,
    rows: u32,
    bytes: usize,
}

impl Tail {
    /// Takes in the next row, or begins anew with it.
    fn extend(&mut self, range: SeqRange, bytes: usize, rows: u32) {
        if self.end != range.first {
            *self = Self { first: range.first, end: range.first, rows: 0, bytes: 0 };
        }
        self.end = range.end;
        self.rows += rows;
        self.bytes += bytes;
    }

    fn due(&self) -> Option<SeqRange> {
        let due = self.rows >= JOIN_ROWS || self.bytes >= RUN_BYTES_MAX;
        due.then_some(SeqRange { first: self.first, end: self.end })
    }
}

/// Rows that are to be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// The numbers in them.
    pub(super) range: SeqRange,
    all_small: bool,
}

impl QueueIndex {
    /// Where its messages can be.
    pub(super) fn range(&self) -> SeqRange {
        if self.live == 0 { SeqRange::of(0, 0) } else { SeqRange { first: self.low, end: self.high } }
    }

    /// Whether nothing of the queue is on disk.
    pub(super) fn is_empty(&self) -> bool {
        !self.declared && self.live == 0 && self.requeues == 0
    }

    /// A row was added: `range` are its numbers, of which `live` are not settled.
    pub(super) fn add(&mut self, range: SeqRange, bytes: usize, live: u64) {
        if self.live == 0 {
            (self.low, self.high) = (range.first, range.end);
            (self.inline, self.small) = (Tail::default(), Tail::default());
        }
        self.low = self.low.min(range.first);
        self.high = self.high.max(range.end);
        self.live += live;
        self.note(range, bytes);
    }

    /// Rows that are due to be joined.
    pub(super) fn due(&self) -> Option<Due> {
        let small = self.small.due().map(|range| Due { range, all_small: true });
        small.or_else(|| self.inline.due().map(|range| Due { range, all_small: false }))
    }

    /// The rows of `due` were replaced by `rows`: numbers and bytes of each.
    pub(super) fn joined(&mut self, due: Due, rows: &[(SeqRange, usize)]) {
        self.inline = Tail::default();
        if due.all_small || rows.iter().any(|&(_, bytes)| bytes >= SMALL_BYTES) {
            self.small = Tail::default();
            rows.iter().for_each(|&(range, bytes)| self.note(range, bytes));
        } else {
            // They lie at the end of the small ones, which know their bytes already.
            let joined = rows.iter().filter(|&&(_, bytes)| bytes > INLINE_BYTES_MAX).count();
            self.small.rows += u32::try_from(joined).unwrap_or(JOIN_ROWS);
        }
    }

    fn note(&mut self, range: SeqRange, bytes: usize) {
        if bytes < SMALL_BYTES {
            self.small.extend(range, bytes, u32::from(bytes > INLINE_BYTES_MAX));
        }
        if bytes <= INLINE_BYTES_MAX {
            self.inline.extend(range, bytes, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds `count` rows of one number each, `bytes` long, joining as the writer does; returns how
    /// often a record was rewritten on average, and the rows that are left.
    fn fill(count: u64, bytes: usize) -> (f64, Vec<(SeqRange, usize)>) {
        let mut index = QueueIndex::default();
        let mut rows = Vec::new();
        let mut rewritten = 0;
        for seq in 0..count {
            rows.push((SeqRange::of(seq, 1), bytes));
            index.add(SeqRange::of(seq, 1), bytes, 1);
            while let Some(due) = index.due() {
                let from = rows.partition_point(|(range, _)| range.first < due.range.first);
                let mut joined: Vec<(SeqRange, usize)> = Vec::new();
                for (range, bytes) in rows.split_off(from) {
                    rewritten += range.len();
                    match joined.last_mut().filter(|last| last.1 + bytes <= RUN_BYTES_MAX) {
                        Some(last) => (last.0.end, last.1) = (range.end, last.1 + bytes),
                        None => joined.push((range, bytes)),
                    }
                }
                index.joined(due, &joined);
                rows.extend(joined);
            }
        }
        (rewritten as f64 / count as f64, rows)
    }

    #[test]
    fn one_at_a_time_becomes_few_rows_with_few_rewritings() {
        for (bytes, rows_max, rewritings_max) in
            [(36, 300, 2.5), (64, 400, 2.5), (1000, 850, 1.5), (3000, 1400, 1.5), (15_000, 6500, 1.5)]
        {
            let (rewritings, rows) = fill(100_000, bytes);
            assert!(rows.len() <= rows_max, "{bytes} bytes: {} rows", rows.len());
            assert!(rewritings <= rewritings_max, "{bytes} bytes: {rewritings} rewritings");
        }
    }

    #[test]
    fn large_rows_are_left_alone() {
        let (rewritings, rows) = fill(1000, SMALL_BYTES);
        assert_eq!((rewritings, rows.len()), (0.0, 1000));
    }
}
