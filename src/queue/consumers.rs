//! Who may be dealt a message next: the consumers of one queue, their windows, and whose turn it
//! is.
//!
//! Pure state under the queue's lock. A consumer's window closes when it holds as many
//! unacknowledged messages as its prefetch allows, when its channel does ([`super::ChannelLimit`]),
//! or when more bytes were dealt to it than its session has encoded: a slow reader costs bounded
//! memory, and less while many are slow ([`crate::queue::unread`]).

use super::Queue;
use super::channel_limit::ChannelLimit;
use super::stream::Reading;
use crate::arguments::{QueueType, Settings};
use crate::error::{BrokerError, Resource};
use crate::ids::{ConnectionId, ConsumerId};
use crate::queue::mailbox::{Mail, Mailbox};
use crate::queue::unread::Share;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Bytes of records dealt to a consumer and not yet encoded by its session, beyond which it is
/// dealt no more. Enough for a session to fill the socket's buffer several times while the queue's
/// lock is elsewhere.
const WINDOW_BYTES: usize = 1024 * 1024;

/// What tells a consumer from others, for whoever looks at a queue.
#[derive(Debug, Clone)]
pub struct Label {
    /// The connection it belongs to.
    pub connection: ConnectionId,
    /// The channel it was made on.
    pub channel: u16,
    /// Its tag.
    pub tag: Box<[u8]>,
    /// What `basic.qos` said: unacknowledged messages at most; 0 for no limit.
    pub prefetch: u16,
    /// Its arguments, if it has any.
    pub arguments: Option<Arc<ConsumerArguments>>,
}

/// The arguments of a consumer, which count among those of all consumers for as long as they are
/// kept.
#[derive(Debug)]
pub struct ConsumerArguments {
    /// As an encoded table.
    table: Box<[u8]>,
    /// Bytes of all of them.
    all: Arc<AtomicUsize>,
}

impl ConsumerArguments {
    /// Counts these in `all`.
    #[must_use]
    pub fn new(table: Box<[u8]>, all: Arc<AtomicUsize>) -> Self {
        all.fetch_add(table.len(), Ordering::Relaxed);
        Self { table, all }
    }

    /// As an encoded table.
    #[must_use]
    pub fn table(&self) -> &[u8] {
        &self.table
    }
}

impl Drop for ConsumerArguments {
    fn drop(&mut self) {
        self.all.fetch_sub(self.table.len(), Ordering::Relaxed);
    }
}

/// A consumer, as whoever looks at a queue sees it.
#[derive(Debug, Clone)]
pub struct Subscribed {
    /// What tells it from others.
    pub label: Label,
    /// It has to acknowledge.
    pub ack_required: bool,
    /// It does not share the queue.
    pub exclusive: bool,
    /// It may be dealt messages: where one is served at a time, it is the one.
    pub active: bool,
}

/// A consumer as it subscribes.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// Its id.
    pub id: ConsumerId,
    /// Where its messages go.
    pub mailbox: Arc<Mailbox>,
    /// Its messages are settled as they are dealt.
    pub no_ack: bool,
    /// Unacknowledged messages at most; 0 means no limit.
    pub prefetch: u32,
    /// Refuses to share the queue.
    pub exclusive: bool,
    /// `x-priority`: higher ones are served while their windows are open.
    pub priority: i32,
    /// The limit of its channel.
    pub channel: Arc<ChannelLimit>,
    /// What tells it from others; none for one that nobody looks at.
    pub label: Option<Box<Label>>,
    /// What it asks of a stream.
    pub reading: Option<Box<Reading>>,
}

impl Consumer {
    /// One with nothing special about it, on a channel with this limit.
    #[must_use]
    pub fn new(id: ConsumerId, mailbox: &Arc<Mailbox>, channel: Arc<ChannelLimit>) -> Self {
        Self {
            id,
            mailbox: Arc::clone(mailbox),
            no_ack: false,
            prefetch: 0,
            exclusive: false,
            priority: 0,
            channel,
            label: None,
            reading: None,
        }
    }

    /// As whoever looks at its queue sees it.
    pub(super) fn shown(&self, active: bool) -> Option<Subscribed> {
        let label = self.label.as_deref()?.clone();
        let (ack_required, exclusive) = (!self.no_ack, self.exclusive);
        Some(Subscribed { label, ack_required, exclusive, active })
    }
}

