//! Every argument of queues, exchanges and consumers, one row each: what takes it, its values,
//! whether a redeclaration compares it, and the key of a policy that does the same.
//!
//! All checks, comparisons and readings of arguments go by [`TABLE`]; how a value is refused is
//! said by its `ValueRule`. A new feature adds a row here and says in [`Settings`](super::Settings)
//! what comes of it. Arguments that are not in the table are the client's own: kept, never
//! compared, never refused. Those of bindings are not here: see `routing::exchange::headers`.

#[cfg(test)]
mod tests;

use super::rule::{
    AT_LEAST_0, AT_LEAST_1, LOCATOR, OVERFLOWS, PERCENT, PRIORITIES, RETRY_TYPE, STRATEGY, TIME, TIME_NOT_0,
    ValueRule,
};
use super::{QueueType, rule};
use crate::arguments::exchange_type::ExchangeType;
use crate::arguments::value::{equivalent, text};
use crate::clock::interval_ms;
use crate::error::{BrokerError, Resource, ValueFault};
use crate::message::table::{FieldTable, FieldValue, integer};
use std::sync::LazyLock;

pub(super) const QUEUE_TYPE: &str = "x-queue-type";
/// Names where dead letters go.
pub const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
pub(super) const DEAD_LETTER_ROUTING_KEY: &str = "x-dead-letter-routing-key";
pub(super) const DEAD_LETTER_STRATEGY: &str = "x-dead-letter-strategy";
pub(super) const EXPIRES: &str = "x-expires";
pub(super) const MESSAGE_TTL: &str = "x-message-ttl";
pub(super) const MAX_PRIORITY: &str = "x-max-priority";
pub(super) const MAX_LENGTH: &str = "x-max-length";
pub(super) const MAX_LENGTH_BYTES: &str = "x-max-length-bytes";
pub(super) const OVERFLOW: &str = "x-overflow";
pub(super) const SINGLE_ACTIVE_CONSUMER: &str = "x-single-active-consumer";
pub(super) const DELIVERY_LIMIT: &str = "x-delivery-limit";
pub(super) const CONSUMER_TIMEOUT: &str = "x-consumer-timeout";
pub(super) const DISCONNECTED_TIMEOUT: &str = "x-consumer-disconnected-timeout";
pub(super) const DELAYED_RETRY_TYPE: &str = "x-delayed-retry-type";
pub(super) const DELAYED_RETRY_MIN: &str = "x-delayed-retry-min";
pub(super) const DELAYED_RETRY_MAX: &str = "x-delayed-retry-max";
pub(super) const RETRY_DELAYS: &str = "x-retry-delays";
pub(super) const RETRY_JITTER: &str = "x-retry-jitter";
pub(super) const QUEUE_MODE: &str = "x-queue-mode";
pub(super) const QUEUE_VERSION: &str = "x-queue-version";
pub(super) const LEADER_LOCATOR: &str = "x-queue-leader-locator";
pub(super) const QUORUM_GROUP_SIZE: &str = "x-quorum-initial-group-size";
pub(super) const CLUSTER_SIZE: &str = "x-initial-cluster-size";
pub(super) const MAX_AGE: &str = "x-max-age";
pub(super) const SEGMENT_BYTES: &str = "x-stream-max-segment-size-bytes";
pub(super) const FILTER_BYTES: &str = "x-stream-filter-size-bytes";
/// Whether each message is taken in once.
pub const DEDUPLICATION: &str = "x-message-deduplication";
/// How many values are remembered for that.
pub const CACHE_SIZE: &str = "x-cache-size";
/// For how long, milliseconds; also a header that counts for its message.
pub const CACHE_TTL: &str = "x-cache-ttl";
/// The header whose value is remembered; also that header's name when nobody says another.
pub const DEDUPLICATION_HEADER: &str = "x-deduplication-header";
/// Names where messages go that an exchange cannot route.
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";
/// Names the type that an exchange of delayed messages routes by.
pub const DELAYED_TYPE: &str = "x-delayed-type";
/// Names the header that is hashed.
pub const HASH_HEADER: &str = "hash-header";
/// Names the property that is hashed.
pub const HASH_PROPERTY: &str = "hash-property";
/// Who is dealt to first.
pub const PRIORITY: &str = "x-priority";
/// Where a consumer begins in a stream; also the header that tells a message's number there.
pub const STREAM_OFFSET: &str = "x-stream-offset";
/// Which messages of a stream a consumer wants.
pub const STREAM_FILTER: &str = "x-stream-filter";
/// Whether it wants those without a value to filter by, too.
pub const MATCH_UNFILTERED: &str = "x-stream-match-unfiltered";
/// Whether the stream remembers how far a consumer came.
pub const OFFSET_TRACKING: &str = "x-stream-automatic-offset-tracking";

