//! Reads records back, on whatever thread asks.

use super::body::{BodyTables, CommittedBodies};
use super::quarantine;
use super::segment::SegmentView;
use super::table::{LOCAL_SEGMENTS, RowKey, SEGMENTS};
use crate::ids::{QueueId, SeqRange};
use crate::message::Block;
use crate::store::change::{DamagedRun, Page, PageSource};
use crate::store::commit::pending::Pending;
use crate::store::error::StoreError;
use crate::store::guard::guarded;
use bytes::Bytes;
use redb::{
    Database, Range, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
};
use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// So many damaged runs that were come upon are remembered, for a list of them; more are logged.
const NOTED_MAX: usize = 10_000;

/// The database, while it is open; the commit thread opens it anew after a fault.
pub(super) type Shared = Arc<RwLock<Option<Database>>>;

/// Reads from the last commit; sees nothing that is not durable.
#[derive(Debug)]
pub(super) struct Pages {
    database: Shared,
    pending: Arc<Pending>,
    /// Runs whose records turned out to be damaged.
    noted: Mutex<BTreeMap<RowKey, DamagedRun>>,
}

impl Pages {
    pub(super) fn new(database: Shared, pending: Arc<Pending>) -> Self {
        Self { database, pending, noted: Mutex::default() }
    }

    /// Reads the last commit. What is wrong with it ends the store: what a database is like after
    /// redb panicked is not known, and rows that cannot be read would be messages that nobody gets.
    fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let done = guarded(|| {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            read(&database.as_ref().ok_or(StoreError::Stopped)?.begin_read()?)
        });
        done.map_err(|error| if error.passes() { error } else { self.pending.give_up(error) })
    }

    /// Remembers a damaged run, and logs it once.
    fn note(&self, (queue, first): RowKey, view: &SegmentView<'_>, why: &str) {
        let (queue, messages, bytes) = (QueueId(queue), view.count, u64::from(view.bytes));
        let run = DamagedRun { quarantined: None, queue, first, messages, bytes };
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.contains_key(&(queue.0, first)) {
            return;
        }
        if noted.len() < NOTED_MAX {
            noted.insert((queue.0, first), run);
        }
        drop(noted);
        let last = first + u64::from(messages) - 1;
        tracing::error!(
            "messages {first} to {last} of {queue} are damaged: they stay on disk and are not delivered: {why}"
        );
    }
}

impl PageSource for Pages {
    fn load(&self, queue: QueueId, range: SeqRange, bytes_max: usize) -> Result<Vec<Page>, StoreError> {
        self.read(|tx| {
            let (lasting, local) = (
                Runs::open(tx, SEGMENTS, BodyTables::LASTING)?,
                Runs::open(tx, LOCAL_SEGMENTS, BodyTables::LOCAL)?,
            );
            let (mut rows, mut spilled) = (lasting.rows(queue, range)?, local.rows(queue, range)?);
            let (mut row, mut spilled_row) = (rows.next().transpose()?, spilled.next().transpose()?);
            let mut pages = Vec::new();
            let mut bytes = 0;
            while bytes < bytes_max || pages.is_empty() {
                // The one that comes first.
                let is_spilled = match (&row, &spilled_row) {
                    (Some((one, _)), Some((other, _))) => other.value() < one.value(),
                    (None, other) => other.is_some(),
                    (Some(_), None) => false,
                };
                let (bodies, next) = if is_spilled {
                    (&local.bodies, mem::replace(&mut spilled_row, spilled.next().transpose()?))
                } else {
                    (&lasting.bodies, mem::replace(&mut row, rows.next().transpose()?))
                };
                let Some((key, value)) = next else { break };
                let (key, view) = (key.value(), SegmentView::decode(key.value(), value.value())?);
                let records = match view.inline {
                    Some(records) => Some(Bytes::copy_from_slice(records)),
                    None => bodies.read(key, view.bytes)?,
                };
                match records.ok_or("they are missing").and_then(|records| block_of(&view, records)) {
                    Ok(block) => {
                        bytes += block.bytes_of(0..block.len());
                        pages.push(Page { first: key.1, block });
                    }
                    Err(why) => self.note(key, &view, why),
                }
            }
            Ok(pages)
        })
    }

    fn damaged(&self) -> Result<Vec<DamagedRun>, StoreError> {
        let mut runs = self.read(quarantine::list)?;
        runs.extend(self.noted.lock().unwrap_or_else(PoisonError::into_inner).values());
        Ok(runs)
    }

    fn damaged_records(&self, run: &DamagedRun) -> Result<Vec<u8>, StoreError> {
        self.read(|tx| quarantine::records(tx, run))
    }
}

/// A table of runs and those of their records.
struct Runs<'a> {
    segments: ReadOnlyTable<RowKey, &'static [u8]>,
    bodies: CommittedBodies<'a>,
}

type Definition = TableDefinition<'static, RowKey, &'static [u8]>;

impl<'a> Runs<'a> {
    fn open(tx: &'a ReadTransaction, segments: Definition, bodies: BodyTables) -> Result<Self, StoreError> {
        Ok(Self { segments: tx.open_table(segments)?, bodies: CommittedBodies::open(tx, bodies)? })
    }

    /// The rows of `queue` with numbers in `range`.
    fn rows(&self, queue: QueueId, range: SeqRange) -> Result<Range<'_, RowKey, &'static [u8]>, StoreError> {
        let first = first_row(&self.segments, queue, range.first)?;
        Ok(ReadableTable::range(&self.segments, (queue.0, first)..(queue.0, range.end.max(first)))?)
    }
}

/// The records of a run, unless something is wrong with them.
fn block_of(view: &SegmentView<'_>, records: Bytes) -> Result<Block, &'static str> {
    if !view.matches(&records) {
        return Err("they do not match their checksum");
    }
    let block = Block::from_bytes(records).map_err(|_malformed| "they are malformed")?;
    if block.len() == view.count { Ok(block) } else { Err("their number is another") }
}

/// Where the row begins that holds `seq`; `seq` when none does.
fn first_row(
    segments: &ReadOnlyTable<RowKey, &'static [u8]>,
    queue: QueueId,
    seq: u64,
) -> Result<u64, StoreError> {
    let mut before = ReadableTable::range(segments, (queue.0, 0)..=(queue.0, seq))?;
    let Some(row) = before.next_back().transpose()? else { return Ok(seq) };
    let key = row.0.value();
    let holds = seq < SegmentView::decode(key, row.1.value())?.range(key.1).end;
    Ok(if holds { key.1 } else { seq })
}
