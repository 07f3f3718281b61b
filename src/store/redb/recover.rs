//! What is on disk when the broker starts, told by rows of metadata: no record is read but those of
//! the journal.
//!
//! Messages outlive the broker when their queue has a record and they were persistent and not
//! settled. The rest is tidied away: rows of queues without a record, rows of which nothing lasts,
//! marks of transient records (which are settled now), returns of messages that are gone.

use super::body::{BodyTables, CommittedBodies};
use super::checked::{self, Totals, Transaction};
use super::disk::Disk;
use super::index::{Indexes, QueueIndexes};
use super::journal;
use super::loss::Loss;
use super::metadata;
use super::quarantine;
use super::segment::{self, Segment, SegmentView};
use super::stream;
use super::sweep;
use super::table::{
    self, DELIVERED, Identity, LOCAL_SEGMENTS, QUEUES, REQUEUES, Removed, RowKey, Rows, SEGMENTS,
};
use super::write::Writer;
use crate::ids::{QueueId, SeqRange, lane_of};
use crate::store::change::{DamagedRun, Recovered, RecoveredLane, RecoveredQueue, RecoveredRequeue};
use crate::store::codec::{self, record};
use crate::store::commit::group::Group;
use crate::store::commit::merge::WriteBatch;
use crate::store::error::StoreError;
use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableHandle};
use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;

/// Rows that one transaction tidies at most: so much memory a transaction holds, and no more.
const TIDY_ROWS: usize = 4096;

/// So many gaps among the journal's entries are named.
const LISTED_MAX: usize = 20;

/// What is found and what is to be done about it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) recovered: Recovered,
    pub(super) indexes: QueueIndexes,
    /// Of the rows of `segments`, damaged ones included.
    pub(super) totals: Totals,
    chores: Vec<Chore>,
    /// Rows of `segments` that are damaged.
    damaged: Vec<RowKey>,
    /// The rows of `removed_bodies`.
    pub(super) removed: Vec<Removed>,
    /// How many rows of `segments` are missing.
    missing: u64,
}

#[derive(Debug)]
enum Chore {
    /// The row is of no use.
    Remove(RowKey),
    /// Its transient records are gone.
    SettleTransient(RowKey),
    /// A failed delivery of a message that is gone.
    Forget(RowKey),
}

/// Puts into the tables what only the journal of a file of this format has: the groups after number
/// `last`. Without those that are damaged, if that is to be repaired: how many these are.
pub(super) fn replay(
    database: &Database,
    disk: &Disk,
    (last, format): (u64, u32),
    repair: bool,
) -> Result<u64, StoreError> {
    let journal::Found { entries, damaged, .. } = journal::read(disk, last, format)?;
    let number = entries.last().map_or(last, |entry| entry.number);
    if !damaged.is_empty() {
        let listed = listed(&damaged);
        if !repair {
            return Err(StoreError::Damaged(format!(
                "{listed} of the journal: what was on disk in full does not match its checksum; `leveret serve --repair` \
                 drops that, and keeps the rest up to entry {number}"
            )));
        }
        tracing::warn!("repair: dropping {listed} of the journal, keeping the rest up to entry {number}");
    }
    let dropped = damaged.iter().map(|range| range.end - range.start).sum();
    if entries.is_empty() {
        return Ok(dropped);
    }
    let mut batch = WriteBatch::default();
    for journal::Entry { number, payload } in &entries {
        batch.merge(Group::decode(*number, payload, format)?.changes);
    }
    let indexes = Indexes { queues: recount(&database.begin_read()?)?, ..Indexes::default() };
    batch.settle(|id| indexes.on_disk(id));
    check_new(&batch)?;
    let tx = Transaction::begin(database)?;
    let mut writer = Writer::new(&tx);
    writer.write(&batch, &indexes)?;
    writer.finish(&batch, number, false, None)?;
    tx.commit()?;
    Ok(dropped)
}

