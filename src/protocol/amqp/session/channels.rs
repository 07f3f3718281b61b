//! What channel numbers stand for, and how channels begin and end.

use super::Fault;
use super::channel::Channel;
use super::connection_state::ConnectionState;
use super::deferred_replies::DeferredReplies;
use crate::arguments::Requeue;
use crate::blocking;
use crate::broker::{Permit, Settlement};
use crate::client::budget::{LOOKED_AT, METHOD};
use crate::ids::{ConsumerId, QueueId};
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::reply::{Reply, Scope};
use crate::protocol::amqp::wire::{encode, method};
use crate::queue::Queue;
use amq_protocol::protocol::{AMQPClass, channel as amqp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::warn;

/// Consumers that leave their queues before it is looked whether the log has room. With so many
/// the work is done off the runtime's workers: see [`release`].
const LEFT_AT_ONCE: usize = 512;

/// What a channel number stands for.
enum Slot {
    Free,
    Open(Box<Channel>),
    /// The broker closed the channel; all is ignored until `channel.close-ok`.
    Closing(Box<DeferredReplies>),
    /// The client closed the channel; `channel.close-ok` is among what is held back.
    Draining(Box<DeferredReplies>),
}

impl Slot {
    fn channel(&self) -> Option<&Channel> {
        match self {
            Self::Open(channel) => Some(channel),
            Self::Free | Self::Closing(_) | Self::Draining(_) => None,
        }
    }
}

/// Who ends a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closer {
    Broker,
    Client,
}

/// The channels of a connection, by their numbers; 0 is never one.
#[derive(Default)]
pub(super) struct Channels {
    slots: Vec<Slot>,
}

impl Channels {
    /// The open channel of that number.
    #[inline]
    pub(super) fn get(&mut self, number: u16) -> Option<&mut Channel> {
        match self.slots.get_mut(usize::from(number)) {
            Some(Slot::Open(channel)) => Some(channel),
            _ => None,
        }
    }

    /// As [`Self::get`], to look at.
    #[inline]
    pub(super) fn at(&self, number: u16) -> Option<&Channel> {
        self.slots.get(usize::from(number)).and_then(Slot::channel)
    }

    /// Whether the broker has closed the channel of that number and the client has not said that it
    /// knows.
    pub(super) fn is_closing(&self, number: u16) -> bool {
        matches!(self.slots.get(usize::from(number)), Some(Slot::Closing(_)))
    }