#[derive(Debug)]
struct Slot {
    consumer: Consumer,
    unacked: u32,
    /// The queue is in line for room under the limit of the consumer's channel.
    in_line: bool,
    /// It is the queue's turn under that limit.
    at_turn: bool,
    /// Bytes dealt and not yet encoded.
    unsent: Share,
}

impl Slot {
    /// How many messages it would take but for the limit of its channel.
    fn own_room(&self) -> u32 {
        if !self.unsent.has_room(WINDOW_BYTES) {
            0
        } else if self.consumer.no_ack || self.consumer.prefetch == 0 {
            u32::MAX
        } else {
            self.consumer.prefetch.saturating_sub(self.unacked)
        }
    }

    /// How many messages it may be dealt now, where its queue has `share` left of its turn. Who
    /// does not acknowledge waits for room under the limit of the channel as the others do, but
    /// takes none (RabbitMQ: `rabbit_limiter`).
    fn room(&self, share: u32) -> u32 {
        let channel = &self.consumer.channel;
        let (own, shared) =
            (self.own_room(), if self.at_turn { channel.room_in_turn(share) } else { channel.room() });
        if self.consumer.no_ack && shared > 0 { own } else { own.min(shared) }
    }

    /// Whether it takes messages, and only the limit of its channel keeps it from that.
    fn is_held_back(&self, share: u32) -> bool {
        self.own_room() > 0 && self.room(share) == 0
    }
}

/// What the consumer whose turn it is may be dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DispatchTurn {
    /// Where it is in the list.
    index: usize,
    /// At most this many messages: 1 when others of its rank wait, so that they share evenly.
    pub(super) count: u32,
    /// At most this many bytes, or one message.
    pub(super) bytes: usize,
    /// Its messages are settled as they are dealt.
    pub(super) no_ack: bool,
}

/// How the consumer of the next message is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum SelectionRule {
    /// Round robin among those of the highest priority that have room.
    #[default]
    RoundRobin,
    /// The first who came, until it goes; then the first among those of the highest priority.
    SingleActive,
    /// As [`SelectionRule::SingleActive`], but one of a higher priority takes over once the active
    /// one holds nothing.
    SingleHighest,
}

impl SelectionRule {
    /// That of a queue with these settings.
    pub(super) fn of(settings: &Settings) -> Self {
        match (settings.single_active, settings.kind == QueueType::Quorum) {
            (false, _) => Self::RoundRobin,
            (true, false) => Self::SingleActive,
            (true, true) => Self::SingleHighest,
        }
    }
}

/// All consumers of a queue, highest priority first; within one in the order in which they take
/// turns.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    slots: Vec<Slot>,
    rule: SelectionRule,
    /// The one that has the queue to itself, if the rule gives it to one.
    active: Option<ConsumerId>,
    /// Where the search for the next one begins.
    cursor: usize,
    /// What was dealt and not yet posted, in order, with the place of the consumer in `slots`.
    dealt: Vec<(usize, Mail)>,
    /// Memory for one post, kept.
    post: Vec<Mail>,
    /// What the queue may still take of the limit of a channel whose turn it has.
    share: u32,
    /// Somebody was passed by because of the limit of a channel.
    held_back: Cell<bool>,
    /// Whether any ever subscribed: only then may an auto-delete queue go.
    pub(super) ever: bool,
}

