//! The firehose (RabbitMQ: firehose.md): while it is on in a vhost, each message that a client
//! publishes there, and each that one is delivered, is copied to the exchange `amq.rabbitmq.trace`,
//! with who it was and where the message goes.
//!
//! What comes from that exchange is not copied again. A copy is a message like any other: it costs
//! what it costs, and queues that nobody reads grow. While it is off nothing is looked at but a
//! mark of the route, and one of the vhost for each run of deliveries.

use super::Broker;
use super::vhost::VHost;
use crate::clock::Now;
use crate::message::copies::all_keys;
use crate::message::properties::{self, Properties};
use crate::message::table;
use crate::message::table::{FieldTable, FieldValue};
use crate::message::{BCC, Block, Copies, Message};
use crate::queue::Queue;
use crate::routing::topology::TRACE;
use crate::store::change::Health;
use std::sync::Arc;

/// What a copy calls the broker, as its error texts do.
pub(super) const NODE: &str = "leveret";

/// A client, and its channel.
#[derive(Debug, Clone, Copy)]
pub struct TracedClient<'a> {
    /// The name of its connection.
    pub connection: &'a str,
    /// The user's name.
    pub user: &'a str,
    /// The number of its channel.
    pub channel: u16,
}

/// What happens to a message.
#[derive(Clone, Copy)]
pub enum Moment<'a> {
    /// It was published, and goes to these queues.
    Published(&'a [Arc<Queue>]),
    /// It is delivered.
    Delivered {
        /// From where.
        queue: &'a str,
        /// Whether it was before.
        redelivered: bool,
    },
}

/// Copies a message whose properties the client sees like `shown` to where the vhost's copies
/// go.
pub fn copy(
    broker: &Broker,
    vhost: &VHost,
    (message, shown): (&Message<'_>, &[u8]),
    client: TracedClient<'_>,
    moment: Moment<'_>,
    now: Now,
) {
    if message.exchange == TRACE.as_bytes() {
        return;
    }
    let mut headers = Vec::new();
    table::encode(&told(vhost, (message, shown), client, moment), &mut headers);
    let mut raw = Vec::new();
    properties::encode(&Properties { headers: Some(&headers), ..Properties::default() }, &mut raw);
    let routing_key = match moment {
        Moment::Published(_) => [b"publish.", message.exchange].concat(),
        Moment::Delivered { queue, .. } => [b"deliver.", queue.as_bytes()].concat(),
    };
    publish_own(broker, vhost, (TRACE, &routing_key), (&raw, message.body), now);
}

/// Publishes a message of the broker's own, which is of no more interest if nobody takes it.
pub(super) fn publish_own(
    broker: &Broker,
    vhost: &VHost,
    (exchange, routing_key): (&str, &[u8]),
    (properties, body): (&[u8], &[u8]),
    now: Now,
) {
    if broker.health() == Health::Full {
        // Nobody waits for it, and it would take the room of what somebody does wait for.
        return;
    }
    let route = vhost.route_own(exchange, &[routing_key], properties);
    let Some(route) = route.filter(|route| !route.queues.is_empty()) else { return };
    let message = Message::published(now.unix_ms, (exchange.as_bytes(), routing_key), properties, body);
    // A full queue may refuse it.
    let _enqueued = broker.enqueue(&route, Block::of(&message), now);
}

/// The headers of a copy.
fn told(
    vhost: &VHost,
    (message, shown): (&Message<'_>, &[u8]),
    client: TracedClient<'_>,
    moment: Moment<'_>,
) -> FieldTable {
    let raw = properties::decode(message.properties).unwrap_or_default();
    let headers = raw.headers.and_then(|bytes| table::decode(bytes).ok()).unwrap_or_default();
    let keys = all_keys(message, &headers);
    let mut told = FieldTable::default();
    told.insert("exchange_name".into(), text(message.exchange));
    told.insert("routing_keys".into(), texts(keys.iter().map(Vec::as_slice)));
    told.insert("properties".into(), FieldValue::FieldTable(listed(shown, message.copies)));
    told.insert("node".into(), text(NODE.as_bytes()));
    told.insert("vhost".into(), text(vhost.name.as_bytes()));
    told.insert("connection".into(), text(client.connection.as_bytes()));
    told.insert("channel".into(), FieldValue::LongInt(client.channel.into()));
    told.insert("user".into(), text(client.user.as_bytes()));
    match moment {
        // The default exchange has a queue for each key, whether it is there or not.
        Moment::Published(_) if message.exchange.is_empty() => {
            let mut keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            keys.sort_unstable();
            keys.dedup();
            told.insert("routed_queues".into(), texts(keys.into_iter()));
        }
        Moment::Published(queues) => {
            told.insert("routed_queues".into(), texts(queues.iter().map(|queue| queue.name.as_bytes())));
        }
        Moment::Delivered { redelivered, .. } => {
            told.insert("redelivered".into(), FieldValue::LongInt(redelivered.into()));
        }
    }
    told
}

/// The properties that a message has, by RabbitMQ's names for them.
fn listed(raw: &[u8], copies: Copies) -> FieldTable {
    let properties = properties::decode(raw).unwrap_or_default();
    let mut listed = FieldTable::default();
    for (name, value) in [
        ("content_type", properties.content_type),
        ("content_encoding", properties.content_encoding),
        ("correlation_id", properties.correlation_id),
        ("reply_to", properties.reply_to),
        ("expiration", properties.expiration),
        ("message_id", properties.message_id),
        ("type", properties.kind),
        ("user_id", properties.user_id),
        ("app_id", properties.app_id),
        ("cluster_id", properties.cluster_id),
    ] {
        if let Some(value) = value {
            listed.insert(name.to_owned(), text(value));
        }
    }
    for (name, value) in [
        ("delivery_mode", properties.delivery_mode.map(u64::from)),
        ("priority", properties.priority.map(u64::from)),
        ("timestamp", properties.timestamp),
    ] {
        if let Some(value) = value {
            listed.insert(name.to_owned(), number(value));
        }
    }
    if let Some(headers) = properties.headers {
        let hidden = if copies == Copies::Blind { table::with(headers, BCC, None) } else { headers.to_vec() };
        listed.insert("headers".into(), FieldValue::FieldTable(table::decode(&hidden).unwrap_or_default()));
    }
    listed
}

/// An integer of the smallest type that RabbitMQ writes.
fn number(value: u64) -> FieldValue {
    i32::try_from(value).map_or_else(
        |_large| FieldValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX)),
        FieldValue::LongInt,
    )
}

fn text(bytes: &[u8]) -> FieldValue {
    FieldValue::LongString(bytes.into())
}

fn texts<'a>(all: impl Iterator<Item = &'a [u8]>) -> FieldValue {
    FieldValue::FieldArray(all.map(text).collect())
}
