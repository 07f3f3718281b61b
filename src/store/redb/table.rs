//! The tables of the data file: every kind of row there is, and what identifies the file.
//!
//! Integers inside keys, and in `leveret`, are redb's own (little-endian, fixed width); those in
//! values are big-endian. Byte strings are drawn byte by byte by `segment`, `record` and others.
//!
//! | table | key | value |
//! |---|---|---|
//! | `leveret` | `"clean"`, `"next_queue"`, `"journal"`, `"ahead"`, `"rows"`, `"sum"`, `"check"` | u64 |
//! | `segments` | (queue id, number of the first record) | count, bytes and settled marks of a run of records |
//! | `bodies` | the same | the records of that run, as they came; absent when `segments` or `body_parts` holds them |
//! | `body_parts` | (queue id, number of the record, u32 from 0) | 254 KiB of a record that is longer than that, or its end: see `body` |
//! | `removed_bodies` | (queue id, number) | u64, `end`: the bodies of the queue from the key's number up to, not including, `end` are to be removed: see `sweep` |
//! | `local_segments`, `local_bodies`, `local_body_parts` | as of those above | runs of records that were written for want of memory alone; empty once the broker has started |
//! | `damaged` | u64, one more than the last | a run that was taken out of `segments` and `bodies`: see `quarantine` |
//! | `returns` | (queue id, number) | what `Change::Requeue` says: u32, failed deliveries; u64, until when it waits, milliseconds since 1970, or 0; of a message that has died: see `mark` |
//! | `delivered` | (queue id, lane) | u64, one past the highest number of the lane ever delivered; empty while the broker runs |
//! | `streams` | queue id | u64, the first number that a stream keeps; no number below is given again |
//! | `stream_chunks` | (queue id, number of the first record) | u64 ms since 1970, u64 bytes in the stream before it |
//! | `stream_offsets` | (queue id, consumer's name) | u64, the first number that the consumer has not handled |
//! | `queues` | queue id | a queue's record |
//! | `exchanges` | vhost and name | an exchange's record |
//! | `bindings` | the whole binding | nothing |
//! | `users` | name | a user's record; there once there was a user: see `auth` |
//! | `permissions` | user and vhost | three patterns |
//! | `topic_permissions` | user, vhost and exchange | two patterns |
//! | `vhosts` | name | a vhost's record; a file that never had this table has the vhost `/` alone |
//! | `policies` | rank, vhost and name | a policy: see `policy`; there once there was one |
//! | `global_parameters` | name | a JSON text; there once there was one |
//! | `seen` | whose, and a slot | a value that a message had: see `seen` |
//!
//! The version of all this is in the file's head: see `disk`.
//!
//! Redb does not look at its pages' checksums when it reads them. So the rows of `segments` have
//! checksums of their own (see `segment`), and `leveret` tells how many there are and what their
//! checksums add up to, so that none disappears or comes back unnoticed. The table
//! `removed_bodies`, and `returns` and all below it in this list, have the same by way of
//! `checked`, which also draws the table `totals`. `"check"` is the CRC-32 of the other values
//! there, in the order above, `"ahead"` last and only if it is there.

use super::body::{self, Bodies, BodyTables, PartKey};
use super::checked::{self, Checked, CheckedTable, Totals, Transaction};
use super::metadata;
use super::segment::{self, Segment};
use crate::ids::{QueueId, SeqRange};
use crate::store::codec::number;
use crate::store::commit::merge::RequeueRow;
use crate::store::error::StoreError;
use crate::store::replica::log::EntryId;
use crc32fast::Hasher;
use redb::{AccessGuard, Database, ReadableDatabase, ReadableTable, StorageError, Table, TableDefinition};
use std::collections::BTreeMap;
use std::mem;
use std::ops::RangeBounds;

/// Key of [`META`]: 1 when the last run stopped cleanly, 0 from the moment the next one begins.
pub(super) const META_CLEAN: &str = "clean";
/// Key of [`META`]: the last entry of the journal that the tables hold, or would, had it been
/// written there.
pub(super) const META_JOURNAL: &str = "journal";
/// Key of [`META`]: how far the calendar is ahead of the wall clock, in milliseconds, as the bits
/// of an i64 (see `clock`); there once the wall clock was set while the broker ran.
pub(super) const META_AHEAD: &str = "ahead";
/// Key of [`META`]: above every id that a durable queue ever had.
pub(super) const META_NEXT_QUEUE: &str = "next_queue";

