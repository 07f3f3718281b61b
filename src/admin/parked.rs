//! Messages that died, or were delayed, and have nowhere to go: they are parked in their queue
//! until an operator moves them.

use super::access::{Access, Requirement, Tag};
use super::browse::{no_room, unreadable};
use super::refusal::Refusal;
use super::{Caller, Performed, Row, Told, find};
use crate::auth::permission::Right;
use crate::broker::Broker;
use crate::broker::parked::{Moved, Parked};
use crate::broker::vhost::VHost;
use crate::ids::Ticket;
use crate::message::properties;
use crate::queue::Queue;
use crate::store::change::Health;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Messages of a queue that a list has at most; `messages_parked` of the queue says how many there
/// are.
pub const LISTED_MAX: u64 = 1000;

/// What can be done with parked messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ParkedOperation {
    /// The first of each queue, or of one.
    ListParked {
        /// The virtual host.
        vhost: String,
        /// The queue; none for all.
        queue: Option<String>,
    },
    /// Those of a queue go back to its end, or elsewhere, with their delivery count and time to
    /// live begun anew.
    RequeueParked {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
        /// Where they are published instead: an exchange and a routing key.
        to: Option<(String, String)>,
    },
    /// Those of a queue are dropped.
    DropParked {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
    },
}

/// A parked message, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedRow {
    /// Its queue.
    pub queue: String,
    /// Why it died: `rejected`, `expired`, `delivery_limit`, or `delayed`.
    pub reason: String,
    /// Why it is parked: `no_exchange`, `exchange_missing`, `no_route` or `refused`.
    pub why: String,
    /// When it died, milliseconds since 1970.
    pub died_at: u64,
    /// The exchange it was published to.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// The property of that name.
    pub message_id: Option<String>,
    /// Bytes of its body.
    pub body_bytes: u64,
}

/// What came of moving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequeueResult {
    /// Messages that are elsewhere.
    pub moved: u64,
    /// Messages that found no way and are still parked.
    pub parked: u64,
}

impl ParkedOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        !matches!(self, Self::ListParked { .. })
    }

    /// What it takes of a user.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        let (vhost, queue, publishes) = match self {
            // Those of the queues that it may read.
            Self::ListParked { vhost, queue: None } => return Requirement::VHost(Tag::Management, vhost),
            Self::ListParked { vhost, queue: Some(queue) } | Self::DropParked { vhost, queue } => {
                (vhost, queue, None)
            }
            Self::RequeueParked { vhost, queue, to } => {
                (vhost, queue, to.as_ref().map(|(exchange, key)| (exchange.as_str(), key.as_str())))
            }
        };
        Requirement::Queue { vhost, queue, right: Right::Read, publishes }
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(
    broker: &Arc<Broker>,
    operation: ParkedOperation,
    caller: &Caller,
    access: &Access<'_>,
) -> Result<Performed, Refusal> {
    match operation {
        ParkedOperation::ListParked { vhost, queue } => {
            let mut queues = match queue {
                Some(queue) => vec![find::queue(broker, &vhost, &queue)?],
                None => find::vhost(broker, &vhost)?.list_queues(),
            };
            queues.retain(|queue| access.reads(queue));
            let broker = Arc::clone(broker);
            Ok(Performed::rows(
                queues.into_iter().flat_map(move |queue| rows(&broker, &queue)).map(Row::Parked),
            ))
        }
        ParkedOperation::RequeueParked { vhost, queue, to } => {
            if let Some((exchange, _)) = &to {
                check_exchange(&*find::vhost(broker, &vhost)?, exchange)?;
            }
            let queue = find::queue(broker, &vhost, &queue)?;
            if broker.health() == Health::Full {
                return Err(no_room());
            }
            let to = to.as_ref().map(|(exchange, key)| (exchange.as_str(), key.as_str()));
            let moved = broker.parked().requeue(&queue, to, caller.now);
            let Moved { moved, parked, ticket } = moved.map_err(|error| unreadable(&queue, &error))?;
            Ok(Performed::told(Told::Requeued(RequeueResult { moved, parked }), ticket))
        }
        ParkedOperation::DropParked { vhost, queue } => {
            let queue = find::queue(broker, &vhost, &queue)?;
            let (dropped, ticket): (u64, Ticket) = broker.parked().drop_all(&queue, caller.now);
            Ok(Performed::told(Told::Messages(dropped), ticket))
        }
    }
}

/// Messages that are sent to an exchange that does not exist would only stay where they are.
///
/// # Errors
/// There is no exchange of that name.
pub(super) fn check_exchange(place: &VHost, name: &str) -> Result<(), Refusal> {
    let known = place.list_exchanges();
    if name.is_empty() || known.iter().any(|exchange| *exchange.name == *name) {
        return Ok(());
    }
    Err(Refusal::not_found("exchange", name, known.iter().map(|exchange| &*exchange.name)))
}

fn rows(broker: &Broker, queue: &Queue) -> Vec<ParkedRow> {
    let mut rows = Vec::new();
    let listed = broker.parked().each(queue, LISTED_MAX, |parked| rows.push(row(queue, parked)));
    if let Err(error) = listed {
        tracing::error!(queue = %queue.name, %error, "cannot read all parked messages: the list is not complete");
    }
    rows
}

fn row(queue: &Queue, parked: &Parked<'_>) -> ParkedRow {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let message = &parked.message;
    ParkedRow {
        queue: queue.name.to_string(),
        reason: parked.reason.name().to_owned(),
        why: parked.cause.name().to_owned(),
        died_at: parked.died_ms,
        exchange: text(message.exchange),
        routing_key: text(message.routing_key),
        message_id: properties::decode(message.properties)
            .ok()
            .and_then(|properties| properties.message_id.map(text)),
        body_bytes: message.body.len() as u64,
    }
}
