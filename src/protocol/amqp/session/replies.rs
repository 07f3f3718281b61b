//! Direct reply-to: replies go straight to the channel that asked (RabbitMQ: direct-reply-to.md).
//!
//! A channel that consumes from
//! [`REPLY_TO`] gets a reply queue of its own, see [`crate::broker::vhost::replies`]. What it
//! publishes with that name as `reply-to` leaves with the name of its queue instead.

use super::channel::Channel;
use super::connection_state::ConnectionState;
use crate::ids::{ConsumerId, Ticket};
use crate::message::properties::{self, Properties};
use crate::protocol::amqp::fault::AmqpError;
use crate::queue::reply::{REPLY_TO, is_reply_queue};
use amq_protocol::protocol::{AMQPClass, basic, queue};
use amq_protocol::types::ShortString;
use std::sync::Arc;

/// The consumer of replies that a channel has.
pub(super) struct Replies {
    pub(super) consumer: ConsumerId,
    /// The name of its queue.
    name: Arc<str>,
}

/// Whether a name is one that direct reply-to gives a meaning to.
pub(super) fn is_special(name: &str) -> bool {
    name == REPLY_TO || is_reply_queue(name)
}

impl Channel {
    /// basic.consume of a name that is special.
    pub(super) fn consume_replies(
        &mut self,
        link: &mut ConnectionState,
        consume: &basic::Consume,
        name: &str,
    ) -> Result<(), AmqpError> {
        if is_reply_queue(name) {
            link.client.vhost.reply_queues().find(name)?;
            let on = link.client.vhost.on_queue(name);
            return Err(AmqpError::OtherReplyQueue(on));
        }
        let (consumer, tag) = self.new_consumer(link, consume)?;
        if !consume.no_ack {
            return Err(AmqpError::ReplyConsumerAcks);
        }
        if self.replies.is_some() {
            return Err(AmqpError::ReplyConsumerSet);
        }
        let queue = link.client.vhost.reply_queues().open(link.client.id);
        self.replies = Some(Replies { consumer: consumer.id, name: Arc::clone(&queue.name) });
        self.subscribe(link, consume, tag, queue, consumer)
    }

    /// queue.declare of a name that is special asks whether replies can be sent there; it makes
    /// nothing.
    pub(super) fn declare_replies(
        &mut self,
        link: &mut ConnectionState,
        name: &str,
        nowait: bool,
    ) -> Result<(), AmqpError> {
        if is_reply_queue(name) {
            link.client.vhost.reply_queues().find(name)?;
        }
        self.last_queue = Some(name.into());
        let ok = queue::DeclareOk { queue: ShortString::from(name), message_count: 0, consumer_count: 1 };
        self.answer(link, Ticket(0), nowait, &AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)));
        Ok(())
    }

    /// The properties with the name of the channel's reply queue, when they ask for direct replies.
    #[inline]
    pub(super) fn name_reply_queue(&self, properties: &Properties<'_>) -> Result<Option<Vec<u8>>, AmqpError> {
        if properties.reply_to != Some(REPLY_TO.as_bytes()) {
            return Ok(None);
        }
        let Some(replies) = &self.replies else {
            return Err(AmqpError::NoReplyConsumer);
        };
        let mut raw = Vec::new();
        let reply_to = Some(replies.name.as_bytes());
        properties::encode(&Properties { reply_to, ..*properties }, &mut raw);
        Ok(Some(raw))
    }
}

/// Refuses basic.get from a reply queue.
///
/// # Errors
/// 540, or 404 when it is gone.
pub(super) fn check_get(link: &ConnectionState, name: &str) -> Result<(), AmqpError> {
    if is_reply_queue(name) {
        link.client.vhost.reply_queues().find(name)?;
        let on = link.client.vhost.on_queue(name);
        return Err(AmqpError::GetFromReplyQueue(on));
    }
    Ok(())
}