/// An argument.
#[derive(Debug)]
pub struct Argument {
    /// As clients write it.
    pub name: &'static str,
    /// What takes it.
    pub on: &'static [AppliesTo],
    /// Its values, and how others are refused.
    pub rule: ValueRule,
    /// Whether a redeclaration has to have the same value.
    pub compared: Compared,
    /// The key of policies that does the same, and what counts where there are both.
    pub policy: Option<(&'static str, Precedence)>,
}

/// What takes an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppliesTo {
    /// A queue of this type.
    Queue(QueueType),
    /// A consumer of a queue of this type.
    Consumer(QueueType),
    /// Every exchange.
    Exchange,
    /// An exchange that routes like this.
    ExchangeOf(ExchangeType),
    /// An exchange that delays messages.
    Delayed,
}

/// Whether a redeclaration has to have the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// It has to.
    Yes,
    /// It may have another, which is not looked at.
    No,
    /// For a quorum queue it has to. Clients may redeclare classic queues with another or none,
    /// because RabbitMQ has it on quorum queues alone.
    OnQuorum,
}

/// What counts when both the declaration and a policy say something (RabbitMQ: policies.md). For a
/// stream it is the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// The smaller number.
    Least,
    /// The smaller number; when one is negative, which means no limit, the larger.
    Limit,
    /// The declaration.
    Argument,
    /// The policy.
    Policy,
    /// The policy for a quorum queue, the declaration for a classic one.
    PolicyOnQuorum,
}

const QUEUE: &[AppliesTo] = &[
    AppliesTo::Queue(QueueType::Classic),
    AppliesTo::Queue(QueueType::Quorum),
    AppliesTo::Queue(QueueType::Stream),
];
/// Queues that consumers empty.
const EMPTIED: &[AppliesTo] = &[AppliesTo::Queue(QueueType::Classic), AppliesTo::Queue(QueueType::Quorum)];
const CLASSIC: &[AppliesTo] = &[AppliesTo::Queue(QueueType::Classic)];
const QUORUM: &[AppliesTo] = &[AppliesTo::Queue(QueueType::Quorum)];
const STREAM: &[AppliesTo] = &[AppliesTo::Queue(QueueType::Stream)];
const QUEUE_EXCHANGE: &[AppliesTo] = &[
    AppliesTo::Queue(QueueType::Classic),
    AppliesTo::Queue(QueueType::Quorum),
    AppliesTo::Queue(QueueType::Stream),
    AppliesTo::Exchange,
];
/// Queues that consumers empty, and those consumers.
const EMPTIED_BY: &[AppliesTo] = &[
    AppliesTo::Queue(QueueType::Classic),
    AppliesTo::Queue(QueueType::Quorum),
    AppliesTo::Consumer(QueueType::Classic),
    AppliesTo::Consumer(QueueType::Quorum),
];
const CONSUMER: &[AppliesTo] =
    &[AppliesTo::Consumer(QueueType::Classic), AppliesTo::Consumer(QueueType::Quorum)];
