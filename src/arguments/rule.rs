//! What values an argument takes, and the words in which others are refused: RabbitMQ's.

use crate::arguments::exchange_type::DELAYED_MESSAGE;
use crate::arguments::exchange_type::ExchangeType;
use crate::arguments::value::{integer, term, text};
use crate::clock::interval_ms;
use crate::error::{AmqpError, Resource};
use crate::policy::key::{DELAYS_MAX, SEGMENT_BYTES_MAX, TIME_MAX_MS};
use crate::wire::table::type_name;
use amq_protocol::types::{AMQPValue, FieldTable};

/// Filter values of one consumer; each message is compared with all.
const FILTERS_MAX: usize = 64;

/// The values that an argument accepts, and RabbitMQ's words for refusing others.
#[derive(Debug, Clone, Copy)]
pub enum ValueRule {
    /// Anything at all.
    Any,
    /// Any whole number.
    Integer,
    /// A whole number.
    Range {
        /// The least.
        least: i64,
        /// The most.
        most: i64,
        /// What is wrong with more.
        over: &'static str,
    },
    /// A boolean.
    Flag,
    /// A boolean, or one as a string, for clients that have no booleans to give (LavinMQ).
    FlagOrText,
    /// A string.
    Text,
    /// One of these strings; otherwise the second says why not.
    OneOf(&'static [&'static str], &'static str),
    /// A string that names something, such as an exchange.
    Name,
    /// A string that makes sense beside the first of these arguments only; otherwise the second
    /// says why not.
    Beside(&'static str, &'static str),
    /// The version of RabbitMQ's classic queues; there is one left.
    Version,
    /// The type of queue.
    Type,
    /// An array of times.
    Delays,
    /// An interval such as `7D`.
    Interval,
    /// The bytes of a piece of a stream.
    SegmentSize,
    /// The bytes of one of RabbitMQ's filters.
    FilterSize,
    /// The type by which an exchange of delayed messages routes.
    RoutesBy,
    /// The name of a property that can be hashed, where this argument names no header.
    HashProperty(&'static str),
    /// Where to begin in a stream.
    Offset,
    /// One value to filter by, or an array of them.
    Filters,
}

pub(super) const AT_LEAST_0: ValueRule = ValueRule::Range { least: 0, most: i64::MAX, over: "" };
pub(super) const AT_LEAST_1: ValueRule = ValueRule::Range { least: 1, most: i64::MAX, over: "" };
pub(super) const TIME: ValueRule = ValueRule::Range { least: 0, most: TIME_MAX_MS, over: "value_too_large" };
pub(super) const TIME_NOT_0: ValueRule =
    ValueRule::Range { least: 1, most: TIME_MAX_MS, over: "value_too_large" };
pub(super) const PERCENT: ValueRule = ValueRule::Range { least: 0, most: 100, over: "max_value_exceeded" };
pub(super) const PRIORITIES: ValueRule = ValueRule::Range { least: 0, most: 255, over: "max_value_exceeded" };
pub(super) const OVERFLOWS: ValueRule =
    ValueRule::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow");
pub(super) const STRATEGY: ValueRule =
    ValueRule::OneOf(&["at-most-once", "at-least-once"], "invalid_dlx_strategy");
pub(super) const RETRY_TYPE: ValueRule =
    ValueRule::OneOf(&["all", "failed", "returned", "disabled"], "invalid_delayed_retry_type");
pub(super) const LOCATOR: ValueRule = ValueRule::OneOf(
    &["client-local", "balanced", "random", "least-leaders", "min-masters"],
    "invalid_queue_locator_arg",
);

impl ValueRule {
    /// Refuses what the rule does not allow; `arguments` are those beside it.
    ///
    /// # Errors
    /// 406 with the name, and what is wrong.
    pub(super) fn check(
        self,
        key: &str,
        on: &Resource,
        value: &AMQPValue,
        arguments: &FieldTable,
    ) -> Result<(), AmqpError> {
        match self {
            Self::Name | Self::HashProperty(_) if !matches!(value, AMQPValue::LongString(_)) => {
                let kind = type_name(value);
                return Err(AmqpError::Precondition(format!(
                    "invalid type '{kind}' for arg '{key}' in {on}"
                )));
            }
            Self::HashProperty(header) => return hash_property((key, header), value, arguments),
            Self::RoutesBy => return routes_by(key, Some(value)).map(drop),
            Self::SegmentSize if integer(value).is_some_and(|bytes| bytes > SEGMENT_BYTES_MAX) => {
                return Err(AmqpError::Precondition(format!("Exceeded max value for {key}")));
            }
            Self::FilterSize
                if integer(value).is_some_and(|bytes| bytes >= 0 && !(16..=255).contains(&bytes)) =>
            {
                return Err(AmqpError::Precondition(format!("Invalid value for {key}")));
            }
            _ => {}
        }
        self.fault(value, arguments).map_or(Ok(()), |why| Err(invalid(key, on, why)))
    }

