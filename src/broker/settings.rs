//! What can be asked of a queue: its flags and its arguments, checked against one table.
//!
//! [`TABLE`] knows every argument: its type and range, and which types of queue have it. A new feature adds a row, and a field of
//! [`Settings`]. Arguments that are not in the table are the client's own: kept, never compared, never refused.

mod retry;
mod stream;
#[cfg(test)]
mod tests;

pub use self::retry::Retry;
pub use self::stream::{Retention, interval_ms};

use self::retry::{DELAYED_RETRY_MAX, DELAYED_RETRY_MIN, DELAYED_RETRY_TYPE, RETRY_DELAYS, RETRY_JITTER};
use crate::broker::argument::{equivalent, equivalent_flag, integer, text};
use crate::error::{AmqpError, Resource};
use crate::wire::table::type_name;
use amq_protocol::types::{AMQPValue, FieldTable};
use std::sync::LazyLock;

/// How often a message of a quorum queue may be returned when its declaration does not say (RabbitMQ: quorum-queues).
const QUORUM_DELIVERY_LIMIT: u32 = 20;

/// The priorities of a quorum queue, which has them without asking (RabbitMQ 4.3: quorum-queues).
const QUORUM_PRIORITIES: Priorities = Priorities { most: 31, unset: 4 };

/// Delays of `x-retry-delays` at most.
const RETRY_DELAYS_MAX: usize = 100;

/// How long a consumer of a quorum queue may leave a delivery unacknowledged when nobody says, milliseconds (RabbitMQ:
/// consumers.md).
const QUORUM_CONSUMER_TIMEOUT_MS: u64 = 1_800_000;

/// The longest time in milliseconds, ten years; RabbitMQ's own bound.
const TIME_MAX_MS: i64 = 315_360_000_000;

const QUEUE_TYPE: &str = "x-queue-type";
const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
const DEAD_LETTER_ROUTING_KEY: &str = "x-dead-letter-routing-key";
const DELIVERY_LIMIT: &str = "x-delivery-limit";
const EXPIRES: &str = "x-expires";
const MESSAGE_TTL: &str = "x-message-ttl";
const MAX_PRIORITY: &str = "x-max-priority";
const MAX_LENGTH: &str = "x-max-length";
const MAX_LENGTH_BYTES: &str = "x-max-length-bytes";
const OVERFLOW: &str = "x-overflow";
const CONSUMER_TIMEOUT: &str = "x-consumer-timeout";
const SINGLE_ACTIVE_CONSUMER: &str = "x-single-active-consumer";
const PRIORITY: &str = "x-priority";
/// The argument of an exchange that names where unroutable messages go.
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// The flags of a declaration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Survives a restart; never so for an exclusive queue.
    pub durable: bool,
    /// Deleted when its last consumer goes.
    pub auto_delete: bool,
    /// For the connection that declared it alone.
    pub exclusive: bool,
}

/// What priorities of messages mean in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priorities {
    /// The highest; higher ones count as this one.
    pub most: u8,
    /// As what a message without one counts.
    pub unset: u8,
}

/// Types of queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Of no special type.
    #[default]
    Classic,
    /// Durable, with a delivery limit.
    Quorum,
    /// A log that every consumer reads from where it likes, and that forgets by size and age alone.
    Stream,
}

impl Kind {
    /// What RabbitMQ's texts call it.
    #[must_use]
    pub fn rabbit_type(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
            Self::Stream => "rabbit_stream_queue",
        }
    }
}

