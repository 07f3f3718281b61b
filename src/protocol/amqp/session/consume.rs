//! Consumers and everything else that asks for messages: basic.qos, consume, cancel, get, recover.

use super::channel::Channel;
use super::connection::Connection;
use super::connection_state::{ConnectionState, PendingGet};
use super::deliver::{acquired, shown};
use super::replies;
use super::stream;
use crate::arguments::{QueueType, Requeue, consumer_priority, consumer_timeout};
use crate::auth::permission::Right;
use crate::blocking;
use crate::broker::Settlement;
use crate::client::inbox::Subscription;
use crate::client::unacked::UnackedRun;
use crate::ids::ConsumerId;
use crate::message::table;
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::encode::{self, Content, Delivery};
use crate::protocol::amqp::wire::fields;
use crate::queue::mailbox::Mail;
use crate::queue::{Consumer, Got, Label, Queue, Reading};
use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::ShortString;
use std::sync::Arc;

/// `prefetch-size`, which amq-protocol does not show, has to be 0.
pub(super) fn check_qos(payload: &[u8]) -> Result<(), AmqpError> {
    match payload {
        [0, 60, 0, 10, a, b, c, d, ..] => match u32::from_be_bytes([*a, *b, *c, *d]) {
            0 => Ok(()),
            size => Err(AmqpError::PrefetchSize(size)),
        },
        _ => Ok(()),
    }
}

impl Channel {
    /// The methods of class basic that are not hot.
    pub(super) fn handle_basic(
        &mut self,
        link: &mut ConnectionState,
        method: basic::AMQPMethod,
    ) -> Result<(), AmqpError> {
        use basic::AMQPMethod as M;
        match method {
            M::Qos(qos) => {
                self.set_prefetch(link, &qos);
                self.reply(link, &AMQPClass::Basic(M::QosOk(basic::QosOk {})));
                Ok(())
            }
            M::Consume(consume) => self.consume(link, &consume),
            M::Cancel(cancel) => {
                self.cancel(link, cancel);
                Ok(())
            }
            M::Get(get) => {
                let name = self.queue_name(&get.queue)?;
                replies::check_get(link, &name)?;
                link.client.check_queue(Right::Read, &name)?;
                let queue = self.queue(link, &get.queue)?;
                stream::refuse(&queue, "basic.get")?;
                check_get(&queue)?;
                self.check_unacked(link)?;
                self.get(link, PendingGet { channel: self.number, queue, no_ack: get.no_ack });
                Ok(())
            }
            M::Recover(recover) => {
                self.recover(link, recover.requeue)?;
                self.reply(link, &AMQPClass::Basic(M::RecoverOk(basic::RecoverOk {})));
                Ok(())
            }
            M::RecoverAsync(recover) => self.recover(link, recover.requeue),
            _ => Err(AmqpError::UnknownMethod),
        }
    }

