//! A data file that redb cannot work with: what can be read of it goes into a new file, which takes
//! its place.
//!
//! Every row is taken on its own checksum, wherever its page is. Where pages are lost the commit
//! before the last one is looked at too: most of its pages are still there. What was removed by the
//! last commit may come back that way, so that a message may be delivered again. Records whose row
//! of `segments` is lost get a new one, by which none of them is settled. A queue whose record is
//! lost comes back as `damaged.queue.N` in the vhost `/`. The damaged file is kept beside the new
//! one.
//!
//! Pages are found by pointers alone. Of a file that was cut short before what both commits point
//! to nothing is read: a page that nothing leads to may be a client's bytes that look like one.

use super::body::{self, BodyTables, CommittedBodies, UNKNOWN_BYTES};
use super::checked::{self, Salvaged, TOTALS, Totals, Transaction};
use super::disk::{Disk, Found, Front};
use super::file::{self, DataFile};
use super::loss::Loss;
use super::segment::{self, Marks, Segment, SegmentView};
use super::table::{
    self, BINDINGS, BODIES, BODY_PARTS, DAMAGED, DELIVERED, EXCHANGES, LOCAL_BODIES, LOCAL_BODY_PARTS,
    LOCAL_SEGMENTS, META, META_AHEAD, META_CLEAN, META_JOURNAL, META_NEXT_QUEUE, PERMISSIONS, POLICIES,
    QUEUES, REMOVED_BODIES, REQUEUES, RowKey, SEEN, SEGMENTS, STREAM_CHUNKS, STREAM_OFFSETS, STREAMS,
    TOPIC_PERMISSIONS, USERS, VHOSTS,
};
use super::{Options, open_database, sweep, tree};
use crate::ids::QueueId;
use crate::message::Block;
use crate::store::change::QueueRecord;
use crate::store::codec::record;
use crate::store::error::StoreError;
use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableHandle};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};

/// The first format whose rows all have checksums.
const FORMAT_CHECKED: u32 = 6;

/// About so many bytes are put into one transaction.
const BATCH_BYTES: usize = 16 << 20;

/// So many rows of a table that are dropped are named.
const NAMED_MAX: u64 = 20;

/// Said where no repair is offered.
const HOPELESS: &str = "; a repair (--repair) can read nothing of it: restore a copy";

/// Where queues without a record go.
const VHOST: &str = "/";

/// What declares a stream.
const STREAM_ARGUMENTS: &[u8] = b"\x0cx-queue-typeS\0\0\0\x06stream";

/// In the place of the number of the last commit, if that is not known: above any.
const UNKNOWN_NUMBER: u64 = 1 << 54;

/// All tables but those of messages.
pub(super) static SMALL: [&dyn Salvaged; 15] = [
    &REMOVED_BODIES,
    &REQUEUES,
    &DELIVERED,
    &STREAMS,
    &STREAM_CHUNKS,
    &STREAM_OFFSETS,
    &QUEUES,
    &EXCHANGES,
    &BINDINGS,
    &USERS,
    &PERMISSIONS,
    &TOPIC_PERMISSIONS,
    &VHOSTS,
    &POLICIES,
    &SEEN,
];

/// Puts a new file in the place of the one at `path`. What is known to be lost with it.
pub(super) fn replace(path: &Path, options: &Options) -> Result<Loss, StoreError> {
    let Found { disk, fresh, format, .. } = Disk::open(DataFile::open(path)?, options.front())?;
    if fresh || format < FORMAT_CHECKED {
        return Err(StoreError::Damaged(format!("of a file of format {format} nothing more can be read")));
    }
    let aside = with_suffix(path, "salvaged");
    let made = copy(&disk, &aside, options).and_then(|lost| Ok((lost, keep(path)?))).and_then(|made| {
        fs::rename(&aside, path)?;
        Ok(made)
    });
    let (lost, kept) = match made {
        Ok(made) => made,
        Err(error) => {
            fs::remove_file(&aside).unwrap_or_else(
                |error| tracing::warn!(%error, "cannot remove a file that is no longer needed"),
            );
            return Err(error);
        }
    };
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    tracing::warn!("repair: the damaged file is kept as {}", kept.display());
    Ok(lost)
}

