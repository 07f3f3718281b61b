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

/// The header `x-delay` of a message with these properties, if it is a whole number.
#[must_use]
pub fn delay(raw: &[u8]) -> Option<i64> {
    let headers = properties::decode(raw).ok()?.headers?;
    let value = table::get(headers, DELAY.as_bytes())?.decode().ok()?;
    integer(&value)
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
