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
use crate::broker::clients::ChannelReport;
use crate::broker::{Permit, Settlement};
use crate::client::unacked::UnknownTag;
use crate::ids::ConsumerId;
use crate::protocol::amqp::fault::AmqpError;

/// An open channel.
pub(super) struct Channel {
    pub(super) out: ChannelOutput,
    pub(super) mode: Mode,
    /// It has published something.
    pub(super) publishes: bool,
    /// The content that is on its way.
    pub(super) incoming: Option<Box<IncomingContent>>,
    pub(super) deliveries: Deliveries,
    pub(super) consumers: Consumers,
    pub(super) last_queue: LastQueue,
    _places: Vec<Permit>,
}

impl Channel {
    pub(super) fn new(number: u16, places: Vec<Permit>) -> Self {
        Self {
            out: ChannelOutput::new(number),
            mode: Mode::Plain,
            publishes: false,
            incoming: None,
            deliveries: Deliveries::new(),
            consumers: Consumers::new(),
            last_queue: LastQueue::default(),
            _places: places,
        }
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
            link.eased.insert(self.out.number);
        }
        let acks = &mut link.batch.acks;
        blocking::run_many(runs, || {
            unacked.take(tag, multiple, |part| acks.add(&part.run.queue, fate, part.settled))
        })
        .map_err(unknown)
    }

    /// The queue of a consumer is gone.
    pub(super) fn consumer_cancelled(&mut self, link: &mut ConnectionState, id: ConsumerId) {
        let Some(subscription) = link.inbox.subscriptions.remove(&id) else { return };
        self.consumers.forget(&subscription.tag);
        // What it held no longer fills the window that the consumers share.
        self.consumers.share_room(link);
        self.out.tell_cancelled(link, &subscription.tag);
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
