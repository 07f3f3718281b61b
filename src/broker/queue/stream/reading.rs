//! What a consumer of a stream asks for: where to begin, which messages, and whether to remember how far it came.

use crate::broker::argument::{integer, term, text};
use crate::broker::settings::{Kind, interval_ms};
use crate::clock::Now;
use crate::error::{AmqpError, Resource};
use crate::message::Message;
use crate::wire::table::type_name;
use crate::wire::{properties, table};
use amq_protocol::types::{AMQPValue, FieldTable};

const OFFSET: &str = "x-stream-offset";
const FILTER: &str = "x-stream-filter";
const MATCH_UNFILTERED: &str = "x-stream-match-unfiltered";
const TRACKING: &str = "x-stream-automatic-offset-tracking";

/// The header of a message that filters look at.
const FILTER_VALUE: &[u8] = b"x-stream-filter-value";

/// Filter values of one consumer; each message is compared with all.
const FILTERS_MAX: usize = 64;

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

/// See the head of this file.
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
    /// What the arguments of `basic.consume` ask of a queue of this kind; none of one that is no stream.
    ///
    /// # Errors
    /// 406 for arguments that this kind of queue does not have, and for values that make no sense.
    pub fn parse(
        (kind, queue): (Kind, &str),
        tag: &str,
        arguments: &FieldTable,
        now: Now,
    ) -> Result<Option<Box<Self>>, AmqpError> {
        let on = Resource::Queue(queue.to_owned());
        let foreign: &[&str] = match kind {
            Kind::Stream => &["x-priority", "x-consumer-timeout"],
            Kind::Classic | Kind::Quorum => &[OFFSET, FILTER, MATCH_UNFILTERED, TRACKING],
        };
        if let Some(key) = foreign.iter().find(|key| arguments.contains_key(key)) {
            let kind = kind.rabbit_type();
            return Err(AmqpError::Precondition(format!(
                "invalid arg '{key}' for {on} of queue type {kind}"
            )));
        }
        if kind != Kind::Stream {
            return Ok(None);
        }
        let of = Arguments { arguments, on };
        let track = of.track(tag)?;
        // Who wants to be remembered and says nothing else wants everything (LavinMQ: streams).
        let otherwise = if track.is_some() { Start::First } else { Start::Next };
        let start = of.start(now)?.unwrap_or(otherwise);
        Ok(Some(Box::new(Self { start, filter: of.filter()?, track, asked_at_ms: now.unix_ms })))
    }
}

struct Arguments<'a> {
    arguments: &'a FieldTable,
    on: Resource,
}

impl Arguments<'_> {
    fn value(&self, key: &str) -> Option<&AMQPValue> {
        self.arguments.inner().get(key).filter(|value| **value != AMQPValue::Void)
    }

    fn invalid(&self, key: &str, why: String) -> AmqpError {
        AmqpError::InvalidArgument { key: key.to_owned(), on: self.on.clone(), why }
    }

    fn unacceptable(&self, key: &str, value: &AMQPValue) -> AmqpError {
        self.invalid(key, format!("{{unacceptable_type,{}}}", type_name(value)))
    }

    fn start(&self, now: Now) -> Result<Option<Start>, AmqpError> {
        let Some(value) = self.value(OFFSET) else { return Ok(None) };
        let start = match (value, integer(value), text(value).as_deref()) {
            (AMQPValue::Timestamp(seconds), ..) => Some(since(seconds.saturating_mul(1000), now)),
            (_, Some(number), _) => Some(match u64::try_from(number) {
                Ok(number) => Start::Offset(number),
                Err(_negative) => Start::FromEnd(number.unsigned_abs()),
            }),
            (_, _, Some("first")) => Some(Start::First),
            (_, _, Some("last")) => Some(Start::Last),
            (_, _, Some("next")) => Some(Start::Next),
            (_, _, Some(text)) => interval_ms(text).map(|ms| since(now.unix_ms.saturating_sub(ms), now)),
            (_, None, None) => None,
        };
        start.map(Some).ok_or_else(|| {
            let shown =
                if text(value).is_some_and(|text| text.is_empty()) { "<<>>".to_owned() } else { term(value) };
            self.invalid(OFFSET, format!("{{invalid_stream_offset_arg,{{{},{shown}}}}}", type_name(value)))
        })
    }

    fn filter(&self) -> Result<Option<Filter>, AmqpError> {
        let unfiltered = self.flag(MATCH_UNFILTERED)?;
        let values = match self.value(FILTER) {
            None => return Ok(None),
            Some(AMQPValue::FieldArray(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        if values.is_empty() || values.len() > FILTERS_MAX {
            return Err(self.invalid(FILTER, format!("\"expected 1 to {FILTERS_MAX} values\"")));
        }
        let values = values.iter().map(|value| match value {
            AMQPValue::LongString(text) => Ok(text.as_bytes().into()),
            _ => Err(self.unacceptable(FILTER, value)),
        });
        Ok(Some(Filter { values: values.collect::<Result<_, _>>()?, unfiltered }))
    }

    fn flag(&self, key: &str) -> Result<bool, AmqpError> {
        match self.value(key) {
            None => Ok(false),
            Some(AMQPValue::Boolean(flag)) => Ok(*flag),
            Some(value) => Err(self.unacceptable(key, value)),
        }
    }

    fn track(&self, tag: &str) -> Result<Option<Box<str>>, AmqpError> {
        // Some clients have no booleans to give (LavinMQ takes both).
        let wanted = match self.value(TRACKING).and_then(text).as_deref() {
            Some("true") => true,
            Some("false") => false,
            _ => self.flag(TRACKING)?,
        };
        if wanted && tag.is_empty() {
            return Err(self.invalid(TRACKING, "\"needs a consumer tag, by which it is known again\"".into()));
        }
        Ok(wanted.then(|| tag.into()))
    }
}

/// What has not come yet is what comes.
fn since(ms: u64, now: Now) -> Start {
    if ms > now.unix_ms { Start::Next } else { Start::Since(ms) }
}

impl Filter {
    /// Whether the consumer wants this message. An empty value counts as none (RabbitMQ: stream-filtering).
    pub(super) fn wants(&self, message: &Message<'_>) -> bool {
        let value =
            properties::headers(message.properties).and_then(|headers| table::get(headers, FILTER_VALUE));
        let value = value.filter(|value| value.kind == b'S').map_or(&[][..], |value| value.bytes);
        (value.is_empty() && self.unfiltered) || self.values.iter().any(|wanted| **wanted == *value)
    }
}
