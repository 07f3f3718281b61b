//! What tests of the broker have in common: a durable queue as a client declares it, and a
//! persistent message.

use leveret::broker::vhost::QueueDeclare;
use leveret::clock::Now;
use leveret::ids::ConnectionId;
use leveret::message::Message;
use leveret::message::table::FieldTable;

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
    Message::published(0, (b"", b""), &[0x10, 0, 2], b"")
}
