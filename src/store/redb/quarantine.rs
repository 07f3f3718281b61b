//! Runs that were found damaged when the broker started, kept apart from those that are delivered:
//! the rows of `damaged`.
//!
//! Integers are big-endian. The row of `segments` and the records are as they were found; either
//! may be what is damaged.
//!
//! ```text
//! key    u64, one more than the last
//! value  u64 queue | u64 number of the first record | u32 length | row of `segments` | records
//! ```
//!
//! Nothing but an export reads them again, and nothing deletes them.

use super::body::{BodyTables, CommittedBodies, UNKNOWN_BYTES};
use super::checked::Transaction;
use super::segment::SegmentView;
use super::table::{DAMAGED, LOCAL_SEGMENTS, RowKey, Rows, SEGMENTS, write_meta};
use crate::ids::QueueId;
use crate::store::change::DamagedRun;
use crate::store::codec::record::Reader;
use crate::store::error::StoreError;
use redb::{Database, ReadTransaction, ReadableTable, TableError};
use std::collections::BTreeSet;

/// Rows that one transaction sets aside at most: what it holds in memory of them.
const ROWS_MAX: usize = 1024;

/// Takes the rows under these keys out of `segments`, and their records.
pub(super) fn quarantine(database: &Database, keys: &[RowKey]) -> Result<(), StoreError> {
    for keys in keys.chunks(ROWS_MAX) {
        let tx = Transaction::begin(database)?;
        let mut rows = Rows::new(&tx);
        let (wanted, mut found) = (keys.iter().copied().collect::<BTreeSet<RowKey>>(), Vec::new());
        // Where a key is what is damaged the rows are not in order, and a search may miss it.
        rows.remove_segments(.., |key, row| {
            let keep = !wanted.contains(&key);
            if !keep {
                found.push((key, row.to_vec()));
            }
            keep
        })?;
        {
            let mut damaged = tx.unchecked().open_table(DAMAGED)?;
            let next = damaged.last()?.map_or(0, |(key, _)| key.value() + 1);
            for (id, (key, row)) in (next..).zip(&found) {
                let records = rows.bodies().read(*key, UNKNOWN_BYTES)?.unwrap_or_default();
                rows.bodies().remove(*key)?;
                damaged.insert(id, encode(*key, row, &records).as_slice())?;
            }
        }
        write_meta(&tx, &[], rows.totals())?;
        drop(rows);
        tx.commit()?;
    }
    Ok(())
}

/// All that was set aside; how large each is, and not what it is.
pub(super) fn list(tx: &ReadTransaction) -> Result<Vec<DamagedRun>, StoreError> {
    let table = match tx.open_table(DAMAGED) {
        // Nothing ever was.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    let mut runs = Vec::new();
    for row in table.range::<u64>(..)? {
        let (id, value) = row?;
        let ((queue, first), row, records) = decode(value.value())?;
        let inline = SegmentView::inline_of_damaged(row);
        runs.push(DamagedRun {
            quarantined: Some(id.value()),
            queue: QueueId(queue),
            first,
            messages: SegmentView::count_of_damaged(row),
            bytes: (records.len() + inline.len()) as u64,
        });
    }
    Ok(runs)
}

/// The records of a run, as they are on disk.
pub(super) fn records(tx: &ReadTransaction, run: &DamagedRun) -> Result<Vec<u8>, StoreError> {
    let key = (run.queue.0, run.first);
    if let Some(id) = run.quarantined {
        let table = tx.open_table(DAMAGED)?;
        let Some(value) = table.get(id)? else { return Ok(Vec::new()) };
        let (_, row, records) = decode(value.value())?;
        return Ok([SegmentView::inline_of_damaged(row), records].concat());
    }
    for (segments, bodies) in [(SEGMENTS, BodyTables::LASTING), (LOCAL_SEGMENTS, BodyTables::LOCAL)] {
        if let Some(records) = CommittedBodies::open(tx, bodies)?.read(key, UNKNOWN_BYTES)? {
            return Ok(records.into());
        }
        if let Some(row) = tx.open_table(segments)?.get(key)? {
            return Ok(SegmentView::inline_of_damaged(row.value()).to_vec());
        }
    }
    Ok(Vec::new())
}

fn encode((queue, first): RowKey, row: &[u8], records: &[u8]) -> Vec<u8> {
    let len = u32::try_from(row.len()).expect("a row of `segments` has at most some KiB");
    [&queue.to_be_bytes()[..], &first.to_be_bytes(), &len.to_be_bytes(), row, records].concat()
}

fn decode(value: &[u8]) -> Result<(RowKey, &[u8], &[u8]), StoreError> {
    let malformed = || Reader { table: "damaged", rest: value }.malformed();
    let (queue, rest) = value.split_first_chunk().ok_or_else(malformed)?;
    let (first, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    let (len, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    let (row, records) = rest.split_at_checked(u32::from_be_bytes(*len) as usize).ok_or_else(malformed)?;
    Ok(((u64::from_be_bytes(*queue), u64::from_be_bytes(*first)), row, records))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that the head of this file draws; a change here is a new format.
    #[test]
    fn the_row_is_as_drawn() {
        let row = encode((7, 258), b"row", b"records");
        assert_eq!(row, b"\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\x01\x02\0\0\0\x03rowrecords");
        assert_eq!(decode(&row).unwrap(), ((7, 258), &b"row"[..], &b"records"[..]));
        for end in 0..23 {
            assert!(decode(&row[..end]).is_err(), "cut at {end}");
        }
    }
}
