//! A queue: its settings and one short lock around its log and its consumers.
//!
//! Each method locks once, for a batch, and returns what has to happen elsewhere as
//! [`Effects`]; the lock is never held while another queue is touched. `broker/mod.rs` carries the
//! effects out.

mod apply_policy;
mod channel_limit;
mod classic;
mod consumers;
pub mod dead_letter;
pub mod dedup;
pub mod delayed;
pub mod mailbox;
mod ranges;
pub mod reply;
mod stream;
#[cfg(test)]
mod tests;
pub mod timers;
pub mod unread;

pub use self::channel_limit::ChannelLimit;
pub(crate) use self::classic::core::expiry::deadline_ms;
pub use self::classic::core::letters::{Cause, DeathReason};
pub(crate) use self::classic::core::letters::{LetterRun, LetterTally, Outcome, ParkedMax};
pub(crate) use self::classic::reserve::{Reservation, Wanted};
pub use self::consumers::{Consumer, Label, Subscribed};
pub use self::stream::{Filter, Reading, Start};

use self::apply_policy::Unlocked;
use self::classic::core::expiry::NextExpiry;
use self::classic::core::lanes::split;
use self::classic::core::paging::put_pages;
use self::classic::core::{Core, Head};
use self::classic::{QueueState, clock, fate};
use self::consumers::{Consumers, SelectionRule};
use self::stream::Stream;
use crate::arguments::{QueueType, Requeue, Settings};
use crate::blocking;
use crate::clock::Now;
use crate::error::{AmqpError, Resource};
use crate::ids::{ConnectionId, ConsumerId, QueueId, SeqRange, Ticket, VHostId, lane_of};
use crate::message::Block;
use crate::queue::dedup::Deduplicator;
use crate::queue::mailbox::{Mail, Mailbox};
use crate::queue::timers::Timers;
use crate::store::change::{Log, Page, RecoveredQueue};
use crate::store::seen::SeenBy;
use std::fmt;
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Blocks and ranges that are purged under one lock: about a millisecond.
const PURGED_PIECES: usize = 4096;

/// Messages that a consumer settled; `consumer` is none for what `basic.get` fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Who held them.
    pub consumer: Option<ConsumerId>,
    /// Which messages.
    pub range: SeqRange,
}

/// What `basic.get` finds.
#[derive(Debug)]
pub enum Got {
    /// Nothing is ready.
    Empty,
    /// The message is being read from disk; the mailbox gets [`Mail::Retry`].
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
    /// Messages that were dropped at the delivery limit, for want of a dead-letter exchange and as
    /// the settings say.
    pub dropped: u64,
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
            && self.dropped == 0
            && self.room_for.is_empty()
    }
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
    home: Home,
    log: Arc<dyn Log>,
    /// Bytes that all queues hold in memory.
    memory: Arc<AtomicUsize>,
    timers: Arc<Timers>,
    /// What the timers call.
    this: Weak<Self>,
    /// Of a stream: what stands in for `state`.
    stream: Option<Box<Stream>>,
    unlocked: Unlocked,
    /// Held by who sends its dead letters.
    turn: Mutex<()>,
    state: Mutex<QueueState>,
}

impl Queue {
    /// An empty queue; `owner` is the connection that alone may use it.
    #[must_use]
    pub fn new(
        identity: (QueueId, Arc<str>),
        settings: Settings,
        owner: Option<ConnectionId>,
        shared: &QueueContext,
    ) -> Arc<Self> {
        let stream = (settings.kind == QueueType::Stream)
            .then(|| Box::new(Stream::new(identity.0, settings.retention, shared)));
        let core = Core::new(identity.0);
        Self::with(identity, settings, owner, shared, (core, stream))
    }

    /// A queue as it was on disk; `clean` tells whether the last process stopped cleanly.
    #[must_use]
    pub fn recover(
        recovered: &RecoveredQueue,
        settings: Settings,
        clean: bool,
        shared: &QueueContext,
    ) -> Arc<Self> {
        let identity = (recovered.record.id, Arc::from(recovered.record.name.as_str()));
        let of_a_stream = settings.kind == QueueType::Stream || recovered.stream.is_some();
        let (core, stream) = if of_a_stream {
            let stream = Stream::recover(recovered, settings.retention, shared);
            (Core::new(identity.0), Some(Box::new(stream)))
        } else {
            (Core::recover(recovered, clean), None)
        };
        Self::with(identity, settings, None, shared, (core, stream))
    }