impl Consumers {
    pub(super) fn new(rule: SelectionRule) -> Self {
        Self { rule, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// # Errors
    /// The queue is in exclusive use, or this one wants it alone and is not.
    pub(super) fn add(&mut self, consumer: Consumer, on: &Resource) -> Result<(), BrokerError> {
        let taken = self.slots.iter().any(|slot| slot.consumer.exclusive);
        let alone = self.slots.is_empty() && self.rule == SelectionRule::RoundRobin;
        if taken || (consumer.exclusive && !alone) {
            return Err(BrokerError::InExclusiveUse(on.clone()));
        }
        let priority = consumer.priority;
        let first = self.slots.partition_point(|slot| slot.consumer.priority > priority);
        let mut place = self.slots.partition_point(|slot| slot.consumer.priority >= priority);
        if self.rule == SelectionRule::RoundRobin && (first + 1..place).contains(&self.cursor) {
            // After those whose turn was longest ago.
            place = self.cursor;
        }
        let unsent = Share::of(consumer.mailbox.unread());
        self.slots.insert(place, Slot { consumer, unacked: 0, in_line: false, at_turn: false, unsent });
        self.cursor += usize::from(place <= self.cursor);
        self.ever = true;
        Ok(())
    }

    /// All of them, in the order in which they are served.
    pub(super) fn list(&self) -> Vec<Subscribed> {
        let active = |id| self.rule == SelectionRule::RoundRobin || self.active == Some(id);
        let shown = self.slots.iter().filter_map(|slot| slot.consumer.shown(active(slot.consumer.id)));
        shown.collect()
    }

    /// Removes a consumer; whether it was there.
    pub(super) fn remove(&mut self, id: ConsumerId) -> bool {
        let Some(index) = self.position(id) else { return false };
        let slot = self.slots.remove(index);
        slot.consumer.channel.release(slot.unacked);
        self.cursor -= usize::from(index < self.cursor);
        true
    }

    /// Removes all; each is told that it is cancelled.
    pub(super) fn cancel_all(&mut self) {
        for slot in self.slots.drain(..) {
            slot.consumer.channel.release(slot.unacked);
            slot.consumer.mailbox.post(&mut vec![Mail::Cancelled(slot.consumer.id)]);
        }
    }

    /// The next consumer: round robin from `cursor`, which `dispatch` moves on.
    pub(super) fn turn(&mut self) -> Option<DispatchTurn> {
        if self.rule != SelectionRule::RoundRobin {
            let index = self.active()?;
            return self.is_open(&self.slots[index]).then(|| self.turn_of(index, true));
        }
        let open = |slot: &Slot| self.is_open(slot);
        let best = self.slots.iter().position(open)?;
        let priority = self.slots[best].consumer.priority;
        let end = best + self.slots[best..].partition_point(|slot| slot.consumer.priority == priority);
        let start = if (best..end).contains(&self.cursor) { self.cursor } else { best };
        let mut waiting = (start..end).chain(best..start).filter(|&index| open(&self.slots[index]));
        let index = waiting.next()?;
        let alone = waiting.next().is_none();
        Some(self.turn_of(index, alone))
    }

    /// Whether a consumer may be dealt a message; who may not because of the limit of a channel is
    /// noted.
    #[inline]
    fn is_open(&self, slot: &Slot) -> bool {
        let is_open = slot.room(self.share) > 0;
        if !is_open && slot.consumer.channel.is_set() {
            self.held_back.set(true);
        }
        is_open
    }

    /// Whether somebody was passed by because of the limit of a channel since the last call.
    #[inline]
    pub(super) fn take_held_back(&mut self) -> bool {
        self.held_back.take()
    }

    /// There are messages: has the queue wait in line where the limit of a channel keeps a consumer
    /// from them. False when one need not wait any more.
    #[cold]
    pub(super) fn wait_in_line(&mut self, queue: &Weak<Queue>) -> bool {
        let share = self.share;
        let takers = if self.rule == SelectionRule::RoundRobin {
            0..self.slots.len()
        } else {
            self.active().map_or(0..0, |index| index..index + 1)
        };
        let mut waits = true;
        for slot in &mut self.slots[takers] {
            if !slot.in_line && slot.is_held_back(share) {
                slot.in_line = slot.consumer.channel.wait(queue, slot.at_turn);
                waits &= slot.in_line;
            }
        }
        waits
    }

    /// It is the queue's turn to take up to `share` of what is free under the limit of a channel.
    pub(super) fn begin_turn(&mut self, limit: &Arc<ChannelLimit>, share: u32) {
        self.share = share;
        for slot in self.slots.iter_mut().filter(|slot| Arc::ptr_eq(&slot.consumer.channel, limit)) {
            (slot.in_line, slot.at_turn) = (false, true);
        }
    }

    /// The turn that [`Consumers::begin_turn`] began is over.
    pub(super) fn end_turn(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.at_turn = false);
    }

    /// How many messages would be dealt at once if so many came, with records of `bytes` in all; at
    /// least so many. Who shares a limit with other queues is not counted: they may be faster.
    pub(super) fn spare(&mut self, bytes: usize) -> u64 {
        let takers = match self.turn() {
            None => return 0,
            Some(turn) if self.rule != SelectionRule::RoundRobin => &self.slots[turn.index..=turn.index],
            Some(_) => &self.slots[..],
        };
        let takes = |slot: &Slot| match slot.room(self.share) {
            0 => 0,
            _ if slot.consumer.channel.is_set() => 0,
            // A window of bytes takes one message at least.
            room if bytes <= slot.unsent.room(WINDOW_BYTES) => room,
            _ => 1,
        };
        takers.iter().map(|slot| u64::from(takes(slot))).sum()
    }

    fn turn_of(&self, index: usize, alone: bool) -> DispatchTurn {
        let slot = &self.slots[index];
        DispatchTurn {
            index,
            count: if alone { slot.room(self.share) } else { 1 },
            bytes: slot.unsent.room(WINDOW_BYTES),
            no_ack: slot.consumer.no_ack,
        }
    }

    /// Where the active one is; none while one that is to take over waits for what the active one
    /// holds.
    fn active(&mut self) -> Option<usize> {
        let highest = self.slots.first()?.consumer.priority;
        let index = self.active.and_then(|id| self.position(id));
        let stays = index.filter(|&index| {
            self.rule == SelectionRule::SingleActive || self.slots[index].consumer.priority == highest
        });
        if stays.is_some() {
            return stays;
        }
        if index.is_some_and(|index| self.slots[index].unacked > 0) {
            return None;
        }
        self.active = Some(self.slots[0].consumer.id);
        Some(0)
    }

    /// Takes up to `count` from the limit that the consumer's channel shares; what it got.
    pub(super) fn reserve(&mut self, turn: DispatchTurn, count: u32) -> u32 {
        let slot = &self.slots[turn.index];
        if slot.consumer.no_ack {
            return count;
        }
        let taken = slot.consumer.channel.take(count);
        if slot.at_turn {
            self.share -= taken.min(self.share);
        }
        if taken == 0 {
            self.held_back.set(true);
        }
        taken
    }

    /// Deals a run to the consumer whose turn it was; `mail` makes the run for its id. The next
    /// turn is the next one's.
    pub(super) fn dispatch(
        &mut self,
        turn: DispatchTurn,
        count: u32,
        bytes: usize,
        mail: impl FnOnce(ConsumerId) -> Mail,
    ) {
        let slot = &mut self.slots[turn.index];
        slot.unsent.set(slot.unsent.bytes() + bytes);
        if !slot.consumer.no_ack {
            slot.unacked += count;
        }
        self.dealt.push((turn.index, mail(slot.consumer.id)));
        self.cursor = turn.index + 1;
    }

    /// Posts what was dealt since the last call: one wake for what is in a row for one session, and
    /// in the order in which it was dealt for all consumers of a session.
    pub(super) fn post(&mut self) {
        let mut to: Option<&Arc<Mailbox>> = None;
        for (index, mail) in self.dealt.drain(..) {
            let mailbox = &self.slots[index].consumer.mailbox;
            if let Some(other) = to.filter(|other| !Arc::ptr_eq(other, mailbox)) {
                other.post(&mut self.post);
            }
            to = Some(mailbox);
            self.post.push(mail);
        }
        if let Some(mailbox) = to {
            mailbox.post(&mut self.post);
        }
    }

    /// `count` messages of this consumer are settled or back in the queue.
    pub(super) fn release(&mut self, id: ConsumerId, count: u32) {
        if let Some(index) = self.position(id) {
            let slot = &mut self.slots[index];
            slot.unacked = slot.unacked.saturating_sub(count);
            slot.consumer.channel.release(count);
        }
    }

    /// `bytes` that were dealt to this consumer have been encoded.
    pub(super) fn credit(&mut self, id: ConsumerId, bytes: usize) {
        if let Some(index) = self.position(id) {
            let slot = &mut self.slots[index];
            slot.unsent.set(slot.unsent.bytes().saturating_sub(bytes));
        }
    }

    fn position(&self, id: ConsumerId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.consumer.id == id)
    }
}
