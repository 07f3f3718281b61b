//! A stream: a log that consumers read, each from where it likes, and that nobody empties
//! (RabbitMQ: streams.md).
//!
//! Every method is called with the lock of the queue held, which it gets as an argument. Everything
//! that enters is written, transient or not. What it holds in memory is the end of the log, and
//! pages for those who read further back.

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
use super::consumers::{Consumer, Subscribed};
use super::memory::{CountedBytes, MEMORY_PLENTY, MEMORY_SHORT, budget};
use super::{BodyBytes, Busy, Effects, Oldest, Queue, QueueContext, QueueStats, Settled, count_of};
use crate::arguments::{Retention, Settings};
use crate::clock::Now;
use crate::error::BrokerError;
use crate::ids::{ConsumerId, QueueId, SeqRange, Ticket};
use crate::message::Block;
use crate::queue::browse::Look;
use crate::queue::mailbox::Mail;
use crate::statistics::{Event, QueueTally};
use crate::store::change::{Change, Page, RecoveredQueue, StreamNote};
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Consumers that a stream remembers; beyond it the one that is furthest behind is forgotten.
const NAMES_MAX: usize = 4096;

/// A stream: a log that any number of consumers read without emptying it (RabbitMQ: streams.md).
pub(super) struct Stream {
    log: StreamLog,
    readers: BTreeMap<ConsumerId, StreamReader>,
    /// Named consumers that have gone and whose messages are not all settled.
    left: BTreeMap<ConsumerId, Left>,
    /// Readers that wait for a page, or soon will, in the order in which they came.
    hungry: VecDeque<ConsumerId>,
    pages: Pages,
    /// Named consumers, and what each has not handled yet.
    offsets: BTreeMap<Box<str>, u64>,
    /// What is in effect: as declared, and as policies have it.
    settings: Arc<Settings>,
    /// What the store must be told; taken after each operation.
    changes: Vec<Change>,
    deleted: bool,
    counted: CountedBytes,
    tally: QueueTally,
}

