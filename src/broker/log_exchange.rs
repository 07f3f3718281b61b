//! The log as messages (RabbitMQ: logging.md): lines go to the topic exchange `amq.rabbitmq.log` of
//! the first vhost, by their level.
//!
//! Whoever hands lines over holds no lock of the broker. Nothing is handed over while nothing is
//! bound to the exchange.

use super::Broker;
use super::trace::{NODE, publish_own};
use crate::clock::Now;
use crate::message::properties::{self, Properties};
use crate::message::table;
use crate::message::table::{FieldTable, FieldValue};
use crate::routing::topology::LOG;

/// Publishes a line of the log; `level` is `error`, `warning` or `info`.
pub fn publish(broker: &Broker, level: &str, line: &str, now: Now) {
    let mut headers = FieldTable::default();
    headers.insert("node".into(), FieldValue::LongString(NODE.into()));
    let mut encoded = Vec::new();
    table::encode(&headers, &mut encoded);
    let properties = Properties {
        content_type: Some(b"text/plain"),
        headers: Some(&encoded),
        timestamp: Some(now.unix_ms / 1000),
        ..Properties::default()
    };
    let mut raw = Vec::new();
    properties::encode(&properties, &mut raw);
    publish_own(broker, &broker.vhost(), (LOG, level.as_bytes()), (&raw, line.as_bytes()), now);
}