/// Says of damage in a file of this format that so many bytes are missing at its end, if any are,
/// and whether a repair can read the rest.
pub(super) fn tell_if_cut_short(disk: &Disk, (missing, format): (u64, u32), error: StoreError) -> StoreError {
    let what = match error {
        StoreError::Damaged(what) if missing > 0 => format!("{missing} bytes are missing at its end: {what}"),
        // Redb may have written meanwhile that no more is to be there.
        StoreError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "a page lies outside of the file".to_owned()
        }
        error => return error,
    };
    let mut is_there = false;
    let mut each = |table: &str, _: &[u8], _: &[u8], _| {
        is_there |= [META.name(), TOTALS.name].contains(&table);
        Ok(())
    };
    let read = [false, true].map(|other| tree::salvage(disk, other, &mut each));
    let helps = format >= FORMAT_CHECKED && is_there && read.iter().all(Result::is_ok);
    StoreError::Damaged(if helps { what } else { what + HOPELESS })
}

/// Gives the file another name as well.
fn keep(path: &Path) -> io::Result<PathBuf> {
    for number in 1_u32.. {
        let kept = with_suffix(path, &format!("damaged-{number}"));
        match fs::hard_link(path, &kept) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => return linked.map(|()| kept),
        }
    }
    unreachable!("no folder has so many files")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn copy(from: &Disk, path: &Path, options: &Options) -> Result<Loss, StoreError> {
    let file = file::options().truncate(true).open(path)?;
    let front = Front { journal_bytes: from.journal_bytes(), ..options.front() };
    let Found { disk, .. } = Disk::open(DataFile::of(file, path)?, front)?;
    disk.copy_journal(from)?;
    let database = open_database(&disk, options.cache_bytes)?;
    let mut copied = Copied::of(&database);
    let lost = tree::salvage(from, false, &mut |table, key, row, sure| copied.take(table, key, row, sure))?;
    if lost.as_ref().is_none_or(|lost| !lost.is_empty()) {
        let named = |lost: &BTreeSet<String>| {
            lost.iter().map(|table| format!("`{table}`")).collect::<Vec<_>>().join(", ")
        };
        let named = lost.as_ref().map_or("the list of tables".to_owned(), named);
        tracing::warn!(
            "repair: pages of {named} are damaged; readable rows are copied, also from the previous commit"
        );
        tree::salvage(from, true, &mut |table, key, row, sure| {
            let is_wanted = lost.as_ref().is_none_or(|lost| lost.contains(table));
            if is_wanted { copied.take(table, key, row, sure) } else { Ok(()) }
        })?;
    }
    let lost = copied.finish()?;
    drop(database);
    disk.sync()?;
    disk.complete()?;
    Ok(lost)
}

/// A row that was read.
struct Row {
    table: String,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Whether its page is as it was written.
    sure: bool,
}

/// What was taken over so far.
pub(super) struct Copied<'d> {
    database: &'d Database,
    /// What is put into the next transaction.
    batch: Vec<Row>,
    bytes: usize,
    meta: BTreeMap<String, u64>,
    /// What `totals` says of each table.
    expected: BTreeMap<String, Totals>,
    dropped: BTreeMap<String, u64>,
    segments: Totals,
    /// Queues with durable messages.
    queues: BTreeSet<u64>,
    /// Records that may not be those that were written.
    unsure: BTreeSet<RowKey>,
}

impl<'d> Copied<'d> {
    /// Puts rows into `database`, which has none.
    pub(super) fn of(database: &'d Database) -> Self {
        Self {
            database,
            batch: Vec::new(),
            bytes: 0,
            meta: BTreeMap::new(),
            expected: BTreeMap::new(),
            dropped: BTreeMap::new(),
            segments: Totals::default(),
            queues: BTreeSet::new(),
            unsure: BTreeSet::new(),
        }
    }

    /// Takes a row over, if it is as it was written and there is none with its key.
    pub(super) fn take(
        &mut self,
        table: &str,
        key: &[u8],
        value: &[u8],
        sure: bool,
    ) -> Result<(), StoreError> {
        self.bytes += key.len() + value.len();
        self.batch.push(Row { table: table.to_owned(), key: key.to_vec(), value: value.to_vec(), sure });
        if self.bytes < BATCH_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        let tx = Transaction::begin(self.database)?;
        for row in mem::take(&mut self.batch) {
            if self.put(&tx, &row)? {
                continue;
            }
            let dropped = self.dropped.entry(row.table.clone()).or_default();
            *dropped += 1;
            if *dropped <= NAMED_MAX {
                let key = String::from_utf8_lossy(&row.key).replace(char::is_control, " ");
                tracing::warn!(
                    "repair: dropping a row of `{}`, which does not match its checksum: '{}'",
                    row.table,
                    key.trim()
                );
            }
        }
        tx.commit()
    }

