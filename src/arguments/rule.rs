//! What values an argument takes.

use crate::arguments::exchange_type::DELAYED_MESSAGE;
use crate::arguments::exchange_type::ExchangeType;
use crate::arguments::value::{term, text};
use crate::clock::interval_ms;
use crate::error::{BrokerError, Resource, ShownValue, ValueFault};
use crate::message::table::{FieldTable, FieldValue};
use crate::message::table::{integer, type_name};
use crate::policy::key::{DELAYS_MAX, SEGMENT_BYTES_MAX, TIME_MAX_MS};

/// Filter values of one consumer; each message is compared with all.
const FILTERS_MAX: usize = 64;

/// How much of a value that is no list of delays is shown, in characters.
const SHOWN_MAX: usize = 40;

/// The values that an argument accepts, and what is wrong with others.
#[derive(Debug, Clone, Copy)]
pub enum ValueRule {
    /// Anything at all.
    Any,
    /// Any whole number.
    Integer,
    /// A whole number.
    Range {
        /// The smallest value.
        least: i64,
        /// The largest value.
        most: i64,
        /// What is wrong with more.
        over: fn(i64) -> ValueFault,
    },
    /// A boolean.
    Flag,
    /// A boolean, or one as a string, for clients that have no booleans to give (LavinMQ).
    FlagOrText,
    /// A string.
    Text,
    /// One of these strings; otherwise the second says why not.
    OneOf(&'static [&'static str], &'static ValueFault),
    /// A string that names something, such as an exchange.
    Name,
    /// A string that makes sense beside the first of these arguments only; otherwise the second
    /// says why not.
    Beside(&'static str, &'static ValueFault),
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

pub(super) const AT_LEAST_0: ValueRule =
    ValueRule::Range { least: 0, most: i64::MAX, over: ValueFault::TooLarge };
pub(super) const AT_LEAST_1: ValueRule =
    ValueRule::Range { least: 1, most: i64::MAX, over: ValueFault::TooLarge };
pub(super) const TIME: ValueRule =
    ValueRule::Range { least: 0, most: TIME_MAX_MS, over: ValueFault::TooLarge };
pub(super) const TIME_NOT_0: ValueRule =
    ValueRule::Range { least: 1, most: TIME_MAX_MS, over: ValueFault::TooLarge };
pub(super) const PERCENT: ValueRule = ValueRule::Range { least: 0, most: 100, over: ValueFault::OverMaximum };
pub(super) const PRIORITIES: ValueRule =
    ValueRule::Range { least: 0, most: 255, over: ValueFault::OverMaximum };
pub(super) const OVERFLOWS: ValueRule =
    ValueRule::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"], &ValueFault::Overflow);
pub(super) const STRATEGY: ValueRule =
    ValueRule::OneOf(&["at-most-once", "at-least-once"], &ValueFault::DeadLetterStrategy);
pub(super) const RETRY_TYPE: ValueRule =
    ValueRule::OneOf(&["all", "failed", "returned", "disabled"], &ValueFault::DelayedRetryType);
pub(super) const LOCATOR: ValueRule = ValueRule::OneOf(
    &["client-local", "balanced", "random", "least-leaders", "min-masters"],
    &ValueFault::QueueLocator,
);

impl ValueRule {
    /// Refuses what the rule does not allow; `arguments` are those beside it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(
        self,
        key: &'static str,
        on: &Resource,
        value: &FieldValue,
        arguments: &FieldTable,
    ) -> Result<(), BrokerError> {
        match self {
            Self::Name | Self::HashProperty(_) if !matches!(value, FieldValue::LongString(_)) => {
                return Err(BrokerError::ArgumentNotName { key, on: on.clone(), found: type_name(value) });
            }
            Self::HashProperty(header) => return hash_property((key, header), value, arguments),
            Self::RoutesBy => return routes_by(key, Some(value)).map(drop),
            Self::SegmentSize if integer(value).is_some_and(|bytes| bytes > SEGMENT_BYTES_MAX) => {
                return Err(BrokerError::ArgumentTooLarge { key });
            }
            Self::FilterSize
                if integer(value).is_some_and(|bytes| bytes >= 0 && !(16..=255).contains(&bytes)) =>
            {
                return Err(BrokerError::ArgumentOutOfRange { key });
            }
            _ => {}
        }
        match self.fault(value, arguments) {
            None => Ok(()),
            Some(why) => Err(BrokerError::InvalidArgument { key, on: on.clone(), why }),
        }
    }