/// A consumer of a stream.
const READER: &[AppliesTo] = &[AppliesTo::Consumer(QueueType::Stream)];
const EXCHANGE: &[AppliesTo] = &[AppliesTo::Exchange];
const DELAYED: &[AppliesTo] = &[AppliesTo::Delayed];
const HASHING: &[AppliesTo] = &[AppliesTo::ExchangeOf(ExchangeType::ConsistentHash)];

const YES: Compared = Compared::Yes;
const NO: Compared = Compared::No;

/// All arguments, in the order in which RabbitMQ compares those of a classic queue, and of a
/// stream.
pub static TABLE: &[Argument] = &[
    row(EXPIRES, EMPTIED, TIME_NOT_0, YES, Some(("expires", Precedence::Least))),
    row(MESSAGE_TTL, EMPTIED, TIME, YES, Some(("message-ttl", Precedence::Least))),
    row(
        DEAD_LETTER_EXCHANGE,
        EMPTIED,
        ValueRule::Name,
        YES,
        Some(("dead-letter-exchange", Precedence::Argument)),
    ),
    row(
        DEAD_LETTER_ROUTING_KEY,
        EMPTIED,
        ValueRule::Beside(DEAD_LETTER_EXCHANGE, &ValueFault::NoDeadLetterExchange),
        YES,
        Some(("dead-letter-routing-key", Precedence::Argument)),
    ),
    row(
        DEAD_LETTER_STRATEGY,
        EMPTIED,
        STRATEGY,
        Compared::OnQuorum,
        Some(("dead-letter-strategy", Precedence::Argument)),
    ),
    row(MAX_LENGTH, EMPTIED, AT_LEAST_0, YES, Some(("max-length", Precedence::Least))),
    row(MAX_LENGTH_BYTES, QUEUE, AT_LEAST_0, YES, Some(("max-length-bytes", Precedence::Least))),
    row(MAX_PRIORITY, CLASSIC, PRIORITIES, YES, None),
    row(OVERFLOW, EMPTIED, OVERFLOWS, YES, Some(("overflow", Precedence::PolicyOnQuorum))),
    ignored(QUEUE_MODE, CLASSIC, ValueRule::Any),
    ignored(QUEUE_VERSION, CLASSIC, ValueRule::Version),
    row(SINGLE_ACTIVE_CONSUMER, EMPTIED, ValueRule::Flag, YES, None),
    ignored(LEADER_LOCATOR, QUEUE, LOCATOR),
    ignored(QUORUM_GROUP_SIZE, QUORUM, AT_LEAST_1),
    row(DELIVERY_LIMIT, EMPTIED, ValueRule::Integer, YES, Some(("delivery-limit", Precedence::Limit))),
    row(
        CONSUMER_TIMEOUT,
        EMPTIED_BY,
        AT_LEAST_0,
        Compared::OnQuorum,
        Some(("consumer-timeout", Precedence::Least)),
    ),
    ignored(DISCONNECTED_TIMEOUT, QUORUM, AT_LEAST_0),
    row(DELAYED_RETRY_TYPE, QUORUM, RETRY_TYPE, YES, Some(("delayed-retry-type", Precedence::Policy))),
    row(DELAYED_RETRY_MIN, QUORUM, TIME, YES, Some(("delayed-retry-min", Precedence::Least))),
    row(DELAYED_RETRY_MAX, QUORUM, TIME, YES, Some(("delayed-retry-max", Precedence::Least))),
    row(RETRY_DELAYS, EMPTIED, ValueRule::Delays, YES, Some(("retry-delays", Precedence::Argument))),
    row(RETRY_JITTER, EMPTIED, PERCENT, YES, Some(("retry-jitter", Precedence::Argument))),
    row(QUEUE_TYPE, QUEUE, ValueRule::Type, YES, None),
    row(MAX_AGE, STREAM, ValueRule::Interval, YES, Some(("max-age", Precedence::Policy))),
    row(
        SEGMENT_BYTES,
        STREAM,
        ValueRule::SegmentSize,
        YES,
        Some(("stream-max-segment-size-bytes", Precedence::Policy)),
    ),
    ignored(FILTER_BYTES, STREAM, ValueRule::FilterSize),
    ignored(CLUSTER_SIZE, STREAM, AT_LEAST_1),
    row(DELAYED_TYPE, DELAYED, ValueRule::RoutesBy, YES, None),
    row(
        ALTERNATE_EXCHANGE,
        EXCHANGE,
        ValueRule::Name,
        YES,
        Some(("alternate-exchange", Precedence::Argument)),
    ),
    row(HASH_HEADER, HASHING, ValueRule::Name, NO, None),
    row(HASH_PROPERTY, HASHING, ValueRule::HashProperty(HASH_HEADER), NO, None),
    row(DEDUPLICATION, QUEUE_EXCHANGE, ValueRule::Flag, YES, None),
    row(CACHE_SIZE, QUEUE_EXCHANGE, AT_LEAST_1, YES, None),
    row(CACHE_TTL, QUEUE_EXCHANGE, AT_LEAST_0, YES, None),
    row(DEDUPLICATION_HEADER, QUEUE_EXCHANGE, ValueRule::Text, YES, None),
    row(PRIORITY, CONSUMER, ValueRule::Integer, NO, None),
    row(STREAM_OFFSET, READER, ValueRule::Offset, NO, None),
    row(STREAM_FILTER, READER, ValueRule::Filters, NO, None),
    row(MATCH_UNFILTERED, READER, ValueRule::Flag, NO, None),
    row(OFFSET_TRACKING, READER, ValueRule::FlagOrText, NO, None),
];

