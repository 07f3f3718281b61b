//! What can go wrong with a client: its frames and methods, the state of its channels, and what it
//! asks of the broker. What it is told is in [`super::reply`].

use crate::error::{BrokerError, Resource};
use crate::message::error::Malformed;
use crate::protocol::amqp::wire::error::DecodeError;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmqpError {
    /// The broker refuses what it is asked.
    Broker(BrokerError),
    /// What the client sends does not decode.
    Decode(DecodeError),

    /// A body is larger than any body can be.
    BodyTooLarge {
        /// Its bytes.
        size: u64,
        /// The most that a body has.
        max: u64,
    },
    /// A body is larger than memory has addresses.
    BodyBeyondMemory,
    /// A frame has more of a body than is missing.
    BodyFrameTooLarge,

    /// A frame that has no place here.
    UnexpectedFrame {
        /// The octet of its kind.
        octet: u8,
        /// Its channel.
        channel: u16,
    },
    /// The same, while the connection is not open.
    UnexpectedFrameInHandshake {
        /// The octet of its kind.
        octet: u8,
        /// Its channel.
        channel: u16,
    },
    /// A content, where a method should come.
    ExpectedMethod,
    /// Something else, where a content header should come.
    ExpectedHeader,
    /// A content header of another class than basic.
    ExpectedBasicHeader {
        /// The class.
        class: u16,
    },
    /// Something else, where a body should come.
    ExpectedBody,

    /// A method that no client sends, or that has no meaning where it comes.
    UnknownMethod,
    /// There is no such SASL mechanism.
    UnknownMechanism(String),
    /// A method that cannot come in this state of the connection.
    UnexpectedMethod {
        /// The state.
        state: &'static str,
    },
    /// A method on a channel that is not open.
    ChannelNotOpen,
    /// The channel is open already.
    ChannelOpen,

    /// The login was refused.
    LoginRefused {
        /// The SASL mechanism that the client chose.
        mechanism: String,
    },
    /// The client wants a limit that it cannot have.
    LimitNotNegotiable {
        /// Which limit.
        field: &'static str,
        /// What the client wants; 0 for no limit.
        wish: u32,
        /// The bound that this is beyond.
        bound: Bound,
    },
    /// There are as many connections as there may be.
    ConnectionLimit {
        /// How many there may be.
        max: u64,
    },
    /// The user has no permission in the vhost.
    NoAccess {
        /// The vhost.
        vhost: String,
        /// The user.
        user: String,
    },
    /// The user was deleted.
    UserDeleted(String),
    /// The connection has as many channels as were negotiated.
    ChannelMax(u16),
    /// There are as many channels as there may be.
    ChannelLimit {
        /// How many there may be.
        max: u64,
    },
    /// The user has as many channels as it may have.
    UserChannelLimit {
        /// The user.
        user: String,
        /// How many it may have.
        max: u64,
    },
    /// The channel has as many consumers as it may have.
    ConsumerLimit {
        /// How many it may have.
        max: u32,
    },
    /// The channel has a consumer of this tag.
    ConsumerTagInUse(String),
    /// The connection has as much in unfinished bodies and transactions as it may have.
    UnfinishedLimit {
        /// How many bytes it may have.
        max: u64,
    },
    /// A content was begun and does not go on.
    ContentStalled {
        /// The channel.
        channel: u16,
        /// How long it may stop, seconds.
        timeout_s: u16,
    },
    /// The broker stops.
    Shutdown,
    /// An operator closes the connection.
    ClosedByOperator(String),
    /// The store has failed.
    StoreFailed,

    /// `channel.flow` with `active` unset.
    FlowStop,
    /// `basic.publish` with `immediate`.
    Immediate,
    /// `basic.qos` with a `prefetch-size`.
    PrefetchSize(u32),
    /// `basic.recover` without `requeue`.
    RecoverWithoutRequeue,
    /// Streams have no such method.
    MethodOfStream {
        /// The method.
        method: &'static str,
        /// The stream.
        on: Resource,
    },
    /// The consumers of a stream share no limit.
    GlobalQosOfStream(Resource),
    /// The consumers of a stream acknowledge.
    AutoAckOfStream(Resource),
    /// The consumers of a stream have a limit.
    NoPrefetchOfStream(Resource),
    /// Nobody gets from a reply queue.
    GetFromReplyQueue(Resource),
    /// Nobody gets past the one consumer that a quorum queue serves.
    GetPastSingleActive(Resource),

    /// An empty queue name on a channel that declared none.
    NoPreviousQueue,
    /// `confirm.select` on a channel with transactions.
    ConfirmAfterTx,
    /// `tx.select` on a channel with confirms.
    TxAfterConfirm,
    /// `tx.commit` or `tx.rollback` on a channel without transactions.
    NotTransactional,
    /// The transaction is too large.
    TransactionTooLarge {
        /// How many bytes it may have.
        max: u64,
    },
    /// A queue does not take what the transaction publishes.
    TransactionRefused,
    /// The message is larger than the operator allows.
    MessageTooLarge {
        /// The bytes of its body.
        size: u64,
        /// How many it may have.
        max: u64,
    },
    /// The message says that it is another user's.
    OtherUserId {
        /// Whose it says it is.
        claimed: String,
        /// The user it belongs to.
        user: String,
    },
    /// The expiration of a message is not one.
    InvalidExpiration {
        /// The expiration.
        text: String,
        /// What is wrong with it.
        why: ExpirationFault,
    },
    /// The header that names further routing keys is not an array.
    CopiesNotArray {
        /// The header.
        header: &'static str,
        /// The type that it has.
        found: &'static str,
    },
    /// A delivery of this tag is not outstanding.
    UnknownDeliveryTag(u64),
    /// The channel has as many unacknowledged messages as it may have.
    UnackedLimit {
        /// How many it may have.
        max: u32,
    },
    /// A consumer did not acknowledge in time.
    AckTimeout {
        /// The channel.
        channel: u16,
        /// How long it may take, milliseconds.
        timeout_ms: u64,
    },
    /// The reply queue is another channel's.
    OtherReplyQueue(Resource),
    /// A reply consumer wants to acknowledge.
    ReplyConsumerAcks,
    /// The channel has a reply consumer.
    ReplyConsumerSet,
    /// A message wants replies, and the channel has no reply consumer.
    NoReplyConsumer,
}

impl std::error::Error for AmqpError {}

impl From<BrokerError> for AmqpError {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

impl From<Malformed> for AmqpError {
    fn from(malformed: Malformed) -> Self {
        Self::Decode(malformed.into())
    }
}

impl From<DecodeError> for AmqpError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// The end of what a client may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// No less than this.
    Least(u32),
    /// No more than this.
    Most(u32),
}

/// What is wrong with an expiration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpirationFault {
    /// It does not begin with a number.
    NoInteger,
    /// This comes after the number.
    Leftover(String),
    /// It is less than 0.
    Negative(i128),
    /// It is more than anybody can wait for; its digits.
    TooLarge(String),
}