/// Names entries by their numbers.
fn listed(numbers: &[Range<u64>]) -> String {
    let count: u64 = numbers.iter().map(|range| range.end - range.start).sum();
    let named = numbers.iter().map(|range| match range.end - 1 {
        last if last == range.start => last.to_string(),
        last => format!("{} to {last}", range.start),
    });
    let named: Vec<String> = named.take(LISTED_MAX).collect();
    let more = if numbers.len() > LISTED_MAX { " and others" } else { "" };
    format!("{} {}{more}", if count == 1 { "entry" } else { "entries" }, named.join(", "))
}

/// Checks that no number enters a queue twice; those that are in the tables already are found in
/// [`recover`].
fn check_new(batch: &WriteBatch) -> Result<(), StoreError> {
    for (&id, queue) in &batch.queues {
        if queue.runs.windows(2).any(|runs| runs[1].first < runs[0].end()) {
            return Err(overlapping(id.0));
        }
    }
    Ok(())
}

fn overlapping(id: u64) -> StoreError {
    StoreError::Damaged(format!("a number of {} is there twice", QueueId(id)))
}

/// Reads everything but records.
pub(super) fn recover(database: &Database, identity: Identity, repair: bool) -> Result<Found, StoreError> {
    let Identity { clean, mut next_queue, totals, ahead_ms, .. } = identity;
    let tx = database.begin_read()?;
    let mut queues = read_queues(&tx)?;
    let mut found = Found::default();
    read_segments(&tx, &mut queues, &mut found)?;
    found.missing = check_totals(&found, totals, repair)?;
    read_requeues(&tx, &mut queues, &mut found)?;
    found.removed = sweep::read(&tx)?;
    for &Removed { first: (id, first), end } in &found.removed {
        // A body under such a number would be taken for one that is to be removed.
        if let Some(queue) = queues.get_mut(&id) {
            let next = &mut lane(queue, first).next;
            *next = end.max(*next);
        }
    }
    for (&id, queue) in &queues {
        next_queue = next_queue.max(id + 1);
        let index = found.indexes.entry(QueueId(id)).or_default();
        index.declared = true;
        index.requeues = queue.requeues.len() as u64;
    }
    found.indexes.retain(|_, index| !index.is_empty());
    found.recovered = Recovered {
        queues: queues.into_values().collect(),
        exchanges: metadata::read_exchanges(&tx)?,
        bindings: metadata::read_bindings(&tx)?,
        seen: metadata::read_seen(&tx)?,
        auth: metadata::read_auth(&tx)?,
        policies: metadata::read_policies(&tx)?,
        parameters: metadata::read_parameters(&tx)?,
        damaged: Vec::new(),
        clean,
        next_queue,
        ahead_ms,
    };
    Ok(found)
}

/// Checks that no row of `segments` has disappeared or come back. Of damaged ones only the number
/// is known. How many are missing, if that is to be repaired.
fn check_totals(found: &Found, expected: Option<Totals>, repair: bool) -> Result<u64, StoreError> {
    let Some(expected) = expected else { return Ok(0) };
    if found.totals.rows == expected.rows && (found.totals.sum == expected.sum || !found.damaged.is_empty()) {
        return Ok(0);
    }
    let what = found.totals.unlike(expected, SEGMENTS.name());
    if !repair {
        return Err(StoreError::Damaged(format!(
            "{what}: messages are missing; `leveret serve --repair` goes on with those that are there"
        )));
    }
    tracing::warn!("repair: {what}; continuing with those that exist");
    // Where as many are there some are older than they should be.
    Ok(expected.rows.saturating_sub(found.totals.rows).max(1))
}

/// Keeps the numbers of runs that were set aside from being given again.
fn skip_numbers(damaged: &[DamagedRun], queues: &mut [RecoveredQueue]) {
    for run in damaged {
        let place = queues.binary_search_by_key(&run.queue, |queue| queue.record.id);
        let (Ok(place), Ok(numbers)) = (place, table::numbers(run.first, run.messages)) else { continue };
        let next = &mut lane(&mut queues[place], numbers.first).next;
        *next = numbers.end.max(*next);
    }
}

/// The lane of a queue that the number `seq` is in.
fn lane(queue: &mut RecoveredQueue, seq: u64) -> &mut RecoveredLane {
    let lane = lane_of(seq);
    let index = queue.lanes.binary_search_by_key(&lane, |lane| lane.lane).unwrap_or_else(|index| {
        queue.lanes.insert(index, RecoveredLane { lane, delivered_up_to: 0, next: 0 });
        index
    });
    &mut queue.lanes[index]
}