    /// All numbers up to the highest that was used.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u16> + use<> {
        (0..self.slots.len()).map_while(|number| u16::try_from(number).ok())
    }

    /// The channels that are open.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.slots.iter().filter_map(Slot::channel)
    }

    /// A method on a channel that is not open.
    pub(super) fn handle_outside(
        &mut self,
        link: &mut ConnectionState,
        number: u16,
        payload: &[u8],
    ) -> Result<(), AmqpError> {
        const OPEN: (u16, u16) = (20, 10);
        const CLOSE: (u16, u16) = (20, 40);
        const CLOSE_OK: (u16, u16) = (20, 41);
        let index = usize::from(number);
        match (self.slots.get_mut(index), method::ids(payload)) {
            (Some(slot @ Slot::Closing(_)), CLOSE_OK) => *slot = Slot::Free,
            (Some(Slot::Closing(held)), CLOSE) => {
                let ok = AMQPClass::Channel(amqp::AMQPMethod::CloseOk(amqp::CloseOk {}));
                encode::method(held.out(&mut link.output).own(), number, &ok);
            }
            (Some(Slot::Closing(_)), _) => {}
            (None | Some(Slot::Free), OPEN) => return self.open(link, number),
            // As in RabbitMQ a method that does not decode is found first.
            _ => {
                method::decode(payload)?;
                return Err(AmqpError::ChannelNotOpen);
            }
        }
        Ok(())
    }

    /// How many channels there may be is negotiated, not which numbers they have, as it is on
    /// RabbitMQ. The highest number costs a connection 1 MiB of free slots.
    fn open(&mut self, link: &mut ConnectionState, number: u16) -> Result<(), AmqpError> {
        link.batch.budget.take(METHOD + self.slots.len() / (LOOKED_AT * LOOKED_AT));
        let channel_max = link.limits.channel_max;
        let opened = self.slots.iter().filter(|slot| !matches!(slot, Slot::Free)).count();
        if opened >= usize::from(channel_max) {
            return Err(AmqpError::ChannelMax(channel_max));
        }
        let places = take_places(link)?;
        let index = usize::from(number);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || Slot::Free);
        }
        let client = link.client.handle.as_ref().map(|handle| handle.client());
        let events = client.map(|client| client.open_channel(number)).unwrap_or_default();
        let mut channel = Channel::new(number, events, places);
        channel.out.reply(link, &AMQPClass::Channel(amqp::AMQPMethod::OpenOk(amqp::OpenOk {})));
        self.slots[index] = Slot::Open(Box::new(channel));
        link.broker.metrics().channels_opened.add(1);
        Ok(())
    }

    /// Answers a fault on a channel: the channel ends, or the connection.
    pub(super) fn fail(
        &mut self,
        link: &mut ConnectionState,
        number: u16,
        error: AmqpError,
        ids: (u16, u16),
    ) -> Result<(), Fault> {
        let Reply { code, text } = error.reply();
        if code.scope == Scope::Connection {
            return Err(Fault::of(error, ids));
        }
        let (class_id, method_id) = ids;
        warn!(peer = %link.client.peer.address, user = link.client.user, channel = number, "closing the channel: {error}");
        self.flush(link);
        let close = amqp::Close { reply_code: code.number, reply_text: text.into(), class_id, method_id };
        let close = AMQPClass::Channel(amqp::AMQPMethod::Close(close));
        self.close(link, number, &close, Closer::Broker);
        Ok(())
    }

    /// Ends a channel with its last words, which wait if something before them does.
    pub(super) fn close(
        &mut self,
        link: &mut ConnectionState,
        number: u16,
        last_words: &AMQPClass,
        by: Closer,
    ) {
        let Some(slot) = self.slots.get_mut(usize::from(number)) else { return };
        let Slot::Open(mut channel) = std::mem::replace(slot, Slot::Free) else { return };
        let durable = link.durable();
        channel.mode.confirm(&mut channel.out, link, durable);
        let mut held = std::mem::take(&mut channel.out.held);
        release(link, vec![*channel]);
        encode::method(held.out(&mut link.output).own(), number, last_words);
        if held.is_holding() {
            link.pending.note_waiting(number);
        }
        match by {
            Closer::Broker => *slot = Slot::Closing(Box::new(held)),
            Closer::Client if held.is_holding() => *slot = Slot::Draining(Box::new(held)),
            Closer::Client => {}
        }
    }

    /// Ends all channels; what is held back and durable is said.
    pub(super) fn release_all(&mut self, link: &mut ConnectionState) {
        let durable = link.durable();
        let mut channels = Vec::new();
        for slot in self.slots.drain(..) {
            match slot {
                Slot::Open(mut channel) => {
                    channel.out.held.release(durable, &mut link.output);
                    channels.push(*channel);
                }
                Slot::Closing(mut held) | Slot::Draining(mut held) => {
                    held.release(durable, &mut link.output);
                }
                Slot::Free => {}
            }
        }
        release(link, channels);
    }

    /// Hands over what the read gathered.
    pub(super) fn flush(&mut self, link: &mut ConnectionState) {
        link.batch.pay();
        if !link.batch.publishes.is_empty() || link.pending.has_publishers() {
            let mut refused = Vec::new();
            let ticket = link.batch.publishes.flush(&link.broker, link.now, &mut refused);
            for refusal in refused {
                if let Some(channel) = self.get(refusal.channel) {
                    channel.mode.refused(refusal.numbers);
                }
            }
            for number in link.pending.take_publishers() {
                if let Some(channel) = self.get(number) {
                    channel.mode.staged(ticket);
                    link.pending.note_waiting(number);
                }
            }
        }
        if !link.batch.acks.is_empty() {
            link.batch.acks.flush(&link.broker, link.now);
        }
        for number in link.pending.take_eased() {
            if let Some(channel) = self.get(number) {
                channel.consumers.share_room(link);
            }
        }
    }

    /// Sends what waited for tickets that are durable now.
    pub(super) fn announce(&mut self, link: &mut ConnectionState) {
        let waiting = link.pending.take_waiting();
        if waiting.is_empty() {
            return;
        }
        let durable = link.durable();
        for number in waiting {
            let Some(slot) = self.slots.get_mut(usize::from(number)) else { continue };
            let waits = match slot {
                Slot::Open(channel) => {
                    let released = channel.out.held.release(durable, &mut link.output);
                    channel.mode.confirm(&mut channel.out, link, durable);
                    if let Some(ticket) = channel.mode.awaits() {
                        link.inbox.wake_at(&link.broker, ticket);
                    }
                    !released || channel.mode.awaits().is_some()
                }
                Slot::Closing(held) => !held.release(durable, &mut link.output),
                Slot::Draining(held) => {
                    let released = held.release(durable, &mut link.output);
                    if released {
                        *slot = Slot::Free;
                    }
                    !released
                }
                Slot::Free => false,
            };
            if waits {
                link.pending.note_waiting(number);
            }
        }
    }

    /// Whether a channel waits for the disk to confirm what was published on it.
    pub(super) fn await_confirms(&self, link: &ConnectionState) -> bool {
        let mut slots = link.pending.waiting().filter_map(|number| self.slots.get(usize::from(number)));
        slots.any(|slot| matches!(slot, Slot::Open(channel) if channel.mode.awaits().is_some()))
    }

    /// Bytes that channels keep back.
    pub(super) fn held_bytes(&self, link: &ConnectionState) -> usize {
        let slots = link.pending.waiting().filter_map(|number| self.slots.get(usize::from(number)));
        slots
            .map(|slot| match slot {
                Slot::Open(channel) => channel.out.held.len(),
                Slot::Closing(held) | Slot::Draining(held) => held.len(),
                Slot::Free => 0,
            })
            .sum()
    }
}

