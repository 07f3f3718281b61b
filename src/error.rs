//! What can go wrong when somebody asks something of the broker, whatever protocol they speak.
//!
//! A variant says what went wrong and carries the names, values and limits that a text about it
//! needs. How a client is told, in which words and whether it may go on, is for its protocol: see
//! [`crate::protocol::amqp::reply`]. [`std::fmt::Display`] gives the words in which AMQP clients
//! are told, for the log and for operators, who thus find what a client reports; they are written
//! there, too. A fault of the store is nobody's who asks and is not here.

use std::fmt;
use std::sync::Arc;

/// What has a name in a vhost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceKind {
    /// A queue.
    Queue,
    /// An exchange; the default exchange is written `amq.default`.
    Exchange,
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Exchange => "exchange",
        })
    }
}

/// A thing that has a name in a vhost, as texts write it: `queue 'q' in vhost '/'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// The name of its vhost.
    pub vhost: Arc<str>,
    /// Its name.
    pub name: Box<str>,
}

impl Resource {
    /// The queue of this name.
    #[must_use]
    pub fn queue(vhost: &Arc<str>, name: &str) -> Self {
        Self { kind: ResourceKind::Queue, vhost: Arc::clone(vhost), name: name.into() }
    }

    /// The exchange of this name.
    #[must_use]
    pub fn exchange(vhost: &Arc<str>, name: &str) -> Self {
        Self { kind: ResourceKind::Exchange, vhost: Arc::clone(vhost), name: name.into() }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, vhost, name } = self;
        let name = match kind {
            ResourceKind::Exchange if name.is_empty() => "amq.default",
            ResourceKind::Exchange | ResourceKind::Queue => name,
        };
        write!(f, "{kind} '{name}' in vhost '{vhost}'")
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerError {
    /// There is no such queue or exchange.
    NotFound(Resource),
    /// There is no such vhost.
    NoVHost(String),
    /// The vhost is deleted.
    VHostDeleted(String),
    /// The user is deleted.
    UserDeleted,

    /// The user has no such right.
    NoPermission {
        /// The right: `configure`, `write` or `read`.
        right: &'static str,
        /// What it would be a right to.
        on: Resource,
        /// The user.
        user: String,
    },
    /// The user has no such right for a routing key.
    NoKeyPermission {
        /// The right: `write` or `read`.
        right: &'static str,
        /// The routing key.
        key: Box<str>,
        /// The exchange.
        exchange: Resource,
        /// The user.
        user: Box<str>,
    },
    /// The queue is exclusive to another connection, or not and asked for as if it were.
    Locked(Resource),
    /// The queue has an exclusive consumer, or has consumers and is to have an exclusive one.
    InExclusiveUse(Resource),
    /// What clients publish goes to no internal exchange.
    InternalExchange(Resource),
    /// Nobody can delete an exchange of the broker's own.
    SystemExchange(Resource),
    /// Nobody can change the default exchange.
    DefaultExchange,
    /// The queue keeps the delayed messages of an exchange.
    DelayQueue {
        /// The queue.
        queue: Resource,
        /// The exchange.
        exchange: Resource,
    },
    /// Reply queues have no bindings.
    ReplyQueueBinding,
    /// The name begins as those of the broker's own things.
    ReservedName {
        /// What is to have it.
        kind: ResourceKind,
        /// The name.
        name: String,
    },
    /// The name is too long.
    NameTooLong {
        /// What is to have it.
        kind: ResourceKind,
        /// How it begins.
        start: String,
        /// Its bytes.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// Definitions cannot define a queue of this name.
    Undefinable(Resource),

    /// Somebody uses it, and it was to be deleted only if not.
    InUse(Resource),
    /// It holds messages, and was to be deleted only if not.
    NotEmpty(Resource),
    /// It is there, and another one was declared.
    Inequivalent {
        /// Which flag or argument differs.
        key: &'static str,
        /// What was declared again.
        on: Resource,
        /// The two values.
        difference: Box<Difference>,
    },
    /// Definitions define it twice.
    DefinedTwice(Resource),
    /// There are as many queues as there may be in all vhosts.
    QueueLimit {
        /// The queue that was declared.
        queue: Box<str>,
        /// How many there may be.
        max: u32,
    },
    /// There are as many queues as there may be in the vhost.
    VHostQueueLimit {
        /// The queue that was declared.
        queue: Resource,
        /// How many there may be.
        max: u32,
    },
    /// There are as many exchanges as there may be.
    ExchangeLimit {
        /// The exchange that was declared.
        exchange: Resource,
        /// How many there may be.
        max: u32,
    },
    /// There are as many bindings as there may be.
    BindingLimit {
        /// The exchange that was to have one more.
        exchange: Resource,
        /// How many there may be.
        max: u32,
    },
    /// With what definitions define there would be more than there may be.
    DefinitionLimit {
        /// Of what: `queue`, `exchange` or `binding`.
        what: &'static str,
        /// How many they define that are not there.
        new: usize,
        /// The vhost that they are for.
        vhost: Arc<str>,
        /// How many there may be.
        max: u32,
    },
    /// There is too little of something to define more.
    Scarce {
        /// What was to be done: `declare`, `bind to` or `consume from`.
        verb: &'static str,
        /// The queue or the exchange.
        on: Resource,
        /// What there is too little of.
        what: Scarce,
    },
    /// There are as many connections as there may be in the vhost.
    VHostConnectionLimit {
        /// The vhost.
        vhost: Arc<str>,
        /// Who wants to enter it.
        user: String,
        /// How many there may be.
        max: u64,
    },
    /// The user has as many connections as it may have.
    UserConnectionLimit {
        /// The user.
        user: String,
        /// How many it may have.
        max: u64,
    },

    /// There is no such type of exchange.
    UnknownExchangeType(String),
    /// The arguments are too long.
    ArgumentsTooLong {
        /// What they are for.
        on: Resource,
        /// Their bytes.
        bytes: usize,
        /// How many they may have.
        max: u32,
    },
    /// The argument has a value that it cannot have.
    InvalidArgument {
        /// The argument.
        key: &'static str,
        /// What it is for.
        on: Resource,
        /// What is wrong with the value.
        why: ValueFault,
    },
    /// The argument, which names something, is not a string.
    ArgumentNotName {
        /// The argument.
        key: &'static str,
        /// What it is for.
        on: Resource,
        /// The type of its value.
        found: &'static str,
    },
    /// Only other types of queue take the argument.
    ForeignArgument {
        /// The argument.
        key: &'static str,
        /// What it is for.
        on: Resource,
        /// The type of queue, by RabbitMQ's name.
        queue_type: &'static str,
    },
    /// The argument's number is too large.
    ArgumentTooLarge {
        /// The argument.
        key: &'static str,
    },
    /// The argument's number is not one of those that it may be.
    ArgumentOutOfRange {
        /// The argument.
        key: &'static str,
    },
    /// There may be one of two arguments.
    ExclusiveArguments {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// No exchange hashes this property.
    UnsupportedProperty(String),
    /// An exchange that delays messages cannot route as such an exchange.
    DelaysTwice {
        /// The argument that says how it routes.
        key: &'static str,
        /// The type of exchange that delays messages.
        exchange_type: &'static str,
    },
    /// An exchange that delays messages does not say how it routes.
    NoDelayedType {
        /// The argument that should.
        key: &'static str,
    },
    /// A queue of this type cannot be so.
    InvalidProperty {
        /// What it cannot be: `auto-delete`.
        property: &'static str,
        /// The queue.
        on: Resource,
    },
    /// A queue of this type has to have a name of its own.
    NeedsName {
        /// The type of queue, by RabbitMQ's name.
        queue_type: &'static str,
    },

    /// The binding of a headers exchange says how to match in a way that there is not.
    UnknownMatch(String),
    /// The binding of a headers exchange says how to match, but not as a string.
    MatchNotString(ShownValue),
    /// The binding key, which stands for a weight, is not a number.
    WeightNotNumber(String),
    /// The binding key, which stands for a weight, is 0 or less.
    WeightTooSmall,
    /// The binding key, which stands for a weight, is too large.
    WeightTooLarge {
        /// The largest that there is.
        max: i64,
    },
    /// Bindings of this exchange have no key.
    KeyNotPermitted(String),
    /// Queues of this type cannot be bound to this exchange.
    QueueTypeNotValid(String),
    /// No exchange can be bound to this exchange.
    DestinationNotQueue,
    /// The binding key has too many wildcards.
    TooManyWildcards {
        /// The binding key.
        key: String,
        /// How many it has.
        count: usize,
        /// How many it may have.
        max: u32,
    },
}

impl BrokerError {
    /// A queue of this name does not exist in the vhost.
    #[must_use]
    pub fn no_queue(vhost: &Arc<str>, name: &str) -> Self {
        Self::NotFound(Resource::queue(vhost, name))
    }

    /// An exchange of this name does not exist in the vhost.
    #[must_use]
    pub fn no_exchange(vhost: &Arc<str>, name: &str) -> Self {
        Self::NotFound(Resource::exchange(vhost, name))
    }
}

impl std::error::Error for BrokerError {}

/// What there is too little of for more definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scarce {
    /// The disk is full.
    Disk,
    /// Too much memory is in use.
    Memory,
}

impl fmt::Display for Scarce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "the disk is full, and nothing more can be defined before there is room",
            Self::Memory => "memory is short, and nothing more can be defined before less is in use",
        })
    }
}

