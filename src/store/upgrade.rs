//! What older versions wrote becomes what this one writes, once, as the file is opened.
//!
//! The formats and what is new in each: see `disk`. A power cut at any time leaves a file that is opened as if nothing had
//! been done yet. Messages are taken over as they are: those of formats 1 and 2 have no mark for an expiration or a priority of their
//! own, and go on without, as they were taken.

use super::disk::{self, Disk, Found};
use super::error::StoreError;
use super::file::{self, DataFile};
use super::journal;
use super::table::{self, DELIVERED, META, RETURNS, RowKey, SEGMENTS, Totals};
use super::{Options, open_database};
use crate::ids::lane_of;
use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError, WriteTransaction,
};
use std::fs::{self, File};
use std::path::Path;

/// The last format without a head.
const FORMAT_HEADLESS: u64 = 1;

/// Of [`META`] in format 1.
const META_FORMAT: &str = "format";

/// What redb's own files begin with.
const REDB_MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// A file that is made in the place of another has this after its name.
const ASIDE: &str = "new";

/// How much of a file is copied at a time.
const COPIED_BYTES: usize = 1 << 20;

/// `returns` up to format 2: failed deliveries.
const RETURNS_UNTIMED: TableDefinition<'_, RowKey, u32> = TableDefinition::new("returns");
/// `delivered` up to format 2, by queue alone.
const DELIVERED_UNLANED: TableDefinition<'_, u64, u64> = TableDefinition::new("delivered");
/// Where rows are while their table is made anew; gone with the transaction.
const OLD_RETURNS: TableDefinition<'_, RowKey, u32> = TableDefinition::new("returns of old");
const OLD_DELIVERED: TableDefinition<'_, u64, u64> = TableDefinition::new("delivered of old");

/// Brings the tables of a file that has `format` to the newest. Done twice it changes nothing.
pub(super) fn tables(database: &Database, format: u32) -> Result<(), StoreError> {
    if format > 2 {
        return Ok(());
    }
    let tx = database.begin_write()?;
    if is_of_old(tx.open_table(RETURNS_UNTIMED))? {
        tx.rename_table(RETURNS_UNTIMED, OLD_RETURNS)?;
        {
            let (old, mut new) = (tx.open_table(OLD_RETURNS)?, tx.open_table(RETURNS)?);
            for row in old.iter()? {
                let (key, deliveries) = row?;
                new.insert(key.value(), (deliveries.value(), 0))?;
            }
        }
        tx.delete_table(OLD_RETURNS)?;
    }
    if is_of_old(tx.open_table(DELIVERED_UNLANED))? {
        convert_delivered(&tx)?;
    }
    Ok(tx.commit()?)
}

fn convert_delivered(tx: &WriteTransaction) -> Result<(), StoreError> {
    tx.rename_table(DELIVERED_UNLANED, OLD_DELIVERED)?;
    {
        let (old, mut new) = (tx.open_table(OLD_DELIVERED)?, tx.open_table(DELIVERED)?);
        for row in old.iter()? {
            let (id, up_to) = row?;
            let up_to = table::number(up_to.value())?;
            new.insert((id.value(), u64::from(lane_of(up_to))), up_to)?;
        }
    }
    tx.delete_table(OLD_DELIVERED)?;
    Ok(())
}

/// Whether a table has the types by which it was asked for.
fn is_of_old<T>(opened: Result<T, TableError>) -> Result<bool, StoreError> {
    match opened {
        Ok(_) => Ok(true),
        Err(TableError::TableTypeMismatch { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What is at `path`, which `found` is: as it is, or, if it is of the format without a head, a file in its place that has
/// one. The other file takes its name when it is complete, so that there is one of both at any time.
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
            .unwrap_or_else(|error| tracing::warn!(%error, "a file that is of no use was left"));
    }
    made?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    DataFile::open(path)
}

fn copy_with_head(from: &DataFile, path: &Path, options: &Options) -> Result<(), StoreError> {
    let file = file::options().truncate(true).open(path)?;
    let Found { disk, .. } = Disk::open(DataFile::of(file, path)?, options.journal_bytes)?;
    let len = from.len()?;
    disk.set_len(len)?;
    let (mut at, mut part) = (0, vec![0; COPIED_BYTES]);
    while at < len {
        let count = usize::try_from(len - at).unwrap_or(usize::MAX).min(part.len());
        from.read(at, &mut part[..count])?;
        disk.write(at, &part[..count])?;
        at += count as u64;
    }
    let database = open_database(&disk, options)?;
    check_headless(&database)?;
    tables(&database, 1)?;
    let tx = database.begin_write()?;
    tx.open_table(META)?.remove(META_FORMAT)?;
    let mut totals = Totals::default();
    for row in tx.open_table(SEGMENTS)?.iter()? {
        totals.add(row?.1.value());
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
