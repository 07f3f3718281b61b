//! What was asked of a queue: its flags and its arguments, and what they amount to.
//!
//! `table` knows every argument; whoever wants to know what there is to ask for looks there.

pub mod exchange_type;
pub mod misnamed;
mod policy;
mod retry;
mod rule;
mod stream;
pub mod table;
#[cfg(test)]
mod tests;
pub mod value;

pub use self::retry::{Requeue, Retry};
pub use self::stream::Retention;

use self::table::{
    ALTERNATE_EXCHANGE, CONSUMER_TIMEOUT, DEAD_LETTER_EXCHANGE, DEAD_LETTER_ROUTING_KEY,
    DEAD_LETTER_STRATEGY, DELIVERY_LIMIT, EXPIRES, MAX_LENGTH, MAX_LENGTH_BYTES, MAX_PRIORITY, MESSAGE_TTL,
    OVERFLOW, PRIORITY, QUEUE_TYPE, SINGLE_ACTIVE_CONSUMER, Subject, number, string,
};
use crate::arguments::value::equivalent_flag;
use crate::error::{BrokerError, Resource};
use crate::message::table::{FieldTable, FieldValue, integer};
use crate::policy::Definition;

/// How often a message of a quorum queue may be returned when its declaration does not say
/// (RabbitMQ: quorum-queues).
const QUORUM_DELIVERY_LIMIT: u32 = 20;

/// The priorities of a quorum queue, which has them without asking (RabbitMQ 4.3: quorum-queues).
const QUORUM_PRIORITIES: Priorities = Priorities { most: 31, unset: 4 };

/// How long a consumer of a quorum queue may leave a delivery unacknowledged when nobody says,
/// milliseconds (RabbitMQ: consumers.md).
const QUORUM_CONSUMER_TIMEOUT_MS: u64 = 1_800_000;

/// The flags of a declaration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueFlags {
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
pub enum QueueType {
    /// Of no special type.
    #[default]
    Classic,
    /// Durable, with a delivery limit.
    Quorum,
    /// A log that every consumer reads from where it likes, and that forgets by size and age alone.
    Stream,
}

impl QueueType {
    /// The type of that name; there is a classic one for all others.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "quorum" => Self::Quorum,
            "stream" => Self::Stream,
            _ => Self::Classic,
        }
    }

    /// Names this type in a declaration that names none, if it can be meant: RabbitMQ takes a
    /// classic queue where the flags are not those of another type.
    pub fn fill(self, flags: QueueFlags, arguments: &mut FieldTable) {
        let lasts = flags.durable && !flags.auto_delete && !flags.exclusive;
        let name = match self {
            Self::Quorum if lasts => "quorum",
            Self::Stream if lasts => "stream",
            _ => return,
        };
        if !arguments.contains_key(QUEUE_TYPE) {
            arguments.insert(QUEUE_TYPE.into(), FieldValue::LongString(name.into()));
        }
    }

    fn of(arguments: &FieldTable) -> Self {
        string(arguments, QUEUE_TYPE).map_or(Self::Classic, |name| Self::named(&name))
    }

    /// As clients write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }

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
    pub kind: QueueType,
    /// How much of a stream is kept.
    pub retention: Retention,
    /// Messages go to one consumer at a time, whoever came first.
    pub single_active: bool,
    /// Where dead letters go (rejected, expired, over a length or delivery limit); the empty name
    /// is the default exchange.
    pub dead_letter_exchange: Option<String>,
    /// The routing key they get; their own when absent.
    pub dead_letter_routing_key: Option<String>,
    /// What becomes of dead letters that have nowhere to go.
    pub dead_letter_strategy: DeadLetterStrategy,
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
    /// What policies say of it, which the other fields take into account; nothing in what was
    /// declared.
    pub policy: Definition,
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

/// What becomes of dead letters that have nowhere to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeadLetterStrategy {
    /// They are parked, until an operator moves them.
    #[default]
    Park,
    /// They are dropped, as RabbitMQ does.
    AtMostOnce,
    /// They are parked and tried again by themselves.
    AtLeastOnce,
}

impl DeadLetterStrategy {
    fn of(arguments: &FieldTable) -> Self {
        match string(arguments, DEAD_LETTER_STRATEGY).as_deref() {
            Some("at-most-once") => Self::AtMostOnce,
            Some("at-least-once") => Self::AtLeastOnce,
            Some(_) | None => Self::Park,
        }
    }
}

impl Settings {
    /// The settings of a new queue, if there can be such a queue.
    ///
    /// # Errors
    /// An argument has a wrong type or value, or is not for this type of queue; a quorum queue or a
    /// stream cannot have these flags.
    pub fn declare(on: &Resource, flags: QueueFlags, arguments: FieldTable) -> Result<Self, BrokerError> {
        table::check_one(QUEUE_TYPE, on, &arguments)?;
        let settings = Self::new(flags, arguments);
        let taker = Subject::Queue(settings.kind);
        taker.check_values(on, &settings.arguments)?;
        taker.check_foreign(on, &settings.arguments)?;
        if settings.kind != QueueType::Classic {
            let wrong = [
                (flags.auto_delete, "auto-delete"),
                (flags.exclusive, "exclusive-owner"),
                (!flags.durable, "non-durable"),
            ];
            if let Some(&(_, property)) = wrong.iter().find(|(is_wrong, _)| *is_wrong) {
                return Err(BrokerError::InvalidProperty { property, on: on.clone() });
            }
        }
        Ok(settings)
    }