/// Counts the rows of a database that was opened anew while the broker runs.
pub(super) fn recount_all(database: &Database) -> Result<Indexes, StoreError> {
    let tx = database.begin_read()?;
    let mut local = QueueIndexes::default();
    count_runs(&tx.open_table(LOCAL_SEGMENTS)?, &mut local)?;
    Ok(Indexes { queues: recount(&tx)?, local })
}

fn count_runs(
    table: &ReadOnlyTable<RowKey, &'static [u8]>,
    indexes: &mut QueueIndexes,
) -> Result<(), StoreError> {
    for row in table.range::<RowKey>(..)? {
        let (key, value) = row?;
        let ((id, first), view) = (key.value(), SegmentView::decode(key.value(), value.value())?);
        let index = indexes.entry(QueueId(id)).or_default();
        index.add(table::numbers(first, view.count)?, view.bytes as usize, view.unsettled().into());
    }
    Ok(())
}

/// Counts the rows of what outlives the broker.
fn recount(tx: &ReadTransaction) -> Result<QueueIndexes, StoreError> {
    let mut indexes = QueueIndexes::default();
    count_runs(&tx.open_table(SEGMENTS)?, &mut indexes)?;
    REQUEUES.read(tx, |(id, _), _| {
        indexes.entry(QueueId(id)).or_default().requeues += 1;
        Ok(())
    })?;
    QUEUES.read(tx, |id, _| {
        indexes.entry(QueueId(id)).or_default().declared = true;
        Ok(())
    })?;
    Ok(indexes)
}

/// Tidies up, a bounded number of rows in each transaction; first of all it sets aside what is
/// damaged. How many messages are gone by that, and by what was missing.
pub(super) fn tidy(database: &Database, found: &mut Found) -> Result<Loss, StoreError> {
    let new = found.damaged.len();
    quarantine::quarantine(database, &mem::take(&mut found.damaged))?;
    found.recovered.damaged = quarantine::list(&database.begin_read()?)?;
    let mut loss = Loss::default();
    loss.unknown(found.missing);
    found.recovered.damaged.iter().rev().take(new).for_each(|run| loss.run(run.messages));
    skip_numbers(&found.recovered.damaged, &mut found.recovered.queues);
    for chores in mem::take(&mut found.chores).chunks(TIDY_ROWS) {
        let tx = Transaction::begin(database)?;
        let mut rows = Rows::new(&tx);
        for chore in chores {
            match *chore {
                Chore::Remove(key) => {
                    rows.remove_segment(key)?;
                    rows.bodies().remove(key)?;
                }
                Chore::SettleTransient(key) => {
                    let row = rows.segments()?.get(key)?;
                    let segment = row.map(|row| SegmentView::decode(key, row.value()).map(Segment::from));
                    if let Some(mut segment) = segment.transpose()? {
                        let transient = mem::take(&mut segment.transient);
                        segment.settled.set_shifted(&transient, 0);
                        rows.put_segment(key, &segment)?;
                    }
                }
                Chore::Forget(key) => {
                    rows.requeues()?.remove(key)?;
                }
            }
        }
        table::write_meta(&tx, &[], rows.totals())?;
        drop(rows);
        tx.commit()?;
    }
    Ok(loss)
}

/// How many messages have no records any more, or others than were written: all records are read.
pub(super) fn count_damaged(database: &Database) -> Result<u64, StoreError> {
    let tx = database.begin_read()?;
    let bodies = CommittedBodies::open(&tx, BodyTables::LASTING)?;
    let mut damaged = 0;
    for row in tx.open_table(SEGMENTS)?.range::<RowKey>(..)? {
        let (key, value) = row?;
        let view = SegmentView::decode(key.value(), value.value())?;
        let apart = if view.inline.is_none() { bodies.read(key.value(), view.bytes)? } else { None };
        if !view.inline.or(apart.as_deref()).is_some_and(|records| view.matches(records)) {
            damaged += u64::from(view.unsettled());
        }
    }
    Ok(damaged)
}

