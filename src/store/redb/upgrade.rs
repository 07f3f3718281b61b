//! What older versions wrote becomes what this one writes, once, as the file is opened.
//!
//! The formats and what is new in each: see `disk`. A power cut at any time leaves a file that is
//! opened as if nothing had been done yet. Messages are taken over as they are: those of formats 1
//! and 2 have no mark for an expiration or a priority of their own, and go on without, as they were
//! taken.

use super::checked::{Checked, CheckedTable, TOTALS, Totals, Transaction};
use super::disk::{self, Disk, Found};
use super::file::{self, DataFile};
use super::journal;
use super::segment;
use super::table::{
    self, BINDINGS, DELIVERED, EXCHANGES, META, PERMISSIONS, POLICIES, QUEUES, REQUEUES, RowKey, SEEN,
    SEGMENTS, STREAM_CHUNKS, STREAM_OFFSETS, STREAMS, TOPIC_PERMISSIONS, USERS, VHOSTS, encode_requeue,
};
use super::{Options, open_database};
use crate::ids::lane_of;
use crate::store::codec;
use crate::store::commit::merge::RequeueRow;
use crate::store::error::StoreError;
use redb::{
    Database, Key, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError, TableHandle,
    Value,
};
use std::fs::{self, File};
use std::path::Path;

/// The last format without a head.
const FORMAT_HEADLESS: u64 = 1;

/// The first format with checksums of all rows.
const FORMAT_CHECKED: u32 = 6;

/// Of [`META`] in format 1.
const META_FORMAT: &str = "format";

/// What redb's own files begin with.
const REDB_MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// A file that is made in the place of another has this after its name.
const ASIDE: &str = "new";

/// How much of a file is copied at a time.
const COPIED_BYTES: usize = 1 << 20;

/// `returns` up to format 2: failed deliveries.
const REQUEUES_UNTIMED: TableDefinition<'_, RowKey, u32> = TableDefinition::new("returns");
/// `returns` from then on up to format 5.
const REQUEUES_TIMED: TableDefinition<'_, RowKey, RequeueRow> = TableDefinition::new("returns");
/// `delivered` up to format 2, by queue alone.
const DELIVERED_UNLANED: TableDefinition<'_, u64, u64> = TableDefinition::new("delivered");
/// `delivered` from then on up to format 5.
const DELIVERED_LANED: TableDefinition<'_, RowKey, u64> = TableDefinition::new("delivered");
/// What a table is called while it is made anew; gone with the transaction.
const OLD: &str = "of old";

/// Brings the tables of a file that has `format` to the newest. Done twice it changes nothing.
pub(super) fn tables(database: &Database, format: u32) -> Result<(), StoreError> {
    if format >= FORMAT_CHECKED {
        return Ok(());
    }
    let tx = Transaction::begin(database)?;
    if has_table(&tx, TOTALS.name)? {
        return Ok(());
    }
    let untimed =
        |new: &mut CheckedTable<'_, _>, key, deliveries| new.insert(key, &encode_requeue((deliveries, 0)));
    if !convert(&tx, REQUEUES_UNTIMED, &REQUEUES, untimed)? {
        convert(&tx, REQUEUES_TIMED, &REQUEUES, |new, key, row| new.insert(key, &encode_requeue(row)))?;
    }
    let unlaned = |new: &mut CheckedTable<'_, RowKey>, id, up_to| {
        new.insert((id, lane_of(codec::number(up_to)?).into()), &number(up_to))
    };
    if !convert(&tx, DELIVERED_UNLANED, &DELIVERED, unlaned)? {
        convert(&tx, DELIVERED_LANED, &DELIVERED, |new, key, up_to| new.insert(key, &number(up_to)))?;
    }
    let streams = TableDefinition::<u64, u64>::new(STREAMS.name);
    convert(&tx, streams, &STREAMS, |new, id, first| new.insert(id, &number(first)))?;
    let chunks = TableDefinition::<RowKey, (u64, u64)>::new(STREAM_CHUNKS.name);
    convert(&tx, chunks, &STREAM_CHUNKS, |new, key, (since_ms, position)| {
        new.insert(key, &[number(since_ms), number(position)].concat())
    })?;
    let offsets = TableDefinition::<(u64, &str), u64>::new(STREAM_OFFSETS.name);
    convert(&tx, offsets, &STREAM_OFFSETS, |new, key, next| new.insert(key, &number(next)))?;
    let queues = TableDefinition::<u64, &[u8]>::new(QUEUES.name);
    convert(&tx, queues, &QUEUES, |new, id, value| new.insert(id, value))?;
    let bindings = TableDefinition::<&[u8], ()>::new(BINDINGS.name);
    convert(&tx, bindings, &BINDINGS, |new, key, ()| new.insert(key, &[]))?;
    for table in [&EXCHANGES, &USERS, &PERMISSIONS, &TOPIC_PERMISSIONS, &VHOSTS, &POLICIES, &SEEN] {
        let old = TableDefinition::<&[u8], &[u8]>::new(table.name);
        convert(&tx, old, table, |new, key, value| new.insert(key, value))?;
    }
    tx.commit()
}

