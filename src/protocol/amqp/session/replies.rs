//! Direct reply-to: replies go straight to the channel that asked (RabbitMQ: direct-reply-to.md).
//!
//! A channel that consumes from
//! [`REPLY_TO`] gets a reply queue of its own, see [`crate::broker::vhost::replies`]. What it
//! publishes with that name as `reply-to` leaves with the name of its queue instead.

use super::connection_state::ConnectionState;
use crate::protocol::amqp::fault::AmqpError;
use crate::queue::reply::{REPLY_TO, is_reply_queue};

/// Whether a name is one that direct reply-to gives a meaning to.
pub(super) fn is_special(name: &str) -> bool {
    name == REPLY_TO || is_reply_queue(name)
}

/// Refuses basic.consume from a reply queue by its own name.
///
/// # Errors
/// 406, or 404 when it is gone.
pub(super) fn check_consume(link: &ConnectionState, name: &str) -> Result<(), AmqpError> {
    if is_reply_queue(name) {
        link.client.vhost.reply_queues().find(name)?;
        let on = link.client.vhost.on_queue(name);
        return Err(AmqpError::OtherReplyQueue(on));
    }
    Ok(())
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
