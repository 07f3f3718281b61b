//! What a client does, for the firehose of its vhost: see [`crate::broker::trace`].

use super::connection_state::ConnectionState;
use super::shown::{acquired, shown};
use crate::blocking;
use crate::broker::trace::{self, Moment, TracedClient};
use crate::client::budget::COPY;
use crate::message::Message;
use crate::queue::Queue;
use crate::queue::mailbox::DeliveryRun;
use std::sync::Arc;

fn trace(link: &ConnectionState, channel: u16, message: (&Message<'_>, &[u8]), moment: Moment<'_>) {
    let client = &link.client;
    let connection = client.handle.as_ref().map(|handle| handle.client().facts.name());
    let traced = TracedClient { connection: &connection.unwrap_or_default(), user: &client.user, channel };
    trace::copy(&link.broker, &client.vhost, message, traced, moment, link.now);
}

/// A message was published, to the queues of the current route.
#[cold]
pub(super) fn published(link: &mut ConnectionState, channel: u16, message: &Message<'_>) {
    link.batch.budget.take(COPY);
    let route = Arc::clone(link.batch.routes.current());
    trace(link, channel, (message, message.properties), Moment::Published(&route.queues));
}

/// The messages of `run` from record `first` on were delivered, up to where it begins now.
#[cold]
pub(super) fn deliveries(link: &ConnectionState, channel: u16, run: &DeliveryRun, first: u32) {
    let Some(subscription) = link.inbox.subscriptions.get(&run.consumer) else { return };
    let indices = first..run.range.start;
    // Small messages may be many in one go.
    blocking::run_many(indices.len().saturating_mul(COPY), || {
        for index in indices {
            let message = run.block.message(index);
            delivery(link, channel, &subscription.queue, (&message, run.deliveries), run.redelivered);
        }
    });
}

/// A message was delivered, or fetched.
#[cold]
pub(super) fn delivery(
    link: &ConnectionState,
    channel: u16,
    queue: &Queue,
    (message, deliveries): (&Message<'_>, u32),
    redelivered: bool,
) {
    let properties = shown(message, deliveries, acquired(queue, redelivered, deliveries));
    let moment = Moment::Delivered { queue: &queue.name, redelivered };
    trace(link, channel, (message, &properties), moment);
}