    /// The settings that flags and arguments amount to; what is wrong with an argument makes it
    /// count as absent. For queues that exist already.
    #[must_use]
    pub fn new(flags: QueueFlags, arguments: FieldTable) -> Self {
        let kind = QueueType::of(&arguments);
        let delivery_limit = match table::value(&arguments, DELIVERY_LIMIT).and_then(integer) {
            Some(limit) if limit < 0 => None,
            Some(limit) => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
            None => (kind == QueueType::Quorum).then_some(QUORUM_DELIVERY_LIMIT),
        };
        let ms = |name| number(&arguments, name);
        let retry = Retry::of(&arguments);
        let delivery_limit = delivery_limit.into_iter().chain(retry.limit()).min();
        let priorities = match number(&arguments, MAX_PRIORITY).and_then(|most| u8::try_from(most).ok()) {
            Some(most) if most > 0 => Some(Priorities { most, unset: 0 }),
            _ => (kind == QueueType::Quorum).then_some(QUORUM_PRIORITIES),
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
            single_active: table::flag(&arguments, SINGLE_ACTIVE_CONSUMER),
            dead_letter_exchange: string(&arguments, DEAD_LETTER_EXCHANGE),
            dead_letter_routing_key: string(&arguments, DEAD_LETTER_ROUTING_KEY),
            dead_letter_strategy: DeadLetterStrategy::of(&arguments),
            delivery_limit,
            // A stream keeps to its size by itself.
            length: length_limit(&arguments).filter(|_| kind != QueueType::Stream),
            consumer_timeout_ms: ms(CONSUMER_TIMEOUT)
                .or((kind == QueueType::Quorum).then_some(QUORUM_CONSUMER_TIMEOUT_MS)),
            arguments,
            policy: Definition::new(),
        }
    }

    /// Refuses to redeclare the queue differently. Whether it is exclusive has been looked at
    /// before.
    ///
    /// # Errors
    /// [`BrokerError::Inequivalent`], which names the first difference.
    pub fn check_equivalent(
        &self,
        on: &Resource,
        flags: QueueFlags,
        arguments: &FieldTable,
    ) -> Result<(), BrokerError> {
        equivalent_flag("durable", on, flags.durable && !flags.exclusive, self.durable)?;
        equivalent_flag("auto_delete", on, flags.auto_delete, self.auto_delete)?;
        Subject::Queue(self.kind).check_equivalent(on, arguments, &self.arguments)
    }

    /// Whether messages that die are sent elsewhere.
    #[must_use]
    pub fn dead_letters(&self) -> bool {
        self.dead_letter_exchange.is_some()
    }

    /// Whether the bytes of its messages matter.
    #[must_use]
    pub fn limits_bytes(&self) -> bool {
        self.length.is_some_and(|limit| limit.bytes.is_some())
    }

    /// Whether it may refuse a message.
    #[must_use]
    pub fn may_refuse(&self) -> bool {
        self.length.is_some_and(|limit| limit.overflow != Overflow::DropHead)
    }

    /// Whether messages that die and have nowhere to go are kept.
    #[must_use]
    pub fn parks(&self) -> bool {
        self.dead_letter_strategy != DeadLetterStrategy::AtMostOnce
    }

    /// Whether those that are kept are tried again.
    #[must_use]
    pub fn retries(&self) -> bool {
        self.delays || self.dead_letter_strategy == DeadLetterStrategy::AtLeastOnce
    }
}

/// The limit that the arguments set; a value that is none counts as absent.
fn length_limit(arguments: &FieldTable) -> Option<LengthLimit> {
    let (messages, bytes) = (number(arguments, MAX_LENGTH), number(arguments, MAX_LENGTH_BYTES));
    if messages.is_none() && bytes.is_none() {
        return None;
    }
    let overflow = match string(arguments, OVERFLOW).as_deref() {
        Some("reject-publish") => Overflow::Reject,
        Some("reject-publish-dlx") => Overflow::RejectAndDeadLetter,
        Some(_) | None => Overflow::DropHead,
    };
    Some(LengthLimit { messages: messages.unwrap_or(u64::MAX), bytes, overflow })
}

/// Refuses to make up a name for a queue of a type that has to have one of its own.
///
/// # Errors
/// It is a quorum queue or a stream.
pub fn check_server_named(arguments: &FieldTable) -> Result<(), BrokerError> {
    match string(arguments, QUEUE_TYPE).as_deref() {
        Some(kind @ ("quorum" | "stream")) => {
            Err(BrokerError::NeedsName { queue_type: QueueType::named(kind).rabbit_type() })
        }
        _ => Ok(()),
    }
}

/// The priority that the arguments of `basic.consume`, which were found to be valid, ask for; 0
/// when they do not.
#[must_use]
pub fn consumer_priority(arguments: &FieldTable) -> i32 {
    let priority = table::value(arguments, PRIORITY).and_then(integer).unwrap_or_default();
    i32::try_from(priority).unwrap_or(if priority < 0 { i32::MIN } else { i32::MAX })
}

/// The consumer timeout in milliseconds that such arguments ask for.
#[must_use]
pub fn consumer_timeout(arguments: &FieldTable) -> Option<u64> {
    number(arguments, CONSUMER_TIMEOUT)
}

/// The alternate exchange that the arguments of `exchange.declare` name; what is no name counts as
/// absent.
#[must_use]
pub fn alternate_exchange(arguments: &FieldTable) -> Option<String> {
    string(arguments, ALTERNATE_EXCHANGE)
}

/// Refuses an alternate exchange that is no name, before anything else about an exchange.
///
/// # Errors
/// [`BrokerError::ArgumentNotName`].
pub fn check_alternate_exchange(on: &Resource, arguments: &FieldTable) -> Result<(), BrokerError> {
    table::check_one(ALTERNATE_EXCHANGE, on, arguments)
}