/// How a queue was declared.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// It and its persistent messages survive a restart.
    pub durable: bool,
    /// Deleted when its last consumer goes.
    pub auto_delete: bool,
    /// For the connection that declared it alone.
    pub exclusive: bool,
    /// As `x-queue-type` says.
    pub kind: Kind,
    /// How much of a stream is kept.
    pub retention: Retention,
    /// Messages go to one consumer at a time, whoever came first.
    pub single_active: bool,
    /// Where rejected messages go; the empty name is the default exchange.
    pub dead_letter_exchange: Option<String>,
    /// The routing key they get; their own when absent.
    pub dead_letter_routing_key: Option<String>,
    /// How many deliveries of a message may fail.
    pub delivery_limit: Option<u32>,
    /// How long a message waits before it is delivered again.
    pub retry: Retry,
    /// How long a message lives, milliseconds.
    pub ttl_ms: Option<u64>,
    /// How long the queue stays when nobody uses it, milliseconds.
    pub expires_ms: Option<u64>,
    /// It keeps the delayed messages of an exchange, and nobody consumes from it.
    pub delays: bool,
    /// The priorities of its messages.
    pub priorities: Option<Priorities>,
    /// How much it may hold; none: any amount.
    pub length: Option<LengthLimit>,
    /// How long a consumer may leave a delivery unacknowledged, milliseconds; none: for ever.
    pub consumer_timeout_ms: Option<u64>,
    /// All arguments as declared.
    pub arguments: FieldTable,
}

/// How much may be ready in a queue, and what gives way beyond that (RabbitMQ: maxlength.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthLimit {
    /// Messages at most.
    pub messages: u64,
    /// Bytes of their bodies at most.
    pub bytes: Option<u64>,
    /// What gives way.
    pub overflow: Overflow,
}

/// What a full queue does with a message too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Its oldest ready messages go.
    DropHead,
    /// The new message is refused.
    Reject,
    /// The new message is refused, and dead-lettered.
    RejectAndDeadLetter,
}

/// An argument of `queue.declare`.
struct Argument {
    name: &'static str,
    rule: Rule,
    /// The types of queue that have it.
    on: On,
}

/// What values an argument takes.
#[derive(Clone, Copy)]
enum Rule {
    /// Anything at all.
    Any,
    /// Any whole number.
    Integer,
    /// A whole number from `least` to `most`.
    Range { least: i64, most: i64, over: &'static str },
    /// A boolean.
    Flag,
    /// One of these strings; otherwise the second says why not.
    OneOf(&'static [&'static str], &'static str),
    /// The name of an exchange.
    Exchange,
    /// A string that makes sense beside a dead-letter exchange only.
    DeadLetterKey,
    /// The version of RabbitMQ's classic queues; there is one left.
    Version,
    /// The type of queue.
    Type,
    /// An array of times.
    Delays,
    /// An interval such as `7D`.
    Interval,
}

/// Which types of queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    All,
    /// Not streams.
    Both,
    Classic,
    Quorum,
    Stream,
}

const AT_LEAST_0: Rule = Rule::Range { least: 0, most: i64::MAX, over: "" };
const AT_LEAST_1: Rule = Rule::Range { least: 1, most: i64::MAX, over: "" };
const TIME: Rule = Rule::Range { least: 0, most: TIME_MAX_MS, over: "value_too_large" };
const TIME_NOT_0: Rule = Rule::Range { least: 1, most: TIME_MAX_MS, over: "value_too_large" };
const PERCENT: Rule = Rule::Range { least: 0, most: 100, over: "max_value_exceeded" };
const PRIORITIES: Rule = Rule::Range { least: 0, most: 255, over: "max_value_exceeded" };
const OVERFLOWS: Rule =
    Rule::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow");
const STRATEGY: Rule = Rule::OneOf(&["at-most-once", "at-least-once"], "invalid_dlx_strategy");
const RETRY_TYPE: Rule =
    Rule::OneOf(&["all", "failed", "returned", "disabled"], "invalid_delayed_retry_type");
const LOCATOR: Rule = Rule::OneOf(&["client-local", "balanced"], "invalid_queue_locator_arg");

