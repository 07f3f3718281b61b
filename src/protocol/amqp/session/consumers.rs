//! The consumers of one channel, and what they share.

use super::channel_output::ChannelOutput;
use super::connection_state::ConnectionState;
use crate::client::inbox::Subscription;
use crate::error::Resource;
use crate::ids::ConsumerId;
use crate::message::properties::{self, Properties};
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::fields;
use crate::queue::reply::REPLY_TO;
use crate::queue::{ChannelLimit, Consumer, Label, Queue};
use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::ShortString;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The consumers of one channel, and what they share.
pub(super) struct Consumers {
    by_tag: BTreeMap<Box<[u8]>, ConsumerId>,
    /// The one of them that takes direct replies.
    replies: Option<ReplyConsumer>,
    /// The window of consumers that come; 0 for none.
    pub(super) prefetch: u16,
    /// The window that all consumers share.
    pub(super) limit: Arc<ChannelLimit>,
}

/// The consumer of direct replies that a channel has.
struct ReplyConsumer {
    id: ConsumerId,
    /// The name of its queue.
    queue: Arc<str>,
}

impl Consumers {
    /// None.
    pub(super) fn new() -> Self {
        Self { by_tag: BTreeMap::new(), replies: None, prefetch: 0, limit: ChannelLimit::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_tag.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ConsumerId> {
        self.by_tag.values().copied()
    }

    /// The tag of a consumer.
    pub(super) fn tag_of(&self, id: ConsumerId) -> Option<&[u8]> {
        self.by_tag.iter().find(|(_, of)| **of == id).map(|(tag, _)| &**tag)
    }

    /// A consumer is there no more; which one the tag stood for.
    pub(super) fn forget(&mut self, tag: &[u8]) -> Option<ConsumerId> {
        let id = self.by_tag.remove(tag)?;
        self.replies.take_if(|replies| replies.id == id);
        Some(id)
    }

    /// basic.qos: a window for each consumer that comes, or one for all of the channel together.
    pub(super) fn set_prefetch(&mut self, link: &mut ConnectionState, qos: &basic::Qos) {
        if qos.global {
            self.limit.set(qos.prefetch_count.into());
            self.share_room(link);
        } else {
            self.prefetch = qos.prefetch_count;
        }
    }

    /// The window that the consumers share may have room: the queues that wait for it deal.
    pub(super) fn share_room(&self, link: &ConnectionState) {
        link.broker.take_turns(&self.limit, link.now);
    }

    /// A consumer of that queue with nothing special about it, and its tag.
    pub(super) fn new_consumer(
        &self,
        channel: u16,
        link: &ConnectionState,
        (consume, on): (&basic::Consume, &Resource),
    ) -> Result<(Consumer, String), AmqpError> {
        let limits = link.broker.limits().get();
        let max = limits.consumers_per_channel_max;
        if self.by_tag.len() >= max as usize {
            return Err(AmqpError::ConsumerLimit { max });
        }
        let id = link.broker.new_consumer_id();
        let tag = consumer_tag(&consume.consumer_tag, id);
        if self.by_tag.contains_key(tag.as_bytes()) {
            return Err(AmqpError::ConsumerTagInUse(tag));
        }
        let label = Label {
            connection: link.client.id,
            channel,
            tag: tag.as_bytes().into(),
            prefetch: self.prefetch,
            arguments: link.client.vhost.keep_arguments(on, &fields::read(&consume.arguments))?,
        };
        let consumer = Consumer {
            no_ack: consume.no_ack,
            prefetch: if self.prefetch == 0 { limits.unacked_max } else { self.prefetch.into() },
            label: Some(Box::new(label)),
            ..Consumer::new(id, &link.inbox.mailbox, Arc::clone(&self.limit))
        };
        Ok((consumer, tag))
    }

    /// Subscribes to a queue that the client may use.
    pub(super) fn subscribe(
        &mut self,
        out: &mut ChannelOutput,
        link: &mut ConnectionState,
        consume: &basic::Consume,
        (consumer, tag): (Consumer, String),
        queue: Arc<Queue>,
    ) -> Result<(), AmqpError> {
        let (id, no_ack, channel) = (consumer.id, consumer.no_ack, out.number);
        link.broker.subscribe(&queue, consumer, link.now)?;
        let key: Box<[u8]> = tag.as_bytes().into();
        let tag_key = key.clone();
        let subscription =
            Subscription { channel, tag: tag_key, queue, no_ack, uncredited: 0, timeout_ms: u64::MAX };
        link.inbox.subscriptions.insert(id, subscription);
        self.by_tag.insert(key, id);
        if !consume.nowait {
            let ok = basic::ConsumeOk { consumer_tag: tag.into() };
            out.reply(link, &AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)));
        }
        Ok(())
    }

    /// Subscribes the one consumer that takes direct replies.
    pub(super) fn consume_replies(
        &mut self,
        out: &mut ChannelOutput,
        link: &mut ConnectionState,
        consume: &basic::Consume,
    ) -> Result<(), AmqpError> {
        let on = Resource::queue(&link.client.vhost.name, consume.queue.as_str());
        let (consumer, tag) = self.new_consumer(out.number, link, (consume, &on))?;
        if !consume.no_ack {
            return Err(AmqpError::ReplyConsumerAcks);
        }
        if self.replies.is_some() {
            return Err(AmqpError::ReplyConsumerSet);
        }
        let queue = link.client.vhost.reply_queues().open(link.client.id);
        self.replies = Some(ReplyConsumer { id: consumer.id, queue: Arc::clone(&queue.name) });
        self.subscribe(out, link, consume, (consumer, tag), queue)
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
        let reply_to = Some(replies.queue.as_bytes());
        properties::encode(&Properties { reply_to, ..*properties }, &mut raw);
        Ok(Some(raw))
    }
}

/// The client's tag, or one that no other consumer has.
fn consumer_tag(given: &ShortString, id: ConsumerId) -> String {
    if given.as_str().is_empty() { format!("amq.ctag-{}", id.0) } else { given.to_string() }
}
