//! Deliveries that were not acknowledged in time (RabbitMQ: consumers.md, "Delivery Acknowledgement
//! Timeout").
//!
//! Each run of deliveries knows when it is due; channels and the connection know when the first may
//! be, so that nothing is looked at before. What is overdue goes back to its queue and does not
//! count as a failed delivery. Its consumer is cancelled; where the client could not be told, or
//! nobody is there to be cancelled, the channel is closed. An acknowledgement that comes too late
//! is taken and changes nothing.

use super::Fault;
use super::channel::Channel;
use super::channels::Channels;
use super::connection_state::ConnectionState;
use super::deadline::Deadline;
use crate::arguments::Requeue;
use crate::blocking;
use crate::client::unacked::Unacked;
use crate::ids::{ConsumerId, QueueId};
use crate::protocol::amqp::fault::AmqpError;
use crate::queue::{Queue, Settled};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::warn;

/// What was overdue, by queue.
#[derive(Default)]
struct Overdue {
    /// They can be cancelled.
    consumers: BTreeSet<ConsumerId>,
    queues: BTreeMap<QueueId, (Arc<Queue>, Vec<Settled>)>,
    /// How long was waited for what nobody can be cancelled for.
    unexcused_ms: Option<u64>,
}

/// Takes back what is overdue; `reads` says whether the client is read now.
pub(super) fn take_back(
    channels: &mut Channels,
    link: &mut ConnectionState,
    reads: bool,
) -> Result<(), Fault> {
    let now_ms = link.now.mono_ms;
    if !link.overdue.is_due(now_ms) {
        return Ok(());
    }
    if !reads {
        link.overdue.put_off(now_ms);
        return Ok(());
    }
    link.overdue = Deadline::NEVER;
    for number in channels.numbers() {
        let Some(channel) = channels.get(number) else { continue };
        if channel.deliveries.unacked.due_ms() <= now_ms
            && let Err(error) =
                blocking::run_many(channel.deliveries.unacked.len(), || take_back_of(channel, link))
        {
            channels.fail(link, number, error, (0, 0))?;
        }
        if let Some(channel) = channels.get(number) {
            link.overdue.bring_forward(channel.deliveries.unacked.due_ms());
        }
    }
    Ok(())
}

fn take_back_of(channel: &mut Channel, link: &mut ConnectionState) -> Result<(), AmqpError> {
    let overdue = take_overdue(&mut channel.deliveries.unacked, link);
    for &id in &overdue.consumers {
        let Some(subscription) = link.inbox.subscriptions.get(&id) else { continue };
        let (queue, timeout_ms) = (&subscription.queue, subscription.timeout_ms);
        warn!(peer = %link.client.peer.address, user = link.client.user, channel = channel.out.number,
            queue = %queue.name, timeout_ms, "cancelling a consumer that did not acknowledge in time");
        link.broker.leave(queue, id, link.now);
        let tag = subscription.tag.clone();
        channel.consumers.forget(&tag);
        if link.capabilities.consumer_cancel_notify {
            channel.deliveries.unacked.excuse(id);
        }
        channel.out.tell_cancelled(link, &tag);
    }
    link.inbox.give_back((&link.broker, &mut link.batch.budget), &overdue.consumers, link.now);
    for (queue, settled) in overdue.queues.into_values() {
        link.broker.put_back(&queue, &settled, Requeue::Overdue, link.now);
    }
    channel.consumers.share_room(link);
    overdue
        .unexcused_ms
        .map_or(Ok(()), |timeout_ms| Err(AmqpError::AckTimeout { channel: channel.out.number, timeout_ms }))
}

/// What is overdue now, taken out of what is outstanding.
fn take_overdue(unacked: &mut Unacked, link: &ConnectionState) -> Overdue {
    let mut found = Overdue::default();
    let capable = link.capabilities.consumer_cancel_notify;
    unacked.take_overdue(link.now.mono_ms, |run, settled| {
        let subscription = run.consumer.and_then(|id| link.inbox.subscriptions.get(&id));
        if subscription.is_some() {
            found.consumers.extend(run.consumer);
        }
        let cancelled = capable && subscription.is_some();
        if !run.excused && !cancelled {
            let timeout_ms = match subscription {
                Some(subscription) => Some(subscription.timeout_ms),
                None => run.queue.consumer_timeout_ms(),
            };
            found.unexcused_ms = found.unexcused_ms.or(timeout_ms).or(Some(0));
        }
        let new = || (Arc::clone(&run.queue), Vec::new());
        found.queues.entry(run.queue.id).or_insert_with(new).1.push(settled);
    });
    found
}
