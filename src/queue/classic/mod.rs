//! A queue whose messages go once they are settled, classic or quorum: its log, its consumers, and
//! what it does with what comes, comes back and is taken.
//!
//! Every method is called with the lock of the queue held, which it gets as an argument. Before it
//! returns it dispatches, tells the log, keeps to the budget of memory, and says what is left to
//! do.

pub(super) mod core;
mod letters;
mod limits;
pub(super) mod reserve;

use self::core::bodies::body_bytes;
use self::core::browse;
use self::core::expiry::{ExpiryClock, NextExpiry};
use self::core::letters::DeathReason;
use self::core::paging::{self, Paging};
use self::core::requeues::RequeuePolicy;
use self::core::sizes::QueueSizes;
use self::core::{Core, Head, Taken, lanes};
use self::reserve::Reservation;
use crate::arguments::{Requeue, Settings};
use crate::clock::Now;
use crate::error::BrokerError;
use crate::ids::{ConsumerId, QueueId, SeqRange, Ticket};
use crate::message::Block;
use crate::queue::browse::{Look, Named, NotTaken, Withdrawn};
use crate::queue::channel_limit::ChannelLimit;
use crate::queue::consumers::{Consumer, Consumers, SelectionRule, Subscribed};
use crate::queue::mailbox::{DeliveryRun, Mail, Mailbox};
use crate::queue::memory::{CountedBytes, budget};
use crate::queue::{Busy, Effects, Got, Oldest, Queue, QueueContext, QueueStats, Settled, count_of};
use crate::statistics::{Event, QueueTally, Waits};
use crate::store::StoreError;
use crate::store::change::{Page, PageSource, RecoveredQueue};
use std::mem;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// Blocks and ranges that are purged under one lock: about a millisecond.
const PURGED_PIECES: usize = 4096;

/// The messages and consumers of a classic or quorum queue.
pub(super) struct Classic {
    core: Core,
    consumers: Consumers,
    /// What is in effect: as declared, and as policies have it.
    settings: Arc<Settings>,
    paging: Paging,
    /// Sessions whose `basic.get` waits for a page.
    getters: Vec<Arc<Mailbox>>,
    /// How many put messages back in portions: nothing is dispatched meanwhile.
    paused: u32,
    deleted: bool,
    /// What was in it when it was deleted, until that is dropped outside of all locks.
    remains: Option<Box<Core>>,
    /// Queues whose letters were refused for want of room.
    wanted_by: Vec<(QueueId, Weak<Queue>)>,
    /// What transactions that are about to come have reserved.
    reserved: Reservation,
    counted: CountedBytes,
    tally: QueueTally,
    /// How long its consumers had no room for what is ready, in milliseconds, but for the time
    /// since `blocked_since_ms`.
    blocked_ms: u64,
    blocked_since_ms: Option<u64>,
    /// When the queue is to be called, as the timers know it: milliseconds since 1970.
    armed_ms: Option<u64>,
    /// When somebody last declared it, consumed from it or asked it for a message: milliseconds
    /// since 1970.
    used_at_ms: u64,
}

impl Classic {
    /// An empty queue.
    pub(super) fn new(id: QueueId, settings: Arc<Settings>) -> Self {
        Self::with(Core::new(id, &settings), settings)
    }

    /// A queue as it was on disk; `clean` tells whether the last process stopped cleanly.
    pub(super) fn recover(recovered: &RecoveredQueue, settings: Arc<Settings>, clean: bool) -> Self {
        Self::with(Core::recover(recovered, &settings, clean), settings)
    }

    fn with(core: Core, settings: Arc<Settings>) -> Self {
        let mut classic = Self {
            core,
            consumers: Consumers::new(SelectionRule::of(&settings)),
            settings: Arc::clone(&settings),
            paging: Paging::default(),
            getters: Vec::new(),
            paused: 0,
            deleted: false,
            remains: None,
            wanted_by: Vec::new(),
            reserved: Reservation::default(),
            counted: CountedBytes::default(),
            tally: QueueTally::default(),
            blocked_ms: 0,
            blocked_since_ms: None,
            armed_ms: None,
            used_at_ms: 0,
        };
        classic.begin_under(settings);
        classic
    }

