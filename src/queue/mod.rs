//! A queue: its settings, and one short lock around its messages and consumers, which are those of
//! a classic queue or of a stream.
//!
//! Each method locks once, for a batch, and returns what has to happen elsewhere as
//! [`Effects`]; the lock is never held while another queue is touched. `broker/effects.rs` carries
//! the effects out.

mod apply_policy;
pub mod browse;
mod channel_limit;
mod classic;
mod consumers;
pub mod dead_letter;
pub mod dedup;
pub mod delayed;
pub mod history;
pub mod mailbox;
mod memory;
pub(crate) mod ranges;
pub mod reply;
mod stream;
#[cfg(test)]
mod tests;
pub mod timers;
pub mod unread;

pub use self::channel_limit::ChannelLimit;
pub use self::classic::core::bodies::BodyBytes;
pub(crate) use self::classic::core::expiry::deadline_ms;
pub use self::classic::core::letters::{Cause, DeathReason, Dropped};
pub(crate) use self::classic::core::letters::{
    Destination, LetterRun, LetterTally, Outcome, ParkedMax, Waiting,
};
pub(crate) use self::classic::reserve::{Reservation, Wanted};
pub use self::consumers::{Consumer, ConsumerArguments, Label, Subscribed};
pub use self::stream::{Filter, Reading, Start};

use self::apply_policy::Unlocked;
use self::classic::Classic;
use self::history::SERIES;
use self::stream::Stream;
use crate::arguments::{QueueType, Requeue, Settings};
use crate::blocking;
use crate::clock::Now;
use crate::error::{BrokerError, Resource};
use crate::ids::{ConnectionId, ConsumerId, QueueId, SeqRange, Ticket, VHostId};
use crate::message::Block;
use crate::metrics::Counter;
use crate::queue::dedup::Deduplicator;
use crate::queue::mailbox::Mailbox;
use crate::queue::timers::Timers;
use crate::statistics::{QUEUE_EVENTS, Recorder, Waits};
use crate::store::StoreError;
use crate::store::change::{Log, Page, PageSource, RecoveredQueue};
use crate::store::seen::SeenBy;
use std::fmt;
use std::mem;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Messages that a consumer settled; `consumer` is none for what `basic.get` fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Who held them.
    pub consumer: Option<ConsumerId>,
    /// Which messages.
    pub range: SeqRange,
}

/// How many messages these are.
#[must_use]
pub fn count_of(settled: &[Settled]) -> u64 {
    settled.iter().map(|part| part.range.len()).sum()
}

/// Shows `each` settled messages in portions of `most`, as they are if they are no more.
pub fn in_portions(settled: &[Settled], most: u64, mut each: impl FnMut(&[Settled])) {
    if count_of(settled) <= most {
        return each(settled);
    }
    let (mut portion, mut room) = (Vec::new(), most);
    for &Settled { consumer, mut range } in settled {
        while !range.is_empty() {
            let end = range.end.min(range.first.saturating_add(room));
            portion.push(Settled { consumer, range: SeqRange { end, ..range } });
            (range.first, room) = (end, room - (end - range.first));
            if room == 0 {
                each(&mem::take(&mut portion));
                room = most;
            }
        }
    }
    if !portion.is_empty() {
        each(&portion);
    }
}

/// What `basic.get` finds.
#[derive(Debug, Default)]
pub enum Got {
    /// Nothing is ready.
    #[default]
    Empty,
    /// The message is being read from disk; the mailbox gets [`mailbox::Mail::Retry`].
    Paging,
    /// A message.
    Message {
        /// Its sequence number.
        first: u64,
        /// Where it is.
        block: Arc<Block>,
        /// Which record.
        index: u32,
        /// Whether it may have been delivered before.
        redelivered: bool,
        /// How often its delivery failed.
        deliveries: u32,
        /// How many more are ready.
        remaining: u32,
    },
}

/// Why a queue is not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// It has consumers.
    InUse,
    /// It has messages that are ready, or parked.
    NotEmpty,
}

