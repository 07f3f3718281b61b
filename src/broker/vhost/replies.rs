//! Reply queues, which direct reply-to is made of (RabbitMQ: direct-reply-to.md).
//!
//! A reply queue belongs to one consumer of one channel and goes with it. It is a queue like any
//! other under a name that nobody can guess or declare: the default exchange routes to it, whoever
//! publishes; windows and memory limits are what they are elsewhere; and it is never durable. All
//! that a client may do with it is to publish to it, and to ask whether it is still there.

use super::objects::Objects;
use crate::arguments::{QueueFlags, Settings};
use crate::error::BrokerError;
use crate::ids::ConnectionId;
use crate::message::table::FieldTable;
use crate::queue::Queue;
use crate::queue::reply::{PREFIX, is_reply_queue};
use std::convert::Infallible;
use std::sync::Arc;

/// The reply queues of a vhost.
#[derive(Clone, Copy)]
pub struct ReplyQueues<'a>(pub(super) &'a Objects);

impl ReplyQueues<'_> {
    /// A new reply queue. It goes with its first consumer, or with its connection.
    #[must_use]
    pub fn open(self, connection: ConnectionId) -> Arc<Queue> {
        let flags = QueueFlags { durable: false, auto_delete: true, exclusive: true };
        let settings = Settings::new(flags, FieldTable::default());
        let Ok((queue, _never_on_disk)) = self.0.change(|state, changes| {
            let name = self.0.unused_name(&state.topology, PREFIX);
            Ok::<_, Infallible>((self.0.create(state, changes, name, settings, Some(connection)), false))
        });
        queue
    }

    /// The reply queue of this name.
    ///
    /// # Errors
    /// It is gone, or never was.
    pub fn find(self, name: &str) -> Result<Arc<Queue>, BrokerError> {
        let state = self.0.read();
        let queue = state.topology.queue(name).filter(|_| is_reply_queue(name));
        queue.cloned().ok_or_else(|| BrokerError::no_queue(self.0.vhost(), name))
    }
}