fn number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Puts the rows of `old` into `new`, which has its name;
/// `put` puts one there. Returns whether the table was of the types of `old`, or was not there.
fn convert<K: Key + 'static, V: Value + 'static, L: Key + 'static>(
    tx: &Transaction,
    old: TableDefinition<'_, K, V>,
    new: &'static Checked<L>,
    mut put: impl FnMut(&mut CheckedTable<'_, L>, K::SelfType<'_>, V::SelfType<'_>) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    if !has_table(tx, old.name())? {
        return Ok(true);
    }
    match tx.unchecked().open_table(old) {
        Err(TableError::TableTypeMismatch { .. }) => return Ok(false),
        found => drop(found?),
    }
    let aside = TableDefinition::<K, V>::new(OLD);
    tx.unchecked().rename_table(old, aside)?;
    {
        let (old, mut new) = (tx.unchecked().open_table(aside)?, tx.open(new)?);
        for row in old.iter()? {
            let (key, value) = row?;
            put(&mut new, key.value(), value.value())?;
        }
    }
    tx.unchecked().delete_table(aside)?;
    Ok(true)
}

fn has_table(tx: &Transaction, name: &str) -> Result<bool, StoreError> {
    Ok(tx.unchecked().list_tables()?.any(|table| table.name() == name))
}

/// What is at `path`, which `found` is: as it is, or, if it is of the format without a head, a file
/// in its place that has one. The other file takes its name when it is complete, so that there is
/// one of both at any time.
pub(super) fn with_head(found: DataFile, path: &Path, options: &Options) -> Result<DataFile, StoreError> {
    let mut magic = [0; REDB_MAGIC.len()];
    if found.len()? < magic.len() as u64 {
        return Ok(found);
    }
    found.read(0, &mut magic)?;
    if magic != REDB_MAGIC {
        return Ok(found);
    }
    disk::lock(&found)?;
    let mut aside = path.as_os_str().to_owned();
    aside.push(".");
    aside.push(ASIDE);
    let aside = Path::new(&aside);
    let made = copy_with_head(&found, aside, options).and_then(|()| Ok(fs::rename(aside, path)?));
    if made.is_err() {
        // Whatever is wrong, it is not with what there was before.
        fs::remove_file(aside)
            .unwrap_or_else(|error| tracing::warn!(%error, "cannot remove a file that is no longer needed"));
    }
    made?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    DataFile::open(path)
}

fn copy_with_head(from: &DataFile, path: &Path, options: &Options) -> Result<(), StoreError> {
    let file = file::options().truncate(true).open(path)?;
    let Found { disk, .. } = Disk::open(DataFile::of(file, path)?, options.front())?;
    let len = from.len()?;
    disk.set_len(len)?;
    let (mut at, mut part) = (0, vec![0; COPIED_BYTES]);
    while at < len {
        let count = usize::try_from(len - at).unwrap_or(usize::MAX).min(part.len());
        from.read(at, &mut part[..count])?;
        disk.write(at, &part[..count])?;
        at += count as u64;
    }
    let database = open_database(&disk, options.cache_bytes)?;
    check_headless(&database)?;
    tables(&database, 1)?;
    let tx = Transaction::begin(&database)?;
    tx.unchecked().open_table(META)?.remove(META_FORMAT)?;
    let mut totals = Totals::default();
    for row in tx.unchecked().open_table(SEGMENTS)?.iter()? {
        totals.add(segment::checksum_of(row?.1.value()));
    }
    table::write_meta(&tx, &[], totals)?;
    tx.commit()?;
    let last = table::identify(&database, 1, false)?.journal;
    drop(database);
    journal::begin(&disk, last)?;
    disk.sync()?;
    Ok(disk.complete()?)
}

/// Checks that a database without a head is ours.
fn check_headless(database: &Database) -> Result<(), StoreError> {
    let not_ours = |_of_another_kind| StoreError::NotOurs { place: String::new() };
    let meta = database.begin_read()?.open_table(META).map_err(not_ours)?;
    let found = meta.get(META_FORMAT)?.map(|found| found.value());
    match found {
        Some(FORMAT_HEADLESS) => Ok(()),
        Some(found) => Err(StoreError::WrongVersion { place: String::new(), found }),
        None => Err(StoreError::NotOurs { place: String::new() }),
    }
}
