//! What is kept of a stream beside its records: where it begins, where its chunks begin, how far
//! named consumers are.
//!
//! A queue with a row in `streams` is a stream: its records last whether they are persistent or
//! not, and no number below the one in that row is ever given again.

use super::checked::{self, Transaction};
use super::table::{STREAM_CHUNKS, STREAM_OFFSETS, STREAMS};
use crate::ids::QueueId;
use crate::store::change::{RecoveredLane, RecoveredQueue, RecoveredStream, StreamChunk};
use crate::store::commit::stream::StreamBatch;
use crate::store::error::StoreError;
use redb::ReadTransaction;
use std::collections::BTreeMap;

/// Writes `batch` of the stream `id`.
pub(super) fn write(tx: &Transaction, id: QueueId, batch: &StreamBatch) -> Result<(), StoreError> {
    if batch.first.is_some() || !batch.chunks.is_empty() {
        let mut chunks = tx.open(&STREAM_CHUNKS)?;
        if let Some(first) = batch.first {
            tx.open(&STREAMS)?.insert(id.0, &first.to_be_bytes())?;
            chunks.remove_in((id.0, 0)..(id.0, first))?;
        }
        for chunk in batch.chunks.values() {
            let value = [chunk.since_ms.to_be_bytes(), chunk.position.to_be_bytes()].concat();
            chunks.insert((id.0, chunk.first), &value)?;
        }
    }
    if !batch.offsets.is_empty() || !batch.forgotten.is_empty() {
        let mut offsets = tx.open(&STREAM_OFFSETS)?;
        for (name, &next) in &batch.offsets {
            offsets.insert((id.0, &**name), &next.to_be_bytes())?;
        }
        for name in &batch.forgotten {
            offsets.remove((id.0, &**name))?;
        }
    }
    Ok(())
}

/// Removes what is kept of the queue `id`, if it is a stream.
pub(super) fn delete(tx: &Transaction, id: QueueId) -> Result<(), StoreError> {
    if !tx.open(&STREAMS)?.remove(id.0)? {
        return Ok(());
    }
    tx.open(&STREAM_CHUNKS)?.remove_in((id.0, 0)..=(id.0, u64::MAX))?;
    tx.open(&STREAM_OFFSETS)?.remove_in((id.0, "")..(id.0 + 1, ""))?;
    Ok(())
}

/// Tells the queues that are streams what is kept of them.
pub(super) fn recover(
    tx: &ReadTransaction,
    queues: &mut BTreeMap<u64, RecoveredQueue>,
) -> Result<(), StoreError> {
    STREAMS.read(tx, |id, value| {
        if let Some(queue) = queues.get_mut(&id) {
            let [first] = checked::numbers(STREAMS.name, value)?;
            let stream = RecoveredStream { first, ..RecoveredStream::default() };
            let next = stream.first;
            if queue.lanes.is_empty() {
                queue.lanes.push(RecoveredLane { lane: 0, delivered_up_to: 0, next });
            } else {
                queue.lanes[0].next = next.max(queue.lanes[0].next);
            }
            queue.stream = Some(stream);
        }
        Ok(())
    })?;
    let mut streams: BTreeMap<u64, &mut RecoveredStream> =
        queues.iter_mut().filter_map(|(&id, queue)| Some((id, queue.stream.as_mut()?))).collect();
    STREAM_CHUNKS.read(tx, |(id, first), value| {
        let [since_ms, position] = checked::numbers(STREAM_CHUNKS.name, value)?;
        if let Some(stream) = streams.get_mut(&id) {
            stream.chunks.push(StreamChunk { first, since_ms, position });
        }
        Ok(())
    })?;
    STREAM_OFFSETS.read(tx, |(id, name), value| {
        let [next] = checked::numbers(STREAM_OFFSETS.name, value)?;
        if let Some(stream) = streams.get_mut(&id) {
            stream.offsets.push((name.into(), next));
        }
        Ok(())
    })?;
    Ok(())
}