    /// What is in effect.
    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Puts other settings in effect, where nobody has used the queue yet.
    pub(super) fn begin_under(&mut self, next: Arc<Settings>) {
        self.core.sizes = next.limits_bytes().then(Box::default);
        self.settings = next;
    }

    /// Puts other settings in effect. Messages that are too old or too many by them go at once;
    /// those that wait for a retry wait as long as they were told to; the lease begins anew when it
    /// is another.
    pub(super) fn apply_policy(
        &mut self,
        queue: &Queue,
        next: Arc<Settings>,
        pages: &dyn PageSource,
        now: Now,
    ) -> Effects {
        if self.deleted {
            return Effects::default();
        }
        if !next.limits_bytes() {
            self.core.sizes = None;
        } else if self.core.sizes.is_none() {
            match QueueSizes::read(&self.core, pages) {
                Ok(sizes) => self.core.sizes = Some(Box::new(sizes)),
                Err(fault) => {
                    tracing::error!(queue = %queue.name, %fault, "cannot read the queue: its length limit in bytes is not enforced");
                }
            }
        }
        if self.settings.expires_ms != next.expires_ms {
            self.used_at_ms = now.unix_ms;
        }
        queue.unlocked.set(&next);
        self.settings = next;
        self.trim(now);
        self.dispatch_and_finish(queue, now)
    }

    /// The broker has started with it.
    pub(super) fn start(&mut self, queue: &Queue, now: Now) -> Effects {
        self.used_at_ms = now.unix_ms;
        self.trim(now);
        self.dispatch_and_finish(queue, now)
    }