    /// basic.qos: a window for each consumer that comes, or one for all of the channel together.
    fn set_prefetch(&mut self, link: &mut ConnectionState, qos: &basic::Qos) {
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

    fn consume(&mut self, link: &mut ConnectionState, consume: &basic::Consume) -> Result<(), AmqpError> {
        let name = self.queue_name(&consume.queue)?;
        if replies::is_special(&name) {
            return self.consume_replies(link, consume, &name);
        }
        link.client.check_queue(Right::Read, &name)?;
        let queue = link.client.vhost.queue(&name, link.client.id)?;
        let (consumer, tag) = self.new_consumer(link, consume)?;
        let (kind, given) = (queue.settings.kind, consume.consumer_tag.as_str());
        let arguments = fields::read(&consume.arguments);
        let reading = Reading::parse((kind, queue.on()), given, &arguments, (link.now, link.broker.clock()))?;
        link.client.vhost.tell_of_misnamed(&queue.on(), &arguments);
        self.check_stream_consumer(&queue, consume)?;
        let priority = consumer_priority(&arguments);
        let timeout_ms = consumer_timeout(&arguments);
        let consumer = Consumer { exclusive: consume.exclusive, priority, reading, ..consumer };
        let id = consumer.id;
        let timeout_ms = timeout_ms.or(queue.consumer_timeout_ms());
        self.subscribe(link, consume, tag, queue, consumer)?;
        if let Some(subscription) = link.inbox.subscriptions.get_mut(&id) {
            subscription.timeout_ms = timeout_ms.unwrap_or(u64::MAX);
        }
        Ok(())
    }

    /// A consumer with nothing special about it, and its tag.
    pub(super) fn new_consumer(
        &self,
        link: &ConnectionState,
        consume: &basic::Consume,
    ) -> Result<(Consumer, String), AmqpError> {
        let limits = &link.broker.settings().limits;
        let max = limits.consumers_per_channel_max;
        if self.consumers.len() >= max as usize {
            return Err(AmqpError::ConsumerLimit { max });
        }
        let id = link.broker.next_consumer();
        let tag = consumer_tag(&consume.consumer_tag, id);
        if self.consumers.contains_key(tag.as_bytes()) {
            return Err(AmqpError::ConsumerTagInUse(tag));
        }
        let mut arguments = Vec::new();
        table::encode(&fields::read(&consume.arguments), &mut arguments);
        let label = Label {
            connection: link.client.id,
            channel: self.number,
            tag: tag.as_bytes().into(),
            prefetch: self.prefetch,
            arguments: arguments.into(),
        };
        let consumer = Consumer {
            id,
            mailbox: Arc::clone(&link.inbox.mailbox),
            no_ack: consume.no_ack,
            prefetch: if self.prefetch == 0 { limits.unacked_max } else { self.prefetch.into() },
            exclusive: false,
            priority: 0,
            channel: Arc::clone(&self.limit),
            label: Some(Box::new(label)),
            reading: None,
        };
        Ok((consumer, tag))
    }

    /// Subscribes to a queue that the client may use.
    pub(super) fn subscribe(
        &mut self,
        link: &mut ConnectionState,
        consume: &basic::Consume,
        tag: String,
        queue: Arc<Queue>,
        consumer: Consumer,
    ) -> Result<(), AmqpError> {
        let (id, no_ack, channel) = (consumer.id, consumer.no_ack, self.number);
        link.broker.subscribe(&queue, consumer, link.now)?;
        let key: Box<[u8]> = tag.as_bytes().into();
        let tag_key = key.clone();
        let subscription =
            Subscription { channel, tag: tag_key, queue, no_ack, uncredited: 0, timeout_ms: u64::MAX };
        link.inbox.subscriptions.insert(id, subscription);
        self.consumers.insert(key, id);
        if !consume.nowait {
            let ok = basic::ConsumeOk { consumer_tag: tag.into() };
            self.reply(link, &AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)));
        }
        Ok(())
    }

    /// basic.cancel: what was dealt to the consumer is delivered, then nothing more.
    fn cancel(&mut self, link: &mut ConnectionState, cancel: basic::Cancel) {
        if let Some(id) = self.forget_consumer(cancel.consumer_tag.as_str().as_bytes()) {
            if let Some(subscription) = link.inbox.subscriptions.get(&id) {
                link.broker.cancel(&subscription.queue, id, link.now);
            }
            link.inbox.take();
            for mail in std::mem::take(&mut link.inbox.backlog) {
                match mail {
                    Mail::Deliver(run) if run.consumer == id => {
                        let rest = self.deliver(link, run, usize::MAX);
                        debug_assert!(rest.is_none(), "there is room for all of it");
                    }
                    Mail::Cancelled(gone) if gone == id => {}
                    Mail::Deliver(_) | Mail::Cancelled(_) | Mail::Retry => link.inbox.backlog.push_back(mail),
                }
            }
            link.inbox.subscriptions.remove(&id);
            self.share_room(link);
        }
        if !cancel.nowait {
            let ok = basic::CancelOk { consumer_tag: cancel.consumer_tag };
            self.reply(link, &AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)));
        }
    }

    /// Messages that are fetched without ever being acknowledged are not piled up for ever.
    fn check_unacked(&self, link: &ConnectionState) -> Result<(), AmqpError> {
        let max = link.broker.settings().limits.unacked_max;
        if self.unacked.len() >= max as usize {
            return Err(AmqpError::UnackedLimit { max });
        }
        Ok(())
    }

    /// basic.get. When the message has to be read from disk first, the session waits with
    /// everything that comes after.
    fn get(&mut self, link: &mut ConnectionState, get: PendingGet) {
        let metrics = link.broker.metrics();
        let got = link.broker.get(&get.queue, get.no_ack, &link.inbox.mailbox, link.now);
        let Got::Message { first, block, index, redelivered, deliveries, remaining } = got else {
            if matches!(got, Got::Paging) {
                link.pending_get = Some(get);
            } else {
                metrics.get_empty.add(1);
                self.reply(link, &AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})));
            }
            return;
        };
        let counter = if get.no_ack { &metrics.get_auto_ack } else { &metrics.get_manual_ack };
        counter.add(1);
        metrics.redelivered.add(u64::from(redelivered));
        let first_tag = self.next_tag;
        self.next_tag += 1;
        let message = block.message(index);
        let content = Content {
            exchange: message.exchange,
            routing_key: message.routing_key,
            properties: &shown(&message, deliveries, acquired(&get.queue, redelivered, deliveries)),
            body: message.body,
        };
        let delivery = Delivery { tag: first_tag, redelivered };
        let out = self.held.out(&mut link.output).own();
        encode::get_ok(out, self.number, link.limits.frame_max, delivery, remaining, &content);
        if link.client.vhost.is_tracing() {
            self.trace_delivery(link, &get.queue, (&message, deliveries), redelivered);
        }
        if !get.no_ack {
            let due_ms = link.due_after(get.queue.consumer_timeout_ms().unwrap_or(u64::MAX));
            let run = UnackedRun::new(first_tag, first, get.queue, None, due_ms);
            self.await_acks(link, run, 1);
        }
    }

    /// basic.recover: everything outstanding goes back to its queue.
    fn recover(&mut self, link: &mut ConnectionState, requeue: bool) -> Result<(), AmqpError> {
        if !requeue {
            return Err(AmqpError::RecoverWithoutRequeue);
        }
        let settles = &mut link.batch.acks;
        blocking::run_many(self.unacked.len(), || {
            self.unacked.take_all(|part| {
                settles.add(&part.run.queue, Settlement::Requeue(Requeue::Declined), part.settled);
            });
        });
        link.batch.flush_acks(&link.broker, link.now);
        self.share_room(link);
        Ok(())
    }
}

/// The one consumer that a quorum queue serves at a time is not passed by; a classic queue allows
/// it.
fn check_get(queue: &Queue) -> Result<(), AmqpError> {
    if queue.settings.kind == QueueType::Quorum && queue.settings.single_active {
        return Err(AmqpError::GetPastSingleActive(queue.on()));
    }
    Ok(())
}

impl Connection {
    /// The page that a `basic.get` waits for may be there.
    pub(super) fn retry_get(&mut self, link: &mut ConnectionState) {
        if let Some(get) = link.pending_get.take()
            && let Some(channel) = self.channel(get.channel)
        {
            channel.get(link, get);
        }
    }
}

/// The client's tag, or one that no other consumer has.
fn consumer_tag(given: &ShortString, id: ConsumerId) -> String {
    if given.as_str().is_empty() { format!("amq.ctag-{}", id.0) } else { given.to_string() }
}