    /// Puts a row in; returns whether it is one.
    fn put(&mut self, tx: &Transaction, row: &Row) -> Result<bool, StoreError> {
        let Row { table, key, value, sure } = row;
        if table == META.name() {
            let (Ok(name), Some(number)) = (str::from_utf8(key), value.first_chunk()) else {
                return Ok(false);
            };
            self.meta.entry(name.to_owned()).or_insert(u64::from_le_bytes(*number));
            return Ok(true);
        }
        if table == TOTALS.name {
            let Some(totals) = checked::totals_of(key, value) else { return Ok(false) };
            self.expected.entry(String::from_utf8_lossy(key).into_owned()).or_insert(totals);
            return Ok(true);
        }
        if let Some(small) = SMALL.into_iter().find(|small| small.name() == table) {
            return small.put(tx, key, value);
        }
        if table == DAMAGED.name() {
            let Some(id) = key.first_chunk() else { return Ok(false) };
            let (mut damaged, id) = (tx.unchecked().open_table(DAMAGED)?, u64::from_le_bytes(*id));
            if damaged.get(id)?.is_none() {
                damaged.insert(id, value.as_slice())?;
            }
            return Ok(true);
        }
        if [LOCAL_SEGMENTS.name(), LOCAL_BODIES.name(), LOCAL_BODY_PARTS.name()].contains(&table.as_str()) {
            // Of no use to a start.
            return Ok(true);
        }
        if table == BODY_PARTS.name() {
            let Some(key) = body::part_key(key) else { return Ok(false) };
            let mut parts = tx.unchecked().open_table(BODY_PARTS)?;
            if parts.get(key)?.is_none() {
                parts.insert(key, value.as_slice())?;
                if !sure {
                    self.unsure.insert((key.0, key.1));
                }
            }
            return Ok(true);
        }
        let Some(key) = table::row_key(key) else { return Ok(false) };
        let is_segment = table == SEGMENTS.name();
        if !is_segment && table != BODIES.name() {
            return Ok(false);
        }
        let mut runs = tx.unchecked().open_table(if is_segment { SEGMENTS } else { BODIES })?;
        if runs.get(key)?.is_some() {
            return Ok(true);
        }
        if is_segment {
            match SegmentView::decode(key, value) {
                Ok(view) if view.declared => self.queues.insert(key.0),
                Ok(_) => true,
                // Of a key or a length that nobody can know: what is damaged otherwise the start
                // sets aside.
                Err(_) if !sure && !self.queues.contains(&key.0) => return Ok(false),
                Err(_) if SegmentView::count_of_damaged(value) == 0 => return Ok(false),
                Err(_) => true,
            };
            self.segments.add(segment::checksum_of(value));
        } else if !sure {
            self.unsure.insert(key);
        }
        runs.insert(key, value.as_slice())?;
        Ok(true)
    }

    /// The number of the last commit that the rows are of, once all were taken.
    pub(super) fn number(&mut self) -> Result<u64, StoreError> {
        self.flush()?;
        Ok(self.meta.get(META_JOURNAL).copied().unwrap_or(UNKNOWN_NUMBER))
    }

    /// Puts in what is left, and says what could not be taken over.
    pub(super) fn finish(mut self) -> Result<Loss, StoreError> {
        let number = self.number()?;
        if self.meta.is_empty() && self.expected.is_empty() {
            return Err(StoreError::Damaged(
                "its list of tables cannot be read: there is nothing to go by".to_owned(),
            ));
        }
        let tx = Transaction::begin(self.database)?;
        [&STREAMS, &QUEUES].into_iter().try_for_each(|table| table.make(&tx))?;
        for small in SMALL {
            // Once there were users there is a table of them.
            if self.expected.contains_key(small.name()) {
                small.make(&tx)?;
            }
        }
        tx.unchecked().open_table(SEGMENTS)?;
        tx.unchecked().open_table(BODIES)?;
        tx.unchecked().open_table(BODY_PARTS)?;
        tx.commit()?;
        self.restore_segments()?;
        let tx = Transaction::begin(self.database)?;
        self.restore_queues(&tx)?;
        let is_true = table::is_true(&self.meta);
        let value = |key, missing| self.meta.get(key).copied().unwrap_or(missing);
        let clean = if is_true { value(META_CLEAN, 0) } else { 0 };
        if !is_true {
            tracing::warn!("repair: the table `leveret` does not match its checksum and is used as it is");
        }
        let mut values =
            vec![(META_CLEAN, clean), (META_JOURNAL, number), (META_NEXT_QUEUE, value(META_NEXT_QUEUE, 1))];
        values.extend(self.meta.get(META_AHEAD).map(|&ahead| (META_AHEAD, ahead)));
        table::write_meta(&tx, &values, self.segments)?;
        tx.commit()?;
        self.tell()?;
        let mut lost = Loss::default();
        let expected = self.meta.get(table::META_ROWS).copied().unwrap_or_default();
        lost.unknown(expected.saturating_sub(self.segments.rows));
        Ok(lost)
    }

