//! What a consumer of a stream asks for: where to begin, which messages, and whether to remember
//! how far it came.

use crate::arguments::QueueType;
use crate::arguments::table::{
    MATCH_UNFILTERED, OFFSET_TRACKING, STREAM_FILTER, STREAM_OFFSET, Subject, flag, string, value,
};
use crate::arguments::value::text;
use crate::clock::{Clock, Now, interval_ms};
use crate::error::{BrokerError, Resource, ValueFault};
use crate::message::Message;
use crate::message::headers::stream_filter_value;
use crate::message::table::{FieldTable, FieldValue, integer};

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest message.
    First,
    /// With the newest message.
    Last,
    /// With what comes.
    Next,
    /// With this number.
    Offset(u64),
    /// With the newest so many.
    FromEnd(u64),
    /// With what arrived at this time, milliseconds since 1970, or later.
    Since(u64),
}

/// Which messages a consumer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    values: Vec<Box<[u8]>>,
    /// Those without a value too.
    unfiltered: bool,
}

/// What a stream consumer asks for: offset, filter, and offset tracking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Where it begins, unless it is remembered.
    pub start: Start,
    /// Which messages; none is all.
    pub filter: Option<Filter>,
    /// The name under which the stream remembers what it has handled.
    pub track: Option<Box<str>>,
    /// When it asked, milliseconds since 1970.
    pub asked_at_ms: u64,
}

impl Default for Reading {
    /// Whatever comes.
    fn default() -> Self {
        Self { start: Start::Next, filter: None, track: None, asked_at_ms: 0 }
    }
}

impl Reading {
    /// What the arguments of `basic.consume` ask of a queue of this kind; none of one that is no
    /// stream.
    ///
    /// # Errors
    /// This kind of queue does not have such an argument, or its value makes no sense.
    pub fn parse(
        (kind, on): (QueueType, Resource),
        tag: &str,
        arguments: &FieldTable,
        (now, clock): (Now, &Clock),
    ) -> Result<Option<Box<Self>>, BrokerError> {
        let taker = Subject::Consumer(kind);
        taker.check_foreign(&on, arguments)?;
        taker.check_values(&on, arguments)?;
        if kind != QueueType::Stream {
            return Ok(None);
        }
        let tracks =
            flag(arguments, OFFSET_TRACKING) || string(arguments, OFFSET_TRACKING).as_deref() == Some("true");
        if tracks && tag.is_empty() {
            let why = ValueFault::NoConsumerTag;
            return Err(BrokerError::InvalidArgument { key: OFFSET_TRACKING, on, why });
        }
        let track = tracks.then(|| tag.into());
        // Who wants to be remembered and says nothing else wants everything (LavinMQ: streams).
        let otherwise = if tracks { Start::First } else { Start::Next };
        let start = value(arguments, STREAM_OFFSET)
            .and_then(|value| Start::of(value, now, clock))
            .unwrap_or(otherwise);
        Ok(Some(Box::new(Self { start, filter: Filter::of(arguments), track, asked_at_ms: now.unix_ms })))
    }
}

impl Start {
    /// Where a valid value says to begin; nowhere special when it is void.
    fn of(value: &FieldValue, now: Now, clock: &Clock) -> Option<Self> {
        match (value, integer(value), text(value).as_deref()) {
            (FieldValue::Timestamp(seconds), ..) => {
                Some(since(clock.calendar_ms(seconds.saturating_mul(1000)), now))
            }
            (_, Some(number), _) => Some(match u64::try_from(number) {
                Ok(number) => Self::Offset(number),
                Err(_negative) => Self::FromEnd(number.unsigned_abs()),
            }),
            (_, _, Some("first")) => Some(Self::First),
            (_, _, Some("last")) => Some(Self::Last),
            (_, _, Some("next")) => Some(Self::Next),
            (_, _, Some(text)) => interval_ms(text).map(|ms| since(now.unix_ms.saturating_sub(ms), now)),
            (_, None, None) => None,
        }
    }
}

/// What has not come yet is what comes.
fn since(ms: u64, now: Now) -> Start {
    if ms > now.unix_ms { Start::Next } else { Start::Since(ms) }
}

impl Filter {
    /// What valid arguments ask for.
    fn of(arguments: &FieldTable) -> Option<Self> {
        let values = match value(arguments, STREAM_FILTER)? {
            FieldValue::Void => return None,
            FieldValue::FieldArray(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        let bytes = |value: &FieldValue| match value {
            FieldValue::LongString(text) => Some(text.as_slice().into()),
            _ => None,
        };
        let unfiltered = flag(arguments, MATCH_UNFILTERED);
        Some(Self { values: values.iter().filter_map(bytes).collect(), unfiltered })
    }

    /// Whether the consumer wants this message. An empty value counts as none (RabbitMQ:
    /// stream-filtering).
    pub(super) fn wants(&self, message: &Message<'_>) -> bool {
        let value = stream_filter_value(message.properties);
        (value.is_empty() && self.unfiltered) || self.values.iter().any(|wanted| **wanted == *value)
    }
}