/// How a queue stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages that wait for a consumer.
    pub ready: u64,
    /// Messages that were delivered and not settled.
    pub unacked: u64,
    /// Consumers.
    pub consumers: u32,
    /// Messages that have died and have nowhere to go.
    pub parked: u64,
    /// Bytes of their records.
    pub parked_bytes: u64,
    /// Bytes of records in memory.
    pub resident: usize,
    /// Messages that wait for their time.
    pub delayed: u64,
    /// Bytes of bodies of all its messages, and of those that may be delivered.
    pub bodies: BodyBytes,
    /// What has happened to its messages; none if nothing ever has.
    pub counts: Option<[u64; QUEUE_EVENTS]>,
    /// How long messages waited that were acknowledged, or consumed without; of those that were
    /// then on disk only it is not known.
    pub waits: Waits,
    /// How long consumers have had no room for what is ready: milliseconds, and since when that is
    /// so now, in the clock's monotonic milliseconds.
    pub blocked: (u64, Option<u64>),
    /// When somebody last declared it, consumed from it or asked it for a message, milliseconds
    /// since 1970; 0 if that is not known.
    pub used_at_ms: u64,
}

/// What is next in a queue, as far as it is in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oldest {
    /// When the oldest message came, be it ready or not: milliseconds since 1970.
    pub arrived_at_ms: Option<u64>,
    /// The property `timestamp` of what is next in line, seconds since 1970.
    pub head_timestamp: Option<u64>,
}

/// A queue that dispatches nothing while this lives.
#[must_use]
pub(crate) struct Paused<'a>(&'a Queue);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.of_classic(|classic| classic.resume());
    }
}

/// What has to happen after a queue's lock is released.
#[must_use]
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages have died, and somebody is to send them.
    pub letters: bool,
    /// Messages to read from disk.
    pub page: Option<SeqRange>,
    /// The last consumer of an auto-delete queue is gone.
    pub delete: bool,
    /// Nobody has used the queue for as long as it may stay.
    pub expired: bool,
    /// Messages that were dropped for want of a dead-letter exchange, as the settings say.
    pub dropped: Dropped,
    /// There is room for letters of these, which were refused.
    pub room_for: Vec<Weak<Queue>>,
    /// The records of the block just handed over that the queue does not take, in order.
    pub refused: Vec<Range<u32>>,
    /// When it is durable, everything that was done is.
    pub ticket: Ticket,
}

impl Effects {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        !self.letters
            && self.page.is_none()
            && !(self.delete || self.expired)
            && self.dropped == Dropped::default()
            && self.room_for.is_empty()
    }
}

/// What is in a queue, and who reads it.
enum Body {
    /// Consumers share its messages, which go once they are settled: a classic or quorum queue.
    Classic(Classic),
    /// Every consumer reads all of its messages, which go by size and age.
    Stream(Stream),
}

/// A queue: its settings, messages and consumers behind one lock.
pub struct Queue {
    /// Its id, also the key of its messages on disk.
    pub id: QueueId,
    /// Its name.
    pub name: Arc<str>,
    /// How it was declared. What policies make of that is [`Queue::in_effect`].
    pub settings: Arc<Settings>,
    /// What it has seen, if it takes in each message once.
    pub dedup: Option<Arc<Deduplicator>>,
    owner: Option<ConnectionId>,
    context: QueueContext,
    /// What the timers call.
    this: Weak<Self>,
    is_stream: bool,
    unlocked: Unlocked,
    /// Deliveries taken back because they were not acknowledged in time.
    pub deliveries_timed_out: Counter,
    /// What it has counted, over time: see [`history::sample`].
    history: Recorder<SERIES>,
    /// Held by who sends its dead letters.
    turn: Mutex<()>,
    body: Mutex<Body>,
}

impl Queue {
    /// An empty queue; `owner` is the connection that alone may use it.
    #[must_use]
    pub fn new(
        identity: (QueueId, Arc<str>),
        settings: Settings,
        owner: Option<ConnectionId>,
        context: &QueueContext,
    ) -> Arc<Self> {
        let settings = Arc::new(settings);
        let body = if settings.kind == QueueType::Stream {
            Body::Stream(Stream::new(Arc::clone(&settings)))
        } else {
            Body::Classic(Classic::new(identity.0, Arc::clone(&settings)))
        };
        Self::with(identity, settings, owner, context, body)
    }

