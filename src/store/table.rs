//! The tables of the data file: every kind of row there is, and what identifies the file.
//!
//! Integers inside keys and values are redb's own where the type below says so (little-endian, fixed width) and
//! big-endian in the byte strings, which `segment` and `record` draw byte by byte.
//!
//! | table | key | value |
//! |---|---|---|
//! | `leveret` | `"clean"`, `"next_queue"`, `"journal"`, `"ahead"`, `"rows"`, `"sum"`, `"check"` | u64 |
//! | `segments` | (queue id, number of the first record) | count, bytes and settled marks of a run of records |
//! | `bodies` | the same | the records of that run, as they came; absent when `segments` holds them |
//! | `damaged` | u64, one more than the last | a run that was taken out of `segments` and `bodies`: see `aside` |
//! | `returns` | (queue id, number) | u32, failed deliveries; u64, until when it waits, milliseconds since 1970, or 0; of a message that has died: see `mark` |
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
//! | `seen` | whose, and a slot | a value that a message had: see `seen` |
//!
//! The version of all this is in the file's head: see `disk`.
//!
//! Redb does not look at its pages' checksums when it reads them. So the rows of `segments` have checksums of their own (see `segment`), and
//! `leveret` tells how many there are and what their checksums add up to, so that none disappears or comes back unnoticed.
//! `"check"` is the CRC-32 of the other values there, in the order above, `"ahead"` last and only if it is there.

use super::auth;
use super::error::StoreError;
use super::segment::{self, Segment};
use crate::ids::{SeqRange, lane_of, lane_start};
use crc32fast::Hasher;
use redb::{
    AccessGuard, Database, ReadableDatabase, ReadableTable, StorageError, Table, TableDefinition,
    WriteTransaction,
};
use std::ops::RangeBounds;
use std::sync::{PoisonError, RwLock};

/// Key of [`META`]: 1 when the last run stopped cleanly, 0 from the moment the next one begins.
pub(super) const META_CLEAN: &str = "clean";
/// Key of [`META`]: the last entry of the journal that the tables hold, or would, had it been written there.
pub(super) const META_JOURNAL: &str = "journal";
/// Key of [`META`]: how far the calendar is ahead of the wall clock, in milliseconds, as the bits of an i64 (see `clock`); there once
/// the wall clock was set while the broker ran.
pub(super) const META_AHEAD: &str = "ahead";
/// Key of [`META`]: above every id that a durable queue ever had.
pub(super) const META_NEXT_QUEUE: &str = "next_queue";

/// Key of [`META`]: how many rows `segments` has.
const META_ROWS: &str = "rows";
/// Key of [`META`]: the sum of their checksums.
const META_SUM: &str = "sum";
/// Key of [`META`]: the checksum of the other values.
const META_CHECK: &str = "check";

/// What [`META_CHECK`] covers, beside [`META_AHEAD`].
const META_CHECKED: [&str; 5] = [META_CLEAN, META_NEXT_QUEUE, META_JOURNAL, META_ROWS, META_SUM];

/// The first format with [`META_CHECK`].
const FORMAT_CHECKED: u32 = 5;

/// Ids, and numbers without their lane, lie below this: nothing has ever counted so far, and no sum with one overflows.
const NUMBER_END: u64 = 1 << 55;

/// (queue, number of the first record).
pub(super) type RowKey = (u64, u64);

/// (failed deliveries, until when the message waits).
pub(super) type ReturnRow = (u32, u64);

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("leveret");
pub(super) const SEGMENTS: TableDefinition<'_, RowKey, &[u8]> = TableDefinition::new("segments");
pub(super) const BODIES: TableDefinition<'_, RowKey, &[u8]> = TableDefinition::new("bodies");
pub(super) const DAMAGED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("damaged");
pub(super) const RETURNS: TableDefinition<'_, RowKey, ReturnRow> = TableDefinition::new("returns");
pub(super) const DELIVERED: TableDefinition<'_, RowKey, u64> = TableDefinition::new("delivered");
pub(super) const STREAMS: TableDefinition<'_, u64, u64> = TableDefinition::new("streams");
pub(super) const STREAM_CHUNKS: TableDefinition<'_, RowKey, (u64, u64)> =
    TableDefinition::new("stream_chunks");
pub(super) const STREAM_OFFSETS: TableDefinition<'_, (u64, &str), u64> =
    TableDefinition::new("stream_offsets");
pub(super) const QUEUES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("queues");
pub(super) const EXCHANGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("exchanges");
pub(super) const BINDINGS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("bindings");
pub(super) const USERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("users");
pub(super) const PERMISSIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("permissions");
pub(super) const TOPIC_PERMISSIONS: TableDefinition<'_, &[u8], &[u8]> =
    TableDefinition::new("topic_permissions");
pub(super) const VHOSTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("vhosts");
pub(super) const POLICIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("policies");
pub(super) const SEEN: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("seen");

/// What the tables say of themselves.
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
}

/// The rows of `segments`, and what their checksums add up to; or by how much both change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) rows: u64,
    pub(super) sum: u64,
}

impl Totals {
    pub(super) fn add(&mut self, row: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(segment::checksum_of(row).into());
    }

    fn take(&mut self, row: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(segment::checksum_of(row).into());
    }

    fn and(self, change: Self) -> Self {
        Self { rows: self.rows.wrapping_add(change.rows), sum: self.sum.wrapping_add(change.sum) }
    }
}

impl Identity {
    /// Of a file that nothing was put into.
    pub(super) const FRESH: Self = Self { clean: true, next_queue: 1, journal: 0, totals: None, ahead_ms: 0 };
}

