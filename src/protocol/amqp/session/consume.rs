//! Consumers and everything else that asks for messages: basic.qos, consume, cancel, get, recover.

use super::channel::Channel;
use super::channel_output::ChannelOutput;
use super::connection_state::{ConnectionState, PendingGet};
use super::consumers::Consumers;
use super::declare::LastQueue;
use super::deliver::Deliveries;
use super::replies;
use super::stream;
use crate::arguments::{QueueType, Requeue, consumer_priority, consumer_timeout};
use crate::auth::permission::Right;
use crate::blocking;
use crate::broker::Settlement;
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::fields;
use crate::queue::mailbox::Mail;
use crate::queue::{Consumer, Queue, Reading};
use amq_protocol::protocol::{AMQPClass, basic};

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

/// The methods of class basic that are not hot.
pub(super) fn handle_basic(
    channel: &mut Channel,
    link: &mut ConnectionState,
    method: basic::AMQPMethod,
) -> Result<(), AmqpError> {
    use basic::AMQPMethod as M;
    let Channel { out, consumers, deliveries, last_queue, .. } = channel;
    match method {
        M::Qos(qos) => {
            consumers.set_prefetch(link, &qos);
            out.reply(link, &AMQPClass::Basic(M::QosOk(basic::QosOk {})));
            Ok(())
        }
        M::Consume(asked) => consume((out, consumers, last_queue), link, &asked),
        M::Cancel(asked) => {
            cancel((out, consumers, deliveries), link, asked);
            Ok(())
        }
        M::Get(asked) => {
            let name = last_queue.name(&asked.queue)?;
            replies::check_get(link, &name)?;
            link.client.check_queue(Right::Read, &name)?;
            let queue = link.client.vhost.queue(&name, link.client.id)?;
            stream::refuse(&queue, "basic.get")?;
            check_get(&queue)?;
            deliveries.check_room(link)?;
            let get = PendingGet { channel: out.number, queue, no_ack: asked.no_ack };
            deliveries.get(out, link, get);
            Ok(())
        }
        M::Recover(asked) => {
            recover((consumers, deliveries), link, asked.requeue)?;
            out.reply(link, &AMQPClass::Basic(M::RecoverOk(basic::RecoverOk {})));
            Ok(())
        }
        M::RecoverAsync(asked) => recover((consumers, deliveries), link, asked.requeue),
        _ => Err(AmqpError::UnknownMethod),
    }
}

/// basic.consume
fn consume(
    (out, consumers, last_queue): (&mut ChannelOutput, &mut Consumers, &LastQueue),
    link: &mut ConnectionState,
    consume: &basic::Consume,
) -> Result<(), AmqpError> {
    let name = last_queue.name(&consume.queue)?;
    if replies::is_special(&name) {
        replies::check_consume(link, &name)?;
        return consumers.consume_replies(out, link, consume);
    }
    link.client.check_queue(Right::Read, &name)?;
    let queue = link.client.vhost.queue(&name, link.client.id)?;
    let (consumer, tag) = consumers.new_consumer(out.number, link, (consume, &queue.on()))?;
    let (kind, given) = (queue.settings.kind, consume.consumer_tag.as_str());
    let arguments = fields::read(&consume.arguments);
    let reading = Reading::parse((kind, queue.on()), given, &arguments, (link.now, link.broker.clock()))?;
    let on = format!("consumer '{tag}' of {}", queue.on());
    link.client.vhost.tell_of_misnamed(&on, &arguments);
    stream::check_consumer(consumers, &queue, consume)?;
    let priority = consumer_priority(&arguments);
    let timeout_ms = consumer_timeout(&arguments);
    let consumer = Consumer { exclusive: consume.exclusive, priority, reading, ..consumer };
    let id = consumer.id;
    let timeout_ms = timeout_ms.or(queue.consumer_timeout_ms());
    consumers.subscribe(out, link, consume, (consumer, tag), queue)?;
    if let Some(subscription) = link.inbox.subscriptions.get_mut(&id) {
        subscription.timeout_ms = timeout_ms.unwrap_or(u64::MAX);
    }
    Ok(())
}

/// basic.cancel: what was dealt to the consumer is delivered, then nothing more.
fn cancel(
    (out, consumers, deliveries): (&mut ChannelOutput, &mut Consumers, &mut Deliveries),
    link: &mut ConnectionState,
    cancel: basic::Cancel,
) {
    if let Some(id) = consumers.forget(cancel.consumer_tag.as_str().as_bytes()) {
        if let Some(subscription) = link.inbox.subscriptions.get(&id) {
            link.broker.cancel(&subscription.queue, id, link.now);
        }
        link.inbox.take();
        for mail in std::mem::take(&mut link.inbox.backlog) {
            match mail {
                Mail::Deliver(run) if run.consumer == id => {
                    let rest = deliveries.deliver(out, link, run, usize::MAX);
                    debug_assert!(rest.is_none(), "there is room for all of it");
                }
                Mail::Cancelled(gone) if gone == id => {}
                Mail::Deliver(_) | Mail::Cancelled(_) | Mail::Retry => link.inbox.backlog.push_back(mail),
            }
        }
        link.inbox.subscriptions.remove(&id);
        consumers.share_room(link);
    }
    if !cancel.nowait {
        let ok = basic::CancelOk { consumer_tag: cancel.consumer_tag };
        out.reply(link, &AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)));
    }
}

/// basic.recover: everything outstanding goes back to its queue.
fn recover(
    (consumers, deliveries): (&Consumers, &mut Deliveries),
    link: &mut ConnectionState,
    requeue: bool,
) -> Result<(), AmqpError> {
    if !requeue {
        return Err(AmqpError::RecoverWithoutRequeue);
    }
    let settles = &mut link.batch.acks;
    blocking::run_many(deliveries.unacked.len(), || {
        deliveries.unacked.take_all(|part| {
            settles.add(&part.run.queue, Settlement::Requeue(Requeue::Declined), part.settled);
        });
    });
    link.batch.flush_acks(&link.broker, link.now);
    consumers.share_room(link);
    Ok(())
}

/// The one consumer that a quorum queue serves at a time is not passed by; a classic queue allows
/// it.
fn check_get(queue: &Queue) -> Result<(), AmqpError> {
    if queue.settings.kind == QueueType::Quorum && queue.settings.single_active {
        return Err(AmqpError::GetPastSingleActive(queue.on()));
    }
    Ok(())
}
