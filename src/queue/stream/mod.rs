//! A stream: a log that consumers read, each from where it likes, and that nobody empties
//! (RabbitMQ: streams.md).
//!
//! It stands in for a queue's own state behind the methods of
//! [`super::Queue`], locks once per batch as that does, and returns the same [`Effects`].
//! Everything that enters is written, transient or not. What it holds in memory is the end of the
//! log, and pages for those who read further back.

mod log;
mod pages;
mod reader;
mod reading;
#[cfg(test)]
mod tests;

pub use self::reading::{Filter, Reading, Start};

use self::log::StreamLog;
use self::pages::Pages;
use self::reader::{Left, StreamReader};
use super::Effects;
use super::classic::{MEMORY_PLENTY, MEMORY_SHORT, budget};
use super::consumers::{Consumer, Subscribed};
use super::{Busy, QueueContext, QueueStats, Settled};
use crate::arguments::Retention;
use crate::error::{AmqpError, Resource};
use crate::ids::{ConsumerId, QueueId, SeqRange, Ticket};
use crate::message::Block;
use crate::queue::mailbox::Mail;
use crate::store::change::{Change, Log, Page, RecoveredQueue, StreamNote};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Consumers that a stream remembers; beyond it the one that is furthest behind is forgotten.
const NAMES_MAX: usize = 4096;

/// A stream: a log that any number of consumers read without emptying it (RabbitMQ: streams.md).
pub(super) struct Stream {
    id: QueueId,
    log: Arc<dyn Log>,
    /// Bytes that all queues hold in memory.
    memory: Arc<AtomicUsize>,
    state: Mutex<State>,
}

struct State {
    log: StreamLog,
    readers: BTreeMap<ConsumerId, StreamReader>,
    /// Named consumers that have gone and whose messages are not all settled.
    left: BTreeMap<ConsumerId, Left>,
    /// Readers that wait for a page, or soon will, in the order in which they came.
    hungry: VecDeque<ConsumerId>,
    pages: Pages,
    /// Named consumers, and what each has not handled yet.
    offsets: BTreeMap<Box<str>, u64>,
    /// What the store must be told; taken after each operation.
    changes: Vec<Change>,
    deleted: bool,
    /// What this stream last added to `Stream::memory`.
    counted: usize,
}

impl Stream {
    /// An empty stream.
    pub(super) fn new(id: QueueId, retention: Retention, shared: &QueueContext) -> Self {
        Self::with(id, shared, StreamLog::new(retention), BTreeMap::new())
    }

    /// A stream as it was on disk.
    pub(super) fn recover(recovered: &RecoveredQueue, retention: Retention, shared: &QueueContext) -> Self {
        let id = recovered.record.id;
        let offsets = recovered.stream.iter().flat_map(|stream| stream.offsets.iter().cloned()).collect();
        Self::with(id, shared, StreamLog::recover(recovered, retention), offsets)
    }

    fn with(id: QueueId, shared: &QueueContext, stream: StreamLog, offsets: BTreeMap<Box<str>, u64>) -> Self {
        let state = State {
            log: stream,
            readers: BTreeMap::new(),
            left: BTreeMap::new(),
            hungry: VecDeque::new(),
            pages: Pages::default(),
            offsets,
            changes: Vec::new(),
            deleted: false,
            counted: 0,
        };
        let (log, memory) = (Arc::clone(&shared.log), Arc::clone(&shared.memory));
        Self { id, log, memory, state: Mutex::new(state) }
    }

    /// Keeps so much from now on.
    pub(super) fn retain(&self, retention: Retention, now_ms: u64) -> Effects {
        let mut guard = self.lock();
        guard.log.retain(retention);
        self.trim(&mut guard, now_ms);
        self.finish_flushed(guard)
    }

    /// How it stands.
    pub(super) fn stats(&self) -> QueueStats {
        let state = self.lock();
        QueueStats {
            ready: state.log.len(),
            unacked: state.readers.values().map(|reader| u64::from(reader.unacked)).sum(),
            consumers: u32::try_from(state.readers.len()).unwrap_or(u32::MAX),
            resident: state.counted,
            ..QueueStats::default()
        }
    }

    /// Its consumers, all of whom are served at a time.
    pub(super) fn consumers(&self) -> Vec<Subscribed> {
        self.lock().readers.values().filter_map(|reader| reader.consumer.shown(true)).collect()
    }