    fn with(
        (id, name): (QueueId, Arc<str>),
        settings: Settings,
        owner: Option<ConnectionId>,
        shared: &QueueContext,
        (mut core, stream): (Core, Option<Box<Stream>>),
    ) -> Arc<Self> {
        core.sizes = settings.weighs().then(Box::default);
        let QueueContext { log, memory, timers, home } = shared.clone();
        let (settings, unlocked) = (Arc::new(settings), Unlocked::default());
        unlocked.set(&settings);
        let consumers = Consumers::new(SelectionRule::of(&settings));
        let state = Mutex::new(QueueState::new(core, consumers, Arc::clone(&settings)));
        let dedup = Deduplicator::new(SeenBy::Queue(id), settings.durable, &settings.arguments);
        Arc::new_cyclic(|this| {
            let this = Weak::clone(this);
            Self {
                id,
                name,
                settings,
                dedup,
                owner,
                home,
                log,
                memory,
                timers,
                this,
                stream,
                unlocked,
                turn: Mutex::default(),
                state,
            }
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
        self.stream.is_some()
    }

    /// The connection that alone may use it.
    #[must_use]
    pub fn owner(&self) -> Option<ConnectionId> {
        self.owner
    }

    /// What texts call it.
    #[must_use]
    pub fn on(&self) -> Resource {
        Resource::queue(&self.home.name, &self.name)
    }

    /// The vhost that it is in.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// How it stands.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        if let Some(stream) = &self.stream {
            return stream.stats();
        }
        let state = self.lock();
        let (parked, parked_bytes) = state.core.letters.as_ref().map_or((0, 0), |letters| letters.held());
        let delayed = state.core.waiting.len() + state.core.dead() - parked;
        QueueStats {
            // Who asks a queue of delayed messages wants to know how many there are.
            ready: state.core.ready() + if self.settings.delays { delayed } else { 0 },
            parked,
            parked_bytes,
            unacked: state.core.unacked(),
            consumers: u32::try_from(state.consumers.len()).unwrap_or(u32::MAX),
            resident: state.core.resident,
        }
    }

    /// Its consumers, in the order in which they are served.
    #[must_use]
    pub fn consumers(&self) -> Vec<Subscribed> {
        match &self.stream {
            Some(stream) => stream.consumers(),
            None => self.lock().consumers.list(),
        }
    }

    /// One past the highest number ever delivered, of each lane: what a clean stop writes down.
    #[must_use]
    pub fn delivered_up_to(&self) -> Vec<u64> {
        self.lock().core.lanes.iter().map(|lane| lane.next).collect()
    }

    /// Appends the records of `block`. The ticket tells when its persistent ones are on disk.
    pub(super) fn enqueue(&self, block: &Arc<Block>, now: Now) -> (Ticket, Effects) {
        if let Some(stream) = &self.stream {
            return stream.enqueue(block);
        }
        let mut state = self.lock();
        if state.deleted || block.is_empty() {
            return (Ticket(0), Effects::default());
        }
        let logged = self.settings.durable && block.persistent() > 0;
        let refused = match state.settings.length {
            None => {
                self.append(&mut state, block, logged, now);
                Vec::new()
            }
            Some(limit) => self.append_within(&mut state, limit, (block, logged), now),
        };
        let effects = Effects { refused, ..self.finish(state, now) };
        (if logged { effects.ticket } else { Ticket(0) }, effects)
    }

    /// Appends records, and deals.
    fn append(&self, state: &mut QueueState, block: &Arc<Block>, logged: bool, now: Now) {
        let was_empty = state.core.ready() == 0;
        let (mut pushed, mut parts) = (SeqRange::default(), 0);
        split(block, self.settings.priorities, |lane, records| {
            if parts > 0 {
                // A consumer who waits takes what comes first, not the best of what comes together.
                self.dispatch(state, now, pushed);
            }
            pushed = state.core.push(block, records, lane, logged);
            if block.is_redelivered() && !self.settings.delays {
                state.core.come_redelivered(pushed, logged);
            }
            parts += 1;
        });
        if self.settings.delays {
            state.core.hold(pushed, block, 0, logged);
        }
        self.dispatch(state, now, pushed);
        if logged && was_empty && parts == 1 {
            Self::forget_consumed(state, pushed);
        }
    }

    /// Messages are acknowledged.
    pub(super) fn settle(&self, settled: &[Settled], now: Now) -> Effects {
        if let Some(stream) = &self.stream {
            return stream.settle(settled, false);
        }
        let mut state = self.lock();
        for part in settled {
            state.core.remove(part.range);
        }
        self.release_and_finish(state, settled, now)
    }

    /// Messages come back.
    pub(super) fn put_back(&self, settled: &[Settled], how: Requeue, now: Now) -> Effects {
        if let Some(stream) = &self.stream {
            return stream.settle(settled, true);
        }
        let mut state = self.lock();
        let QueueState { core, settings, .. } = &mut *state;
        for part in settled {
            core.put_back(part.range, how, fate(settings, now));
        }
        // Before it is dealt, as in RabbitMQ.
        Self::trim(&mut state, now);
        if how == Requeue::Unsent {
            // They belong to a consumer that is gone: dealing waits for what else it gives back.
            return self.finish(state, now);
        }
        self.release_and_finish(state, settled, now)
    }

