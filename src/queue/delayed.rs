//! Delayed messages: how long they wait, and what they become when their time has come.
//!
//! An exchange of the type
//! `x-delayed-message` (a plugin of RabbitMQ's, up to 4.2) keeps messages with a header `x-delay`,
//! milliseconds, in a queue of its own, and routes each as its `x-delayed-type` says when its time
//! has come. Consumers see the header with the opposite sign: the message was delayed. Everything
//! here is a pure function of a message.

use crate::message::copies::all_keys;
use crate::message::headers::{delay, with_delay_passed};
use crate::message::{Block, BlockBuilder, Message};
use crate::message::{properties, table};

/// What the names of the queues begin with in which delayed messages wait.
const PREFIX: &str = "amq.delayed.";

/// The name of the queue in which an exchange keeps its delayed messages.
pub(crate) fn queue_name(exchange: &str) -> String {
    format!("{PREFIX}{exchange}")
}

/// The exchange whose delayed messages a queue of this name keeps.
#[must_use]
pub fn exchange_of(queue: &str) -> Option<&str> {
    queue.strip_prefix(PREFIX)
}

/// How long a message with these properties is to wait, milliseconds; none for one that is not.
#[must_use]
pub fn delay_ms(raw: &[u8]) -> Option<u64> {
    let delay = delay(raw)?;
    u64::try_from(delay).ok().filter(|&ms| ms > 0)
}

/// When a delayed message is to be routed, milliseconds since 1970.
#[must_use]
pub(crate) fn due_ms(message: &Message<'_>) -> u64 {
    message.arrived_at_ms.saturating_add(delay_ms(message.properties).unwrap_or_default())
}

/// A message whose time has come.
#[derive(Debug)]
pub(crate) struct Released {
    /// A block of this one message.
    pub(crate) block: Block,
    /// The first is the one that consumers see.
    pub(crate) routing_keys: Vec<Vec<u8>>,
}

/// What `message` becomes; its time to live begins now.
pub(crate) fn release(message: &Message<'_>, now_unix_ms: u64) -> Released {
    let mut own = properties::decode(message.properties).unwrap_or_default();
    let headers = own.headers.and_then(|bytes| table::decode(bytes).ok()).unwrap_or_default();
    let routing_keys = all_keys(message, &headers);
    let delay = delay(message.properties);
    let headers = delay.map(|ms| with_delay_passed(own.headers.unwrap_or_default(), ms));
    own.headers = headers.as_deref().or(own.headers);
    let mut raw = Vec::with_capacity(message.properties.len() + 8);
    properties::encode(&own, &mut raw);
    let mut builder = BlockBuilder::default();
    builder.push(&Message { arrived_at_ms: now_unix_ms, properties: &raw, ..*message });
    Released { block: builder.build(), routing_keys }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::properties::Properties;
    use crate::message::table::{FieldTable, FieldValue};

    fn raw(delay: FieldValue) -> Vec<u8> {
        let mut headers = FieldTable::default();
        headers.insert("x-delay".into(), delay);
        headers.insert("a".into(), FieldValue::Boolean(true));
        let (mut bytes, mut raw) = (Vec::new(), Vec::new());
        table::encode(&headers, &mut bytes);
        properties::encode(&Properties { headers: Some(&bytes), ..Properties::default() }, &mut raw);
        raw
    }

    #[test]
    fn only_numbers_above_0_are_delays() {
        assert_eq!(delay_ms(&raw(FieldValue::LongInt(5000))), Some(5000));
        assert_eq!(delay_ms(&raw(FieldValue::ShortUInt(7))), Some(7));
        assert_eq!(delay_ms(&raw(FieldValue::LongLongInt(1 << 40))), Some(1 << 40));
        assert_eq!(delay_ms(&raw(FieldValue::LongInt(0))), None);
        assert_eq!(delay_ms(&raw(FieldValue::LongInt(-5000))), None);
        assert_eq!(delay_ms(&raw(FieldValue::LongString("5000".into()))), Some(5000));
        assert_eq!(delay_ms(&raw(FieldValue::Double(5000.9))), Some(5000));
        assert_eq!(delay_ms(&raw(FieldValue::Float(0.9))), None);
        for text in ["", "5 s", "-5000", "99999999999999999999"] {
            assert_eq!(delay_ms(&raw(FieldValue::LongString(text.into()))), None, "{text}");
        }
        assert_eq!(delay_ms(&[0x10, 0, 2]), None);
    }

    #[test]
    fn a_released_message_says_that_it_was_delayed() {
        let raw = raw(FieldValue::LongInt(5000));
        let message = Message {
            persistent: true,
            priority: Some(3),
            ..Message::published(1, (b"later", b"k"), &raw, b"body")
        };
        let released = release(&message, 9_000);
        let again = released.block.message(0);
        assert_eq!((again.arrived_at_ms, again.exchange, again.priority), (9_000, &b"later"[..], Some(3)));
        assert_eq!(delay(again.properties), Some(-5000));
        assert_eq!(delay_ms(again.properties), None);
        assert_eq!(released.routing_keys, [b"k"]);
    }
}
