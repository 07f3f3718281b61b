//! Writes merged work into a transaction: rows for what enters, marks or nothing for what leaves.
//!
//! Nothing here commits. What the writer learns of each queue takes effect in the
//! [`Indexes`] only once the transaction has: see [`Writer::finish`].

use super::body::UNKNOWN_BYTES;
use super::checked::Transaction;
use super::index::{Indexes, QueueIndex};
use super::join;
use super::metadata;
use super::segment::{INLINE_BYTES_MAX, Marks, RUN_BYTES_MAX, RUN_RECORDS_MAX, Segment, SegmentView};
use super::stream;
use super::table::{
    self, DELIVERED, META_CLEAN, META_INDEX, META_JOURNAL, META_NEXT_QUEUE, META_TERM, QUEUES,
    REMOVED_BODIES, Removed, Rows,
};
use crate::ids::{QueueId, SeqRange};
use crate::store::codec::record;
use crate::store::commit::merge::{self, LocalBatch, QueueBatch, Run, WriteBatch};
use crate::store::error::StoreError;
use crate::store::replica::log::EntryId;
use redb::ReadableTable;

/// One transaction in the making.
pub(super) struct Writer<'tx> {
    tx: &'tx Transaction,
    rows: Rows<'tx>,
    local: Rows<'tx>,
    changed: Changed,
}

/// What is known of queues once a transaction is committed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) queues: Vec<(QueueId, QueueIndex)>,
    /// Of their spilled messages.
    pub(super) local: Vec<(QueueId, QueueIndex)>,
    /// Bodies that are to be removed later.
    pub(super) removed: Vec<Removed>,
    /// Of spilled messages.
    pub(super) removed_local: Vec<Removed>,
}

impl<'tx> Writer<'tx> {
    pub(super) fn new(tx: &'tx Transaction) -> Self {
        Self { tx, rows: Rows::new(tx), local: Rows::local(tx), changed: Changed::default() }
    }

    /// Writes all of `batch`.
    pub(super) fn write(&mut self, batch: &WriteBatch, indexes: &Indexes) -> Result<(), StoreError> {
        metadata::write(self.tx, &batch.metadata)?;
        for (&id, queue) in &batch.queues {
            if let Some(local) = &queue.local {
                let mut index = indexes.local.get(&id).cloned().unwrap_or_default();
                self.write_local(id, local, &mut index)?;
                self.changed.local.push((id, index));
            }
            if !queue.lasts() {
                continue;
            }
            let mut index = indexes.queues.get(&id).cloned().unwrap_or_default();
            if queue.deleted {
                self.delete(id)?;
                index = QueueIndex::default();
            } else {
                self.write_queue(id, queue, &mut index)?;
            }
            self.changed.queues.push((id, index));
        }
        Ok(())
    }

    /// Notes that `batch` was written, which ends with entry `number` of the journal or takes its
    /// place, whether the stop is a clean one, and the last entry of a cluster's log that the
    /// tables hold then. Returns what is known of the queues once the transaction is committed.
    pub(super) fn finish(
        mut self,
        batch: &WriteBatch,
        number: u64,
        clean: bool,
        entry: Option<EntryId>,
    ) -> Result<Changed, StoreError> {
        let next_queue = table::next_queue(self.tx)?.max(batch.next_queue);
        let mut values =
            vec![(META_JOURNAL, number), (META_NEXT_QUEUE, next_queue), (META_CLEAN, clean.into())];
        if let Some(EntryId { term, index }) = entry {
            values.extend([(META_TERM, term), (META_INDEX, index)]);
        }
        table::write_meta(self.tx, &values, self.rows.totals())?;
        (self.changed.removed, self.changed.removed_local) = (self.rows.removed(), self.local.removed());
        if !self.changed.removed.is_empty() {
            let mut table = self.tx.open(&REMOVED_BODIES)?;
            for &Removed { first, end } in &self.changed.removed {
                table.insert(first, &end.to_be_bytes())?;
            }
        }
        Ok(self.changed)
    }

    fn write_queue(
        &mut self,
        id: QueueId,
        queue: &QueueBatch,
        index: &mut QueueIndex,
    ) -> Result<(), StoreError> {
        if let Some(record) = &queue.declared {
            self.tx.open(&QUEUES)?.insert(id.0, &record::encode_queue(record))?;
            index.declared = true;
        }
        for (&lane, &up_to) in &queue.delivered {
            self.tx.open(&DELIVERED)?.insert((id.0, lane.into()), &up_to.to_be_bytes())?;
        }
        if let Some(batch) = &queue.stream {
            stream::write(self.tx, id, batch)?;
        }
        publish(&mut self.rows, id, &queue.runs, index)?;
        for (&seq, &row) in &queue.requeues {
            let replaces = self.rows.requeues()?.insert((id.0, seq), &table::encode_requeue(row))?;
            index.requeues += u64::from(!replaces);
        }
        settle(&mut self.rows, id, &queue.settled, index)?;
        join_small(&mut self.rows, id, index)
    }