    /// A queue as it was on disk; `clean` tells whether the last process stopped cleanly.
    #[must_use]
    pub fn recover(
        recovered: &RecoveredQueue,
        settings: Settings,
        clean: bool,
        context: &QueueContext,
    ) -> Arc<Self> {
        let identity = (recovered.record.id, Arc::from(recovered.record.name.as_str()));
        let settings = Arc::new(settings);
        let body = if settings.kind == QueueType::Stream || recovered.stream.is_some() {
            Body::Stream(Stream::recover(recovered, Arc::clone(&settings)))
        } else {
            Body::Classic(Classic::recover(recovered, Arc::clone(&settings), clean))
        };
        Self::with(identity, settings, None, context, body)
    }

    fn with(
        (id, name): (QueueId, Arc<str>),
        settings: Arc<Settings>,
        owner: Option<ConnectionId>,
        context: &QueueContext,
        body: Body,
    ) -> Arc<Self> {
        let unlocked = Unlocked::default();
        unlocked.set(&settings);
        let dedup = Deduplicator::new(SeenBy::Queue(id), settings.durable, &settings.arguments);
        Arc::new_cyclic(|this| Self {
            id,
            name,
            settings,
            dedup,
            owner,
            context: context.clone(),
            this: Weak::clone(this),
            is_stream: matches!(body, Body::Stream(_)),
            unlocked,
            deliveries_timed_out: Counter::default(),
            history: Recorder::default(),
            turn: Mutex::default(),
            body: Mutex::new(body),
        })
    }