/// A place among all channels, and among those of the user.
///
/// # Errors
/// 530: all are taken.
fn take_places(link: &ConnectionState) -> Result<Vec<Permit>, AmqpError> {
    let all = link.broker.places().channels.take().map_err(|max| AmqpError::ChannelLimit { max })?;
    let Some((_, entry)) = &link.client.places else { return Ok(vec![all]) };
    let of_user = entry.user.channels.take();
    let of_user =
        of_user.map_err(|max| AmqpError::UserChannelLimit { user: link.client.user.clone(), max })?;
    Ok(vec![all, of_user])
}

/// Ends channels: their consumers go first, so that nothing that comes back is dealt to them; then
/// what they were dealt and not sent goes back, and what they have not acknowledged. Only then
/// others are dealt what they held.
fn release(link: &mut ConnectionState, channels: Vec<Channel>) {
    let runs: usize = channels.iter().map(|channel| channel.deliveries.unacked.len()).sum();
    let consumers: usize = channels.iter().map(|channel| channel.consumers.len()).sum();
    let steps = runs + METHOD * consumers + link.inbox.backlog.len();
    link.batch.budget.take(steps / LOOKED_AT);
    blocking::run_many(steps, || release_now(link, channels));
}

fn release_now(link: &mut ConnectionState, mut channels: Vec<Channel>) {
    let consumers: BTreeSet<ConsumerId> =
        channels.iter().flat_map(|channel| channel.consumers.ids()).collect();
    let mut left: BTreeMap<QueueId, Arc<Queue>> = BTreeMap::new();
    for (before, &id) in consumers.iter().enumerate() {
        // Queues may go with their consumers.
        if before % LEFT_AT_ONCE == LEFT_AT_ONCE - 1 {
            link.broker.log().wait_for_room();
        }
        if let Some(subscription) = link.inbox.subscriptions.get(&id) {
            link.broker.leave(&subscription.queue, id, link.now);
            left.insert(subscription.queue.id, Arc::clone(&subscription.queue));
        }
    }
    link.inbox.give_back((&link.broker, &mut link.batch.budget), &consumers, link.now);
    let settles = &mut link.batch.acks;
    for channel in &mut channels {
        if let Some(tx) = channel.mode.transaction() {
            tx.roll_back(&mut channel.deliveries.unacked);
        }
        channel.deliveries.unacked.take_all(|part| {
            settles.add(&part.run.queue, Settlement::Requeue(Requeue::Failed), part.settled);
        });
    }
    link.batch.flush_acks(&link.broker, link.now);
    for queue in left.values() {
        link.broker.dispatch_again(queue, link.now);
    }
    let publishers = channels.iter().filter(|channel| channel.is_publisher()).count();
    link.broker.metrics().publishers_ended.add(publishers as u64);
    link.broker.metrics().channels_closed.add(channels.len() as u64);
    for channel in channels {
        link.client.vhost.counted.end_channel(&channel.out.events);
        if let Some(handle) = &link.client.handle {
            handle.client().close_channel(channel.out.number);
        }
    }
}