    /// Writes what is spilled. It may have been written before, by a commit that seemed to fail and
    /// did not, so what is there of its numbers is replaced.
    fn write_local(
        &mut self,
        id: QueueId,
        local: &LocalBatch,
        index: &mut QueueIndex,
    ) -> Result<(), StoreError> {
        if local.deleted {
            remove_all(&mut self.local, id)?;
            *index = QueueIndex::default();
            return Ok(());
        }
        let mut entering: Vec<_> =
            local.runs.iter().map(|run| SeqRange { first: run.first, end: run.end() }).collect();
        merge::join(&mut entering);
        merge::keep_within(&mut entering, index.range());
        let left = self.local.set_removals(usize::MAX);
        settle(&mut self.local, id, &entering, index)?;
        self.local.set_removals(left);
        publish(&mut self.local, id, &local.runs, index)?;
        settle(&mut self.local, id, &local.settled, index)?;
        join_small(&mut self.local, id, index)
    }

    /// Removes all that a queue has.
    fn delete(&mut self, id: QueueId) -> Result<(), StoreError> {
        let keys = || (id.0, 0)..=(id.0, u64::MAX);
        self.tx.open(&QUEUES)?.remove(id.0)?;
        self.tx.open(&DELIVERED)?.remove_in(keys())?;
        remove_all(&mut self.rows, id)?;
        self.rows.requeues()?.remove_in(keys())?;
        stream::delete(self.tx, id)
    }
}

/// Inserts the runs, which are in order, into as few rows as they fit in.
fn publish(rows: &mut Rows<'_>, id: QueueId, runs: &[Run], index: &mut QueueIndex) -> Result<(), StoreError> {
    let mut row = Row::default();
    for run in runs {
        let mut run = run.clone();
        loop {
            let fit = row.records_that_fit(&run);
            let rest = run.split_off(run.first + u64::from(fit));
            row.push(run);
            if rest.range.is_empty() {
                break;
            }
            insert(rows, id, &row, index)?;
            row = Row::default();
            run = rest;
        }
    }
    insert(rows, id, &row, index)
}

fn insert(rows: &mut Rows<'_>, id: QueueId, row: &Row, index: &mut QueueIndex) -> Result<(), StoreError> {
    let Some(first) = row.runs.first().map(|run| run.first) else { return Ok(()) };
    let mut segment = Segment {
        count: row.records,
        bytes: u32::try_from(row.bytes)
            .map_err(|_over| StoreError::Damaged("a record is over 4 GiB".to_owned()))?,
        transient: row.transient(),
        expires: row.runs.iter().any(|run| run.block.expires()),
        declared: index.declared,
        ..Segment::default()
    };
    if let [record] = &*row.runs
        && row.bytes > RUN_BYTES_MAX
    {
        // It is alone in its row: see `records_that_fit`.
        let records = record.block.slice(record.range.clone());
        rows.bodies_for(segment.bytes).insert((id.0, first), &records)?;
        segment.checksum = Some(crc32fast::hash(&records));
    } else if row.bytes <= INLINE_BYTES_MAX {
        let mut records = vec![0; row.bytes];
        row.copy_to(&mut records);
        segment.checksum = Some(crc32fast::hash(&records));
        segment.inline = Some(records);
    } else {
        let mut records = rows.bodies_for(segment.bytes).room((id.0, first), row.bytes)?;
        row.copy_to(records.as_mut());
        segment.checksum = Some(crc32fast::hash(records.as_mut()));
    }
    rows.put_segment((id.0, first), &segment)?;
    index.add(segment.range(first), row.bytes, row.records.into());
    Ok(())
}

/// Settles ordered ranges; each partly settled row is written once.
fn settle(
    rows: &mut Rows<'_>,
    id: QueueId,
    settled: &[SeqRange],
    index: &mut QueueIndex,
) -> Result<(), StoreError> {
    let mut open: Option<(u64, Segment)> = None;
    for &range in settled {
        if index.requeues > 0 {
            let keys = (id.0, range.first)..(id.0, range.end);
            index.requeues -= rows.requeues()?.remove_in(keys)?;
        }
        let mut range = range;
        if open.as_ref().is_none_or(|(first, segment)| segment.range(*first).end <= range.first) {
            put_back(rows, id, open.take())?;
            open = find(rows, id, range.first)?;
        }
        if let Some((first, segment)) = &mut open {
            index.live -= u64::from(mark(segment, *first, range));
            range.first = range.end.min(segment.range(*first).end);
        }
        if range.is_empty() {
            continue;
        }
        // What is left begins where a row begins, or where none is; its last row may go beyond
        // it.
        if let Some((first, mut segment)) = find_in(rows, id, range)?
            && segment.range(first).end > range.end
        {
            put_back(rows, id, open.take())?;
            index.live -= u64::from(mark(&mut segment, first, range));
            range.end = first;
            open = Some((first, segment));
        }
        index.live -= remove(rows, id, range)?;
    }
    put_back(rows, id, open)
}