/// Reads what a database of ours, of this format, says of itself. What does not match its checksum is taken as it is if that is to be
/// repaired.
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
        tracing::warn!("repair: {what}, and is taken as it is");
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
    if let Some(ahead) = value(meta, META_AHEAD)? {
        hasher.update(&ahead.to_be_bytes());
    }
    Ok(hasher.finalize())
}

/// Changes what the tables say of themselves: these values, and what they say of `segments` by so much.
pub(super) fn write_meta(
    tx: &WriteTransaction,
    values: &[(&str, u64)],
    change: Totals,
) -> Result<(), StoreError> {
    let mut meta = tx.open_table(META)?;
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
pub(super) fn next_queue(tx: &WriteTransaction) -> Result<u64, StoreError> {
    Ok(value(&tx.open_table(META)?, META_NEXT_QUEUE)?.unwrap_or(0))
}

/// An id or a number as it was read.
pub(super) fn number(read: u64) -> Result<u64, StoreError> {
    if read - lane_start(lane_of(read)) < NUMBER_END {
        return Ok(read);
    }
    Err(StoreError::Damaged(format!("it has an id or a number of {read}")))
}

/// The numbers of a row, as it was read.
pub(super) fn numbers(first: u64, count: u32) -> Result<SeqRange, StoreError> {
    Ok(SeqRange::of(number(first)?, count.into()))
}

/// Begins a run: makes what is missing, takes back the mark of a clean stop and what it vouched for, notes what was found in `segments`.
pub(super) fn begin_run(database: &Database, next_queue: u64, found: Totals) -> Result<(), StoreError> {
    let tx = database.begin_write()?;
    let values =
        [(META_CLEAN, 0), (META_NEXT_QUEUE, next_queue), (META_ROWS, found.rows), (META_SUM, found.sum)];
    write_meta(&tx, &values, Totals::default())?;
    tx.delete_table(DELIVERED)?;
    tx.open_table(DELIVERED)?;
    tx.open_table(SEGMENTS)?;
    tx.open_table(BODIES)?;
    tx.open_table(RETURNS)?;
    tx.open_table(STREAMS)?;
    tx.open_table(STREAM_CHUNKS)?;
    tx.open_table(STREAM_OFFSETS)?;
    tx.open_table(QUEUES)?;
    tx.open_table(EXCHANGES)?;
    tx.open_table(BINDINGS)?;
    tx.open_table(SEEN)?;
    auth::make_vhosts(&tx)?;
    Ok(tx.commit()?)
}

/// A commit of nothing that saves what a start would otherwise find out by walking the whole file.
pub(super) fn put_in_order(database: &RwLock<Option<Database>>) -> Result<(), StoreError> {
    let database = database.read().unwrap_or_else(PoisonError::into_inner);
    let mut tx = database.as_ref().ok_or(StoreError::Stopped)?.begin_write()?;
    tx.set_quick_repair(true);
    Ok(tx.commit()?)
}

/// The tables of messages within a transaction, each opened when it is first needed: opening one that is not used
/// would cost every small commit. Whoever changes rows of `segments` passes [`Rows::totals`] to [`write_meta`] in the end.
pub(super) struct Rows<'tx> {
    tx: &'tx WriteTransaction,
    totals: Totals,
    segments: Option<Table<'tx, RowKey, &'static [u8]>>,
    bodies: Option<Table<'tx, RowKey, &'static [u8]>>,
    returns: Option<Table<'tx, RowKey, ReturnRow>>,
}

impl<'tx> Rows<'tx> {
    pub(super) fn new(tx: &'tx WriteTransaction) -> Self {
        Self { tx, totals: Totals::default(), segments: None, bodies: None, returns: None }
    }

    /// By how much `segments` has changed.
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// For reading.
    pub(super) fn segments(&mut self) -> Result<&Table<'tx, RowKey, &'static [u8]>, StoreError> {
        Ok(opened(self.tx, &mut self.segments, SEGMENTS)?)
    }

    pub(super) fn put_segment(&mut self, key: RowKey, segment: &Segment) -> Result<(), StoreError> {
        let row = segment.encode(key);
        let table = opened(self.tx, &mut self.segments, SEGMENTS)?;
        let before = table.insert(key, row.as_slice())?;
        count(&mut self.totals, before.as_ref());
        self.totals.add(&row);
        Ok(())
    }

    pub(super) fn remove_segment(&mut self, key: RowKey) -> Result<(), StoreError> {
        let table = opened(self.tx, &mut self.segments, SEGMENTS)?;
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
        let table = opened(self.tx, &mut self.segments, SEGMENTS)?;
        Ok(table.retain_in(keys, |key, row| {
            let keep = keeps(key, row);
            if !keep {
                totals.take(row);
            }
            keep
        })?)
    }

    pub(super) fn bodies(&mut self) -> Result<&mut Table<'tx, RowKey, &'static [u8]>, StoreError> {
        opened(self.tx, &mut self.bodies, BODIES)
    }

    pub(super) fn returns(&mut self) -> Result<&mut Table<'tx, RowKey, ReturnRow>, StoreError> {
        opened(self.tx, &mut self.returns, RETURNS)
    }
}

/// Takes a row that was replaced or removed out of the count.
fn count(totals: &mut Totals, before: Option<&AccessGuard<'_, &'static [u8]>>) {
    before.iter().for_each(|before| totals.take(before.value()));
}

fn opened<'a, 'tx, K: redb::Key + 'static, V: redb::Value + 'static>(
    tx: &'tx WriteTransaction,
    slot: &'a mut Option<Table<'tx, K, V>>,
    definition: TableDefinition<'_, K, V>,
) -> Result<&'a mut Table<'tx, K, V>, StoreError> {
    match slot {
        Some(table) => Ok(table),
        None => Ok(slot.insert(tx.open_table(definition)?)),
    }
}