/// Keys of [`META`]: the last entry of a cluster's log that the tables hold; there in the data of a
/// node of a cluster alone.
pub(super) const META_TERM: &str = "term";
pub(super) const META_INDEX: &str = "index";

/// Key of [`META`]: how many rows `segments` has.
pub(super) const META_ROWS: &str = "rows";
/// Key of [`META`]: the sum of their checksums.
const META_SUM: &str = "sum";
/// Key of [`META`]: the checksum of the other values.
const META_CHECK: &str = "check";

/// What [`META_CHECK`] covers, and then what it covers where it is there. A version that does not
/// know of one takes the table for damaged, and leaves the file alone.
const META_CHECKED: [&str; 5] = [META_CLEAN, META_NEXT_QUEUE, META_JOURNAL, META_ROWS, META_SUM];
const META_CHECKED_OPTIONAL: [&str; 3] = [META_AHEAD, META_TERM, META_INDEX];

/// The first format with [`META_CHECK`].
const FORMAT_CHECKED: u32 = 5;

/// (queue, number of the first record).
pub(super) type RowKey = (u64, u64);

/// A key of runs as redb writes it.
pub(super) fn row_key(bytes: &[u8]) -> Option<RowKey> {
    let (queue, first) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*queue), u64::from_le_bytes(first.try_into().ok()?)))
}

/// The value that a row of `returns` has.
pub(super) fn encode_requeue((deliveries, due_ms): RequeueRow) -> [u8; 12] {
    let mut value = [0; 12];
    value[..4].copy_from_slice(&deliveries.to_be_bytes());
    value[4..].copy_from_slice(&due_ms.to_be_bytes());
    value
}

pub(super) fn decode_requeue(value: &[u8]) -> Result<RequeueRow, StoreError> {
    match value.split_first_chunk() {
        Some((deliveries, due_ms)) => {
            let [due_ms] = checked::numbers(REQUEUES.name, due_ms)?;
            Ok((u32::from_be_bytes(*deliveries), due_ms))
        }
        None => Err(StoreError::Damaged("a row of `returns` is malformed".to_owned())),
    }
}

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("leveret");
pub(super) const SEGMENTS: TableDefinition<'_, RowKey, &[u8]> = TableDefinition::new("segments");
pub(super) const BODIES: TableDefinition<'_, RowKey, &[u8]> = TableDefinition::new("bodies");
pub(super) const BODY_PARTS: TableDefinition<'_, PartKey, &[u8]> = TableDefinition::new("body_parts");
/// As [`SEGMENTS`], of what was spilled since the start.
pub(super) const LOCAL_SEGMENTS: TableDefinition<'_, RowKey, &[u8]> = TableDefinition::new("local_segments");
/// As [`BODIES`], of what was spilled since the start.
pub(super) const LOCAL_BODIES: TableDefinition<'_, RowKey, &[u8]> = TableDefinition::new("local_bodies");
/// As [`BODY_PARTS`], of what was spilled since the start.
pub(super) const LOCAL_BODY_PARTS: TableDefinition<'_, PartKey, &[u8]> =
    TableDefinition::new("local_body_parts");
pub(super) const DAMAGED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("damaged");
pub(super) static REMOVED_BODIES: Checked<RowKey> = Checked::new("removed_bodies");
pub(super) static REQUEUES: Checked<RowKey> = Checked::new("returns");
pub(super) static DELIVERED: Checked<RowKey> = Checked::new("delivered");
pub(super) static STREAMS: Checked<u64> = Checked::new("streams");
pub(super) static STREAM_CHUNKS: Checked<RowKey> = Checked::new("stream_chunks");
pub(super) static STREAM_OFFSETS: Checked<(u64, &str)> = Checked::new("stream_offsets");
pub(super) static QUEUES: Checked<u64> = Checked::new("queues");
pub(super) static EXCHANGES: Checked<&[u8]> = Checked::new("exchanges");
pub(super) static BINDINGS: Checked<&[u8]> = Checked::new("bindings");
pub(super) static USERS: Checked<&[u8]> = Checked::new("users");
pub(super) static PERMISSIONS: Checked<&[u8]> = Checked::new("permissions");
pub(super) static TOPIC_PERMISSIONS: Checked<&[u8]> = Checked::new("topic_permissions");
pub(super) static VHOSTS: Checked<&[u8]> = Checked::new("vhosts");
pub(super) static POLICIES: Checked<&[u8]> = Checked::new("policies");
pub(super) static GLOBAL_PARAMETERS: Checked<&[u8]> = Checked::new("global_parameters");
pub(super) static SEEN: Checked<&[u8]> = Checked::new("seen");