fn read_queues(tx: &ReadTransaction) -> Result<BTreeMap<u64, RecoveredQueue>, StoreError> {
    let mut queues = BTreeMap::new();
    QUEUES.read(tx, |id, value| {
        let id = codec::number(id)?;
        let queue = RecoveredQueue {
            record: record::decode_queue(id, value)?,
            messages: Vec::new(),
            bytes: 0,
            requeues: Vec::new(),
            lanes: Vec::new(),
            expires: false,
            stream: None,
        };
        queues.insert(id, queue);
        Ok(())
    })?;
    DELIVERED.read(tx, |(id, lane_read), value| {
        let [up_to] = checked::numbers(DELIVERED.name, value)?;
        let delivered_up_to = codec::number(up_to)?;
        let lane = lane_of(delivered_up_to);
        if lane_read != u64::from(lane) {
            return Err(StoreError::Damaged("a mark of a clean stop is in the wrong lane".to_owned()));
        }
        if let Some(queue) = queues.get_mut(&id) {
            queue.lanes.push(RecoveredLane { lane, delivered_up_to, next: 0 });
        }
        Ok(())
    })?;
    stream::recover(tx, &mut queues)?;
    Ok(queues)
}

fn read_segments(
    tx: &ReadTransaction,
    queues: &mut BTreeMap<u64, RecoveredQueue>,
    found: &mut Found,
) -> Result<(), StoreError> {
    let mut last = (0, 0);
    for row in tx.open_table(SEGMENTS)?.range::<RowKey>(..)? {
        let (key, value) = row?;
        let (id, first) = key.value();
        found.totals.add(segment::checksum_of(value.value()));
        let view = match SegmentView::decode((id, first), value.value()) {
            Ok(view) if !view.declared || queues.contains_key(&id) => view,
            // Damaged, or of a queue whose record has disappeared.
            _ => {
                found.damaged.push((id, first));
                continue;
            }
        };
        let numbers = table::numbers(first, view.count)?;
        if last > (id, first) {
            return Err(overlapping(id));
        }
        last = (id, numbers.end);
        let Some(queue) = queues.get_mut(&id) else {
            found.chores.push(Chore::Remove((id, first)));
            continue;
        };
        let mut lasting = 0;
        let transients_last = queue.stream.is_some();
        view.each_lasting(first, transients_last, |range| {
            lasting += range.len();
            match queue.messages.last_mut() {
                Some(last) if last.end == range.first => last.end = range.end,
                _ => queue.messages.push(range),
            }
        });
        if lasting == 0 {
            found.chores.push(Chore::Remove((id, first)));
            continue;
        }
        if view.has_transient() && !transients_last {
            found.chores.push(Chore::SettleTransient((id, first)));
        }
        // Of a row that is partly gone only the bytes of the whole are known.
        queue.bytes += u64::from(view.bytes) * lasting / u64::from(view.count);
        queue.expires |= view.expires;
        let next = &mut lane(queue, first).next;
        *next = numbers.end.max(*next);
        let index = found.indexes.entry(QueueId(id)).or_default();
        index.add(numbers, view.bytes as usize, lasting);
    }
    Ok(())
}

fn read_requeues(
    tx: &ReadTransaction,
    queues: &mut BTreeMap<u64, RecoveredQueue>,
    found: &mut Found,
) -> Result<(), StoreError> {
    REQUEUES.read(tx, |(id, seq), value| {
        let (deliveries, due_ms) = table::decode_requeue(value)?;
        let queue = queues.get_mut(&id).filter(|queue| holds(&queue.messages, seq));
        match queue {
            Some(queue) => queue.requeues.push(RecoveredRequeue { seq, deliveries, due_ms }),
            None => found.chores.push(Chore::Forget((id, seq))),
        }
        Ok(())
    })?;
    Ok(())
}

/// Whether ordered ranges hold `seq`.
fn holds(ranges: &[SeqRange], seq: u64) -> bool {
    let at = ranges.partition_point(|range| range.end <= seq);
    ranges.get(at).is_some_and(|range| range.first <= seq)
}