    /// Whether it and its persistent messages survive a restart.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.settings.durable
    }

    /// Whether it is a stream, which nobody empties.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// The connection that alone may use it.
    #[must_use]
    pub fn owner(&self) -> Option<ConnectionId> {
        self.owner
    }

    /// What texts call it.
    #[must_use]
    pub fn on(&self) -> Resource {
        Resource::queue(&self.home().name, &self.name)
    }

    /// The vhost that it is in.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.context.home
    }

    /// Its counts of messages and consumers.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        let body = &*self.lock();
        match body {
            Body::Classic(classic) => classic.stats(),
            Body::Stream(stream) => stream.stats(),
        }
    }

    /// What is next in it.
    #[must_use]
    pub fn oldest(&self) -> Oldest {
        let body = &*self.lock();
        match body {
            Body::Classic(classic) => classic.oldest(),
            Body::Stream(stream) => stream.oldest(),
        }
    }

    /// Its consumers, in the order in which they are served.
    #[must_use]
    pub fn consumers(&self) -> Vec<Subscribed> {
        let body = &*self.lock();
        match body {
            Body::Classic(classic) => classic.consumers(),
            Body::Stream(stream) => stream.consumers(),
        }
    }

    /// One past the highest number ever delivered, of each lane: what a clean stop writes down. A
    /// stream has no lanes: each of its consumers is somewhere else.
    #[must_use]
    pub fn delivered_up_to(&self) -> Vec<u64> {
        self.of_classic(|classic| classic.delivered_up_to())
    }

    /// Appends the records of `block`. The ticket tells when its persistent ones, or all of a
    /// stream, are on disk.
    pub(super) fn enqueue(&self, block: &Arc<Block>, now: Now) -> (Ticket, Effects) {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.enqueue(self, block, now),
            Body::Stream(stream) => stream.enqueue(self, block),
        }
    }

    /// Reserves room for all of `wanted`; none if some of it would be refused. A stream refuses
    /// nothing.
    pub(crate) fn reserve(&self, wanted: &Wanted) -> Option<Reservation> {
        if !self.may_refuse() {
            return Some(Reservation::default());
        }
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.reserve(wanted),
            Body::Stream(_) => Some(Reservation::default()),
        }
    }

    /// As [`Queue::reserve`], of room for a letter of `source`: that is called once there may be
    /// some, if there is none.
    pub(crate) fn reserve_for(&self, source: &Self, wanted: &Wanted) -> Option<Reservation> {
        if !self.may_refuse() {
            return Some(Reservation::default());
        }
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.reserve_for(source, wanted),
            Body::Stream(_) => Some(Reservation::default()),
        }
    }

    /// Nothing comes for this room: others may find some.
    pub(crate) fn give_back(&self, room: Reservation) {
        let called = self.of_classic(|classic| classic.give_back(room));
        called.iter().filter_map(Weak::upgrade).for_each(|source| source.retry_soon(Some(self.id)));
    }

    /// As [`Queue::enqueue`], of records for which there is room, or was when it was asked for:
    /// none is refused.
    pub(crate) fn enqueue_reserved(
        &self,
        room: &mut Reservation,
        block: &Arc<Block>,
        now: Now,
    ) -> (Ticket, Effects) {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.enqueue_reserved(self, room, block, now),
            Body::Stream(stream) => stream.enqueue(self, block),
        }
    }

    /// Messages are acknowledged.
    pub(super) fn settle(&self, settled: &[Settled], now: Now) -> Effects {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.settle(self, settled, now),
            Body::Stream(stream) => stream.settle(self, settled),
        }
    }

    /// Until the value is dropped, nothing is dispatched: what is put back meanwhile may be older
    /// than what is ready.
    pub(super) fn pause(&self) -> Paused<'_> {
        self.of_classic(|classic| classic.pause());
        Paused(self)
    }

    /// Messages come back.
    pub(super) fn put_back(&self, settled: &[Settled], how: Requeue, now: Now) -> Effects {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.put_back(self, settled, how, now),
            Body::Stream(stream) => stream.put_back(self, settled),
        }
    }

    /// Messages are rejected for good. A stream keeps them: it takes them for handled.
    pub(super) fn reject(&self, settled: &[Settled], now: Now) -> Effects {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.reject(self, settled, now),
            Body::Stream(stream) => stream.settle(self, settled),
        }
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// The queue is in exclusive use, or was deleted meanwhile.
    pub(super) fn subscribe(&self, consumer: Consumer, now: Now) -> Result<Effects, BrokerError> {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.subscribe(self, consumer, now),
            Body::Stream(stream) => stream.subscribe(self, consumer),
        }
    }

    /// Removes a consumer; what it holds stays unacknowledged.
    pub(super) fn cancel(&self, id: ConsumerId, now: Now) -> Effects {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.cancel(self, id, now),
            Body::Stream(stream) => stream.cancel(self, id),
        }
    }

    /// As [`Queue::cancel`], but what others may be dealt now waits for what this one gives back.
    pub(super) fn leave(&self, id: ConsumerId, now: Now) -> Effects {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.leave(self, id, now),
            Body::Stream(stream) => stream.cancel(self, id),
        }
    }

    /// The session has encoded `bytes` of what was dealt to this consumer.
    pub(super) fn credit(&self, id: ConsumerId, bytes: usize, now: Now) -> Effects {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.credit(self, id, bytes, now),
            Body::Stream(stream) => stream.credit(self, id, bytes),
        }
    }

    /// Dispatches again: something outside this queue has changed. What a stream waits for is all
    /// its own.
    pub(super) fn dispatch_again(&self, now: Now) -> Effects {
        self.of_classic(|classic| classic.dispatch_and_finish(self, now))
    }

    /// The broker has started with it: what was too much goes again, if a crash came before that
    /// was on disk, and its lease begins anew.
    pub(super) fn start(&self, now: Now) -> Effects {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.start(self, now),
            Body::Stream(stream) => stream.start(self, now),
        }
    }

    /// It is its turn to take up to `share` of what is free under the limit of a channel, under
    /// which no consumer of a stream is.
    pub(super) fn take_turn(&self, limit: &Arc<ChannelLimit>, share: u32, now: Now) -> Effects {
        self.of_classic(|classic| classic.take_turn(self, limit, share, now))
    }

    /// Somebody has declared it: its lease begins anew, if it has one.
    pub(super) fn touch(&self, now: Now) {
        self.of_classic(|classic| classic.touch(self, now));
    }

    /// Its time has come: messages expire or come back, or nobody has used it for too long. A
    /// stream sets no timer.
    pub(super) fn tick(&self, now: Now) -> Effects {
        self.of_classic(|classic| classic.tick(self, now))
    }

    /// Takes one message; of a stream, which sessions do not ask, none.
    pub(super) fn get(&self, no_ack: bool, mailbox: &Arc<Mailbox>, now: Now) -> (Got, Effects) {
        self.of_classic(|classic| classic.get(self, no_ack, mailbox, now))
    }

    /// What a purge drops: messages that may be delivered, now or when their time comes. None of a
    /// stream.
    pub(super) fn purgeable(&self) -> u64 {
        self.of_classic(|classic| classic.purgeable())
    }

    /// Drops the first of what a purge drops, `most` messages at most and no more than others
    /// should wait for; how many that was.
    pub(super) fn purge_part(&self, most: u64, now: Now) -> (u64, Effects) {
        self.of_classic(|classic| classic.purge_part(self, most, now))
    }

    /// Pages have come from disk. Returns how many messages were not there that should have been.
    pub(super) fn pages_loaded(&self, wanted: SeqRange, pages: Vec<Page>, now: Now) -> (u64, Effects) {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.pages_loaded(self, wanted, pages, now),
            Body::Stream(stream) => stream.pages_loaded(self, wanted, pages),
        }
    }

    /// Learns the sizes of messages that were on disk when the process started, if they matter.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn read_sizes(&self, pages: &dyn PageSource) -> Result<(), StoreError> {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.read_sizes(pages),
            Body::Stream(_) => Ok(()),
        }
    }

    /// Closes it if nobody has used it for too long; whether that is so. Streams have no lease.
    pub(super) fn close_expired(&self, now: Now) -> bool {
        self.of_classic(|classic| classic.close_expired(self, now))
    }

    /// Marks it as deleted and tells its consumers; how many messages were ready.
    ///
    /// # Errors
    /// It has consumers, or messages that nobody has, where it should not.
    pub fn close(&self, if_unused: bool, if_empty: bool) -> Result<u64, Busy> {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.close(self, if_unused, if_empty),
            Body::Stream(stream) => stream.close(self, if_unused, if_empty),
        }
    }

    /// Drops the messages of a queue that was closed: a million blocks take longer than others
    /// should wait for its lock, or for that of the topology. A stream has dropped the few that it
    /// had in memory.
    pub(super) fn drop_messages(&self) {
        let remains = self.of_classic(Classic::take_remains);
        blocking::run_many(remains.as_ref().map_or(0, |core| core.pieces()), || drop(remains));
    }

    /// What `ask` finds in a classic queue; a stream has nothing of the kind, which the default
    /// says.
    fn of_classic<T: Default>(&self, ask: impl FnOnce(&mut Classic) -> T) -> T {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => ask(classic),
            Body::Stream(_) => T::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Body> {
        let waited = |_taken| blocking::wait(|| self.body.lock());
        let body = self.body.try_lock().or_else(waited);
        body.expect("a queue's lock is poisoned only by a broken invariant of its log")
    }
}

