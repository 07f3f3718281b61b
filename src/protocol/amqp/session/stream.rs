//! What is special about streams for a session: what they refuse, and the header that tells a
//! message's number.

use super::channel::Channel;
use super::deliver::shown;
use crate::arguments::table::STREAM_OFFSET;
use crate::message::Message;
use crate::message::properties;
use crate::message::table::{self, FieldValue};
use crate::protocol::amqp::fault::AmqpError;
use crate::queue::Queue;
use amq_protocol::protocol::basic::Consume;
use std::borrow::Cow;

/// Refuses what streams do not have.
///
/// # Errors
/// 540 when the queue is a stream; `method` is what was asked.
pub(super) fn refuse(queue: &Queue, method: &'static str) -> Result<(), AmqpError> {
    if !queue.is_stream() {
        return Ok(());
    }
    Err(AmqpError::MethodOfStream { method, on: queue.on() })
}

impl Channel {
    /// Whether a consumer of a stream may begin here: it takes no more than it acknowledges.
    ///
    /// # Errors
    /// 406 without a prefetch, 540 without acknowledgements or with a limit that several consumers
    /// share.
    pub(super) fn check_stream_consumer(&self, queue: &Queue, consume: &Consume) -> Result<(), AmqpError> {
        if !queue.is_stream() {
            return Ok(());
        }
        let on = queue.on();
        if self.limit.is_set() {
            return Err(AmqpError::GlobalQosOfStream(on));
        }
        if self.prefetch == 0 {
            return Err(AmqpError::NoPrefetchOfStream(on));
        }
        if consume.no_ack {
            return Err(AmqpError::AutoAckOfStream(on));
        }
        Ok(())
    }
}

/// The properties of message number `offset` of a stream as clients see them.
pub(super) fn numbered<'a>(message: &Message<'a>, offset: u64) -> Cow<'a, [u8]> {
    // Nearly all messages have no property but their delivery mode.
    if let &[0, 0] | &[0x10, 0, _] = message.properties {
        return Cow::Owned(alone(message.properties, offset));
    }
    let seen = shown(message, 0, 0);
    let Ok(mut parts) = properties::decode(&seen) else { return seen };
    let number = FieldValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX));
    let headers = table::with(parts.headers.unwrap_or_default(), STREAM_OFFSET, Some(&number));
    parts.headers = Some(&headers);
    let mut numbered = Vec::with_capacity(seen.len() + headers.len() + 4);
    properties::encode(&parts, &mut numbered);
    Cow::Owned(numbered)
}

/// The properties of a message that has no headers but its number; `raw` are flags and perhaps the
/// delivery mode.
fn alone(raw: &[u8], offset: u64) -> Vec<u8> {
    const HEADERS: u8 = 0x20;
    const NAME_LEN: u8 = 15;
    const ENTRY_LEN: u8 = 1 + NAME_LEN + 1 + 8;
    let mut out = Vec::with_capacity(raw.len() + 4 + usize::from(ENTRY_LEN));
    out.extend_from_slice(&[raw[0] | HEADERS, 0, 0, 0, 0, ENTRY_LEN, NAME_LEN]);
    out.extend_from_slice(STREAM_OFFSET.as_bytes());
    out.push(b'l');
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&raw[2..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Copies;

    fn check(raw: &[u8], expected: &[u8]) {
        let message = Message {
            persistent: false,
            died: false,
            copies: Copies::Open,
            expires: false,
            priority: None,
            arrived_at_ms: 0,
            exchange: b"",
            routing_key: b"",
            properties: raw,
            body: b"",
        };
        assert_eq!(&*numbered(&message, 258), expected);
    }

    #[test]
    fn the_number_is_a_header_among_others() {
        const ENTRY: &[u8] = b"\x0fx-stream-offsetl\0\0\0\0\0\0\x01\x02";
        check(&[0, 0], &[&[0x20, 0, 0, 0, 0, 25], ENTRY].concat());
        check(&[0x10, 0, 2], &[&[0x30, 0, 0, 0, 0, 25], ENTRY, &[2]].concat());
        let other = b"\x01at\x01";
        check(
            &[&[0x30, 0, 0, 0, 0, 4], &other[..], &[2]].concat(),
            &[&[0x30, 0, 0, 0, 0, 29], &other[..], ENTRY, &[2]].concat(),
        );
        // One that was there already says something else now.
        let old = b"\x0fx-stream-offsetI\0\0\0\x05";
        check(&[&[0x20, 0, 0, 0, 0, 21], &old[..]].concat(), &[&[0x20, 0, 0, 0, 0, 25], ENTRY].concat());
    }
}
