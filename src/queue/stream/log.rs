//! The log of a stream: which numbers it holds, where its chunks begin, and the blocks at its end
//! that are in memory.
//!
//! ```text
//!   numbers:  ... gone ... | first ........ on disk ........ | tail: in memory, perhaps on disk too ... | next
//!                          | chunk | chunk | chunk | chunk | chunk ...
//! ```
//!
//! A chunk is what is found and forgotten together; it knows its first number, when that arrived,
//! and how many bytes lie before it. Invariants: chunks ascend in all three; the newest chunk never
//! goes; the tail's blocks follow each other and end at `next`.

use crate::arguments::Retention;
use crate::ids::{SeqRange, Ticket};
use crate::message::Block;
use crate::queue::browse::{Look, LookedRun, MessageState, WINDOW};
use crate::store::change::{RecoveredQueue, StreamChunk};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of records in a chunk, when nothing asks for another size: about a row on disk.
const CHUNK_BYTES: u64 = 256 << 10;

/// No chunk is made smaller than this, whatever is asked for: one is a row on disk and 24 bytes in
/// memory.
const CHUNK_BYTES_MIN: u64 = 4 << 10;

/// A chunk is made as large as this part of the stream: a stream of 1 TB has 60,000 chunks.
const CHUNKS: u64 = 8192;

/// A stream that is limited in bytes is shortened by no more than this part of them.
const CHUNKS_OF_LIMIT: u64 = 8;

/// Memory that a block takes beside its records; an estimate.
const BLOCK_OVERHEAD: usize = 256;

/// What a block takes in memory.
pub(super) fn weight(block: &Block) -> usize {
    block.bytes().len() + BLOCK_OVERHEAD
}

