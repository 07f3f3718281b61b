//! What tests of the broker have in common: a durable queue as a client declares it, a persistent
//! message, and what is durable when power goes.

use crate::support::disk::SimDisk;
use leveret::broker::Broker;
use leveret::broker::vhost::QueueDeclare;
use leveret::clock::Now;
use leveret::ids::{ConnectionId, Ticket};
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

/// What is durable for certain on a disk whose power goes at the call `cut_at`; none once it has.
pub(super) fn durable_before(disk: &SimDisk, cut_at: u64, broker: &Broker) -> Option<Ticket> {
    let durable = broker.log().durable();
    (disk.calls() < cut_at).then_some(durable)
}