    /// Learns the sizes of messages that were on disk when the process started, if they matter.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn read_sizes(&mut self, pages: &dyn PageSource) -> Result<(), StoreError> {
        if self.core.sizes.is_some() {
            self.core.sizes = Some(Box::new(QueueSizes::read(&self.core, pages)?));
        }
        Ok(())
    }

    /// Its counts of messages and consumers.
    pub(super) fn stats(&self) -> QueueStats {
        let core = &self.core;
        let (parked, parked_bytes) = core.letters.as_ref().map_or((0, 0), |letters| letters.held());
        let delayed = core.waiting() + core.dead() - parked;
        QueueStats {
            // Who asks a queue of delayed messages wants to know how many there are.
            ready: core.ready() + if self.settings.delays { delayed } else { 0 },
            parked,
            parked_bytes,
            unacked: core.unacked(),
            consumers: u32::try_from(self.consumers.len()).unwrap_or(u32::MAX),
            resident: core.resident(),
            delayed,
            bodies: body_bytes(core),
            counts: self.tally.counts(),
            waits: self.tally.waits(),
            blocked: (self.blocked_ms, self.blocked_since_ms),
            used_at_ms: self.used_at_ms,
        }
    }

    /// What is next in it.
    pub(super) fn oldest(&self) -> Oldest {
        self.core.oldest()
    }

    /// Its consumers, in the order in which they are served.
    pub(super) fn consumers(&self) -> Vec<Subscribed> {
        self.consumers.list()
    }

    /// One past the highest number ever delivered, of each lane.
    pub(super) fn delivered_up_to(&self) -> Vec<u64> {
        self.core.delivered_up_to()
    }

    /// Appends the records of `block`. The ticket tells when its persistent ones are on disk.
    pub(super) fn enqueue(&mut self, queue: &Queue, block: &Arc<Block>, now: Now) -> (Ticket, Effects) {
        if self.deleted || block.is_empty() {
            return (Ticket(0), Effects::default());
        }
        let logged = queue.settings.durable && block.persistent() > 0;
        let refused = match self.settings.length {
            None => {
                self.append(queue, block, logged, now);
                Vec::new()
            }
            Some(limit) => self.append_within(queue, limit, (block, logged), now),
        };
        let effects = Effects { refused, ..self.finish(queue, now) };
        (if logged { effects.ticket } else { Ticket(0) }, effects)
    }

    /// Appends records, and dispatches.
    fn append(&mut self, queue: &Queue, block: &Arc<Block>, logged: bool, now: Now) {
        let was_empty = self.core.ready() == 0;
        let (mut pushed, mut parts) = (SeqRange::default(), 0);
        lanes::split(block, queue.settings.priorities, |lane, records| {
            if parts > 0 {
                // A consumer who waits takes what comes first, not the best of what comes together.
                self.dispatch(queue, now, pushed);
            }
            self.tally.add(Event::Publish, u64::from(records.end - records.start));
            pushed = self.core.push(block, records, lane, logged);
            if block.is_redelivered() && !queue.settings.delays {
                self.core.come_redelivered(pushed, logged);
            }
            parts += 1;
        });
        if queue.settings.delays {
            self.core.hold(pushed, block, 0, logged);
        }
        self.dispatch(queue, now, pushed);
        if logged && was_empty && parts == 1 {
            self.core.forget_consumed(pushed);
        }
    }

    /// Messages are acknowledged.
    pub(super) fn settle(&mut self, queue: &Queue, settled: &[Settled], now: Now) -> Effects {
        let mut waits = Waits::default();
        for part in settled {
            self.core.remove_shown(part.range, |block, records| add_waits(&mut waits, block, records, now));
        }
        self.tally.add_waits(waits);
        self.tally.add(Event::Ack, count_of(settled));
        self.release_and_finish(queue, settled, now)
    }

    /// Messages come back.
    pub(super) fn put_back(&mut self, queue: &Queue, settled: &[Settled], how: Requeue, now: Now) -> Effects {
        for part in settled {
            self.core.put_back(part.range, how, RequeuePolicy::of(&self.settings, now));
        }
        // Before it is dispatched, as in RabbitMQ.
        self.trim(now);
        if how == Requeue::Unsent {
            // They belong to a consumer that is gone: what else it gives back comes first.
            return self.finish(queue, now);
        }
        self.release_and_finish(queue, settled, now)
    }

    /// Messages are rejected for good.
    pub(super) fn reject(&mut self, queue: &Queue, settled: &[Settled], now: Now) -> Effects {
        let dead_letters = self.settings.dead_letters();
        for part in settled {
            self.core.die(part.range, DeathReason::Rejected, dead_letters, now.unix_ms);
        }
        self.release_and_finish(queue, settled, now)
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// The queue is in exclusive use, or was deleted meanwhile.
    pub(super) fn subscribe(
        &mut self,
        queue: &Queue,
        consumer: Consumer,
        now: Now,
    ) -> Result<Effects, BrokerError> {
        let on = queue.on();
        if self.deleted {
            return Err(BrokerError::NotFound(on));
        }
        self.consumers.add(consumer, &on)?;
        Ok(self.dispatch_and_finish(queue, now))
    }

    /// Removes a consumer; what it holds stays unacknowledged.
    pub(super) fn cancel(&mut self, queue: &Queue, id: ConsumerId, now: Now) -> Effects {
        let delete = self.remove_consumer(queue, id, now);
        Effects { delete, ..self.dispatch_and_finish(queue, now) }
    }

    /// As [`Classic::cancel`], but what others may be dealt now waits for what this one gives back.
    pub(super) fn leave(&mut self, queue: &Queue, id: ConsumerId, now: Now) -> Effects {
        let delete = self.remove_consumer(queue, id, now);
        Effects { delete, ..self.finish(queue, now) }
    }

    /// Whether the queue is to go with it.
    fn remove_consumer(&mut self, queue: &Queue, id: ConsumerId, now: Now) -> bool {
        let removed = self.consumers.remove(id);
        self.used_at_ms = now.unix_ms;
        removed && queue.settings.auto_delete && self.consumers.is_empty() && !self.deleted
    }

    /// The session has encoded `bytes` of what was dealt to this consumer.
    pub(super) fn credit(&mut self, queue: &Queue, id: ConsumerId, bytes: usize, now: Now) -> Effects {
        self.consumers.credit(id, bytes);
        self.dispatch_and_finish(queue, now)
    }

    /// It is its turn to take up to `share` of what is free under the limit of a channel.
    pub(super) fn take_turn(
        &mut self,
        queue: &Queue,
        limit: &Arc<ChannelLimit>,
        share: u32,
        now: Now,
    ) -> Effects {
        self.consumers.begin_turn(limit, share);
        let effects = self.dispatch_and_finish(queue, now);
        self.consumers.end_turn();
        effects
    }

    /// Somebody has declared it: its lease begins anew.
    pub(super) fn touch(&mut self, queue: &Queue, now: Now) {
        self.used_at_ms = now.unix_ms;
        // Nothing has expired that had not before: whoever comes next deals with that.
        self.arm(queue, NextExpiry::default());
    }

    /// Its time has come: messages expire or come back, or nobody has used it for too long.
    pub(super) fn tick(&mut self, queue: &Queue, now: Now) -> Effects {
        if self.deleted {
            return Effects::default();
        }
        self.armed_ms = None;
        if !queue.settings.delays {
            self.core.resume(now.unix_ms);
        }
        self.tell_of_letters(queue, now);
        let expired = self.is_expired(now);
        Effects { expired, ..self.dispatch_and_finish(queue, now) }
    }

    /// Takes one message.
    pub(super) fn get(
        &mut self,
        queue: &Queue,
        no_ack: bool,
        mailbox: &Arc<Mailbox>,
        now: Now,
    ) -> (Got, Effects) {
        self.used_at_ms = now.unix_ms;
        let clock = ExpiryClock::of(&self.settings, now, SeqRange::default());
        let _looked_at_in_the_end = self.core.expire(clock, self.settings.dead_letters());
        let got = match self.core.head() {
            Head::OnDisk(_) | Head::Ready(_) | Head::Empty if self.paused > 0 => {
                self.getters.push(Arc::clone(mailbox));
                Got::Paging
            }
            Head::Empty => {
                self.tally.add(Event::GetEmpty, 1);
                Got::Empty
            }
            Head::OnDisk(_) => {
                self.getters.push(Arc::clone(mailbox));
                Got::Paging
            }
            Head::Ready(range) => match self.core.take(range, 1, no_ack) {
                None => Got::Empty,
                Some(taken) => {
                    self.tally.add(if no_ack { Event::GetNoAck } else { Event::Get }, 1);
                    if no_ack {
                        self.note_waits(&taken, now);
                    }
                    self.tally.add(Event::Redeliver, taken.redelivered.into());
                    Got::Message {
                        first: taken.first,
                        block: taken.block,
                        index: taken.range.start,
                        redelivered: taken.redelivered,
                        deliveries: taken.deliveries,
                        remaining: u32::try_from(self.core.ready()).unwrap_or(u32::MAX),
                    }
                }
            },
        };
        (got, self.finish(queue, now))
    }

    /// The window that begins at or after `at`, or with `back` ends at or before it.
    pub(super) fn look(&self, at: u64, back: bool) -> Option<Look> {
        browse::look(&self.core, at, back)
    }

    /// The first `most` messages that wait until `after` or longer, in order of time.
    pub(super) fn delayed_from(&self, after: (u64, u64), most: usize) -> Vec<(u64, u64)> {
        browse::delayed_from(&self.core, after, most)
    }

    /// One past the highest number that was given, of each lane.
    pub(super) fn tails(&self) -> Vec<u64> {
        browse::tails(&self.core)
    }

    /// Takes messages out of their places.
    pub(super) fn withdraw(&mut self, named: &[Named]) -> Vec<Result<Withdrawn, NotTaken>> {
        named.iter().map(|&named| browse::withdraw(&mut self.core, named)).collect()
    }

    /// What became of messages that were taken out of their places: `gone`, or `back`.
    pub(super) fn return_withdrawn(
        &mut self,
        queue: &Queue,
        (gone, back): (&[Withdrawn], &[Withdrawn]),
        now: Now,
    ) -> Effects {
        if self.deleted {
            return Effects::default();
        }
        gone.iter().for_each(|&gone| browse::remove(&mut self.core, gone));
        back.iter().for_each(|&back| browse::put_back(&mut self.core, back));
        self.dispatch_and_finish(queue, now)
    }

    /// Has a delayed message be ready now.
    ///
    /// # Errors
    /// It is not delayed, or parked.
    pub(super) fn bring_forward(
        &mut self,
        queue: &Queue,
        named: Named,
        now: Now,
    ) -> Result<Option<Effects>, NotTaken> {
        let is_done = browse::bring_forward(&mut self.core, named, queue.settings.delays, now)?;
        Ok(is_done.then(|| self.dispatch_and_finish(queue, now)))
    }

    /// What a purge drops: messages that may be delivered, now or when their time comes.
    pub(super) fn purgeable(&self) -> u64 {
        self.core.ready_or_waiting()
    }

    /// Drops the first of what a purge drops, `most` messages at most and no more than others
    /// should wait for; how many that was.
    pub(super) fn purge_part(&mut self, queue: &Queue, most: u64, now: Now) -> (u64, Effects) {
        let purged = self.core.purge_part(most, PURGED_PIECES);
        (purged, self.finish(queue, now))
    }

    /// Pages have come from disk. Returns how many messages were not there that should have been.
    pub(super) fn pages_loaded(
        &mut self,
        queue: &Queue,
        wanted: SeqRange,
        pages: Vec<Page>,
        now: Now,
    ) -> (u64, Effects) {
        self.paging.reading = false;
        let lost = match self.core.read_letters(wanted, &pages) {
            Some(lost) => lost,
            None => paging::put_pages(&mut self.core, wanted, pages),
        };
        self.call_getters();
        (lost, self.dispatch_and_finish(queue, now))
    }

    /// Closes it if nobody has used it for too long; whether that is so.
    pub(super) fn close_expired(&mut self, queue: &Queue, now: Now) -> bool {
        let expired = self.is_expired(now);
        if expired && !self.deleted {
            self.shut(queue);
        }
        expired
    }

    /// Marks it as deleted and tells its consumers; how many messages were ready.
    ///
    /// # Errors
    /// It has consumers, or messages that are ready, wait for their time or are parked, where it
    /// should not.
    pub(super) fn close(&mut self, queue: &Queue, if_unused: bool, if_empty: bool) -> Result<u64, Busy> {
        // In RabbitMQ's order.
        if if_empty && (self.core.ready_or_waiting() > 0 || self.core.dead() > 0) {
            return Err(Busy::NotEmpty);
        }
        if if_unused && !self.consumers.is_empty() {
            return Err(Busy::InUse);
        }
        let ready = self.core.ready();
        self.shut(queue);
        Ok(ready)
    }

    fn shut(&mut self, queue: &Queue) {
        self.deleted = true;
        let dead = self.core.dead();
        if dead > 0 {
            tracing::warn!(queue = %queue.name, vhost = %queue.home().name, messages = dead,
                "dead letters that were parked or not sent yet were deleted with their queue");
        }
        self.consumers.cancel_all();
        self.call_getters();
        self.counted.set(0, &queue.context.memory);
        if let Some(at_ms) = self.armed_ms.take() {
            queue.context.timers.remove(at_ms, queue.id);
        }
        let empty = Core::new(queue.id, &queue.settings);
        self.remains = Some(Box::new(mem::replace(&mut self.core, empty)));
    }

    /// What was in it when it was closed, to be dropped.
    pub(super) fn take_remains(&mut self) -> Option<Box<Core>> {
        self.remains.take()
    }

    /// Nothing is dispatched until as many have resumed.
    pub(super) fn pause(&mut self) {
        self.paused += 1;
    }

    /// Somebody has put back all that is to be.
    pub(super) fn resume(&mut self) {
        self.paused -= 1;
        self.call_getters();
    }

    /// Has sessions try again whose `basic.get` waits.
    fn call_getters(&mut self) {
        for getter in self.getters.drain(..) {
            getter.post(&mut vec![Mail::Retry]);
        }
    }

    /// Gives consumers what their windows take. The messages `new` just came: they do not expire
    /// here.
    fn dispatch(&mut self, queue: &Queue, now: Now, new: SeqRange) {
        if self.paused > 0 {
            return;
        }
        loop {
            self.dispatch_turns(now, new);
            let waits = self.consumers.take_held_back() && self.core.head() != Head::Empty;
            if !waits || self.consumers.wait_in_line(&queue.this) {
                break;
            }
        }
        self.consumers.post();
    }

    fn dispatch_turns(&mut self, now: Now, new: SeqRange) {
        let may_expire = self.core.may_expire(self.settings.ttl_ms);
        let (clock, dead_letters) = (ExpiryClock::of(&self.settings, now, new), self.settings.dead_letters());
        while let Some(turn) = self.consumers.turn() {
            if may_expire {
                let _looked_at_in_the_end = self.core.expire(clock, dead_letters);
            }
            let Head::Ready(mut range) = self.core.head() else { break };
            if may_expire {
                let most = range.first.saturating_add(turn.count.into());
                range = self.core.fit_time(SeqRange { end: range.end.min(most), ..range }, clock);
                if range.is_empty() {
                    break;
                }
            }
            let (count, _) = self.core.fit(range, turn.count, turn.bytes);
            let count = self.consumers.reserve(turn, count);
            if count == 0 {
                break;
            }
            let Some(taken) = self.core.take(range, count, turn.no_ack) else { break };
            let bytes = taken.block.bytes_of(taken.range.clone());
            self.tally.add(delivery_event(turn.no_ack), count.into());
            if turn.no_ack {
                self.note_waits(&taken, now);
            }
            if taken.redelivered {
                self.tally.add(Event::Redeliver, count.into());
            }
            self.consumers.dispatch(turn, count, bytes, |consumer| {
                Mail::Deliver(DeliveryRun {
                    consumer,
                    first: taken.first,
                    block: taken.block,
                    range: taken.range,
                    redelivered: taken.redelivered,
                    deliveries: taken.deliveries,
                })
            });
        }
    }

    /// Counts how long messages had waited that nobody is going to acknowledge.
    fn note_waits(&mut self, taken: &Taken, now: Now) {
        let mut waits = Waits::default();
        add_waits(&mut waits, &taken.block, taken.range.clone(), now);
        self.tally.add_waits(waits);
    }

    /// Hands the changes to the log, in the order they happened.
    fn flush(&mut self, queue: &Queue) -> Ticket {
        let mut changes = self.core.take_changes();
        if changes.is_empty() || self.deleted { Ticket(0) } else { queue.context.log.append(&mut changes) }
    }

    fn release_and_finish(&mut self, queue: &Queue, settled: &[Settled], now: Now) -> Effects {
        for part in settled {
            if let Some(id) = part.consumer {
                self.consumers.release(id, u32::try_from(part.range.len()).unwrap_or(u32::MAX));
            }
        }
        self.dispatch_and_finish(queue, now)
    }

    /// Gives consumers what their windows take, and finishes.
    pub(super) fn dispatch_and_finish(&mut self, queue: &Queue, now: Now) -> Effects {
        self.dispatch(queue, now, SeqRange::default());
        self.finish(queue, now)
    }

    /// Ends what has expired, tells the log, keeps to the memory budget and collects the effects.
    fn finish(&mut self, queue: &Queue, now: Now) -> Effects {
        if self.deleted {
            let _nobody_is_told = self.core.take_changes();
            return Effects::default();
        }
        let next = if queue.settings.delays {
            NextExpiry { at_ms: self.core.release_due(now.unix_ms), unread: None }
        } else {
            let clock = ExpiryClock::of(&self.settings, now, SeqRange::default());
            self.core.expire(clock, self.settings.dead_letters())
        };
        self.retry_letters(now);
        let ticket = self.flush(queue);
        if ticket > Ticket(0) {
            paging::mark(&mut self.core, ticket);
        }
        let QueueContext { log, memory, .. } = &queue.context;
        let stored = log.stored();
        paging::advance(&mut self.core, stored);
        let budget = budget(memory.load(Ordering::Relaxed), !self.consumers.is_empty());
        if self.core.resident() > budget.bytes {
            let due = self.due(next);
            let spill = self.paging.forget(&mut self.core, budget, stored, due);
            if !spill.is_empty() {
                let ticket = self.flush(queue);
                self.paging.spilled(spill, ticket);
            }
        }
        self.counted.set(self.core.resident(), memory);
        self.note_blocked(now);
        self.arm(queue, next);
        Effects {
            letters: self.core.calls_for_sender(),
            page: self.page_wanted(next),
            delete: false,
            expired: false,
            refused: Vec::new(),
            room_for: self.room_for(),
            dropped: self.core.take_dropped(),
            ticket,
        }
    }

    /// Measures how long consumers have no room for what is ready.
    fn note_blocked(&mut self, now: Now) {
        let is_blocked = !self.consumers.is_empty() && self.core.ready() > 0;
        match self.blocked_since_ms {
            None if is_blocked => self.blocked_since_ms = Some(now.mono_ms),
            Some(since_ms) if !is_blocked => {
                self.blocked_ms += now.mono_ms.saturating_sub(since_ms);
                self.blocked_since_ms = None;
            }
            None | Some(_) => {}
        }
    }

    /// What is next in a queue whose messages expire: its bytes stay, for they say when.
    fn due(&self, next: NextExpiry) -> Option<SeqRange> {
        next.at_ms?;
        match self.core.head() {
            Head::Ready(range) => Some(range),
            Head::OnDisk(_) | Head::Empty => None,
        }
    }

    /// The messages on disk that are due, unless they are being read already.
    fn page_wanted(&mut self, next: NextExpiry) -> Option<SeqRange> {
        if self.paging.reading {
            return None;
        }
        let wanted = self.core.unread_letters().or_else(|| {
            let asked = !self.getters.is_empty() || self.consumers.turn().is_some();
            match self.core.head() {
                Head::OnDisk(range) if asked => Some(range),
                Head::OnDisk(_) | Head::Ready(_) | Head::Empty => next.unread,
            }
        });
        self.paging.reading = wanted.is_some();
        wanted
    }

    /// Has the queue called when its next message expires or comes back, or when nobody has used it
    /// for too long. A call that comes too early does no harm, so a time that is put off is left as
    /// it is.
    fn arm(&mut self, queue: &Queue, next: NextExpiry) {
        // What is being read is called for by its page.
        let waiting = if next.unread.is_none() { self.core.next_due() } else { None };
        let times = [next.at_ms, waiting, self.lease_ends(), self.letters_due()];
        let Some(at_ms) = times.into_iter().flatten().min() else { return };
        if self.armed_ms.is_none_or(|armed_ms| at_ms < armed_ms) {
            queue.context.timers.set(&queue.this, (self.armed_ms, at_ms), queue.id);
            self.armed_ms = Some(at_ms);
        }
    }

    /// When the queue goes unless somebody uses it.
    fn lease_ends(&self) -> Option<u64> {
        let expires_ms = self.settings.expires_ms?;
        // What is parked waits for somebody, who must find it.
        (self.consumers.is_empty() && self.core.dead() == 0)
            .then(|| self.used_at_ms.saturating_add(expires_ms))
    }

    /// Whether nobody has used it for too long.
    fn is_expired(&self, now: Now) -> bool {
        self.lease_ends().is_some_and(|at_ms| at_ms <= now.unix_ms)
    }
}

/// Adds how long these records have been in their queue; only the first and the last are looked at.
fn add_waits(waits: &mut Waits, block: &Block, records: Range<u32>, now: Now) {
    if let Some(arrived_ms) = block.arrivals(records.clone()) {
        waits.add((records.end - records.start).into(), arrived_ms, now.unix_ms);
    }
}

/// What it is to be dealt to a consumer.
pub(super) fn delivery_event(no_ack: bool) -> Event {
    if no_ack { Event::DeliverNoAck } else { Event::Deliver }
}

/// What tests look at.
#[cfg(test)]
impl Classic {
    pub(super) fn reserved(&self) -> Reservation {
        self.reserved
    }

    pub(super) fn ready_bytes(&self) -> u64 {
        self.core.ready_bytes()
    }
}
