//! The records of runs that do not lie in `segments`: in a row of `bodies`, or, those of a record
//! that is longer than a run, cut into rows of `body_parts`.
//!
//! Redb copies what lies beside a new row in its page, and makes pages of 4 KiB, 8 KiB and so on: a
//! record of 12 MB in one row read and wrote 33 MB, for which everybody waited who had something to
//! commit. In parts of which each fills a page of 256 KiB it is 22 MB, and a fifth of the time (8
//! and 39 ms in memory, 9 and 61 ms on a disk, in one run). What is removed goes some parts at a
//! time as well: see `sweep`.

use super::checked::Transaction;
use super::segment::RUN_BYTES_MAX;
use super::table::{BODIES, BODY_PARTS, LOCAL_BODIES, LOCAL_BODY_PARTS, RowKey};
use crate::store::error::StoreError;
use bytes::Bytes;
use redb::{
    AccessGuardMutInPlace, Key, ReadOnlyTable, ReadTransaction, ReadableTable, StorageError, Table,
    TableDefinition, TableError,
};
use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

/// (queue, number of the record, number of the part).
pub(super) type PartKey = (u64, u64, u32);

/// Bytes of each part but the last.
const PART_BYTES: usize = RUN_BYTES_MAX;

/// In the place of how many bytes the records of a run have, where that is not known.
pub(super) const UNKNOWN_BYTES: u32 = u32::MAX;

/// In how many rows so many bytes of records are.
pub(super) fn rows_of(bytes: u32) -> usize {
    (bytes as usize).div_ceil(PART_BYTES).max(1)
}

/// A part's key as redb writes it.
pub(super) fn part_key(bytes: &[u8]) -> Option<PartKey> {
    let (queue, rest) = bytes.split_first_chunk()?;
    let (first, part) = rest.split_first_chunk()?;
    let part = u32::from_le_bytes(part.try_into().ok()?);
    Some((u64::from_le_bytes(*queue), u64::from_le_bytes(*first), part))
}

fn parts_of((queue, first): RowKey) -> RangeInclusive<PartKey> {
    (queue, first, 0)..=(queue, first, u32::MAX)
}

/// A table of records that are in one row, and one of those that are in parts.
#[derive(Clone, Copy)]
pub(super) struct BodyTables {
    pub(super) whole: TableDefinition<'static, RowKey, &'static [u8]>,
    pub(super) parts: TableDefinition<'static, PartKey, &'static [u8]>,
}

impl BodyTables {
    pub(super) const LASTING: Self = Self { whole: BODIES, parts: BODY_PARTS };
    /// Of what was spilled.
    pub(super) const LOCAL: Self = Self { whole: LOCAL_BODIES, parts: LOCAL_BODY_PARTS };
}

/// The records of one kind of runs within a transaction; each table is opened when it is first
/// needed.
pub(super) struct Bodies<'tx> {
    tx: &'tx Transaction,
    tables: BodyTables,
    whole: Option<Table<'tx, RowKey, &'static [u8]>>,
    parts: Option<Table<'tx, PartKey, &'static [u8]>>,
}

impl<'tx> Bodies<'tx> {
    pub(super) fn new(tx: &'tx Transaction, tables: BodyTables) -> Self {
        Self { tx, tables, whole: None, parts: None }
    }

    /// Room for records that are in one row.
    pub(super) fn room(
        &mut self,
        key: RowKey,
        bytes: usize,
    ) -> Result<AccessGuardMutInPlace<'_, &'static [u8]>, StoreError> {
        Ok(self.whole()?.insert_reserve(key, bytes)?)
    }

    /// Puts records in, in as many rows as they need.
    pub(super) fn insert(&mut self, key: RowKey, records: &[u8]) -> Result<(), StoreError> {
        if records.len() <= PART_BYTES {
            self.whole()?.insert(key, records)?;
            return Ok(());
        }
        for (number, part) in (0..).zip(records.chunks(PART_BYTES)) {
            self.parts()?.insert((key.0, key.1, number), part)?;
        }
        Ok(())
    }

    /// The records of a run that has so many bytes of them.
    pub(super) fn read(&mut self, key: RowKey, bytes: u32) -> Result<Option<Vec<u8>>, StoreError> {
        if rows_of(bytes) > 1
            && let Some(records) = joined(self.parts()?, key, bytes)?
        {
            return Ok(Some(records));
        }
        Ok(self.whole()?.get(key)?.map(|records| records.value().to_vec()))
    }

    /// Removes the records of a run.
    pub(super) fn remove(&mut self, key: RowKey) -> Result<(), StoreError> {
        let is_whole = self.whole()?.remove(key)?.is_some();
        if !is_whole {
            self.parts()?.retain_in(parts_of(key), |_, _| false)?;
        }
        Ok(())
    }

