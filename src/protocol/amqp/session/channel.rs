//! One open channel: its parts, and what needs several of them.
//!
//! What a client may do with a channel is in the files named after it; they take the parts that
//! they need. Opening and closing, and what a closing channel ignores, are the business of
//! [`super::channels`].

use super::channel_output::ChannelOutput;
use super::connection_state::ConnectionState;
use super::consumers::Consumers;
use super::content::IncomingContent;
use super::declare::LastQueue;
use super::deliver::Deliveries;
use super::mode::Mode;
use crate::blocking;
use crate::broker::clients::{ChannelReport, HeldRun};
use crate::broker::counted::ChannelEvents;
use crate::broker::{Permit, Settlement};
use crate::client::unacked::UnknownTag;
use crate::ids::{ConsumerId, QueueId};
use crate::protocol::amqp::fault::AmqpError;
use crate::statistics::Event;
use std::sync::Arc;

/// An open channel.
///
/// Its parts are fields, and each has what is its own in its file: most of what a client asks needs
/// two or three of them at a time, and those that it does not need are then not borrowed.
pub(super) struct Channel {
    pub(super) out: ChannelOutput,
    pub(super) mode: Mode,
    pub(super) deliveries: Deliveries,
    pub(super) consumers: Consumers,
    pub(super) last_queue: LastQueue,
    /// It has published something.
    publishes: bool,
    /// The content that is on its way.
    incoming: Option<Box<IncomingContent>>,
    _places: Vec<Permit>,
}

impl Channel {
    pub(super) fn new(number: u16, events: Arc<ChannelEvents>, places: Vec<Permit>) -> Self {
        Self {
            out: ChannelOutput::new(number, events),
            mode: Mode::Plain,
            deliveries: Deliveries::new(),
            consumers: Consumers::new(),
            last_queue: LastQueue::default(),
            publishes: false,
            incoming: None,
            _places: places,
        }
    }

    /// The content that is on its way, if one is.
    #[inline]
    pub(super) fn incoming(&self) -> Option<&IncomingContent> {
        self.incoming.as_deref()
    }

    /// A content for the publish to `exchange_and_key` that just came is on its way.
    pub(super) fn await_content(
        &mut self,
        link: &mut ConnectionState,
        exchange_and_key: (&[u8], &[u8]),
        mandatory: bool,
    ) {
        self.incoming = Some(Box::new(IncomingContent::new(exchange_and_key, mandatory, link.now)));
        link.await_body();
    }

    /// A content header for the publish that came before.
    pub(super) fn take_header(
        &mut self,
        link: &mut ConnectionState,
        payload: &[u8],
    ) -> Result<(), AmqpError> {
        let incoming = self.incoming.as_mut().ok_or(AmqpError::ExpectedMethod)?;
        if incoming.take_header(link, payload)? { self.publish_incoming(link) } else { Ok(()) }
    }

    /// A part of a body.
    pub(super) fn take_body(&mut self, link: &mut ConnectionState, payload: &[u8]) -> Result<(), AmqpError> {
        let incoming = self.incoming.as_mut().ok_or(AmqpError::ExpectedMethod)?;
        if incoming.take_body(link, payload)? { self.publish_incoming(link) } else { Ok(()) }
    }

    /// Publishes the content that came in parts.
    fn publish_incoming(&mut self, link: &mut ConnectionState) -> Result<(), AmqpError> {
        match self.incoming.take().and_then(|content| content.finish(link.now)) {
            Some((block, mandatory)) => self.publish_gathered(link, mandatory, &block),
            None => Ok(()),
        }
    }

    /// Counts the channel as a publisher from its first publish on.
    #[inline(always)]
    pub(super) fn count_publisher(&mut self, link: &ConnectionState) {
        if !self.publishes {
            self.start_publishing(link);
        }
    }

    #[cold]
    fn start_publishing(&mut self, link: &ConnectionState) {
        self.publishes = true;
        link.broker.metrics().publishers_started.add(1);
    }

    /// Whether it has published something.
    pub(super) fn is_publisher(&self) -> bool {
        self.publishes
    }

    /// basic.ack, basic.nack, basic.reject.
    pub(super) fn settle(
        &mut self,
        link: &mut ConnectionState,
        tag: u64,
        multiple: bool,
        fate: Settlement,
    ) -> Result<(), AmqpError> {
        let unknown = |UnknownTag(tag)| AmqpError::UnknownDeliveryTag(tag);
        let unacked = &mut self.deliveries.unacked;
        let runs = if multiple { unacked.len() } else { 1 };
        if let Some(tx) = self.mode.transaction() {
            blocking::run_many(runs, || unacked.take(tag, multiple, |part| tx.settle(part, fate)))
                .map_err(unknown)?;
            return tx.check_size(link);
        }
        if self.consumers.limit.is_set() {
            link.pending.note_eased(self.out.number);
        }
        let (acks, mut settled) = (&mut link.batch.acks, 0);
        let taken = blocking::run_many(runs, || {
            unacked.take(tag, multiple, |part| {
                settled += part.settled.range.len();
                acks.add(&part.run.queue, fate, part.settled);
            })
        });
        if fate == Settlement::Ack {
            self.out.events.counters.add_alone(Event::Ack, settled);
        }
        taken.map_err(unknown)
    }

    /// The queue of a consumer is gone.
    pub(super) fn consumer_cancelled(&mut self, link: &mut ConnectionState, id: ConsumerId) {
        let Some(subscription) = link.inbox.subscriptions.remove(&id) else { return };
        self.consumers.forget(&subscription.tag);
        // What it held no longer fills the window that the consumers share.
        self.consumers.share_room(link);
        self.out.tell_cancelled(link, &subscription.tag);
    }

    /// What the channel holds of a queue.
    pub(super) fn held_of(&self, queue: QueueId) -> impl Iterator<Item = HeldRun> {
        self.deliveries.unacked.of_queue(queue).map(|settled| HeldRun {
            channel: self.out.number,
            tag: settled
                .consumer
                .and_then(|id| self.consumers.tag_of(id))
                .map_or_else(Box::default, Box::from),
            range: settled.range,
        })
    }

    /// What an operator sees of the channel.
    pub(super) fn report(&self) -> ChannelReport {
        let (publishing, unconfirmed, (uncommitted, acks_uncommitted)) = self.mode.counts();
        ChannelReport {
            number: self.out.number,
            publishing,
            consumers: self.consumers.len() as u64,
            unacked: self.deliveries.unacked.count(),
            unconfirmed,
            uncommitted,
            acks_uncommitted,
            prefetch: self.consumers.prefetch,
            shared_prefetch: self.consumers.limit.limit(),
        }
    }
}
