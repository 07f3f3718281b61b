//! Headers that the broker reads or writes itself, beside those of deaths and copies: `x-delay`,
//! the value that stream filters look at, and how often a message was delivered.

use super::properties;
use super::table::{self, FieldValue, integer};

/// How long a message is to wait, milliseconds; of one that has waited the opposite.
const DELAY: &str = "x-delay";

/// What the filters of stream consumers look at.
const STREAM_FILTER_VALUE: &str = "x-stream-filter-value";

/// How many deliveries of a message have failed.
pub const DELIVERY_COUNT: &str = "x-delivery-count";

/// How often a message was delivered (RabbitMQ: quorum-queues.md).
pub const ACQUIRED_COUNT: &str = "x-acquired-count";

/// The header `x-delay` of a message with these properties, if it is a number: a whole one, the
/// digits of one as a text, or another one without what is behind its point (RabbitMQ's plugin
/// rabbitmq_delayed_message_exchange takes these).
#[must_use]
pub fn delay(raw: &[u8]) -> Option<i64> {
    match delay_header(raw)? {
        FieldValue::LongString(text) => str::from_utf8(&text).ok()?.parse().ok(),
        FieldValue::Float(number) => Some(whole(number.into())),
        FieldValue::Double(number) => Some(whole(number)),
        value => integer(&value),
    }
}

/// What the header `x-delay` of a message with these properties holds, if it has one that is no
/// number.
#[must_use]
pub fn unreadable_delay(raw: &[u8]) -> Option<FieldValue> {
    if delay(raw).is_some() { None } else { delay_header(raw) }
}

fn delay_header(raw: &[u8]) -> Option<FieldValue> {
    let headers = properties::decode(raw).ok()?.headers?;
    table::get(headers, DELAY.as_bytes())?.decode().ok()
}

/// A number without what is behind its point; 0 for one that is not a number.
#[expect(clippy::cast_possible_truncation, reason = "what is out of range becomes the nearest number")]
fn whole(number: f64) -> i64 {
    number as i64
}

/// The headers of a message with a delay, which has passed.
#[must_use]
pub fn with_delay_passed(headers: &[u8], delay: i64) -> Vec<u8> {
    table::with(headers, DELAY, Some(&FieldValue::LongLongInt(delay.saturating_neg())))
}

/// What stream filters look at of a message with these properties; empty when it has no such
/// header, or one that is no text.
#[must_use]
pub fn stream_filter_value(raw: &[u8]) -> &[u8] {
    let value =
        properties::headers(raw).and_then(|headers| table::get(headers, STREAM_FILTER_VALUE.as_bytes()));
    value.filter(|value| value.kind == b'S').map_or(&[][..], |value| value.bytes)
}
