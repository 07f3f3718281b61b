//! Reads records back, on whatever thread asks.

use super::change::{Page, PageSource};
use super::error::StoreError;
use super::guard::guarded;
use super::pending::Pending;
use super::segment::SegmentView;
use super::table::{BODIES, RowKey, SEGMENTS};
use crate::ids::{QueueId, SeqRange};
use crate::message::Block;
use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable};
use std::sync::{Arc, PoisonError, RwLock};

/// The database, while it is open; the commit thread opens it anew after a fault.
pub(super) type Shared = Arc<RwLock<Option<Database>>>;

/// Reads from the last commit; sees nothing that is not durable.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) database: Shared,
    pub(super) pending: Arc<Pending>,
}

impl PageSource for Pages {
    fn load(&self, queue: QueueId, range: SeqRange, bytes_max: usize) -> Result<Vec<Page>, StoreError> {
        let mut panicked = true;
        let loaded = guarded(|| {
            let loaded = self.read(queue, range, bytes_max);
            panicked = false;
            loaded
        });
        match loaded {
            // What redb is like after a panic is not known: nothing is written with it any more.
            Err(error) if panicked => {
                self.pending.fail(error);
                Err(StoreError::Stopped)
            }
            loaded => loaded,
        }
    }
}

impl Pages {
    fn read(&self, queue: QueueId, range: SeqRange, bytes_max: usize) -> Result<Vec<Page>, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let tx = database.as_ref().ok_or(StoreError::Stopped)?.begin_read()?;
        let (segments, bodies) = (tx.open_table(SEGMENTS)?, tx.open_table(BODIES)?);
        let first = first_row(&segments, queue, range.first)?;
        let mut pages = Vec::new();
        let mut bytes = 0;
        for row in segments.range((queue.0, first)..(queue.0, range.end.max(first)))? {
            if bytes >= bytes_max && !pages.is_empty() {
                break;
            }
            let (key, value) = row?;
            let (first, view) = (key.value().1, SegmentView::decode(value.value())?);
            let records = match view.inline {
                Some(records) => Bytes::copy_from_slice(records),
                None => body(&bodies, queue, first)?,
            };
            bytes += records.len();
            let block =
                Block::from_bytes(records).map_err(|error| damaged(queue, first, &error.to_string()))?;
            if block.len() != view.count {
                return Err(damaged(queue, first, "their number is another"));
            }
            pages.push(Page { first, block });
        }
        Ok(pages)
    }
}

/// Where the row begins that holds `seq`; `seq` when none does.
fn first_row(
    segments: &ReadOnlyTable<RowKey, &'static [u8]>,
    queue: QueueId,
    seq: u64,
) -> Result<u64, StoreError> {
    let mut before = ReadableTable::range(segments, (queue.0, 0)..=(queue.0, seq))?;
    let Some(row) = before.next_back().transpose()? else { return Ok(seq) };
    let first = row.0.value().1;
    let holds = seq < SegmentView::decode(row.1.value())?.range(first).end;
    Ok(if holds { first } else { seq })
}

fn body(
    bodies: &ReadOnlyTable<RowKey, &'static [u8]>,
    queue: QueueId,
    first: u64,
) -> Result<Bytes, StoreError> {
    let body = ReadableTable::get(bodies, (queue.0, first))?;
    let body = body.ok_or_else(|| damaged(queue, first, "they are missing"))?;
    Ok(Bytes::copy_from_slice(body.value()))
}

fn damaged(queue: QueueId, first: u64, what: &str) -> StoreError {
    StoreError::Damaged(format!("the records of {queue} from {first} on: {what}"))
}
