//! Acts upon what came for a client, as far as its output has room.

use super::channel::Channel;
use super::channels::Channels;
use super::connection_state::ConnectionState;
use crate::ids::ConsumerId;
use crate::queue::mailbox::Mail;
use std::collections::BTreeSet;

/// No delivery is encoded beyond this many bytes of output: several times what a socket takes at
/// once.
const OUTPUT_MARK: usize = 1024 * 1024;

/// Acts upon the backlog as far as the output has room.
pub(super) fn deliver(channels: &mut Channels, link: &mut ConnectionState) {
    let mut sent = BTreeSet::new();
    let mark = link.broker.unread().allowed(OUTPUT_MARK);
    link.inbox.more = false;
    while let Some(mail) = link.inbox.backlog.pop_front() {
        if link.inbox.budget.is_spent() {
            link.inbox.backlog.push_front(mail);
            link.inbox.more = true;
            break;
        }
        link.inbox.budget.take(1);
        match mail {
            Mail::Deliver(run) => {
                let id = run.consumer;
                let rest = consumer_channel(channels, link, id)
                    .and_then(|Channel { out, deliveries, .. }| deliveries.deliver(out, link, run, mark));
                sent.insert(id);
                if let Some(rest) = rest {
                    link.inbox.backlog.push_front(Mail::Deliver(rest));
                    break;
                }
            }
            Mail::Cancelled(id) => {
                if let Some(channel) = consumer_channel(channels, link, id) {
                    channel.consumer_cancelled(link, id);
                }
            }
            Mail::Retry => {
                // The page that a `basic.get` waits for may be there.
                if let Some(get) = link.pending_get.take()
                    && let Some(Channel { out, deliveries, .. }) = channels.get(get.channel)
                {
                    deliveries.get(out, link, get);
                }
            }
        }
    }
    for id in sent {
        link.inbox.credit(&link.broker, id, link.now);
    }
}

fn consumer_channel<'a>(
    channels: &'a mut Channels,
    link: &ConnectionState,
    id: ConsumerId,
) -> Option<&'a mut Channel> {
    let number = link.inbox.subscriptions.get(&id)?.channel;
    channels.get(number)
}