/// How many of the records of `block` from `start` on make `count` at most and `bytes` at most, but
/// one at least.
pub(super) fn fit(block: &Block, start: u32, count: u32, bytes: u64) -> u32 {
    let most = (block.len() - start).min(count.max(1));
    let fits = |n: u32| block.bytes_of(start..start + n) as u64 <= bytes;
    if fits(most) {
        return most;
    }
    let (mut low, mut high) = (1, most);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The log of a stream: its offsets, chunks, and the blocks in memory.
#[derive(Debug)]
pub(super) struct StreamLog {
    retention: Retention,
    chunks: VecDeque<StreamChunk>,
    /// The number that the next record gets.
    pub(super) next: u64,
    /// Bytes of all records that ever were here.
    position: u64,
    /// The latest arrival so far.
    newest_ms: u64,
    tail: VecDeque<(u64, Arc<Block>)>,
    /// What the tail takes in memory.
    pub(super) tail_bytes: usize,
    /// (one past the last number, the ticket with which everything below is stored), in order.
    marks: VecDeque<(u64, Ticket)>,
    /// Everything below this number can be read from disk.
    stored: u64,
}

impl StreamLog {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            chunks: VecDeque::new(),
            next: 0,
            position: 0,
            newest_ms: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            marks: VecDeque::new(),
            stored: 0,
        }
    }

    /// When its first chunk came, milliseconds since 1970.
    pub(super) fn since_ms(&self) -> Option<u64> {
        self.chunks.front().map(|chunk| chunk.since_ms)
    }

    /// Keeps so much from now on.
    pub(super) fn retain(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// As it was on disk.
    pub(super) fn recover(recovered: &RecoveredQueue, retention: Retention) -> Self {
        let mut log = Self::new(retention);
        log.next = recovered.lanes.first().map_or(0, |lane| lane.next);
        log.stored = log.next;
        let Some(first) = recovered.messages.first().map(|range| range.first) else { return log };
        let stream = recovered.stream.as_ref();
        let within = |chunk: &&StreamChunk| (first..log.next).contains(&chunk.first);
        let known = stream.map_or(&[][..], |stream| &stream.chunks);
        log.chunks = known.iter().filter(within).copied().collect();
        if log.chunks.front().is_none_or(|chunk| chunk.first > first) {
            let position = log.chunks.front().map_or(0, |chunk| chunk.position);
            log.chunks.push_front(StreamChunk { first, since_ms: 0, position });
        }
        let position = |chunk: Option<&StreamChunk>| chunk.map_or(0, |chunk| chunk.position);
        let end = position(log.chunks.front()).saturating_add(recovered.bytes);
        log.position = end.max(position(log.chunks.back()));
        log.newest_ms = log.chunks.back().map_or(0, |chunk| chunk.since_ms);
        log
    }

    /// The first number that is still here; `next` when there is none.
    pub(super) fn first(&self) -> u64 {
        self.chunks.front().map_or(self.next, |chunk| chunk.first)
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> u64 {
        self.next - self.first()
    }

    /// Bytes of records that are here.
    pub(super) fn bytes(&self) -> u64 {
        self.position - self.chunks.front().map_or(self.position, |chunk| chunk.position)
    }

    /// Everything below this number is on disk only.
    pub(super) fn tail_first(&self) -> u64 {
        self.tail.front().map_or(self.next, |(first, _)| *first)
    }

    /// Numbers the records of `block` and appends them; shows each chunk that begins.
    pub(super) fn push(&mut self, block: &Arc<Block>, mut begun: impl FnMut(StreamChunk)) -> SeqRange {
        let range = SeqRange::of(self.next, u64::from(block.len()));
        let (size, mut at) = (self.chunk_bytes(), 0);
        while at < block.len() {
            let mut open = self.chunks.back().map_or(size, |chunk| self.position - chunk.position);
            if open >= size {
                let since_ms = self.newest_ms.max(block.message(at).arrived_at_ms);
                let chunk =
                    StreamChunk { first: range.first + u64::from(at), since_ms, position: self.position };
                self.chunks.push_back(chunk);
                begun(chunk);
                open = 0;
            }
            let count = fit(block, at, u32::MAX, size - open);
            self.position += block.bytes_of(at..at + count) as u64;
            at += count;
        }
        self.newest_ms = self.newest_ms.max(block.message(block.len() - 1).arrived_at_ms);
        self.tail_bytes += weight(block);
        self.tail.push_back((range.first, Arc::clone(block)));
        self.next = range.end;
        range
    }

    /// How large chunks are to be now.
    fn chunk_bytes(&self) -> u64 {
        let asked = self.retention.segment_bytes.unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let limit = self.retention.bytes.map_or(CHUNK_BYTES, |bytes| bytes / CHUNKS_OF_LIMIT);
        asked.min(limit).max(CHUNK_BYTES_MIN).max(self.bytes() / CHUNKS)
    }

    /// Drops the oldest chunks as far as there are too many bytes, or they are too old, at `now_ms`
    /// or the latest arrival; what went. The newest chunk stays.
    pub(super) fn trim(&mut self, now_ms: u64) -> SeqRange {
        let gone_from = self.first();
        let now_ms = now_ms.max(self.newest_ms);
        while let (Some(oldest), Some(second)) = (self.chunks.front(), self.chunks.get(1)) {
            let bytes = self.position - oldest.position;
            let too_long = self.retention.bytes.is_some_and(|most| bytes > most);
            // All of the oldest chunk came no later than the second one began.
            let age_ms = now_ms - second.since_ms.min(now_ms);
            let too_old = self.retention.age_ms.is_some_and(|most| age_ms > most);
            if !too_long && !too_old {
                break;
            }
            self.chunks.pop_front();
        }
        let first = self.first();
        while let Some((at, block)) = self.tail.front()
            && at + u64::from(block.len()) <= first
        {
            self.pop_tail();
        }
        SeqRange { first: gone_from, end: first }
    }

    fn pop_tail(&mut self) {
        if let Some((_, block)) = self.tail.pop_front() {
            self.tail_bytes -= weight(&block);
        }
    }

    /// Numbers below `end` are stored with `ticket`.
    pub(super) fn mark(&mut self, end: u64, ticket: Ticket) {
        match self.marks.back_mut() {
            Some(last) if last.1 == ticket => last.0 = end,
            _ => self.marks.push_back((end, ticket)),
        }
    }

    /// Learns what is stored, and forgets the oldest blocks of the tail until it takes no more than
    /// `bytes`, as far as they are stored.
    pub(super) fn forget(&mut self, stored: Ticket, bytes: usize) {
        while let Some(&(end, ticket)) = self.marks.front()
            && ticket <= stored
        {
            self.stored = end;
            self.marks.pop_front();
        }
        while let Some((first, block)) = self.tail.front()
            && self.tail_bytes > bytes
            && first + u64::from(block.len()) <= self.stored
        {
            self.pop_tail();
        }
    }

    /// The block of the tail that holds `seq`, and its first number.
    pub(super) fn in_tail(&self, seq: u64) -> Option<(u64, &Arc<Block>)> {
        let after = self.tail.partition_point(|(first, _)| *first <= seq);
        let (first, block) = self.tail.get(after.checked_sub(1)?)?;
        (seq - first < u64::from(block.len())).then_some((*first, block))
    }

    /// The window that begins at or after `at`, or with `back` ends at or before it.
    pub(super) fn look(&self, at: u64, back: bool) -> Option<Look> {
        let here = SeqRange { first: self.first(), end: self.next };
        let window = if back {
            let end = at.min(here.end);
            SeqRange { first: end.saturating_sub(WINDOW), end }.meet(here)
        } else {
            SeqRange { first: at, end: at.max(here.first).saturating_add(WINDOW) }.meet(here)
        };
        if window.is_empty() {
            return None;
        }
        let run = |range, place| LookedRun {
            range,
            state: MessageState::Ready,
            deliveries: 0,
            redelivered: false,
            place,
        };
        let (mut at, mut runs) = (window.first, Vec::new());
        while at < window.end {
            let rest = SeqRange { first: at, ..window };
            let next = match self.in_tail(at) {
                Some((first, block)) => {
                    let own = SeqRange::of(first, u64::from(block.len())).meet(rest);
                    run(own, Some((Arc::clone(block), first)))
                }
                None => run(SeqRange { end: self.tail_first(), ..rest }.meet(rest), None),
            };
            at = next.range.end.max(at + 1);
            runs.push(next);
        }
        Some(Look { window, runs })
    }

    /// Where the chunk begins that holds what arrived at `ms`: nothing before it came at that time
    /// or later.
    pub(super) fn since(&self, ms: u64) -> u64 {
        // A chunk may begin in the midst of what arrived at that very time.
        let after = self.chunks.partition_point(|chunk| chunk.since_ms < ms);
        self.chunks.get(after.saturating_sub(1)).map_or(self.next, |chunk| chunk.first)
    }
}