/// All arguments, in the order in which RabbitMQ compares those of a classic queue, and of a stream.
const TABLE: &[Argument] = &[
    row(EXPIRES, TIME_NOT_0, On::Both),
    row(MESSAGE_TTL, TIME, On::Both),
    row(DEAD_LETTER_EXCHANGE, Rule::Exchange, On::Both),
    row(DEAD_LETTER_ROUTING_KEY, Rule::DeadLetterKey, On::Both),
    moot("x-dead-letter-strategy", STRATEGY, On::Quorum),
    row(MAX_LENGTH, AT_LEAST_0, On::Both),
    row(MAX_LENGTH_BYTES, AT_LEAST_0, On::All),
    row(MAX_PRIORITY, PRIORITIES, On::Classic),
    row(OVERFLOW, OVERFLOWS, On::Both),
    moot("x-queue-mode", Rule::Any, On::Classic),
    moot("x-queue-version", Rule::Version, On::Classic),
    row(SINGLE_ACTIVE_CONSUMER, Rule::Flag, On::Both),
    moot("x-queue-leader-locator", LOCATOR, On::All),
    moot("x-quorum-initial-group-size", AT_LEAST_1, On::Quorum),
    row(DELIVERY_LIMIT, Rule::Integer, On::Both),
    row(CONSUMER_TIMEOUT, AT_LEAST_0, On::Both),
    moot("x-consumer-disconnected-timeout", AT_LEAST_0, On::Quorum),
    row(DELAYED_RETRY_TYPE, RETRY_TYPE, On::Quorum),
    row(DELAYED_RETRY_MIN, TIME, On::Quorum),
    row(DELAYED_RETRY_MAX, TIME, On::Quorum),
    row(RETRY_DELAYS, Rule::Delays, On::Both),
    row(RETRY_JITTER, PERCENT, On::Both),
    row(QUEUE_TYPE, Rule::Type, On::All),
    row(stream::MAX_AGE, Rule::Interval, On::Stream),
    row(stream::SEGMENT_BYTES, AT_LEAST_0, On::Stream),
    moot(stream::FILTER_BYTES, AT_LEAST_0, On::Stream),
    moot("x-initial-cluster-size", AT_LEAST_1, On::Stream),
];

const fn row(name: &'static str, rule: Rule, on: On) -> Argument {
    Argument { name, rule, on }
}

/// An argument about which there is nothing to do on one node, with one storage format, and where a dead letter changes
/// queues in one commit: it is checked and compared like the others.
const fn moot(name: &'static str, rule: Rule, on: On) -> Argument {
    row(name, rule, on)
}

impl Settings {
    /// The settings of a new queue, if there can be such a queue.
    ///
    /// # Errors
    /// 406 for an argument with a wrong type or value, one that this type of queue does not have, and for flags that
    /// a quorum queue or a stream cannot have.
    pub fn declare(name: &str, flags: Flags, arguments: FieldTable) -> Result<Self, AmqpError> {
        let on = Resource::Queue(name.to_owned());
        if let Some(kind) = arguments.inner().get(QUEUE_TYPE) {
            Rule::Type.check(QUEUE_TYPE, &on, kind, &arguments)?;
        }
        let settings = Self::new(flags, arguments);
        let arguments = &settings.arguments;
        for argument in TABLE.iter().filter(|argument| argument.is_on(settings.kind)) {
            if let Some(value) = arguments.inner().get(argument.name) {
                argument.rule.check(argument.name, &on, value, arguments)?;
            }
        }
        for argument in TABLE {
            if arguments.contains_key(argument.name) && !argument.is_on(settings.kind) {
                let (key, kind) = (argument.name, settings.kind.rabbit_type());
                let why = format!("invalid arg '{key}' for {on} of queue type {kind}");
                return Err(AmqpError::Precondition(why));
            }
        }
        stream::check(settings.kind, arguments)?;
        if settings.kind != Kind::Classic {
            let wrong = [
                (flags.auto_delete, "auto-delete"),
                (flags.exclusive, "exclusive-owner"),
                (!flags.durable, "non-durable"),
            ];
            if let Some((_, property)) = wrong.iter().find(|(is_wrong, _)| *is_wrong) {
                return Err(AmqpError::Precondition(format!("invalid property '{property}' for {on}")));
            }
        }
        Ok(settings)
    }