const fn row(
    name: &'static str,
    on: &'static [AppliesTo],
    rule: ValueRule,
    compared: Compared,
    policy: Option<(&'static str, Precedence)>,
) -> Argument {
    Argument { name, on, rule, compared, policy }
}

/// An argument about which there is nothing to do on one node and with one storage format: it is
/// checked and compared like the others.
const fn ignored(name: &'static str, on: &'static [AppliesTo], rule: ValueRule) -> Argument {
    row(name, on, rule, YES, None)
}

/// What arguments were given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A queue of this type.
    Queue(QueueType),
    /// A consumer of a queue of this type.
    Consumer(QueueType),
    /// An exchange.
    Exchange {
        /// By what it routes.
        kind: ExchangeType,
        /// Whether it delays messages.
        delays: bool,
    },
}

impl Subject {
    /// The arguments that it takes.
    pub(super) fn arguments(self) -> impl Iterator<Item = &'static Argument> {
        TABLE.iter().filter(move |argument| argument.on.iter().any(|&on| self.is(on)))
    }

    fn is(self, on: AppliesTo) -> bool {
        match (self, on) {
            (Self::Queue(kind), AppliesTo::Queue(of)) | (Self::Consumer(kind), AppliesTo::Consumer(of)) => {
                kind == of
            }
            (Self::Exchange { .. }, AppliesTo::Exchange) => true,
            (Self::Exchange { kind, .. }, AppliesTo::ExchangeOf(of)) => kind == of,
            (Self::Exchange { delays, .. }, AppliesTo::Delayed) => delays,
            _ => false,
        }
    }

    /// Whether another type of the same has the argument.
    fn is_like(self, on: AppliesTo) -> bool {
        matches!(
            (self, on),
            (Self::Queue(_), AppliesTo::Queue(_)) | (Self::Consumer(_), AppliesTo::Consumer(_))
        )
    }

    /// Refuses values that the arguments of `on` cannot have.
    ///
    /// # Errors
    /// The first such argument.
    pub fn check_values(self, on: &Resource, arguments: &FieldTable) -> Result<(), BrokerError> {
        for argument in self.arguments() {
            let Some(value) = value(arguments, argument.name) else { continue };
            // Who reads a stream may say that it has nothing to say.
            if self == Self::Consumer(QueueType::Stream) && *value == FieldValue::Void {
                continue;
            }
            argument.rule.check(argument.name, on, value, arguments)?;
        }
        Ok(())
    }

    /// Refuses arguments that other types of queue have.
    ///
    /// # Errors
    /// The first such argument.
    pub fn check_foreign(self, on: &Resource, arguments: &FieldTable) -> Result<(), BrokerError> {
        let (Self::Queue(kind) | Self::Consumer(kind)) = self else { return Ok(()) };
        let foreign = |argument: &&Argument| {
            argument.on.iter().any(|&on| self.is_like(on)) && !argument.on.iter().any(|&on| self.is(on))
        };
        let mut found = TABLE.iter().filter(foreign).map(|argument| argument.name);
        match found.find(|name| arguments.contains_key(*name)) {
            None => Ok(()),
            Some(key) => {
                let queue_type = kind.rabbit_type();
                Err(BrokerError::ForeignArgument { key, on: on.clone(), queue_type })
            }
        }
    }

    /// Refuses to redeclare `on` with other arguments.
    ///
    /// # Errors
    /// [`BrokerError::Inequivalent`], which names the first difference.
    pub fn check_equivalent(
        self,
        on: &Resource,
        received: &FieldTable,
        current: &FieldTable,
    ) -> Result<(), BrokerError> {
        let compared = |argument: &&Argument| match argument.compared {
            Compared::Yes => true,
            Compared::No => false,
            Compared::OnQuorum => self == Self::Queue(QueueType::Quorum),
        };
        self.arguments().filter(compared).try_for_each(|argument| {
            let of = |arguments: &FieldTable| {
                let value = value(arguments, argument.name).or_else(|| argument.absent())?;
                Some(comparable(argument.name, value).unwrap_or_else(|| value.clone()))
            };
            equivalent(argument.name, on, of(received).as_ref(), of(current).as_ref())
        })
    }
}