/// What the tables say of themselves: a plain record of the rows of `meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Whether the last run stopped cleanly.
    pub(super) clean: bool,
    /// No durable queue has or had this id or one above it.
    pub(super) next_queue: u64,
    /// See [`META_JOURNAL`].
    pub(super) journal: u64,
    /// What `segments` should hold; none in a file that is older than such a count.
    pub(super) totals: Option<Totals>,
    /// See [`META_AHEAD`].
    pub(super) ahead_ms: i64,
    /// See [`META_INDEX`].
    pub(super) entry: Option<EntryId>,
}

impl Identity {
    /// Of a file that nothing was put into.
    pub(super) const FRESH: Self =
        Self { clean: true, next_queue: 1, journal: 0, totals: None, ahead_ms: 0, entry: None };
}

/// Reads what a database of ours, of this format, says of itself. What does not match its checksum
/// is taken as it is if that is to be repaired.
pub(super) fn identify(database: &Database, format: u32, repair: bool) -> Result<Identity, StoreError> {
    let meta = database.begin_read()?.open_table(META)?;
    let read = |key, missing| match meta.get(key)? {
        Some(value) => number(value.value()),
        None => Ok(missing),
    };
    let is_checked = format >= FORMAT_CHECKED;
    if is_checked && value(&meta, META_CHECK)? != Some(meta_checksum(&meta)?.into()) {
        let what = "the table `leveret` does not match its checksum";
        if !repair {
            return Err(StoreError::Damaged(format!("{what}; `leveret serve --repair` takes it as it is")));
        }
        tracing::warn!("repair: {what}; it is used as it is");
    }
    let totals = || {
        let (rows, sum) = (value(&meta, META_ROWS)?, value(&meta, META_SUM)?);
        Ok::<_, StorageError>(Totals { rows: rows.unwrap_or(0), sum: sum.unwrap_or(0) })
    };
    Ok(Identity {
        clean: read(META_CLEAN, 0)? == 1,
        next_queue: read(META_NEXT_QUEUE, 1)?,
        journal: read(META_JOURNAL, 0)?,
        totals: is_checked.then(totals).transpose()?,
        ahead_ms: value(&meta, META_AHEAD)?.map_or(0, u64::cast_signed),
        entry: value(&meta, META_TERM)?
            .zip(value(&meta, META_INDEX)?)
            .map(|(term, index)| EntryId { term, index }),
    })
}

fn value(meta: &impl ReadableTable<&'static str, u64>, key: &str) -> Result<Option<u64>, StorageError> {
    Ok(meta.get(key)?.map(|value| value.value()))
}

fn meta_checksum(meta: &impl ReadableTable<&'static str, u64>) -> Result<u32, StorageError> {
    let mut hasher = Hasher::new();
    for key in META_CHECKED {
        hasher.update(&value(meta, key)?.unwrap_or(0).to_be_bytes());
    }
    for key in META_CHECKED_OPTIONAL {
        if let Some(value) = value(meta, key)? {
            hasher.update(&value.to_be_bytes());
        }
    }
    Ok(hasher.finalize())
}

/// Whether values of [`META`] match their checksum.
pub(super) fn is_true(meta: &BTreeMap<String, u64>) -> bool {
    let mut hasher = Hasher::new();
    for key in META_CHECKED {
        hasher.update(&meta.get(key).copied().unwrap_or(0).to_be_bytes());
    }
    let optional = META_CHECKED_OPTIONAL.iter().filter_map(|&key| meta.get(key));
    optional.for_each(|value| hasher.update(&value.to_be_bytes()));
    meta.get(META_CHECK) == Some(&hasher.finalize().into())
}

