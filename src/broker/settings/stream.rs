//! What can be asked of a stream: how much of it is kept, and for how long (RabbitMQ: streams.md).

use super::Kind;
use crate::broker::argument::{integer, text};
use crate::error::AmqpError;
use amq_protocol::types::{AMQPValue, FieldTable};

/// The argument that limits the age of messages.
pub(super) const MAX_AGE: &str = "x-max-age";
/// The argument that limits the bytes of a stream.
pub(super) const MAX_LENGTH_BYTES: &str = "x-max-length-bytes";
/// The argument that tells how large the pieces are in which a stream is shortened.
pub(super) const SEGMENT_BYTES: &str = "x-stream-max-segment-size-bytes";
/// The argument that sizes RabbitMQ's filters; only its range matters here.
pub(super) const FILTER_BYTES: &str = "x-stream-filter-size-bytes";

/// The largest segment that may be asked for (RabbitMQ: `MAX_STREAM_MAX_SEGMENT_SIZE`).
const SEGMENT_BYTES_MAX: i64 = 3_000_000_000;

/// How much of a stream is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// What is older, in milliseconds, may go.
    pub age_ms: Option<u64>,
    /// Bytes of records beyond which the oldest go.
    pub bytes: Option<u64>,
    /// Bytes of records that go together.
    pub segment_bytes: Option<u64>,
}

impl Retention {
    /// What the arguments of a stream ask for; what is wrong with one makes it count as absent.
    pub(super) fn new(arguments: &FieldTable) -> Self {
        let value = |name| arguments.inner().get(name);
        let bytes = |name| value(name).and_then(integer).and_then(|bytes| u64::try_from(bytes).ok());
        Self {
            age_ms: value(MAX_AGE).and_then(text).as_deref().and_then(interval_ms),
            bytes: bytes(MAX_LENGTH_BYTES),
            segment_bytes: bytes(SEGMENT_BYTES),
        }
    }
}

/// Refuses values that only a stream is asked about, in RabbitMQ's words.
///
/// # Errors
/// 406 for a size out of range.
pub(super) fn check(kind: Kind, arguments: &FieldTable) -> Result<(), AmqpError> {
    let size = |name| arguments.inner().get(name).and_then(integer);
    if kind != Kind::Stream {
        return Ok(());
    }
    if size(SEGMENT_BYTES).is_some_and(|bytes| bytes > SEGMENT_BYTES_MAX) {
        return Err(AmqpError::Precondition(format!("Exceeded max value for {SEGMENT_BYTES}")));
    }
    if size(FILTER_BYTES).is_some_and(|bytes| !(16..=255).contains(&bytes)) {
        return Err(AmqpError::Precondition(format!("Invalid value for {FILTER_BYTES}")));
    }
    Ok(())
}

/// The length of an interval such as `7D`: a whole number above 0 of years, months, days, hours, minutes or seconds.
#[must_use]
pub fn interval_ms(text: &str) -> Option<u64> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "Y" => 365 * 24 * 3600,
        "M" => 30 * 24 * 3600,
        "D" => 24 * 3600,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    if count.is_empty() || !count.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // More than a number holds is for ever.
    let count = count.parse::<u64>().unwrap_or(u64::MAX);
    (count > 0).then(|| count.saturating_mul(seconds * 1000))
}

/// An age as RabbitMQ compares it, and shows it when it differs: in milliseconds.
pub(super) fn comparable(key: &str, value: &AMQPValue) -> Option<AMQPValue> {
    if key != MAX_AGE {
        return None;
    }
    let age_ms = interval_ms(&text(value)?)?;
    Some(AMQPValue::LongString(age_ms.to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(interval_ms("1s"), Some(1000));
        assert_eq!(interval_ms("90m"), Some(5_400_000));
        assert_eq!(interval_ms("2h"), Some(7_200_000));
        assert_eq!(interval_ms("1D"), Some(86_400_000));
        assert_eq!(interval_ms("1M"), Some(2_592_000_000));
        assert_eq!(interval_ms("1Y"), Some(31_536_000_000));
        assert_eq!(interval_ms("99999999999999999999Y"), Some(u64::MAX));
        for wrong in ["", "s", "0s", "1", "1x", "-1s", "+1s", " 1s", "1.5h", "1h ", "1\u{e9}", "\u{e9}"] {
            assert_eq!(interval_ms(wrong), None, "{wrong}");
        }
    }
}
