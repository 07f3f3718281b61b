//! What a new secret changes: a consumer goes on when its user loses read on the queue, but only
//! until the client renews its secret. Then those that the user could not start any more are
//! cancelled (RabbitMQ: `rabbit_channel:update_user_state`).
//!
//! What such a consumer holds unacknowledged stays with the channel, which may settle it; what was
//! dealt to it and not sent goes back to its queue. The consumer of a channel's direct replies
//! never needed a permission.

use super::channel::Channel;
use super::channels::Channels;
use super::connection_state::ConnectionState;
use super::replies;
use crate::auth::permission::Right;
use crate::ids::ConsumerId;
use std::collections::BTreeSet;
use tracing::warn;

/// Cancels the consumers of queues that the client may not read any more.
pub(super) fn cancel_unpermitted(channels: &mut Channels, link: &mut ConnectionState) {
    let grants = link.client.grants();
    let mut lost: Vec<(u16, ConsumerId)> = Vec::new();
    for (&id, subscription) in &link.inbox.subscriptions {
        let queue = &subscription.queue;
        if !replies::is_special(&queue.name) && grants.check(Right::Read, &queue.on()).is_err() {
            lost.push((subscription.channel, id));
        }
    }
    for &(number, id) in &lost {
        if let Some(channel) = channels.get(number) {
            cancel(channel, link, id);
        }
    }
    let ids: BTreeSet<ConsumerId> = lost.iter().map(|&(_, id)| id).collect();
    link.inbox.give_back((&link.broker, &mut link.batch.budget), &ids, link.now);
    // What went back no longer fills the window that the consumers of a channel share.
    for number in lost.iter().map(|&(number, _)| number).collect::<BTreeSet<u16>>() {
        if let Some(channel) = channels.get(number) {
            channel.consumers.share_room(link);
        }
    }
}

fn cancel(channel: &mut Channel, link: &mut ConnectionState, id: ConsumerId) {
    let Some(subscription) = link.inbox.subscriptions.get(&id) else { return };
    let (queue, tag) = (&subscription.queue, subscription.tag.clone());
    warn!(peer = %link.client.peer.address, user = link.client.user, channel = channel.out.number,
        queue = %queue.name, "cancelling a consumer whose user has lost the permission to read the queue");
    link.broker.leave(queue, id, link.now);
    channel.consumers.forget(&tag);
    channel.out.tell_cancelled(link, &tag);
}