/// What the queues of a vhost share.
#[derive(Clone)]
pub struct QueueContext {
    /// Where changes go.
    pub log: Arc<dyn Log>,
    /// Bytes that all queues hold in memory.
    pub memory: Arc<AtomicUsize>,
    /// When they want to be called.
    pub timers: Arc<Timers>,
    /// Where they are.
    pub home: Home,
}

/// The vhost of a queue, as far as a queue knows it.
#[derive(Debug, Clone)]
pub struct Home {
    /// Identifies the vhost; another one that gets its name later has another id.
    pub id: VHostId,
    /// Its name.
    pub name: Arc<str>,
    /// Queues with messages that found no route.
    pub stranded: Arc<Stranded>,
}

impl Home {
    /// A vhost whose routes have not changed yet.
    #[must_use]
    pub fn new(id: VHostId, name: Arc<str>) -> Self {
        Self { id, name, stranded: Arc::default() }
    }
}

/// Queues that hold dead letters without a route and are told when their vhost's routes change.
#[derive(Debug, Default)]
pub struct Stranded(Mutex<StrandedQueues>);

#[derive(Debug, Default)]
struct StrandedQueues {
    queues: Vec<Weak<Queue>>,
    /// How often routes have changed.
    changes: u64,
}

impl Stranded {
    /// How often routes have changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Tells `queue` once, at the next change after the first `seen`; whether that is still to
    /// come.
    #[must_use]
    pub fn add(&self, queue: Weak<Queue>, seen: u64) -> bool {
        let mut stranded = self.lock();
        let is_to_come = stranded.changes == seen;
        if is_to_come {
            stranded.queues.push(queue);
        }
        is_to_come
    }

    /// Tells all of them that there may be a route now.
    pub fn retry(&self) {
        let queues = {
            let mut stranded = self.lock();
            stranded.changes += 1;
            mem::take(&mut stranded.queues)
        };
        queues.iter().filter_map(Weak::upgrade).for_each(|queue| queue.retry_soon(None));
    }

    fn lock(&self) -> MutexGuard<'_, StrandedQueues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} '{}')", self.id, self.name)
    }
}