    /// Removes the records of all runs of a queue from number `first` up to `end`, of which some
    /// may be in parts.
    pub(super) fn remove_in(
        &mut self,
        (queue, first): RowKey,
        end: u64,
        has_parts: bool,
    ) -> Result<(), StoreError> {
        self.whole()?.retain_in((queue, first)..(queue, end), |_, _| false)?;
        if has_parts {
            self.parts()?.retain_in((queue, first, 0)..(queue, end, 0), |_, _| false)?;
        }
        Ok(())
    }

    /// As [`Bodies::remove_in`], but no more than so many rows; returns how many they were.
    pub(super) fn remove_some(
        &mut self,
        (queue, first): RowKey,
        end: u64,
        most: usize,
    ) -> Result<usize, StoreError> {
        let whole = remove_first(self.whole()?, (queue, first)..(queue, end), most)?;
        let parts = (queue, first, 0)..(queue, end, 0);
        Ok(whole + remove_first(self.parts()?, parts, most - whole)?)
    }

    fn whole(&mut self) -> Result<&mut Table<'tx, RowKey, &'static [u8]>, StoreError> {
        opened(self.tx, &mut self.whole, self.tables.whole)
    }

    fn parts(&mut self) -> Result<&mut Table<'tx, PartKey, &'static [u8]>, StoreError> {
        opened(self.tx, &mut self.parts, self.tables.parts)
    }
}

/// Opens a table, unless it is open.
pub(super) fn opened<'a, 'tx, K: Key + 'static>(
    tx: &'tx Transaction,
    slot: &'a mut Option<Table<'tx, K, &'static [u8]>>,
    definition: TableDefinition<'_, K, &'static [u8]>,
) -> Result<&'a mut Table<'tx, K, &'static [u8]>, StoreError> {
    match slot {
        Some(table) => Ok(table),
        None => Ok(slot.insert(tx.unchecked().open_table(definition)?)),
    }
}

/// Removes up to so many of the first rows in `keys`; returns how many those were.
fn remove_first<K: for<'k> Key<SelfType<'k> = K> + Borrow<K> + 'static>(
    table: &mut Table<'_, K, &'static [u8]>,
    keys: Range<K>,
    most: usize,
) -> Result<usize, StoreError> {
    let mut removed = 0;
    for row in table.extract_from_if(keys, |_, _| true)?.take(most) {
        row?;
        removed += 1;
    }
    Ok(removed)
}

/// The parts of a record that should have so many bytes in all; none if there are none.
fn joined(
    parts: &impl ReadableTable<PartKey, &'static [u8]>,
    key: RowKey,
    bytes: u32,
) -> Result<Option<Vec<u8>>, StorageError> {
    let mut parts = parts.range(parts_of(key))?.peekable();
    if parts.peek().is_none() {
        return Ok(None);
    }
    let mut records = Vec::with_capacity(if bytes == UNKNOWN_BYTES { 0 } else { bytes as usize });
    for part in parts {
        records.extend_from_slice(part?.1.value());
    }
    Ok(Some(records))
}

/// The records of one kind of runs as a commit left them.
pub(super) struct CommittedBodies<'a> {
    tx: &'a ReadTransaction,
    whole: ReadOnlyTable<RowKey, &'static [u8]>,
    parts: TableDefinition<'static, PartKey, &'static [u8]>,
}

impl<'a> CommittedBodies<'a> {
    pub(super) fn open(tx: &'a ReadTransaction, tables: BodyTables) -> Result<Self, StoreError> {
        Ok(Self { tx, whole: tx.open_table(tables.whole)?, parts: tables.parts })
    }

    /// The records of a run that has so many bytes of them.
    pub(super) fn read(&self, key: RowKey, bytes: u32) -> Result<Option<Bytes>, StoreError> {
        if rows_of(bytes) > 1 {
            let records = match self.tx.open_table(self.parts) {
                // Of a file that no newer version has opened.
                Err(TableError::TableDoesNotExist(_)) => None,
                parts => joined(&parts?, key, bytes)?,
            };
            if records.is_some() {
                return Ok(records.map(Bytes::from));
            }
        }
        Ok(ReadableTable::get(&self.whole, key)?.map(|records| Bytes::copy_from_slice(records.value())))
    }
    /// Of all runs whose records are here.
    pub(super) fn keys(&self) -> Result<BTreeSet<RowKey>, StoreError> {
        let mut keys = BTreeSet::new();
        for row in ReadableTable::range::<RowKey>(&self.whole, ..)? {
            keys.insert(row?.0.value());
        }
        for row in ReadableTable::range::<PartKey>(&self.tx.open_table(self.parts)?, ..)? {
            let (queue, first, _) = row?.0.value();
            keys.insert((queue, first));
        }
        Ok(keys)
    }
}