    /// What is wrong with a value.
    fn fault(self, value: &AMQPValue, arguments: &FieldTable) -> Option<String> {
        match self {
            Self::Any | Self::Name | Self::HashProperty(_) | Self::RoutesBy => None,
            Self::Integer => integer(value).is_none().then(|| expected_integer(value)),
            Self::SegmentSize | Self::FilterSize => AT_LEAST_0.fault(value, arguments),
            Self::Range { least, most, over } => match integer(value) {
                None => Some(expected_integer(value)),
                Some(number) if number < 0 => Some(format!("{{value_negative,{number}}}")),
                Some(number) if number < least => Some(format!("{{value_zero,{number}}}")),
                Some(number) if number > most => Some(format!("{{{over},{number}}}")),
                Some(_) => None,
            },
            Self::Flag => (!matches!(value, AMQPValue::Boolean(_))).then(|| unacceptable_type(value)),
            Self::FlagOrText => match text(value).as_deref() {
                Some("true" | "false") => None,
                _ => Self::Flag.fault(value, arguments),
            },
            Self::Text => text(value).is_none().then(|| unacceptable_type(value)),
            Self::OneOf(values, why) => match text(value) {
                None => Some(unacceptable_type(value)),
                Some(text) => (!values.contains(&&*text)).then(|| why.to_owned()),
            },
            Self::Beside(other, why) => match text(value) {
                None => Some(unacceptable_type(value)),
                Some(_) if arguments.contains_key(other) => None,
                Some(_) => Some(why.to_owned()),
            },
            Self::Version => match integer(value) {
                None => Some(expected_integer(value)),
                Some(2) => None,
                Some(number) if number < 0 => Some(format!("{{value_negative,{number}}}")),
                Some(number) => Some(format!("\"unsupported queue version '{number}'\"")),
            },
            Self::Delays => delays_fault(value),
            Self::Type => match text(value).as_deref() {
                None => Some(unacceptable_type(value)),
                Some("" | "classic" | "quorum" | "stream") => None,
                Some(other) => Some(format!("\"unsupported queue type '{other}'\"")),
            },
            Self::Interval => match text(value) {
                None => Some(unacceptable_type(value)),
                Some(text) => interval_ms(&text).is_none().then(|| "invalid_max_age".to_owned()),
            },
            Self::Offset => offset_fault(value),
            Self::Filters => filters_fault(value),
        }
    }
}

fn delays_fault(value: &AMQPValue) -> Option<String> {
    match array_of_integers(value) {
        None => Some(format!("\"expected array of integers, got {}\"", type_name(value))),
        Some(delays) if delays.is_empty() => Some("no_delays".to_owned()),
        Some(delays) if delays.len() > DELAYS_MAX => Some(format!("{{too_many_delays,{}}}", delays.len())),
        Some(delays) => delays.iter().find(|ms| !(0..=TIME_MAX_MS).contains(*ms)).map(|ms| {
            let what = if *ms < 0 { "value_negative" } else { "value_too_large" };
            format!("{{{what},{ms}}}")
        }),
    }
}

fn offset_fault(value: &AMQPValue) -> Option<String> {
    let (name, number) = (text(value), integer(value));
    let names_one = |name: &str| matches!(name, "first" | "last" | "next") || interval_ms(name).is_some();
    if number.is_some() || matches!(value, AMQPValue::Timestamp(_)) || name.as_deref().is_some_and(names_one)
    {
        return None;
    }
    let shown = if name.is_some_and(|name| name.is_empty()) { "<<>>".to_owned() } else { term(value) };
    Some(format!("{{invalid_stream_offset_arg,{{{},{shown}}}}}", type_name(value)))
}

fn filters_fault(value: &AMQPValue) -> Option<String> {
    let values = match value {
        AMQPValue::FieldArray(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    if values.is_empty() || values.len() > FILTERS_MAX {
        return Some(format!("\"expected 1 to {FILTERS_MAX} values\""));
    }
    values.iter().find(|value| !matches!(value, AMQPValue::LongString(_))).map(unacceptable_type)
}

/// Refuses a string that is no property that can be hashed.
fn hash_property(
    (key, header): (&str, &str),
    value: &AMQPValue,
    arguments: &FieldTable,
) -> Result<(), AmqpError> {
    let why = match text(value).unwrap_or_default().as_str() {
        _ if arguments.contains_key(header) => {
            format!("{header} and {key} are mutually exclusive")
        }
        "message_id" | "correlation_id" | "timestamp" => return Ok(()),
        other => format!("Unsupported property: {other}"),
    };
    Err(AmqpError::Precondition(why))
}

/// The type by which an exchange of delayed messages routes, the value of its argument `key`.
///
/// # Errors
/// 406 when it says none, or none that there is.
pub(super) fn routes_by(key: &str, value: Option<&AMQPValue>) -> Result<ExchangeType, AmqpError> {
    let refused = |why: String| AmqpError::Precondition(format!("Invalid argument, {why}"));
    match value.and_then(text).as_deref() {
        Some(DELAYED_MESSAGE) => Err(refused(format!("'{DELAYED_MESSAGE}' can't be used for '{key}'"))),
        Some(kind) => ExchangeType::named(kind),
        None => Err(refused(format!("'{key}' must be an existing exchange type"))),
    }
}

/// The numbers of an array that holds nothing else.
pub(super) fn array_of_integers(value: &AMQPValue) -> Option<Vec<i64>> {
    match value {
        AMQPValue::FieldArray(items) => items.as_slice().iter().map(integer).collect(),
        _ => None,
    }
}

/// The refusal of an argument.
pub(crate) fn invalid(key: &str, on: &Resource, why: String) -> AmqpError {
    AmqpError::InvalidArgument { key: key.to_owned(), on: on.clone(), why }
}

fn expected_integer(value: &AMQPValue) -> String {
    format!("\"expected integer, got {}\"", type_name(value))
}

fn unacceptable_type(value: &AMQPValue) -> String {
    format!("{{unacceptable_type,{}}}", type_name(value))
}
