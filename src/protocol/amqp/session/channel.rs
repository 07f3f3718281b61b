//! One open channel: its state, and which method goes where.
//!
//! The methods themselves are in the files named after what they do; each is an `impl Channel` over
//! the state here. Opening and closing, and what a closing channel ignores, are the business of
//! [`super::connection`].

use super::connection_state::ConnectionState;
use super::deferred_replies::DeferredReplies;
use super::publish::IncomingContent;
use super::replies::Replies;
use super::tx::Transaction;
use crate::blocking;
use crate::broker::{Permit, Settlement};
use crate::client::confirms::{Answer, Confirms, Verdict};
use crate::client::unacked::{Unacked, UnknownTag};
use crate::ids::{ConsumerId, Ticket};
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::encode;
use crate::queue::ChannelLimit;
use amq_protocol::protocol::{AMQPClass, access, channel as amqp, confirm};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What publishing means on a channel.
pub(super) enum Mode {
    Plain,
    Confirm(Confirms),
    Transaction(Box<Transaction>),
}

impl Mode {
    #[inline]
    pub(super) fn transaction(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Transaction(tx) => Some(tx),
            Self::Plain | Self::Confirm(_) => None,
        }
    }
}

/// An open channel.
pub(super) struct Channel {
    pub(super) number: u16,
    pub(super) mode: Mode,
    /// It has published something.
    pub(super) publishes: bool,
    /// The content that is on its way.
    pub(super) incoming: Option<Box<IncomingContent>>,
    pub(super) unacked: Unacked,
    pub(super) next_tag: u64,
    /// Consumers by their tags.
    pub(super) consumers: BTreeMap<Box<[u8]>, ConsumerId>,
    /// The one of them that takes direct replies.
    pub(super) replies: Option<Replies>,
    /// The window of consumers that come; 0 for none.
    pub(super) prefetch: u16,
    /// The window that all consumers share.
    pub(super) limit: Arc<ChannelLimit>,
    /// The name of the queue declared last, which an empty name stands for.
    pub(super) last_queue: Option<Arc<str>>,
    pub(super) held: DeferredReplies,
    _places: Vec<Permit>,
}

impl Channel {
    pub(super) fn new(number: u16, places: Vec<Permit>) -> Self {
        Self {
            number,
            mode: Mode::Plain,
            publishes: false,
            incoming: None,
            unacked: Unacked::new(),
            next_tag: 1,
            consumers: BTreeMap::new(),
            replies: None,
            prefetch: 0,
            limit: ChannelLimit::new(),
            last_queue: None,
            held: DeferredReplies::default(),
            _places: places,
        }
    }

    /// Any method but publishes and acknowledgements. Everything that the read brought before it
    /// has taken effect.
    pub(super) fn handle_method(
        &mut self,
        link: &mut ConnectionState,
        method: AMQPClass,
    ) -> Result<(), AmqpError> {
        match method {
            AMQPClass::Basic(method) => self.handle_basic(link, method),
            AMQPClass::Exchange(method) => self.handle_exchange(link, method),
            AMQPClass::Queue(method) => self.handle_queue(link, method),
            AMQPClass::Tx(method) => self.handle_tx(link, &method),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => self.select_confirms(link, &select),
            AMQPClass::Channel(amqp::AMQPMethod::Flow(flow)) => self.flow(link, &flow),
            AMQPClass::Channel(amqp::AMQPMethod::Open(_)) => Err(AmqpError::ChannelOpen),
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                let ok = access::AMQPMethod::RequestOk(access::RequestOk {});
                self.reply(link, &AMQPClass::Access(ok));
                Ok(())
            }
            AMQPClass::Access(_)
            | AMQPClass::Channel(_)
            | AMQPClass::Confirm(_)
            | AMQPClass::Connection(_) => Err(AmqpError::UnknownMethod),
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
        if let Some(tx) = self.mode.transaction() {
            let runs = if multiple { self.unacked.len() } else { 1 };
            blocking::run_many(runs, || self.unacked.take(tag, multiple, |part| tx.settle(part, fate)))
                .map_err(unknown)?;
            return self.check_transaction(link);
        }
        if self.limit.is_set() {
            link.eased.insert(self.number);
        }
        let (unacked, settles) = (&mut self.unacked, &mut link.batch.acks);
        let runs = if multiple { unacked.len() } else { 1 };
        blocking::run_many(runs, || {
            unacked.take(tag, multiple, |part| settles.add(&part.run.queue, fate, part.settled))
        })
        .map_err(unknown)
    }

    /// confirm.select
    fn select_confirms(
        &mut self,
        link: &mut ConnectionState,
        select: &confirm::Select,
    ) -> Result<(), AmqpError> {
        match self.mode {
            Mode::Transaction(_) => return Err(AmqpError::ConfirmAfterTx),
            Mode::Plain => self.mode = Mode::Confirm(Confirms::default()),
            Mode::Confirm(_) => {}
        }
        if !select.nowait {
            self.reply(link, &AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})));
        }
        Ok(())
    }

    /// channel.flow
    fn flow(&mut self, link: &mut ConnectionState, flow: &amqp::Flow) -> Result<(), AmqpError> {
        if !flow.active {
            return Err(AmqpError::FlowStop);
        }
        self.reply(link, &AMQPClass::Channel(amqp::AMQPMethod::FlowOk(amqp::FlowOk { active: true })));
        Ok(())
    }

    /// A consumer is there no more; which one the tag stood for.
    pub(super) fn forget_consumer(&mut self, tag: &[u8]) -> Option<ConsumerId> {
        let id = self.consumers.remove(tag)?;
        self.replies.take_if(|replies| replies.consumer == id);
        Some(id)
    }

    pub(super) fn reply(&mut self, link: &mut ConnectionState, method: &AMQPClass) {
        encode::method(self.held.out(&mut link.output).own(), self.number, method);
    }

    /// What the channel says from now on waits until `ticket` is durable.
    pub(super) fn hold(&mut self, link: &mut ConnectionState, ticket: Ticket) {
        if ticket > link.durable() {
            self.held.hold(ticket);
            link.wait_for(self.number, ticket);
        }
    }

    /// Everything published so far is durable with `ticket`.
    pub(super) fn staged(&mut self, ticket: Ticket) {
        if let Mode::Confirm(confirms) = &mut self.mode {
            confirms.staged(ticket);
        }
    }

    /// A queue refused these publishes.
    pub(super) fn refused(&mut self, numbers: RangeInclusive<u64>) {
        if let Mode::Confirm(confirms) = &mut self.mode {
            confirms.refuse(numbers);
        }
    }

    /// Answers the publishes that are on disk or refused.
    pub(super) fn confirm(&mut self, link: &mut ConnectionState, durable: Ticket) {
        let Mode::Confirm(confirms) = &mut self.mode else { return };
        confirms.answer(durable, |Answer { verdict, tag, multiple, count }| {
            let out = self.held.out(&mut link.output).own();
            match verdict {
                Verdict::Taken => {
                    link.tally.confirmed += count;
                    encode::ack(out, self.number, tag, multiple);
                }
                // `requeue` means nothing here; RabbitMQ sets it.
                Verdict::Refused => encode::nack(out, self.number, tag, multiple, true),
            }
        });
    }

    /// The ticket that the channel waits for to send its confirms.
    pub(super) fn awaits(&self) -> Option<Ticket> {
        match &self.mode {
            Mode::Confirm(confirms) => confirms.awaits(),
            Mode::Plain | Mode::Transaction(_) => None,
        }
    }
}