    /// Makes rows of `segments` for records that have none.
    fn restore_segments(&mut self) -> Result<(), StoreError> {
        let tx = self.database.begin_read()?;
        let segments = tx.open_table(SEGMENTS)?;
        let removed: BTreeMap<RowKey, RowKey> =
            sweep::read(&tx)?.into_iter().map(|row| (row.first, (row.first.0, row.end))).collect();
        let is_removed = |key: RowKey| removed.range(..=key).next_back().is_some_and(|(_, &end)| key < end);
        let mut restored = Vec::new();
        let bodies = CommittedBodies::open(&tx, BodyTables::LASTING)?;
        for key in bodies.keys()? {
            let is_sure = !self.unsure.contains(&key);
            if segments.get(key)?.is_some() || !is_sure || is_removed(key) {
                continue;
            }
            if let Some(segment) = bodies.read(key, UNKNOWN_BYTES)?.and_then(segment_of) {
                restored.push((key, segment));
            }
        }
        let writing = Transaction::begin(self.database)?;
        {
            let mut table = writing.unchecked().open_table(SEGMENTS)?;
            for (key, segment) in restored {
                let row = segment.encode(key);
                tracing::warn!(
                    "repair: {} messages of {} from number {} on are restored, acknowledged or not",
                    segment.count,
                    QueueId(key.0),
                    key.1
                );
                self.segments.add(segment::checksum_of(&row));
                self.queues.insert(key.0);
                table.insert(key, row.as_slice())?;
            }
        }
        writing.commit()
    }

    /// Makes records for queues that have durable messages and no record.
    fn restore_queues(&self, tx: &Transaction) -> Result<(), StoreError> {
        let (mut names, mut streams) = (BTreeSet::new(), BTreeSet::new());
        let mut missing = self.queues.clone();
        let reading = self.database.begin_read()?;
        QUEUES.read(&reading, |id, value| {
            missing.remove(&id);
            let record = record::decode_queue(id, value)?;
            names.extend((record.vhost == VHOST).then_some(record.name));
            Ok(())
        })?;
        STREAMS.read(&reading, |id, _| {
            streams.insert(id);
            Ok(())
        })?;
        for id in missing {
            let mut name = format!("damaged.queue.{id}");
            while !names.insert(name.clone()) {
                name.push('.');
            }
            tracing::warn!(
                "repair: {} lost its definition and is now the queue '{name}' of the vhost {VHOST}",
                QueueId(id)
            );
            let arguments = if streams.contains(&id) { STREAM_ARGUMENTS.to_vec() } else { Vec::new() };
            let record =
                QueueRecord { id: QueueId(id), vhost: VHOST.to_owned(), name, auto_delete: false, arguments };
            tx.open(&QUEUES)?.insert(id, &record::encode_queue(&record))?;
        }
        Ok(())
    }

    /// Says how much was read of each table.
    fn tell(&self) -> Result<(), StoreError> {
        let expected = self.meta.get(table::META_ROWS).map(|&rows| (SEGMENTS.name(), rows));
        let others = self.expected.iter().map(|(name, totals)| (name.as_str(), totals.rows));
        let tx = self.database.begin_read()?;
        let there = checked::all_totals(&tx)?;
        for (table, expected) in expected.into_iter().chain(others) {
            let found = if table == SEGMENTS.name() {
                self.segments.rows
            } else {
                there.get(table).map_or(0, |totals| totals.rows)
            };
            if found != expected {
                tracing::warn!("repair: `{table}` had {expected} rows and has {found} now");
            }
        }
        Ok(())
    }
}

/// What there is to say of records.
fn segment_of(records: Bytes) -> Option<Segment> {
    let (bytes, checksum) = (u32::try_from(records.len()).ok()?, crc32fast::hash(&records));
    let block = Block::from_bytes(records).ok()?;
    let mut transient = Marks::default();
    for index in (0..block.len()).filter(|&index| !block.is_persistent(index)) {
        transient.set(index..index + 1);
    }
    Some(Segment {
        count: block.len(),
        bytes,
        expires: block.expires(),
        transient,
        declared: true,
        checksum: Some(checksum),
        ..Segment::default()
    })
}
