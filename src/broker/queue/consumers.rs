//! Who may be dealt a message next: the consumers of one queue, their windows, and whose turn it is.
//!
//! Pure state under the queue's lock. A consumer's window closes when it holds as many unacknowledged messages as
//! its prefetch allows, when its channel does (`basic.qos global=true`), or when more bytes were dealt to it than
//! its session has encoded: a slow reader costs bounded memory, and less while many are slow ([`crate::broker::unread`]).

use super::stream::Reading;
use crate::broker::mailbox::{Mail, Mailbox};
use crate::broker::settings::{Kind, Settings};
use crate::broker::unread::Share;
use crate::error::{AmqpError, Resource};
use crate::ids::{ConnectionId, ConsumerId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of records dealt to a consumer and not yet encoded by its session, beyond which it is dealt no more. Enough
/// for a session to fill the socket's buffer several times while the queue's lock is elsewhere.
const WINDOW_BYTES: usize = 1024 * 1024;

/// The limit that `basic.qos global=true` sets on all consumers of a channel together.
#[derive(Debug, Default)]
pub struct ChannelLimit {
    /// 0: no limit.
    limit: AtomicU32,
    used: AtomicU32,
}

impl ChannelLimit {
    /// No limit yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on at most `limit` unacknowledged messages; 0 lifts the limit.
    pub fn set(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The limit; 0 for none.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Whether there is a limit.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.limit.load(Ordering::Relaxed) > 0
    }

    fn room(&self) -> u32 {
        match self.limit.load(Ordering::Relaxed) {
            0 => u32::MAX,
            limit => limit.saturating_sub(self.used.load(Ordering::Relaxed)),
        }
    }

    /// Takes up to `wanted` of what is free; two queues may race for the last of it, so it may be less than `room` said.
    fn take(&self, wanted: u32) -> u32 {
        let mut taken = 0;
        let _always_updates = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let limit = self.limit.load(Ordering::Relaxed);
            taken = if limit == 0 { wanted } else { wanted.min(limit.saturating_sub(used)) };
            Some(used.saturating_add(taken))
        });
        taken
    }

    fn release(&self, count: u32) {
        let _always_updates = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(count)));
    }
}

/// What tells a consumer from others, for whoever looks at a queue.
#[derive(Debug, Clone)]
pub struct Label {
    /// Whose it is.
    pub connection: ConnectionId,
    /// The channel it was made on.
    pub channel: u16,
    /// Its tag.
    pub tag: Box<[u8]>,
    /// What `basic.qos` said: unacknowledged messages at most; 0 for no limit.
    pub prefetch: u16,
    /// Its arguments as an encoded table.
    pub arguments: Box<[u8]>,
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
    /// Bytes dealt and not yet encoded.
    unsent: Share,
}

impl Slot {
    /// How many messages it may be dealt now.
    fn room(&self) -> u32 {
        if !self.unsent.has_room(WINDOW_BYTES) {
            0
        } else if self.consumer.no_ack {
            u32::MAX
        } else if self.consumer.prefetch == 0 {
            self.consumer.channel.room()
        } else {
            self.consumer.prefetch.saturating_sub(self.unacked).min(self.consumer.channel.room())
        }
    }
}

/// What the consumer whose turn it is may be dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// Where it is in the list.
    index: usize,
    /// At most this many messages: 1 when others of its rank wait, so that they share evenly.
    pub(super) count: u32,
    /// At most this many bytes, or one message.
    pub(super) bytes: usize,
    /// Its messages are settled as they are dealt.
    pub(super) no_ack: bool,
}

/// Whose turn it may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Rule {
    /// Everybody's.
    #[default]
    Fair,
    /// That of the first who came, until it goes; then that of the first among the highest priority.
    SingleActive,
    /// As [`Rule::SingleActive`], but one of a higher priority takes over once the active one holds nothing.
    SingleHighest,
}

impl Rule {
    /// That of a queue with these settings.
    pub(super) fn of(settings: &Settings) -> Self {
        match (settings.single_active, settings.kind == Kind::Quorum) {
            (false, _) => Self::Fair,
            (true, false) => Self::SingleActive,
            (true, true) => Self::SingleHighest,
        }
    }
}