    /// Messages are rejected for good.
    pub(super) fn reject(&self, settled: &[Settled], now: Now) -> Effects {
        if let Some(stream) = &self.stream {
            return stream.settle(settled, false);
        }
        let mut state = self.lock();
        let dead_letters = state.settings.dead_letters();
        for part in settled {
            state.core.die(part.range, DeathReason::Rejected, dead_letters, now.unix_ms);
        }
        self.release_and_finish(state, settled, now)
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// 403: exclusive use. 404: the queue was deleted meanwhile.
    pub(super) fn subscribe(&self, consumer: Consumer, now: Now) -> Result<Effects, AmqpError> {
        let on = self.on();
        if let Some(stream) = &self.stream {
            return stream.subscribe(consumer, on);
        }
        let mut state = self.lock();
        if state.deleted {
            return Err(AmqpError::NotFound(on));
        }
        state.consumers.add(consumer, &on)?;
        Ok(self.deal_and_finish(state, now))
    }

    /// Removes a consumer; what it holds stays unacknowledged.
    pub(super) fn cancel(&self, id: ConsumerId, now: Now) -> Effects {
        if let Some(stream) = &self.stream {
            return stream.cancel(id);
        }
        let mut state = self.lock();
        let delete = self.remove_consumer(&mut state, id, now);
        Effects { delete, ..self.deal_and_finish(state, now) }
    }

    /// As [`Queue::cancel`], but what others may be dealt now waits for what this one gives back.
    pub(super) fn leave(&self, id: ConsumerId, now: Now) -> Effects {
        if let Some(stream) = &self.stream {
            return stream.cancel(id);
        }
        let mut state = self.lock();
        let delete = self.remove_consumer(&mut state, id, now);
        Effects { delete, ..self.finish(state, now) }
    }

    /// Whether the queue is to go with it.
    fn remove_consumer(&self, state: &mut QueueState, id: ConsumerId, now: Now) -> bool {
        let removed = state.consumers.remove(id);
        state.used_at_ms = now.unix_ms;
        removed && self.settings.auto_delete && state.consumers.is_empty() && !state.deleted
    }

    /// The session has encoded `bytes` of what was dealt to this consumer.
    pub(super) fn credit(&self, id: ConsumerId, bytes: usize, now: Now) -> Effects {
        if let Some(stream) = &self.stream {
            return stream.credit(id, bytes);
        }
        let mut state = self.lock();
        state.consumers.credit(id, bytes);
        self.deal_and_finish(state, now)
    }

    /// Deals again: something outside this queue has changed.
    pub(super) fn dispatch_again(&self, now: Now) -> Effects {
        self.deal_and_finish(self.lock(), now)
    }

    /// It is its turn to take up to `share` of what is free under the limit of a channel.
    pub(super) fn take_turn(&self, limit: &Arc<ChannelLimit>, share: u32, now: Now) -> Effects {
        let mut state = self.lock();
        state.consumers.begin_turn(limit, share);
        self.dispatch(&mut state, now, SeqRange::default());
        let effects = self.conclude(&mut state, now);
        state.consumers.end_turn();
        effects
    }

    /// Somebody has declared it: its lease begins anew.
    pub(super) fn touch(&self, now: Now) {
        let mut state = self.lock();
        state.used_at_ms = now.unix_ms;
        // Nothing has expired that had not before: whoever comes next deals with that.
        self.arm(&mut state, NextExpiry::default());
    }

    /// Its time has come: messages expire or come back, or nobody has used it for too long.
    pub(super) fn tick(&self, now: Now) -> Effects {
        let mut state = self.lock();
        if state.deleted {
            return Effects::default();
        }
        state.armed_ms = None;
        if !self.settings.delays {
            state.core.resume(now.unix_ms);
        }
        Self::retry_letters(&mut state, now);
        let expired = Self::lease_ends(&state).is_some_and(|at_ms| at_ms <= now.unix_ms);
        Effects { expired, ..self.deal_and_finish(state, now) }
    }

    /// Takes one message.
    pub(super) fn get(&self, no_ack: bool, mailbox: &Arc<Mailbox>, now: Now) -> (Got, Effects) {
        let mut state = self.lock();
        state.used_at_ms = now.unix_ms;
        let clock = clock(&state.settings, now, SeqRange::default());
        let dead_letters = state.settings.dead_letters();
        let _looked_at_in_the_end = state.core.expire(clock, dead_letters);
        let got = match state.core.head() {
            Head::Empty => Got::Empty,
            Head::OnDisk(_) => {
                state.getters.push(Arc::clone(mailbox));
                Got::Paging
            }
            Head::Ready(range) => match state.core.take(range, 1, no_ack) {
                None => Got::Empty,
                Some(taken) => Got::Message {
                    first: taken.first,
                    block: taken.block,
                    index: taken.range.start,
                    redelivered: taken.redelivered,
                    deliveries: taken.deliveries,
                    remaining: u32::try_from(state.core.ready()).unwrap_or(u32::MAX),
                },
            },
        };
        (got, self.finish(state, now))
    }

    /// What a purge drops: messages that may be delivered, now or when their time comes.
    pub(super) fn purgeable(&self) -> u64 {
        let state = self.lock();
        state.core.ready() + state.core.waiting.len()
    }

    /// Drops the first of what a purge drops, `most` messages at most and no more than others
    /// should wait for; how many that was.
    pub(super) fn purge_part(&self, most: u64, now: Now) -> (u64, Effects) {
        let mut state = self.lock();
        let purged = state.core.purge_part(most, PURGED_PIECES);
        (purged, self.finish(state, now))
    }

    /// Pages have come from disk. Returns how many messages were not there that should have been.
    pub(super) fn pages_loaded(&self, wanted: SeqRange, pages: Vec<Page>, now: Now) -> (u64, Effects) {
        if let Some(stream) = &self.stream {
            return stream.pages_loaded(wanted, pages);
        }
        let mut state = self.lock();
        state.paging.reading = false;
        let lost = state.core.read_letters(wanted, &pages).unwrap_or_else(|| {
            let lost = put_pages(&mut state.core, wanted, pages);
            state.core.lanes.lane(lane_of(wanted.first)).progress.loaded(wanted.first);
            lost
        });
        for getter in state.getters.drain(..) {
            getter.post(&mut vec![Mail::Retry]);
        }
        (lost, self.deal_and_finish(state, now))
    }

    /// Closes it if nobody has used it for too long; whether that is so.
    pub(super) fn close_expired(&self, now: Now) -> bool {
        let mut state = self.lock();
        let expired = Self::lease_ends(&state).is_some_and(|at_ms| at_ms <= now.unix_ms);
        if expired && !state.deleted {
            self.shut(&mut state);
        }
        expired
    }

    /// Marks it as deleted and tells its consumers; how many messages were ready.
    ///
    /// # Errors
    /// It has consumers, or messages that are ready, where it should not.
    pub fn close(&self, if_unused: bool, if_empty: bool) -> Result<u64, Busy> {
        if let Some(stream) = &self.stream {
            return stream.close(if_unused, if_empty);
        }
        let mut state = self.lock();
        // In RabbitMQ's order.
        if if_empty && (state.core.ready() > 0 || state.core.dead() > 0) {
            return Err(Busy::NotEmpty);
        }
        if if_unused && !state.consumers.is_empty() {
            return Err(Busy::InUse);
        }
        let ready = state.core.ready();
        self.shut(&mut state);
        Ok(ready)
    }

    fn shut(&self, state: &mut QueueState) {
        state.deleted = true;
        let dead = state.core.dead();
        if dead > 0 {
            tracing::warn!(queue = %self.name, vhost = %self.home.name, messages = dead,
                "messages that died and were parked or on their way are gone with their queue");
        }
        state.consumers.cancel_all();
        for getter in state.getters.drain(..) {
            getter.post(&mut vec![Mail::Retry]);
        }
        let counted = mem::take(&mut state.counted);
        self.memory.fetch_sub(counted, Ordering::Relaxed);
        if let Some(at_ms) = state.armed_ms.take() {
            self.timers.remove(at_ms, self.id);
        }
        state.remains = Some(Box::new(mem::replace(&mut state.core, Core::new(self.id))));
    }

    /// Drops the messages of a queue that was closed: a million blocks take longer than others
    /// should wait for its lock, or for that of the topology.
    pub(super) fn drop_messages(&self) {
        let remains = self.lock().remains.take();
        blocking::run_many(remains.as_ref().map_or(0, |core| core.live.pieces()), || drop(remains));
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
pub struct Stranded(Mutex<Vec<Weak<Queue>>>);

impl Stranded {
    /// Tells `queue` once, at the next change.
    pub fn add(&self, queue: Weak<Queue>) {
        self.lock().push(queue);
    }

    /// Tells all of them that there may be a route now.
    pub fn retry(&self) {
        let queues = mem::take(&mut *self.lock());
        queues.iter().filter_map(Weak::upgrade).for_each(|queue| queue.hasten());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Queue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} '{}')", self.id, self.name)
    }
}
