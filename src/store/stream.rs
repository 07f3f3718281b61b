//! What is kept of a stream beside its records: where it begins, where its chunks begin, how far named consumers are.
//!
//! A queue with a row in `streams` is a stream: its records last whether they are persistent or not, and no number
//! below the one in that row is ever given again.

use super::change::{RecoveredLane, RecoveredQueue, RecoveredStream, StreamChunk, StreamNote};
use super::error::StoreError;
use super::table::{RowKey, STREAM_CHUNKS, STREAM_OFFSETS, STREAMS};
use crate::ids::QueueId;
use redb::{ReadTransaction, Table, TableError, WriteTransaction};
use std::collections::BTreeMap;

/// What happens to a stream beside its records, merged.
#[derive(Debug, Default)]
pub(super) struct StreamWork {
    /// Where it begins from now on.
    pub(super) first: Option<u64>,
    /// Chunks that begin, by the number of their first record.
    pub(super) chunks: BTreeMap<u64, StreamChunk>,
    /// How far named consumers have come.
    pub(super) offsets: BTreeMap<Box<str>, u64>,
    /// Named consumers that are forgotten; none of them is in `offsets`.
    pub(super) forgotten: Vec<Box<str>>,
}

impl StreamWork {
    pub(super) fn absorb(&mut self, note: StreamNote) {
        match note {
            StreamNote::Begins(first) => {
                self.first = Some(first);
                self.chunks = self.chunks.split_off(&first);
            }
            StreamNote::Chunk(chunk) => {
                self.chunks.insert(chunk.first, chunk);
            }
            StreamNote::Offset { name, next } => {
                self.forgotten.retain(|other| *other != name);
                self.offsets.insert(name, next);
            }
            StreamNote::Forget { name } => {
                self.offsets.remove(&name);
                self.forgotten.push(name);
            }
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        later.notes(|note| self.absorb(note));
    }

    /// Everything as notes that make the same work.
    pub(super) fn notes(self, mut each: impl FnMut(StreamNote)) {
        if let Some(first) = self.first {
            each(StreamNote::Begins(first));
        }
        self.chunks.into_values().for_each(|chunk| each(StreamNote::Chunk(chunk)));
        self.offsets.into_iter().for_each(|(name, next)| each(StreamNote::Offset { name, next }));
        self.forgotten.into_iter().for_each(|name| each(StreamNote::Forget { name }));
    }
}

/// Writes `work` of the stream `id`.
pub(super) fn write(tx: &WriteTransaction, id: QueueId, work: &StreamWork) -> Result<(), StoreError> {
    if work.first.is_some() || !work.chunks.is_empty() {
        let mut chunks = tx.open_table(STREAM_CHUNKS)?;
        if let Some(first) = work.first {
            tx.open_table(STREAMS)?.insert(id.0, first)?;
            chunks.retain_in((id.0, 0)..(id.0, first), |_, _| false)?;
        }
        for chunk in work.chunks.values() {
            chunks.insert((id.0, chunk.first), (chunk.since_ms, chunk.position))?;
        }
    }
    if !work.offsets.is_empty() || !work.forgotten.is_empty() {
        let mut offsets = tx.open_table(STREAM_OFFSETS)?;
        for (name, &next) in &work.offsets {
            offsets.insert((id.0, &**name), next)?;
        }
        for name in &work.forgotten {
            offsets.remove((id.0, &**name))?;
        }
    }
    Ok(())
}

/// Removes what is kept of the queue `id`, if it is a stream.
pub(super) fn delete(tx: &WriteTransaction, id: QueueId) -> Result<(), StoreError> {
    if tx.open_table(STREAMS)?.remove(id.0)?.is_none() {
        return Ok(());
    }
    tx.open_table(STREAM_CHUNKS)?.retain_in((id.0, 0)..=(id.0, u64::MAX), |_, _| false)?;
    let mut offsets: Table<'_, (u64, &str), u64> = tx.open_table(STREAM_OFFSETS)?;
    offsets.retain_in((id.0, "")..(id.0 + 1, ""), |_, _| false)?;
    Ok(())
}

/// Tells the queues that are streams what is kept of them.
pub(super) fn recover(
    tx: &ReadTransaction,
    queues: &mut BTreeMap<u64, RecoveredQueue>,
) -> Result<(), StoreError> {
    let streams = match tx.open_table(STREAMS) {
        Ok(streams) => streams,
        // The file is older than streams are; the tables come with the first run.
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for row in streams.range::<u64>(..)? {
        let (id, first) = row?;
        if let Some(queue) = queues.get_mut(&id.value()) {
            let stream = RecoveredStream { first: first.value(), ..RecoveredStream::default() };
            let next = stream.first;
            if queue.lanes.is_empty() {
                queue.lanes.push(RecoveredLane { lane: 0, delivered_up_to: 0, next });
            } else {
                queue.lanes[0].next = next.max(queue.lanes[0].next);
            }
            queue.stream = Some(stream);
        }
    }
    let stream_of =
        |queues: &mut BTreeMap<u64, RecoveredQueue>, id: u64, add: &dyn Fn(&mut RecoveredStream)| {
            if let Some(stream) = queues.get_mut(&id).and_then(|queue| queue.stream.as_mut()) {
                add(stream);
            }
        };
    for row in tx.open_table(STREAM_CHUNKS)?.range::<RowKey>(..)? {
        let (key, value) = row?;
        let ((id, first), (since_ms, position)) = (key.value(), value.value());
        let chunk = StreamChunk { first, since_ms, position };
        stream_of(queues, id, &|stream| stream.chunks.push(chunk));
    }
    for row in tx.open_table(STREAM_OFFSETS)?.range::<(u64, &str)>(..)? {
        let (key, next) = row?;
        let (id, name) = key.value();
        stream_of(queues, id, &|stream| stream.offsets.push((name.into(), next.value())));
    }
    Ok(())
}