/// The value of an argument, as texts show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownValue {
    /// The value: a string as it is, anything else as a term of Erlang.
    pub text: Box<str>,
    /// Its type, by RabbitMQ's name.
    pub type_name: &'static str,
}

impl ShownValue {
    /// The type of the value that is none.
    pub const VOID: &'static str = "void";
}

/// The values of a flag or argument in two declarations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The value now.
    pub received: Option<ShownValue>,
    /// The value of what is there.
    pub current: Option<ShownValue>,
}

/// What is wrong with the value of an argument. Types go by RabbitMQ's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueFault {
    /// It is of this type, which the argument does not take.
    Type(&'static str),
    /// It is of this type and should be a whole number.
    NotInteger(&'static str),
    /// It is less than 0.
    Negative(i64),
    /// It is 0.
    Zero(i64),
    /// It is more than anybody can wait for.
    TooLarge(i64),
    /// It is more than the argument takes.
    OverMaximum(i64),
    /// There is no such version of queues.
    QueueVersion(i64),
    /// There is no such type of queue.
    QueueType(String),
    /// It says nothing that a full queue can do.
    Overflow,
    /// It is no strategy for dead letters.
    DeadLetterStrategy,
    /// It names no returns that can be delayed.
    DelayedRetryType,
    /// It says nothing of where a queue can have its leader.
    QueueLocator,
    /// It is of no use without a dead-letter exchange.
    NoDeadLetterExchange,
    /// It is no age.
    Age,
    /// It is no list of so many delays at most, for this reason.
    Delays {
        /// What is wrong.
        why: String,
        /// The most that a list may have.
        max: usize,
    },
    /// It is no place in a stream.
    StreamOffset(ShownValue),
    /// There have to be from one to so many values to filter by.
    FilterCount(usize),
    /// A consumer that is to be known again needs a tag.
    NoConsumerTag,
}
