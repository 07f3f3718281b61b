//! The properties of messages as clients see them: with headers that tell of earlier deliveries, or
//! a message's number in a stream, and without the names of blind copies.

use crate::arguments::QueueType;
use crate::arguments::table::STREAM_OFFSET;
use crate::message::headers::{ACQUIRED_COUNT, DELIVERY_COUNT};
use crate::message::table::{self, FieldValue};
use crate::message::{BCC, Copies, Message, properties};
use crate::queue::Queue;
use std::borrow::Cow;

/// How often a message of a quorum queue was delivered before (RabbitMQ: quorum-queues.md); 0 on
/// all others, who do not say. Nearly every delivery that came back counts as failed; of those that
/// do not, a restart or a timeout, one is known.
pub(super) fn acquired(queue: &Queue, redelivered: bool, deliveries: u32) -> u32 {
    if queue.settings.kind == QueueType::Quorum { deliveries.max(u32::from(redelivered)) } else { 0 }
}

/// The properties of a message as clients see them: with headers that tell how many deliveries
/// failed, if any did, and how many there were, where that is said, and without the one that names
/// blind copies.
#[inline]
pub(super) fn shown<'a>(message: &Message<'a>, deliveries: u32, acquired: u32) -> Cow<'a, [u8]> {
    if deliveries | acquired == 0 && message.copies != Copies::Blind {
        return Cow::Borrowed(message.properties);
    }
    rewritten(message.properties, deliveries, acquired)
}

#[cold]
fn rewritten<'a>(raw: &'a [u8], deliveries: u32, acquired: u32) -> Cow<'a, [u8]> {
    let Ok(mut parts) = properties::decode(raw) else { return Cow::Borrowed(raw) };
    let mut headers = table::with(parts.headers.unwrap_or_default(), BCC, None);
    for (header, count) in [(DELIVERY_COUNT, deliveries), (ACQUIRED_COUNT, acquired)] {
        if count > 0 {
            headers = table::with(&headers, header, Some(&FieldValue::LongLongInt(count.into())));
        }
    }
    parts.headers = Some(&headers);
    let mut rewritten = Vec::with_capacity(raw.len() + headers.len());
    properties::encode(&parts, &mut rewritten);
    Cow::Owned(rewritten)
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

    fn check(raw: &[u8], expected: &[u8]) {
        let message = Message::published(0, (b"", b""), raw, b"");
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