/// Writes a partly settled row back, or removes it when nothing of it is left.
fn put_back(rows: &mut Rows<'_>, id: QueueId, row: Option<(u64, Segment)>) -> Result<(), StoreError> {
    let Some((first, segment)) = row else { return Ok(()) };
    let key = (id.0, first);
    if segment.is_gone() {
        rows.remove_segment(key)?;
        if segment.inline.is_none() {
            rows.remove_bodies(id, &[(first, segment.bytes)])?;
        }
    } else {
        rows.put_segment(key, &segment)?;
    }
    Ok(())
}

/// Removes the rows that begin in `range`; returns how many unsettled messages they had.
fn remove(rows: &mut Rows<'_>, id: QueueId, range: SeqRange) -> Result<u64, StoreError> {
    let (mut live, mut bodies, mut damaged) = (0, Vec::new(), None);
    if range.is_empty() {
        return Ok(0);
    }
    rows.remove_segments((id.0, range.first)..(id.0, range.end), |key, row| {
        match SegmentView::decode(key, row) {
            Ok(view) => {
                live += u64::from(view.unsettled());
                bodies.extend(view.inline.is_none().then_some((key.1, view.bytes)));
            }
            Err(error) => damaged = Some(error),
        }
        false
    })?;
    rows.remove_bodies(id, &bodies)?;
    damaged.map_or(Ok(live), Err)
}

/// Removes all runs of a queue, damaged ones too.
fn remove_all(rows: &mut Rows<'_>, id: QueueId) -> Result<(), StoreError> {
    let mut bodies = Vec::new();
    rows.remove_segments((id.0, 0)..=(id.0, u64::MAX), |key, row| {
        match SegmentView::decode(key, row) {
            Ok(view) if view.inline.is_some() => {}
            Ok(view) => bodies.push((key.1, view.bytes)),
            Err(_) => bodies.push((key.1, UNKNOWN_BYTES)),
        }
        false
    })?;
    rows.remove_bodies(id, &bodies)
}

/// Joins small rows at the end of a queue, once there are many.
fn join_small(rows: &mut Rows<'_>, id: QueueId, index: &mut QueueIndex) -> Result<(), StoreError> {
    while let Some(due) = index.due() {
        let joined = join::join(rows, id, due.range)?;
        index.joined(due, &joined);
    }
    Ok(())
}

/// Consecutive runs on their way into one row.
#[derive(Debug, Default)]
struct Row {
    runs: Vec<Run>,
    records: u32,
    bytes: usize,
}

impl Row {
    /// How many of the first records of `run` this row takes; a row that is empty takes one in any
    /// case.
    fn records_that_fit(&self, run: &Run) -> u32 {
        if self.runs.last().is_some_and(|last| last.end() != run.first) {
            return 0;
        }
        let bytes = RUN_BYTES_MAX.saturating_sub(self.bytes);
        let fits = |records| run.block.bytes_of(run.range.start..run.range.start + records) <= bytes;
        let (mut low, mut high) = (0, run.len().min(RUN_RECORDS_MAX - self.records));
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if fits(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low.max(u32::from(self.runs.is_empty()))
    }

    fn push(&mut self, run: Run) {
        if !run.range.is_empty() {
            self.records += run.len();
            self.bytes += run.bytes();
            self.runs.push(run);
        }
    }

    fn copy_to(&self, mut out: &mut [u8]) {
        for run in &self.runs {
            let (part, rest) = out.split_at_mut(run.bytes());
            part.copy_from_slice(&run.block.slice(run.range.clone()));
            out = rest;
        }
    }

    fn transient(&self) -> Marks {
        let mut marks = Marks::default();
        let mut at = 0;
        for run in &self.runs {
            if run.block.persistent() < run.block.len() {
                for (at, index) in (at..).zip(run.range.clone()) {
                    if !run.block.is_persistent(index) {
                        marks.set(at..at + 1);
                    }
                }
            }
            at += run.len();
        }
        marks
    }
}

/// Marks what `range` and the row have in common as settled; returns how many were not before.
fn mark(segment: &mut Segment, first: u64, range: SeqRange) -> u32 {
    let part = range.meet(segment.range(first));
    let at = |seq: u64| u32::try_from(seq - first).expect("within a row");
    segment.settled.set(at(part.first)..at(part.end))
}

/// The row that holds number `seq`.
fn find(rows: &mut Rows<'_>, id: QueueId, seq: u64) -> Result<Option<(u64, Segment)>, StoreError> {
    let row = find_in(rows, id, SeqRange { first: 0, end: seq + 1 })?;
    Ok(row.filter(|(first, segment)| seq < segment.range(*first).end))
}

/// The last row that begins in `range`.
fn find_in(rows: &mut Rows<'_>, id: QueueId, range: SeqRange) -> Result<Option<(u64, Segment)>, StoreError> {
    let mut found = rows.segments()?.range((id.0, range.first)..(id.0, range.end))?;
    let Some(row) = found.next_back().transpose()? else { return Ok(None) };
    let key = row.0.value();
    Ok(Some((key.1, SegmentView::decode(key, row.1.value())?.into())))
}