    /// The settings that flags and arguments amount to; what is wrong with an argument makes it count as absent. For
    /// queues that exist already.
    #[must_use]
    pub fn new(flags: Flags, arguments: FieldTable) -> Self {
        let value = |name| arguments.inner().get(name);
        let kind = match value(QUEUE_TYPE).and_then(text).as_deref() {
            Some("quorum") => Kind::Quorum,
            Some("stream") => Kind::Stream,
            Some(_) | None => Kind::Classic,
        };
        let delivery_limit = match value(DELIVERY_LIMIT).and_then(integer) {
            Some(limit) if limit < 0 => None,
            Some(limit) => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
            None => (kind == Kind::Quorum).then_some(QUORUM_DELIVERY_LIMIT),
        };
        let ms = |name| number(&arguments, name);
        let retry = Retry::of(&arguments);
        let delivery_limit = delivery_limit.into_iter().chain(retry.limit()).min();
        let priorities = match number(&arguments, MAX_PRIORITY).and_then(|most| u8::try_from(most).ok()) {
            Some(most) if most > 0 => Some(Priorities { most, unset: 0 }),
            _ => (kind == Kind::Quorum).then_some(QUORUM_PRIORITIES),
        };
        Self {
            retry,
            ttl_ms: ms(MESSAGE_TTL),
            expires_ms: ms(EXPIRES),
            priorities,
            delays: false,
            durable: flags.durable && !flags.exclusive,
            auto_delete: flags.auto_delete,
            exclusive: flags.exclusive,
            kind,
            retention: Retention::new(&arguments),
            single_active: value(SINGLE_ACTIVE_CONSUMER) == Some(&AMQPValue::Boolean(true)),
            dead_letter_exchange: value(DEAD_LETTER_EXCHANGE).and_then(text),
            dead_letter_routing_key: value(DEAD_LETTER_ROUTING_KEY).and_then(text),
            delivery_limit,
            // A stream keeps to its size by itself.
            length: length_limit(&arguments).filter(|_| kind != Kind::Stream),
            consumer_timeout_ms: ms(CONSUMER_TIMEOUT)
                .or((kind == Kind::Quorum).then_some(QUORUM_CONSUMER_TIMEOUT_MS)),
            arguments,
        }
    }

    /// Refuses to redeclare the queue differently. Whether it is exclusive has been looked at before.
    ///
    /// # Errors
    /// 406 that names the first difference.
    pub fn check_equivalent(
        &self,
        name: &str,
        flags: Flags,
        arguments: &FieldTable,
    ) -> Result<(), AmqpError> {
        let on = Resource::Queue(name.to_owned());
        equivalent_flag("durable", &on, flags.durable && !flags.exclusive, self.durable)?;
        equivalent_flag("auto_delete", &on, flags.auto_delete, self.auto_delete)?;
        for argument in TABLE.iter().filter(|argument| argument.is_compared(self.kind)) {
            let absent = argument.absent();
            let received = arguments.inner().get(argument.name).or(absent);
            let current = self.arguments.inner().get(argument.name).or(absent);
            let comparable = |value: Option<&AMQPValue>| stream::comparable(argument.name, value?);
            let (shown, held) = (comparable(received), comparable(current));
            equivalent(argument.name, &on, shown.as_ref().or(received), held.as_ref().or(current))?;
        }
        Ok(())
    }

    /// Whether it may refuse a message.
    #[must_use]
    pub fn may_refuse(&self) -> bool {
        self.length.is_some_and(|limit| limit.overflow != Overflow::DropHead)
    }

    /// Whether messages may leave it for other queues, at any time.
    #[must_use]
    pub fn sends(&self) -> bool {
        self.dead_letter_exchange.is_some() || self.delays
    }
}