/// Changes what the tables say of themselves: these values, and what they say of `segments` by so
/// much.
pub(super) fn write_meta(tx: &Transaction, values: &[(&str, u64)], change: Totals) -> Result<(), StoreError> {
    let mut meta = tx.unchecked().open_table(META)?;
    let before =
        Totals { rows: value(&meta, META_ROWS)?.unwrap_or(0), sum: value(&meta, META_SUM)?.unwrap_or(0) };
    let totals = before.and(change);
    let totals = [(META_ROWS, totals.rows), (META_SUM, totals.sum)];
    for &(key, value) in totals.iter().chain(values) {
        meta.insert(key, value)?;
    }
    let checksum = meta_checksum(&meta)?;
    meta.insert(META_CHECK, u64::from(checksum))?;
    Ok(())
}

/// See [`META_NEXT_QUEUE`].
pub(super) fn next_queue(tx: &Transaction) -> Result<u64, StoreError> {
    Ok(value(&tx.unchecked().open_table(META)?, META_NEXT_QUEUE)?.unwrap_or(0))
}

/// The numbers of a row, as it was read.
pub(super) fn numbers(first: u64, count: u32) -> Result<SeqRange, StoreError> {
    Ok(SeqRange::of(number(first)?, count.into()))
}

/// Begins a run: makes what is missing, takes back the mark of a clean stop and what it vouched
/// for, notes what was found in `segments`, forgets what was spilled.
pub(super) fn begin_run(database: &Database, next_queue: u64, found: Totals) -> Result<(), StoreError> {
    let tx = Transaction::begin(database)?;
    let values =
        [(META_CLEAN, 0), (META_NEXT_QUEUE, next_queue), (META_ROWS, found.rows), (META_SUM, found.sum)];
    write_meta(&tx, &values, Totals::default())?;
    tx.unchecked().open_table(SEGMENTS)?;
    tx.unchecked().open_table(BODIES)?;
    tx.unchecked().open_table(BODY_PARTS)?;
    for local in [LOCAL_SEGMENTS, LOCAL_BODIES] {
        tx.unchecked().delete_table(local)?;
        tx.unchecked().open_table(local)?;
    }
    tx.unchecked().delete_table(LOCAL_BODY_PARTS)?;
    tx.unchecked().open_table(LOCAL_BODY_PARTS)?;
    tx.open(&DELIVERED)?.remove_in::<RowKey>(..)?;
    tx.open(&REMOVED_BODIES)?;
    tx.open(&REQUEUES)?;
    tx.open(&STREAMS)?;
    tx.open(&STREAM_CHUNKS)?;
    tx.open(&STREAM_OFFSETS)?;
    tx.open(&QUEUES)?;
    tx.open(&EXCHANGES)?;
    tx.open(&BINDINGS)?;
    tx.open(&SEEN)?;
    metadata::make_vhosts(&tx)?;
    tx.commit()
}

/// A table of runs.
type Runs = TableDefinition<'static, RowKey, &'static [u8]>;

/// Rows of records that are removed at a time: 3 ms, if each is as large as it may be.
pub(super) const PORTION: usize = 32;

/// A row of `removed_bodies`: bodies of a queue from a number to one below `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) first: RowKey,
    pub(super) end: u64,
}

/// The tables of messages within a transaction, each opened when it is first needed: opening one
/// that is not used would cost every small commit. Whoever changes rows of
/// `segments` passes [`Rows::totals`] to [`write_meta`] in the end.
pub(super) struct Rows<'tx> {
    tx: &'tx Transaction,
    totals: Totals,
    /// How the table of runs is called.
    runs: Runs,
    segments: Option<Table<'tx, RowKey, &'static [u8]>>,
    bodies: Bodies<'tx>,
    requeues: Option<CheckedTable<'tx, RowKey>>,
    /// So many rows of records more are removed at once: more than come, so that what leaves keeps
    /// pace.
    removals_left: usize,
    /// Bodies that are to be removed later.
    removed: Vec<Removed>,
}

impl<'tx> Rows<'tx> {
    pub(super) fn new(tx: &'tx Transaction) -> Self {
        Self::of(tx, SEGMENTS, BodyTables::LASTING)
    }