    /// Appends the records of `block`. The ticket tells when they are on disk.
    pub(super) fn enqueue(&self, block: &Arc<Block>) -> (Ticket, Effects) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.deleted || block.is_empty() {
            return (Ticket(0), Effects::default());
        }
        let (queue, changes) = (self.id, &mut state.changes);
        let range = state.log.push(block, |chunk| {
            changes.push(Change::Stream { queue, note: StreamNote::Chunk(chunk) });
        });
        state.changes.push(Change::Publish {
            queue,
            first: range.first,
            block: Arc::clone(block),
            range: 0..block.len(),
        });
        self.trim(state, 0);
        state.serve_all(self.is_short());
        let ticket = self.flush(state);
        if ticket > Ticket(0) {
            state.log.mark(range.end, ticket);
        }
        (ticket, self.finish(guard, ticket))
    }

    /// Drops what is too much or too old.
    fn trim(&self, state: &mut State, now_ms: u64) {
        let gone = state.log.trim(now_ms);
        if !gone.is_empty() {
            let queue = self.id;
            state.changes.push(Change::Settle { queue, range: gone });
            state.changes.push(Change::Stream { queue, note: StreamNote::Begins(gone.end) });
        }
    }

    /// Messages were settled, or `returned`, which does not bring them back to anybody: their
    /// consumers have room again, and are remembered to have come so far. One that has gone is
    /// remembered by what its channel acknowledges later.
    pub(super) fn settle(&self, settled: &[Settled], returned: bool) -> Effects {
        let mut guard = self.lock();
        let state = &mut *guard;
        for part in settled {
            let Some(id) = part.consumer else { continue };
            let handled = match state.readers.get_mut(&id) {
                Some(reader) => reader.release(part.range),
                None => state.release_left(id, part.range, returned),
            };
            if let Some((name, next)) = handled {
                state.remember(self.id, name, next);
            }
            state.serve(id, self.is_short());
        }
        self.finish_flushed(guard)
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// 404: the stream `on` was deleted meanwhile.
    pub(super) fn subscribe(&self, mut consumer: Consumer, on: Resource) -> Result<Effects, AmqpError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.deleted {
            return Err(AmqpError::NotFound(on));
        }
        let reading = consumer.reading.take().map_or_else(Reading::default, |reading| *reading);
        self.trim(state, reading.asked_at_ms);
        let remembered = reading.track.as_ref().and_then(|name| state.offsets.get(name).copied());
        let id = consumer.id;
        state.readers.insert(id, StreamReader::new(consumer, reading, remembered, &state.log));
        state.serve(id, self.is_short());
        Ok(self.finish_flushed(guard))
    }

    /// Removes a consumer.
    pub(super) fn cancel(&self, id: ConsumerId) -> Effects {
        let mut state = self.lock();
        if let Some(left) = state.readers.remove(&id).and_then(StreamReader::leave) {
            state.left.insert(id, left);
        }
        state.hungry.retain(|&other| other != id);
        state.pages.stale = true;
        self.finish_flushed(state)
    }

    /// The session has encoded `bytes` of what was dealt to this consumer.
    pub(super) fn credit(&self, id: ConsumerId, bytes: usize) -> Effects {
        let mut guard = self.lock();
        if let Some(reader) = guard.readers.get_mut(&id) {
            reader.credit(bytes);
        }
        guard.serve(id, self.is_short());
        self.finish_flushed(guard)
    }

    /// Pages have come from disk. Returns how many messages were not there that should have been.
    pub(super) fn pages_loaded(&self, wanted: SeqRange, pages: Vec<Page>) -> (u64, Effects) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.deleted {
            return (0, Effects::default());
        }
        let lost = state.pages.load(wanted, pages, &state.log);
        state.serve_all(self.is_short());
        (lost, self.finish_flushed(guard))
    }

    /// Marks it as deleted and tells its consumers. Its messages are not counted (RabbitMQ:
    /// streams.md).
    ///
    /// # Errors
    /// It has consumers, or messages, where it should not.
    pub(super) fn close(&self, if_unused: bool, if_empty: bool) -> Result<u64, Busy> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if if_empty && state.log.len() > 0 {
            return Err(Busy::NotEmpty);
        }
        if if_unused && !state.readers.is_empty() {
            return Err(Busy::InUse);
        }
        state.deleted = true;
        for (id, reader) in std::mem::take(&mut state.readers) {
            reader.consumer.mailbox.post(&mut vec![Mail::Cancelled(id)]);
        }
        self.memory.fetch_sub(std::mem::take(&mut state.counted), Ordering::Relaxed);
        state.log = StreamLog::new(Retention::default());
        state.pages = Pages::default();
        state.offsets = BTreeMap::new();
        state.left = BTreeMap::new();
        state.changes = Vec::new();
        Ok(0)
    }

    /// Hands the changes to the log, in the order they happened.
    fn flush(&self, state: &mut State) -> Ticket {
        if state.changes.is_empty() || state.deleted {
            return Ticket(0);
        }
        // Taken with its memory: an idle stream keeps none.
        self.log.append(&mut std::mem::take(&mut state.changes))
    }

    fn finish_flushed(&self, mut guard: MutexGuard<'_, State>) -> Effects {
        let ticket = self.flush(&mut guard);
        self.finish(guard, ticket)
    }

    /// Keeps to the memory budget and collects the effects.
    fn finish(&self, mut guard: MutexGuard<'_, State>, ticket: Ticket) -> Effects {
        let state = &mut *guard;
        if state.deleted {
            return Effects::default();
        }
        let all = self.memory.load(Ordering::Relaxed);
        let budget = budget(all, !state.readers.is_empty());
        state.log.forget(self.log.stored(), budget.bytes);
        let page = state.page_wanted();
        state.pages.forget(all > MEMORY_PLENTY, state.log.first());
        self.count_memory(state);
        Effects { page, ticket, ..Effects::default() }
    }

    /// Whether memory is so short that only who can read keeps pages.
    fn is_short(&self) -> bool {
        self.memory.load(Ordering::Relaxed) > MEMORY_SHORT
    }

    fn count_memory(&self, state: &mut State) {
        let resident = state.log.tail_bytes + state.pages.resident();
        if resident >= state.counted {
            self.memory.fetch_add(resident - state.counted, Ordering::Relaxed);
        } else {
            self.memory.fetch_sub(state.counted - resident, Ordering::Relaxed);
        }
        state.counted = resident;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a stream's lock is poisoned only by a broken invariant of its log")
    }
}

