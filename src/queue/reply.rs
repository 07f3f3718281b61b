//! The names of reply queues, which direct reply-to is made of (RabbitMQ: direct-reply-to.md).

/// What a client consumes from, and names in `reply-to`, to get replies directly.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// What the names of reply queues begin with.
pub const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Whether only a reply queue can have this name.
#[must_use]
pub fn is_reply_queue(name: &str) -> bool {
    name.starts_with(PREFIX)
}