/// The limit that the arguments set; a value that is none counts as absent.
fn length_limit(arguments: &FieldTable) -> Option<LengthLimit> {
    let (messages, bytes) = (number(arguments, MAX_LENGTH), number(arguments, MAX_LENGTH_BYTES));
    if messages.is_none() && bytes.is_none() {
        return None;
    }
    let overflow = match arguments.inner().get(OVERFLOW).and_then(text).as_deref() {
        Some("reject-publish") => Overflow::Reject,
        Some("reject-publish-dlx") => Overflow::RejectAndDeadLetter,
        Some(_) | None => Overflow::DropHead,
    };
    Some(LengthLimit { messages: messages.unwrap_or(u64::MAX), bytes, overflow })
}

/// Refuses to make up a name for a queue of a type that has to have one of its own.
///
/// # Errors
/// 406 for a quorum queue and a stream.
pub fn check_server_named(arguments: &FieldTable) -> Result<(), AmqpError> {
    let kind = arguments.inner().get(QUEUE_TYPE).and_then(text);
    match kind.as_deref() {
        Some(kind @ ("quorum" | "stream")) => Err(AmqpError::Precondition(format!(
            "Cannot declare a server-named queue for type rabbit_{kind}_queue"
        ))),
        _ => Ok(()),
    }
}

/// The priority that the arguments of `basic.consume` ask for; 0 when they do not.
///
/// # Errors
/// 406 when it is not a whole number.
pub fn consumer_priority(queue: &str, arguments: &FieldTable) -> Result<i32, AmqpError> {
    let Some(value) = arguments.inner().get(PRIORITY) else { return Ok(0) };
    let Some(priority) = integer(value) else {
        return Err(invalid(PRIORITY, &Resource::Queue(queue.to_owned()), expected_integer(value)));
    };
    Ok(i32::try_from(priority).unwrap_or(if priority < 0 { i32::MIN } else { i32::MAX }))
}

/// The consumer timeout in milliseconds that the arguments of `basic.consume` ask for.
///
/// # Errors
/// 406 when it is not a whole number, or negative.
pub fn consumer_timeout(queue: &str, arguments: &FieldTable) -> Result<Option<u64>, AmqpError> {
    if let Some(value) = arguments.inner().get(CONSUMER_TIMEOUT) {
        AT_LEAST_0.check(CONSUMER_TIMEOUT, &Resource::Queue(queue.to_owned()), value, arguments)?;
    }
    Ok(number(arguments, CONSUMER_TIMEOUT))
}

/// A number that is not negative; what is none counts as absent.
fn number(arguments: &FieldTable, name: &str) -> Option<u64> {
    arguments.inner().get(name).and_then(integer).and_then(|number| u64::try_from(number).ok())
}

/// The alternate exchange that the arguments of `exchange.declare` name.
///
/// # Errors
/// 406 when it is not a string.
pub fn alternate_exchange(exchange: &str, arguments: &FieldTable) -> Result<Option<String>, AmqpError> {
    let Some(value) = arguments.inner().get(ALTERNATE_EXCHANGE) else { return Ok(None) };
    let on = Resource::Exchange(exchange.to_owned());
    text(value).ok_or_else(|| wrong_type(ALTERNATE_EXCHANGE, &on, value)).map(Some)
}

impl Argument {
    fn is_on(&self, kind: Kind) -> bool {
        match self.on {
            On::All => true,
            On::Both => kind != Kind::Stream,
            On::Classic => kind == Kind::Classic,
            On::Quorum => kind == Kind::Quorum,
            On::Stream => kind == Kind::Stream,
        }
    }

    /// Whether a redeclaration has to have the same value. Clients redeclare classic queues with another consumer timeout
    /// or none, for RabbitMQ has it on quorum queues alone.
    fn is_compared(&self, kind: Kind) -> bool {
        self.is_on(kind) && (kind == Kind::Quorum || self.name != CONSUMER_TIMEOUT)
    }