impl Argument {
    /// The value that is meant where there is none.
    fn absent(&self) -> Option<&'static FieldValue> {
        static CLASSIC: LazyLock<FieldValue> = LazyLock::new(|| FieldValue::LongString("classic".into()));
        (self.name == QUEUE_TYPE).then(|| &*CLASSIC)
    }
}

/// An age as RabbitMQ compares it, and shows it when it differs: in milliseconds.
fn comparable(key: &str, value: &FieldValue) -> Option<FieldValue> {
    if key != MAX_AGE {
        return None;
    }
    let age_ms = interval_ms(&text(value)?)?;
    Some(FieldValue::LongString(age_ms.to_string().into()))
}

/// Refuses a value that an argument cannot have, before anything else is known of what it is given
/// to.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_one(
    name: &'static str,
    on: &Resource,
    arguments: &FieldTable,
) -> Result<(), BrokerError> {
    let argument = TABLE.iter().find(|argument| argument.name == name);
    match (argument, value(arguments, name)) {
        (Some(argument), Some(value)) => argument.rule.check(name, on, value, arguments),
        _ => Ok(()),
    }
}

/// The value of an argument of the table.
#[must_use]
pub fn value<'a>(arguments: &'a FieldTable, name: &str) -> Option<&'a FieldValue> {
    debug_assert!(TABLE.iter().any(|argument| argument.name == name), "{name} is not in the table");
    arguments.get(name)
}

/// A number that is not negative; what is none counts as absent.
#[must_use]
pub fn number(arguments: &FieldTable, name: &str) -> Option<u64> {
    value(arguments, name).and_then(integer).and_then(|number| u64::try_from(number).ok())
}

/// A string; what is none counts as absent.
#[must_use]
pub fn string(arguments: &FieldTable, name: &str) -> Option<String> {
    value(arguments, name).and_then(text)
}

/// Whether a flag is set.
#[must_use]
pub fn flag(arguments: &FieldTable, name: &str) -> bool {
    value(arguments, name) == Some(&FieldValue::Boolean(true))
}

/// As `rule::routes_by`, for the arguments of an exchange that delays messages.
///
/// # Errors
/// They name no type of exchange, or nothing.
pub fn delayed_type(arguments: &FieldTable) -> Result<ExchangeType, BrokerError> {
    rule::routes_by(DELAYED_TYPE, value(arguments, DELAYED_TYPE))
}