/// All consumers of a queue, highest priority first; within one in the order in which they take turns.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    slots: Vec<Slot>,
    rule: Rule,
    /// The one that has the queue to itself, if the rule gives it to one.
    active: Option<ConsumerId>,
    /// Where the search for the next one begins.
    cursor: usize,
    /// What was dealt and not yet posted, in order, with the place of the consumer in `slots`.
    dealt: Vec<(usize, Mail)>,
    /// Memory for one post, kept.
    post: Vec<Mail>,
    /// Whether any ever subscribed: only then may an auto-delete queue go.
    pub(super) ever: bool,
}

impl Consumers {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// # Errors
    /// 403: the queue is in exclusive use, or this one wants it alone and is not.
    pub(super) fn add(&mut self, consumer: Consumer, on: &Resource) -> Result<(), AmqpError> {
        let taken = self.slots.iter().any(|slot| slot.consumer.exclusive);
        let alone = self.slots.is_empty() && self.rule == Rule::Fair;
        if taken || (consumer.exclusive && !alone) {
            return Err(AmqpError::AccessRefused(format!("{on} in exclusive use")));
        }
        let priority = consumer.priority;
        let first = self.slots.partition_point(|slot| slot.consumer.priority > priority);
        let mut place = self.slots.partition_point(|slot| slot.consumer.priority >= priority);
        if self.rule == Rule::Fair && (first + 1..place).contains(&self.cursor) {
            // After those whose turn was longest ago.
            place = self.cursor;
        }
        let unsent = Share::of(consumer.mailbox.unread());
        self.slots.insert(place, Slot { consumer, unacked: 0, unsent });
        self.cursor += usize::from(place <= self.cursor);
        self.ever = true;
        Ok(())
    }

    /// All of them, in the order in which they are served.
    pub(super) fn list(&self) -> Vec<Subscribed> {
        let active = |id| self.rule == Rule::Fair || self.active == Some(id);
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

    /// Whose turn it is.
    pub(super) fn turn(&mut self) -> Option<Turn> {
        let open = |slot: &Slot| slot.room() > 0;
        if self.rule != Rule::Fair {
            let index = self.active()?;
            return open(&self.slots[index]).then(|| self.turn_of(index, true));
        }
        let best = self.slots.iter().position(open)?;
        let priority = self.slots[best].consumer.priority;
        let end = best + self.slots[best..].partition_point(|slot| slot.consumer.priority == priority);
        let start = if (best..end).contains(&self.cursor) { self.cursor } else { best };
        let mut waiting = (start..end).chain(best..start).filter(|&index| open(&self.slots[index]));
        let index = waiting.next()?;
        let alone = waiting.next().is_none();
        Some(self.turn_of(index, alone))
    }

    /// How many messages would be dealt at once if so many came, with records of `bytes` in all; at least so many. Who shares a
    /// limit with other queues is not counted: they may be faster.
    pub(super) fn spare(&mut self, bytes: usize) -> u64 {
        let takers = match self.turn() {
            None => return 0,
            Some(turn) if self.rule != Rule::Fair => &self.slots[turn.index..=turn.index],
            Some(_) => &self.slots[..],
        };
        let takes = |slot: &Slot| match slot.room() {
            0 => 0,
            _ if slot.consumer.channel.is_set() && !slot.consumer.no_ack => 0,
            // A window of bytes takes one message at least.
            room if bytes <= slot.unsent.room(WINDOW_BYTES) => room,
            _ => 1,
        };
        takers.iter().map(|slot| u64::from(takes(slot))).sum()
    }

    fn turn_of(&self, index: usize, alone: bool) -> Turn {
        let slot = &self.slots[index];
        Turn {
            index,
            count: if alone { slot.room() } else { 1 },
            bytes: slot.unsent.room(WINDOW_BYTES),
            no_ack: slot.consumer.no_ack,
        }
    }

    /// Where the active one is; none while one that is to take over waits for what the active one holds.
    fn active(&mut self) -> Option<usize> {
        let highest = self.slots.first()?.consumer.priority;
        let index = self.active.and_then(|id| self.position(id));
        let stays = index.filter(|&index| {
            self.rule == Rule::SingleActive || self.slots[index].consumer.priority == highest
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
    pub(super) fn reserve(&self, turn: Turn, count: u32) -> u32 {
        let consumer = &self.slots[turn.index].consumer;
        if consumer.no_ack { count } else { consumer.channel.take(count) }
    }

    /// Deals a run to the consumer whose turn it was; `mail` makes the run for its id. The next turn is the next one's.
    pub(super) fn deal(
        &mut self,
        turn: Turn,
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

    /// Posts what was dealt since the last call: one wake for what is in a row for one session, and in the order in which
    /// it was dealt for all consumers of a session.
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