    /// The value that is meant where there is none.
    fn absent(&self) -> Option<&'static AMQPValue> {
        static CLASSIC: LazyLock<AMQPValue> = LazyLock::new(|| AMQPValue::LongString("classic".into()));
        (self.name == QUEUE_TYPE).then(|| &*CLASSIC)
    }
}

impl Rule {
    fn check(
        self,
        key: &str,
        on: &Resource,
        value: &AMQPValue,
        arguments: &FieldTable,
    ) -> Result<(), AmqpError> {
        let why = match self {
            Self::Any => None,
            Self::Exchange => match value {
                AMQPValue::LongString(_) => None,
                _ => return Err(wrong_type(key, on, value)),
            },
            Self::Integer => integer(value).is_none().then(|| expected_integer(value)),
            Self::Range { least, most, over } => match integer(value) {
                None => Some(expected_integer(value)),
                Some(number) if number < 0 => Some(format!("{{value_negative,{number}}}")),
                Some(number) if number < least => Some(format!("{{value_zero,{number}}}")),
                Some(number) if number > most => Some(format!("{{{over},{number}}}")),
                Some(_) => None,
            },
            Self::Flag => (!matches!(value, AMQPValue::Boolean(_))).then(|| unacceptable_type(value)),
            Self::OneOf(values, why) => match text(value) {
                None => Some(unacceptable_type(value)),
                Some(text) => (!values.contains(&&*text)).then(|| why.to_owned()),
            },
            Self::DeadLetterKey => match text(value) {
                None => Some(unacceptable_type(value)),
                Some(_) if arguments.contains_key(DEAD_LETTER_EXCHANGE) => None,
                Some(_) => Some("routing_key_but_no_dlx_defined".to_owned()),
            },
            Self::Version => match integer(value) {
                None => Some(expected_integer(value)),
                Some(2) => None,
                Some(number) if number < 0 => Some(format!("{{value_negative,{number}}}")),
                Some(number) => Some(format!("\"unsupported queue version '{number}'\"")),
            },
            Self::Delays => match array_of_integers(value) {
                None => Some(format!("\"expected array of integers, got {}\"", type_name(value))),
                Some(delays) if delays.is_empty() => Some("no_delays".to_owned()),
                Some(delays) if delays.len() > RETRY_DELAYS_MAX => {
                    Some(format!("{{too_many_delays,{}}}", delays.len()))
                }
                Some(delays) => delays.iter().find(|ms| !(0..=TIME_MAX_MS).contains(*ms)).map(|ms| {
                    let what = if *ms < 0 { "value_negative" } else { "value_too_large" };
                    format!("{{{what},{ms}}}")
                }),
            },
            Self::Type => match text(value).as_deref() {
                None => Some(unacceptable_type(value)),
                Some("" | "classic" | "quorum" | "stream") => None,
                Some(other) => Some(format!("\"unsupported queue type '{other}'\"")),
            },
            Self::Interval => match text(value) {
                None => Some(unacceptable_type(value)),
                Some(text) => interval_ms(&text).is_none().then(|| "invalid_max_age".to_owned()),
            },
        };
        why.map_or(Ok(()), |why| Err(invalid(key, on, why)))
    }
}

/// The numbers of an array that holds nothing else.
fn array_of_integers(value: &AMQPValue) -> Option<Vec<i64>> {
    match value {
        AMQPValue::FieldArray(items) => items.as_slice().iter().map(integer).collect(),
        _ => None,
    }
}

fn invalid(key: &str, on: &Resource, why: String) -> AmqpError {
    AmqpError::InvalidArgument { key: key.to_owned(), on: on.clone(), why }
}

fn wrong_type(key: &str, on: &Resource, value: &AMQPValue) -> AmqpError {
    AmqpError::Precondition(format!("invalid type '{}' for arg '{key}' in {on}", type_name(value)))
}

fn expected_integer(value: &AMQPValue) -> String {
    format!("\"expected integer, got {}\"", type_name(value))
}

fn unacceptable_type(value: &AMQPValue) -> String {
    format!("{{unacceptable_type,{}}}", type_name(value))
}
