//! The tables of the data file: every kind of row there is, and what identifies the file.
//!
//! Integers inside keys and values are redb's own where the type below says so (little-endian, fixed width) and
//! big-endian in the byte strings, which `segment` and `record` draw byte by byte.
//!
//! | table | key | value |
//! |---|---|---|
//! | `leveret` | `"clean"`, `"next_queue"`, `"journal"` | u64 |
//! | `segments` | (queue id, number of the first record) | count, bytes and settled marks of a run of records |
//! | `bodies` | the same | the records of that run, as they came; absent when `segments` holds them |
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

use super::auth;
use super::error::StoreError;
use crate::ids::{SeqRange, lane_of, lane_start};
use redb::{Database, ReadableDatabase, Table, TableDefinition, WriteTransaction};
use std::sync::{PoisonError, RwLock};

/// Key of [`META`]: 1 when the last run stopped cleanly, 0 from the moment the next one begins.
pub(super) const META_CLEAN: &str = "clean";
/// Key of [`META`]: the last entry of the journal that the tables hold, or would, had it been written there.
pub(super) const META_JOURNAL: &str = "journal";
/// Key of [`META`]: above every id that a durable queue ever had.
pub(super) const META_NEXT_QUEUE: &str = "next_queue";

/// Ids, and numbers without their lane, lie below this: nothing has ever counted so far, and no sum with one overflows.
const NUMBER_END: u64 = 1 << 55;

/// (queue, number of the first record).
pub(super) type RowKey = (u64, u64);

/// (failed deliveries, until when the message waits).
pub(super) type ReturnRow = (u32, u64);

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("leveret");
pub(super) const SEGMENTS: TableDefinition<'_, RowKey, &[u8]> = TableDefinition::new("segments");
pub(super) const BODIES: TableDefinition<'_, RowKey, &[u8]> = TableDefinition::new("bodies");
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
}

impl Identity {
    /// Of a file that nothing was put into.
    pub(super) const FRESH: Self = Self { clean: true, next_queue: 1, journal: 0 };
}

/// Reads what a database of ours says of itself.
pub(super) fn identify(database: &Database) -> Result<Identity, StoreError> {
    let meta = database.begin_read()?.open_table(META)?;
    let read = |key, missing| match meta.get(key)? {
        Some(value) => number(value.value()),
        None => Ok(missing),
    };
    Ok(Identity {
        clean: read(META_CLEAN, 0)? == 1,
        next_queue: read(META_NEXT_QUEUE, 1)?,
        journal: read(META_JOURNAL, 0)?,
    })
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

/// Begins a run: makes what is missing, takes back the mark of a clean stop and what it vouched for.
pub(super) fn begin_run(database: &Database, next_queue: u64) -> Result<(), StoreError> {
    let tx = database.begin_write()?;
    {
        let mut meta = tx.open_table(META)?;
        meta.insert(META_CLEAN, 0)?;
        meta.insert(META_NEXT_QUEUE, next_queue)?;
    }
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
/// would cost every small commit.
pub(super) struct Rows<'tx> {
    tx: &'tx WriteTransaction,
    segments: Option<Table<'tx, RowKey, &'static [u8]>>,
    bodies: Option<Table<'tx, RowKey, &'static [u8]>>,
    returns: Option<Table<'tx, RowKey, ReturnRow>>,
}

impl<'tx> Rows<'tx> {
    pub(super) fn new(tx: &'tx WriteTransaction) -> Self {
        Self { tx, segments: None, bodies: None, returns: None }
    }

    pub(super) fn segments(&mut self) -> Result<&mut Table<'tx, RowKey, &'static [u8]>, StoreError> {
        opened(self.tx, &mut self.segments, SEGMENTS)
    }

    pub(super) fn bodies(&mut self) -> Result<&mut Table<'tx, RowKey, &'static [u8]>, StoreError> {
        opened(self.tx, &mut self.bodies, BODIES)
    }

    pub(super) fn returns(&mut self) -> Result<&mut Table<'tx, RowKey, ReturnRow>, StoreError> {
        opened(self.tx, &mut self.returns, RETURNS)
    }
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