    /// What is wrong with a value.
    fn fault(self, value: &FieldValue, arguments: &FieldTable) -> Option<ValueFault> {
        match self {
            Self::Any | Self::Name | Self::HashProperty(_) | Self::RoutesBy => None,
            Self::Integer => integer(value).is_none().then(|| not_integer(value)),
            Self::SegmentSize | Self::FilterSize => AT_LEAST_0.fault(value, arguments),
            Self::Range { least, most, over } => match integer(value) {
                None => Some(not_integer(value)),
                Some(number) if number < 0 => Some(ValueFault::Negative(number)),
                Some(number) if number < least => Some(ValueFault::Zero(number)),
                Some(number) if number > most => Some(over(number)),
                Some(_) => None,
            },
            Self::Flag => (!matches!(value, FieldValue::Boolean(_))).then(|| wrong_type(value)),
            Self::FlagOrText => match text(value).as_deref() {
                Some("true" | "false") => None,
                _ => Self::Flag.fault(value, arguments),
            },
            Self::Text => text(value).is_none().then(|| wrong_type(value)),
            Self::OneOf(values, why) => match text(value) {
                None => Some(wrong_type(value)),
                Some(text) => (!values.contains(&&*text)).then(|| why.clone()),
            },
            Self::Beside(other, why) => match text(value) {
                None => Some(wrong_type(value)),
                Some(_) if arguments.contains_key(other) => None,
                Some(_) => Some(why.clone()),
            },
            Self::Version => match integer(value) {
                None => Some(not_integer(value)),
                Some(2) => None,
                Some(number) if number < 0 => Some(ValueFault::Negative(number)),
                Some(number) => Some(ValueFault::QueueVersion(number)),
            },
            Self::Delays => delays_fault(value),
            Self::Type => match text(value).as_deref() {
                None => Some(wrong_type(value)),
                Some("" | "classic" | "quorum" | "stream") => None,
                Some(other) => Some(ValueFault::QueueType(other.to_owned())),
            },
            Self::Interval => match text(value) {
                None => Some(wrong_type(value)),
                Some(text) => interval_ms(&text).is_none().then_some(ValueFault::Age),
            },
            Self::Offset => offset_fault(value),
            Self::Filters => filters_fault(value),
        }
    }
}

fn delays_fault(value: &FieldValue) -> Option<ValueFault> {
    let shown = |value: &FieldValue| {
        let text: String = term(value).chars().filter(|&of| of != '"').take(SHOWN_MAX).collect();
        format!("{} {text}", type_name(value))
    };
    let item_fault = |item: &FieldValue| match integer(item) {
        None => Some(format!("{} is not a number", shown(item))),
        Some(ms) if ms < 0 => Some(format!("{ms} is negative")),
        Some(ms) if ms > TIME_MAX_MS => Some(format!("{ms} is more than {TIME_MAX_MS}")),
        Some(_) => None,
    };
    let why = match value {
        FieldValue::FieldArray(items) if items.is_empty() => Some("the list is empty".to_owned()),
        FieldValue::FieldArray(items) if items.len() > DELAYS_MAX => {
            Some(format!("the list has {} times", items.len()))
        }
        FieldValue::FieldArray(items) => items.iter().find_map(item_fault),
        value => Some(format!("{} is not a list", shown(value))),
    };
    why.map(|why| ValueFault::Delays { why, max: DELAYS_MAX })
}

fn offset_fault(value: &FieldValue) -> Option<ValueFault> {
    let (name, number) = (text(value), integer(value));
    let names_one = |name: &str| matches!(name, "first" | "last" | "next") || interval_ms(name).is_some();
    if number.is_some() || matches!(value, FieldValue::Timestamp(_)) || name.as_deref().is_some_and(names_one)
    {
        return None;
    }
    let text = if name.is_some_and(|name| name.is_empty()) { "<<>>".to_owned() } else { term(value) };
    Some(ValueFault::StreamOffset(ShownValue { text: text.into(), type_name: type_name(value) }))
}

fn filters_fault(value: &FieldValue) -> Option<ValueFault> {
    let values = match value {
        FieldValue::FieldArray(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    if values.is_empty() || values.len() > FILTERS_MAX {
        return Some(ValueFault::FilterCount(FILTERS_MAX));
    }
    values.iter().find(|value| !matches!(value, FieldValue::LongString(_))).map(wrong_type)
}

/// Refuses a string that is no property that can be hashed.
fn hash_property(
    (key, header): (&'static str, &'static str),
    value: &FieldValue,
    arguments: &FieldTable,
) -> Result<(), BrokerError> {
    if arguments.contains_key(header) {
        return Err(BrokerError::ExclusiveArguments { one: header, other: key });
    }
    match text(value).unwrap_or_default() {
        name if matches!(name.as_str(), "message_id" | "correlation_id" | "timestamp") => Ok(()),
        name => Err(BrokerError::UnsupportedProperty(name)),
    }
}

/// The type by which an exchange of delayed messages routes, the value of its argument `key`.
///
/// # Errors
/// It says none, or none that there is.
pub(super) fn routes_by(key: &'static str, value: Option<&FieldValue>) -> Result<ExchangeType, BrokerError> {
    match value.and_then(text).as_deref() {
        Some(DELAYED_MESSAGE) => Err(BrokerError::DelaysTwice { key, exchange_type: DELAYED_MESSAGE }),
        Some(kind) => ExchangeType::named(kind),
        None => Err(BrokerError::NoDelayedType { key }),
    }
}

/// The numbers of an array that holds nothing else.
pub(super) fn array_of_integers(value: &FieldValue) -> Option<Vec<i64>> {
    match value {
        FieldValue::FieldArray(items) => items.as_slice().iter().map(integer).collect(),
        _ => None,
    }
}

fn not_integer(value: &FieldValue) -> ValueFault {
    ValueFault::NotInteger(type_name(value))
}

fn wrong_type(value: &FieldValue) -> ValueFault {
    ValueFault::Type(type_name(value))
}