impl State {
    /// Gives a consumer what its window takes, if there is such a consumer, and puts it in line for
    /// a page if it wants one.
    fn serve(&mut self, id: ConsumerId, short: bool) {
        let Some(reader) = self.readers.get_mut(&id) else { return };
        reader.dispatch(&self.log, &mut self.pages);
        if !reader.hungry && reader.wanted(&self.log, &self.pages).is_some() {
            reader.hungry = true;
            self.hungry.push_back(id);
        }
        if short {
            reader.drop_pages(&mut self.pages);
        }
    }

    fn serve_all(&mut self, short: bool) {
        let all: Vec<_> = self.readers.keys().copied().collect();
        all.into_iter().for_each(|id| self.serve(id, short));
    }

    /// Messages of a consumer that has gone are settled; where it is to go on, when that has
    /// changed. What its channel gives back at its end is for when it comes again.
    fn release_left(&mut self, id: ConsumerId, range: SeqRange, returned: bool) -> Option<(Box<str>, u64)> {
        let (handled, done) = self.left.get_mut(&id)?.release(range);
        if done || returned {
            self.left.remove(&id);
        }
        handled.filter(|_| !returned)
    }

    /// What the next in line wants, unless something is being read already.
    fn page_wanted(&mut self) -> Option<SeqRange> {
        while !self.pages.reading
            && let Some(id) = self.hungry.pop_front()
        {
            let Some(reader) = self.readers.get_mut(&id) else { continue };
            reader.hungry = false;
            let wanted = reader.wanted(&self.log, &self.pages);
            self.pages.reading = wanted.is_some();
            if wanted.is_some() {
                return wanted;
            }
        }
        None
    }

    /// The consumer of this name has handled everything below `next`.
    fn remember(&mut self, queue: QueueId, name: Box<str>, next: u64) {
        if self.offsets.get(&name).is_some_and(|known| *known >= next) {
            return;
        }
        if self.offsets.len() >= NAMES_MAX
            && !self.offsets.contains_key(&name)
            && let Some(last) =
                self.offsets.iter().min_by_key(|(_, next)| **next).map(|(name, _)| name.clone())
        {
            self.offsets.remove(&last);
            self.changes.push(Change::Stream { queue, note: StreamNote::Forget { name: last } });
        }
        self.offsets.insert(name.clone(), next);
        self.changes.push(Change::Stream { queue, note: StreamNote::Offset { name, next } });
    }
}