impl Stream {
    /// An empty stream.
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self::with(StreamLog::new(settings.retention), settings, BTreeMap::new())
    }

    /// A stream as it was on disk.
    pub(super) fn recover(recovered: &RecoveredQueue, settings: Arc<Settings>) -> Self {
        let offsets = recovered.stream.iter().flat_map(|stream| stream.offsets.iter().cloned()).collect();
        Self::with(StreamLog::recover(recovered, settings.retention), settings, offsets)
    }

    fn with(log: StreamLog, settings: Arc<Settings>, offsets: BTreeMap<Box<str>, u64>) -> Self {
        Self {
            log,
            readers: BTreeMap::new(),
            left: BTreeMap::new(),
            hungry: VecDeque::new(),
            pages: Pages::default(),
            offsets,
            settings,
            changes: Vec::new(),
            deleted: false,
            counted: CountedBytes::default(),
            tally: QueueTally::default(),
        }
    }

    /// What is in effect.
    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Puts other settings in effect, where nobody has used the stream yet.
    pub(super) fn begin_under(&mut self, queue: &Queue, next: Arc<Settings>) {
        let _nothing_goes_by_age_yet = self.retain(queue, next, 0);
    }

    /// Puts other settings in effect.
    pub(super) fn apply_policy(&mut self, queue: &Queue, next: Arc<Settings>, now: Now) -> Effects {
        self.retain(queue, next, now.unix_ms)
    }

    /// The broker has started with it.
    pub(super) fn start(&mut self, queue: &Queue, now: Now) -> Effects {
        self.trim(queue, now.unix_ms);
        self.finish_flushed(queue)
    }

    /// Keeps as much as these settings say from now on.
    fn retain(&mut self, queue: &Queue, next: Arc<Settings>, now_ms: u64) -> Effects {
        self.log.retain(next.retention);
        self.settings = next;
        self.trim(queue, now_ms);
        self.finish_flushed(queue)
    }

    /// Its counts of messages and consumers.
    pub(super) fn stats(&self) -> QueueStats {
        QueueStats {
            ready: self.log.len(),
            unacked: self.readers.values().map(|reader| u64::from(reader.unacked)).sum(),
            consumers: u32::try_from(self.readers.len()).unwrap_or(u32::MAX),
            resident: self.counted.get(),
            counts: self.tally.counts(),
            bodies: BodyBytes { all: self.log.bytes(), ready: self.log.bytes(), ..BodyBytes::default() },
            ..QueueStats::default()
        }
    }

    /// When its first chunk came.
    pub(super) fn oldest(&self) -> Oldest {
        Oldest { arrived_at_ms: self.log.since_ms(), head_timestamp: None }
    }

    /// Its consumers, all of whom are served at a time.
    pub(super) fn consumers(&self) -> Vec<Subscribed> {
        self.readers.values().filter_map(|reader| reader.consumer.shown(true)).collect()
    }

    /// Appends the records of `block`. The ticket tells when they are on disk.
    pub(super) fn enqueue(&mut self, queue: &Queue, block: &Arc<Block>) -> (Ticket, Effects) {
        if self.deleted || block.is_empty() {
            return (Ticket(0), Effects::default());
        }
        let (id, changes) = (queue.id, &mut self.changes);
        let range = self.log.push(block, |chunk| {
            changes.push(Change::Stream { queue: id, note: StreamNote::Chunk(chunk) });
        });
        self.tally.add(Event::Publish, block.len().into());
        self.changes.push(Change::Publish {
            queue: id,
            first: range.first,
            block: Arc::clone(block),
            range: 0..block.len(),
        });
        self.trim(queue, 0);
        self.serve_all(is_short(queue));
        let ticket = self.flush(queue);
        if ticket > Ticket(0) {
            self.log.mark(range.end, ticket);
        }
        (ticket, self.finish(queue, ticket))
    }

    /// Drops what is too much or too old.
    fn trim(&mut self, queue: &Queue, now_ms: u64) {
        let gone = self.log.trim(now_ms);
        if !gone.is_empty() {
            let queue = queue.id;
            self.changes.push(Change::Settle { queue, range: gone });
            self.changes.push(Change::Stream { queue, note: StreamNote::Begins(gone.end) });
        }
    }

    /// Messages are settled.
    pub(super) fn settle(&mut self, queue: &Queue, settled: &[Settled]) -> Effects {
        self.tally.add(Event::Ack, count_of(settled));
        self.release(queue, settled, false)
    }

    /// Messages come back.
    pub(super) fn put_back(&mut self, queue: &Queue, settled: &[Settled]) -> Effects {
        self.release(queue, settled, true)
    }

    /// Messages were settled, or `returned`, which does not bring them back to anybody: their
    /// consumers have room again, and are remembered to have come so far. One that has gone is
    /// remembered by what its channel acknowledges later.
    fn release(&mut self, queue: &Queue, settled: &[Settled], returned: bool) -> Effects {
        for part in settled {
            let Some(id) = part.consumer else { continue };
            let handled = match self.readers.get_mut(&id) {
                Some(reader) => reader.release(part.range),
                None => self.release_left(id, part.range, returned),
            };
            if let Some((name, next)) = handled {
                self.remember(queue.id, name, next);
            }
            self.serve(id, is_short(queue));
        }
        self.finish_flushed(queue)
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// The stream was deleted meanwhile.
    pub(super) fn subscribe(
        &mut self,
        queue: &Queue,
        mut consumer: Consumer,
    ) -> Result<Effects, BrokerError> {
        if self.deleted {
            return Err(BrokerError::NotFound(queue.on()));
        }
        let reading = consumer.reading.take().map_or_else(Reading::default, |reading| *reading);
        self.trim(queue, reading.asked_at_ms);
        let remembered = reading.track.as_ref().and_then(|name| self.offsets.get(name).copied());
        let id = consumer.id;
        self.readers.insert(id, StreamReader::new(consumer, reading, remembered, &self.log));
        self.serve(id, is_short(queue));
        Ok(self.finish_flushed(queue))
    }

    /// Removes a consumer.
    pub(super) fn cancel(&mut self, queue: &Queue, id: ConsumerId) -> Effects {
        if let Some(left) = self.readers.remove(&id).and_then(StreamReader::leave) {
            self.left.insert(id, left);
        }
        self.hungry.retain(|&other| other != id);
        self.pages.stale = true;
        self.finish_flushed(queue)
    }

    /// The session has encoded `bytes` of what was dealt to this consumer.
    pub(super) fn credit(&mut self, queue: &Queue, id: ConsumerId, bytes: usize) -> Effects {
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.credit(bytes);
        }
        self.serve(id, is_short(queue));
        self.finish_flushed(queue)
    }

    /// Pages have come from disk. Returns how many messages were not there that should have been.
    pub(super) fn pages_loaded(
        &mut self,
        queue: &Queue,
        wanted: SeqRange,
        pages: Vec<Page>,
    ) -> (u64, Effects) {
        if self.deleted {
            return (0, Effects::default());
        }
        let lost = self.pages.load(wanted, pages, &self.log);
        self.serve_all(is_short(queue));
        (lost, self.finish_flushed(queue))
    }

    /// The window that begins at or after `at`, or with `back` ends at or before it.
    pub(super) fn look(&self, at: u64, back: bool) -> Option<Look> {
        self.log.look(at, back)
    }

    /// The number that the next message gets.
    pub(super) fn next(&self) -> u64 {
        self.log.next
    }

    /// Nothing before this number arrived at `ms` or later.
    pub(super) fn since(&self, ms: u64) -> u64 {
        self.log.since(ms)
    }

    /// Marks it as deleted and tells its consumers. Its messages are not counted (RabbitMQ:
    /// streams.md).
    ///
    /// # Errors
    /// It has consumers, or messages, where it should not.
    pub(super) fn close(&mut self, queue: &Queue, if_unused: bool, if_empty: bool) -> Result<u64, Busy> {
        if if_empty && self.log.len() > 0 {
            return Err(Busy::NotEmpty);
        }
        if if_unused && !self.readers.is_empty() {
            return Err(Busy::InUse);
        }
        self.deleted = true;
        for (id, reader) in mem::take(&mut self.readers) {
            reader.consumer.mailbox.post(&mut vec![Mail::Cancelled(id)]);
        }
        self.counted.set(0, &queue.context.memory);
        self.log = StreamLog::new(Retention::default());
        self.pages = Pages::default();
        self.offsets = BTreeMap::new();
        self.left = BTreeMap::new();
        self.changes = Vec::new();
        Ok(0)
    }

    /// Hands the changes to the log, in the order they happened.
    fn flush(&mut self, queue: &Queue) -> Ticket {
        if self.changes.is_empty() || self.deleted {
            return Ticket(0);
        }
        // Taken with its memory: an idle stream keeps none.
        queue.context.log.append(&mut mem::take(&mut self.changes))
    }

    fn finish_flushed(&mut self, queue: &Queue) -> Effects {
        let ticket = self.flush(queue);
        self.finish(queue, ticket)
    }

    /// Keeps to the memory budget and collects the effects.
    fn finish(&mut self, queue: &Queue, ticket: Ticket) -> Effects {
        if self.deleted {
            return Effects::default();
        }
        let QueueContext { log, memory, .. } = &queue.context;
        let all = memory.load(Ordering::Relaxed);
        let budget = budget(all, !self.readers.is_empty());
        self.log.forget(log.stored(), budget.bytes);
        let page = self.page_wanted();
        self.pages.forget(all > MEMORY_PLENTY, self.log.first());
        self.counted.set(self.log.tail_bytes + self.pages.resident(), memory);
        Effects { page, ticket, ..Effects::default() }
    }

    /// Gives a consumer what its window takes, if there is such a consumer, and puts it in line for
    /// a page if it wants one.
    fn serve(&mut self, id: ConsumerId, short: bool) {
        let Some(reader) = self.readers.get_mut(&id) else { return };
        self.tally.add(Event::Deliver, reader.dispatch(&self.log, &mut self.pages));
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

/// Whether memory is so short that only who can read keeps pages.
fn is_short(queue: &Queue) -> bool {
    queue.context.memory.load(Ordering::Relaxed) > MEMORY_SHORT
}
