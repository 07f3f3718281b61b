//! A channel's way out: its frames, in order, some of which wait for the disk.

use super::connection_state::ConnectionState;
use super::deferred_replies::DeferredReplies;
use crate::broker::counted::ChannelEvents;
use crate::ids::Ticket;
use crate::protocol::amqp::wire::encode;
use crate::protocol::amqp::wire::output::Output;
use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::ShortString;
use std::sync::Arc;

/// Where a channel's frames go.
pub(super) struct ChannelOutput {
    /// The channel's number.
    pub(super) number: u16,
    /// What it has counted; operators look at it.
    pub(super) events: Arc<ChannelEvents>,
    pub(super) held: DeferredReplies,
}

impl ChannelOutput {
    pub(super) fn new(number: u16, events: Arc<ChannelEvents>) -> Self {
        Self { number, events, held: DeferredReplies::default() }
    }

    /// Where the channel's next frame belongs.
    #[inline]
    pub(super) fn frames<'a>(&'a mut self, output: &'a mut Output) -> &'a mut Output {
        self.held.out(output)
    }

    pub(super) fn reply(&mut self, link: &mut ConnectionState, method: &AMQPClass) {
        encode::method(self.held.out(&mut link.output).own(), self.number, method);
    }

    /// Replies once `ticket` is durable; with `nowait` not at all.
    pub(super) fn answer(
        &mut self,
        link: &mut ConnectionState,
        ticket: Ticket,
        nowait: bool,
        ok: &AMQPClass,
    ) {
        if !nowait {
            self.hold(link, ticket);
            self.reply(link, ok);
        }
    }

    /// What the channel says from now on waits until `ticket` is durable.
    pub(super) fn hold(&mut self, link: &mut ConnectionState, ticket: Ticket) {
        if ticket > link.durable() {
            self.held.hold(ticket);
            link.wait_for(self.number, ticket);
        }
    }

    /// Tells a client that understands it that a consumer is no more (RabbitMQ:
    /// consumer-cancel.md).
    pub(super) fn tell_cancelled(&mut self, link: &mut ConnectionState, tag: &[u8]) {
        if link.capabilities.consumer_cancel_notify {
            let consumer_tag = ShortString::from(String::from_utf8_lossy(tag).into_owned());
            let cancel = basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag, nowait: true });
            self.reply(link, &AMQPClass::Basic(cancel));
        }
    }
}