    /// Of what was spilled: nobody asks for its [`Rows::totals`].
    pub(super) fn local(tx: &'tx Transaction) -> Self {
        Self::of(tx, LOCAL_SEGMENTS, BodyTables::LOCAL)
    }

    fn of(tx: &'tx Transaction, runs: Runs, bodies: BodyTables) -> Self {
        Self {
            tx,
            totals: Totals::default(),
            runs,
            segments: None,
            bodies: Bodies::new(tx, bodies),
            requeues: None,
            removals_left: PORTION,
            removed: Vec::new(),
        }
    }

    /// By how much `segments` has changed.
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// For reading.
    pub(super) fn segments(&mut self) -> Result<&Table<'tx, RowKey, &'static [u8]>, StoreError> {
        Ok(body::opened(self.tx, &mut self.segments, self.runs)?)
    }

    pub(super) fn put_segment(&mut self, key: RowKey, segment: &Segment) -> Result<(), StoreError> {
        let row = segment.encode(key);
        let table = body::opened(self.tx, &mut self.segments, self.runs)?;
        let before = table.insert(key, row.as_slice())?;
        count(&mut self.totals, before.as_ref());
        self.totals.add(segment::checksum_of(&row));
        Ok(())
    }

    pub(super) fn remove_segment(&mut self, key: RowKey) -> Result<(), StoreError> {
        let table = body::opened(self.tx, &mut self.segments, self.runs)?;
        let before = table.remove(key)?;
        count(&mut self.totals, before.as_ref());
        Ok(())
    }

    /// Removes the rows in `keys` for which `keeps` does not say otherwise.
    pub(super) fn remove_segments(
        &mut self,
        keys: impl RangeBounds<RowKey>,
        mut keeps: impl FnMut(RowKey, &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let totals = &mut self.totals;
        let table = body::opened(self.tx, &mut self.segments, self.runs)?;
        Ok(table.retain_in(keys, |key, row| {
            let keep = keeps(key, row);
            if !keep {
                totals.take(segment::checksum_of(row));
            }
            keep
        })?)
    }

    /// Removes the bodies of these runs of a queue, which are in order and have no run that stays
    /// between them: now if they are few, else later. Each has its number and how many bytes.
    pub(super) fn remove_bodies(&mut self, id: QueueId, runs: &[(u64, u32)]) -> Result<(), StoreError> {
        let portion = |runs: &[(u64, u32)]| {
            let (first, last) = (runs.first()?, runs.last()?);
            Some(Removed { first: (id.0, first.0), end: last.0 + 1 })
        };
        let rows = runs.iter().map(|&(_, bytes)| body::rows_of(bytes)).sum::<usize>();
        if rows > self.removals_left {
            self.removed.extend(runs.chunks(PORTION).filter_map(portion));
        } else if let Some(Removed { first, end }) = portion(runs) {
            self.removals_left -= rows;
            self.bodies.remove_in(first, end, rows > runs.len())?;
        }
        Ok(())
    }

    /// Removes bodies at once from now on, however many, or only a few; returns what was so.
    pub(super) fn set_removals(&mut self, left: usize) -> usize {
        mem::replace(&mut self.removals_left, left)
    }

    /// Which bodies are to be removed later.
    pub(super) fn removed(self) -> Vec<Removed> {
        self.removed
    }

    /// For as many bytes of records as are put in.
    pub(super) fn bodies_for(&mut self, bytes: u32) -> &mut Bodies<'tx> {
        self.removals_left = self.removals_left.saturating_add(2 * body::rows_of(bytes));
        &mut self.bodies
    }

    pub(super) fn bodies(&mut self) -> &mut Bodies<'tx> {
        &mut self.bodies
    }

    pub(super) fn requeues(&mut self) -> Result<&mut CheckedTable<'tx, RowKey>, StoreError> {
        match &mut self.requeues {
            Some(requeues) => Ok(requeues),
            slot => Ok(slot.insert(self.tx.open(&REQUEUES)?)),
        }
    }
}

/// Takes a row that was replaced or removed out of the count.
fn count(totals: &mut Totals, before: Option<&AccessGuard<'_, &'static [u8]>>) {
    before.iter().for_each(|before| totals.take(segment::checksum_of(before.value())));
}
