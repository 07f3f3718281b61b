//! What tests of the broker have in common: a durable queue as a client declares it, and a
//! persistent message.

use leveret::broker::vhost::QueueDeclare;
use leveret::clock::Now;
use leveret::ids::ConnectionId;
use leveret::message::table::FieldTable;
use leveret::message::{Copies, Message};

/// The client.
pub(super) const ME: ConnectionId = ConnectionId(1);

/// A durable queue for everybody.
pub(super) fn durable(name: &str, arguments: FieldTable, now: Now) -> QueueDeclare {
    QueueDeclare {
        name: name.into(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments,
        connection: ME,
        now,
    }
}

/// A persistent message, otherwise without anything.
pub(super) fn persistent() -> Message<'static> {
    Message {
        persistent: true,
        died: false,
        copies: Copies::Open,
        expires: false,
        priority: None,
        arrived_at_ms: 0,
        exchange: b"",
        routing_key: b"",
        properties: &[0x10, 0, 2],
        body: b"",
    }
}
