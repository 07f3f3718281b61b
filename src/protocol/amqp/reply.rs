//! What clients are told of what goes wrong: the one table of reply codes, of what ends, and of
//! texts.
//!
//! A row says all that a client hears of a variant. The texts are RabbitMQ's where clients match
//! on them. The broker's words for its own errors are here as well, so that each is written once:
//! [`BrokerError`] is shown to operators and in the log without the code.

use super::fault::{AmqpError, Bound, ExpirationFault};
use crate::error::{BrokerError, Difference, Resource, ShownValue, ValueFault};
use crate::message::error::Malformed;
use crate::protocol::amqp::wire::error::{DecodeError, FrameFlaw};
use std::fmt;

/// The longest reply text, in bytes: it travels as a short string (AMQP 0-9-1 section 4.2.5.3).
pub const REPLY_TEXT_MAX: usize = 255;

/// The end of a text that was cut.
const ELLIPSIS: &str = "...";

/// What ends with the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The channel is closed; the connection goes on ("soft" errors).
    Channel,
    /// The connection is closed ("hard" errors).
    Connection,
}

/// A reply code (AMQP 0-9-1 section 1.1), and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyCode {
    /// The number.
    pub number: u16,
    /// Its name, which texts begin with.
    pub name: &'static str,
    /// What ends.
    pub scope: Scope,
}

const fn code(number: u16, name: &'static str, scope: Scope) -> ReplyCode {
    ReplyCode { number, name, scope }
}

/// The connection ends, and the client has done nothing wrong.
pub const CONNECTION_FORCED: ReplyCode = code(320, "CONNECTION_FORCED", Scope::Connection);
/// The client may not do that.
pub const ACCESS_REFUSED: ReplyCode = code(403, "ACCESS_REFUSED", Scope::Channel);
/// The client may not log in.
pub const LOGIN_REFUSED: ReplyCode = code(403, "ACCESS_REFUSED", Scope::Connection);
/// What is named does not exist.
pub const NOT_FOUND: ReplyCode = code(404, "NOT_FOUND", Scope::Channel);
/// Somebody else has it for themselves.
pub const RESOURCE_LOCKED: ReplyCode = code(405, "RESOURCE_LOCKED", Scope::Channel);
/// A condition of the method is not met.
pub const PRECONDITION_FAILED: ReplyCode = code(406, "PRECONDITION_FAILED", Scope::Channel);
/// A frame is malformed: its size, its end octet, its arguments.
pub const FRAME_ERROR: ReplyCode = code(501, "FRAME_ERROR", Scope::Connection);
/// Properties or a table are malformed.
pub const SYNTAX_ERROR: ReplyCode = code(502, "SYNTAX_ERROR", Scope::Connection);
/// The method is unknown, or no client's.
pub const COMMAND_INVALID: ReplyCode = code(503, "COMMAND_INVALID", Scope::Connection);
/// The method comes in a state that does not allow it, or on a channel that is not open.
pub const CHANNEL_ERROR: ReplyCode = code(504, "CHANNEL_ERROR", Scope::Connection);
/// The frame may not come here.
pub const UNEXPECTED_FRAME: ReplyCode = code(505, "UNEXPECTED_FRAME", Scope::Connection);
/// The client may not do that, nor anything else on this connection.
pub const NOT_ALLOWED: ReplyCode = code(530, "NOT_ALLOWED", Scope::Connection);
/// The broker does not support it.
pub const NOT_IMPLEMENTED: ReplyCode = code(540, "NOT_IMPLEMENTED", Scope::Connection);
/// The broker cannot keep its promise any more.
pub const INTERNAL_ERROR: ReplyCode = code(541, "INTERNAL_ERROR", Scope::Connection);

/// What the client is told of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The code, and what ends.
    pub code: ReplyCode,
    /// `NAME - explanation`, at most [`REPLY_TEXT_MAX`] bytes.
    pub text: String,
}

/// A row of the table: the code, and the explanation.
type Row = (ReplyCode, String);

impl AmqpError {
    /// The answer to this fault.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let (code, why) = row(self);
        let mut text = format!("{} - {why}", code.name);
        if text.len() > REPLY_TEXT_MAX {
            // RabbitMQ shows that something is missing.
            let mut end = REPLY_TEXT_MAX - ELLIPSIS.len();
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str(ELLIPSIS);
        }
        Reply { code, text }
    }

    /// The code of the answer.
    #[must_use]
    pub fn code(&self) -> ReplyCode {
        row(self).0
    }
}

/// A row whose text is always the same.
fn fixed(code: ReplyCode, text: &str) -> Row {
    (code, text.to_owned())
}

#[expect(clippy::too_many_lines, reason = "a row for each variant")]
fn row_of_broker(error: &BrokerError) -> Row {
    use BrokerError as E;
    match error {
        E::VHostDeleted(vhost) => (CONNECTION_FORCED, format!("vhost '{vhost}' is deleted")),
        E::UserDeleted => fixed(CONNECTION_FORCED, "the user is deleted"),
        E::NoVHost(name) => (NOT_ALLOWED, format!("vhost {name} not found")),
        E::VHostConnectionLimit { vhost, user, max } => (
            NOT_ALLOWED,
            format!(
                "access to vhost '{vhost}' refused for user '{user}': connection limit ({max}) is reached"
            ),
        ),
        E::UserConnectionLimit { user, max } => (
            NOT_ALLOWED,
            format!("connection refused for user '{user}': user connection limit ({max}) is reached"),
        ),
        E::NoPermission { right, on, user } => {
            (ACCESS_REFUSED, format!("{right} access to {on} refused for user '{user}'"))
        }
        E::NoKeyPermission { right, key, exchange, user } => (
            ACCESS_REFUSED,
            format!("{right} access to topic '{key}' in {exchange} refused for user '{user}'"),
        ),
        E::InExclusiveUse(on) => (ACCESS_REFUSED, format!("{on} in exclusive use")),
        E::InternalExchange(on) => (ACCESS_REFUSED, format!("cannot publish to internal {on}")),
        E::SystemExchange(on) => (ACCESS_REFUSED, format!("deletion of system {on} not allowed")),
        E::DefaultExchange => fixed(ACCESS_REFUSED, "operation not permitted on the default exchange"),
        E::DelayQueue { queue, exchange } => {
            (ACCESS_REFUSED, format!("{queue} keeps the delayed messages of {exchange}"))
        }
        E::ReplyQueueBinding => {
            fixed(ACCESS_REFUSED, "cannot bind or unbind to a volatile (direct reply-to) queue")
        }
        E::ReservedName { kind, name } => {
            (ACCESS_REFUSED, format!("{kind} name '{name}' contains reserved prefix 'amq.*'"))
        }
        E::NameTooLong { kind, start, bytes, max } => {
            (ACCESS_REFUSED, format!("the {kind} name '{start}...' has {bytes} bytes: {max} at most"))
        }
        E::Undefinable(on) => (ACCESS_REFUSED, format!("{on} cannot be defined by that name")),
        E::NotFound(what) => (NOT_FOUND, format!("no {what}")),
        E::Locked(on) => (
            RESOURCE_LOCKED,
            format!(
                "cannot obtain exclusive access to locked {on}. It could be originally declared on another \
                 connection or the exclusive property value does not match that of the original declaration."
            ),
        ),
        E::InUse(on) => (PRECONDITION_FAILED, format!("{on} in use")),
        E::NotEmpty(on) => (PRECONDITION_FAILED, format!("{on} not empty")),
        E::DefinedTwice(on) => (PRECONDITION_FAILED, format!("{on} is defined twice")),
        E::Inequivalent { key, on, difference } => {
            let (received, current) = shown(difference);
            (
                PRECONDITION_FAILED,
                format!("inequivalent arg '{key}' for {on}: received {received} but current is {current}"),
            )
        }
        E::QueueLimit { queue, max } => (
            PRECONDITION_FAILED,
            format!("cannot declare queue '{queue}': queue limit in cluster ({max}) is reached"),
        ),
        E::VHostQueueLimit { queue: Resource { name, vhost, .. }, max } => (
            PRECONDITION_FAILED,
            format!("cannot declare queue '{name}': queue limit in vhost '{vhost}' ({max}) is reached"),
        ),
        E::ExchangeLimit { exchange, max } => {
            (PRECONDITION_FAILED, format!("cannot declare {exchange}: exchange limit of {max} is reached"))
        }
        E::BindingLimit { exchange, max } => {
            (PRECONDITION_FAILED, format!("cannot bind to {exchange}: binding limit of {max} is reached"))
        }
        E::DefinitionLimit { what, new, vhost, max } => (
            PRECONDITION_FAILED,
            format!("cannot define {new} more in vhost '{vhost}': {what} limit of {max} is reached"),
        ),
        E::Scarce { verb, on, what } => (PRECONDITION_FAILED, format!("cannot {verb} {on}: {what}")),
        E::UnknownExchangeType(name) if name.is_empty() => {
            fixed(PRECONDITION_FAILED, "invalid exchange type ''")
        }
        E::UnknownExchangeType(name) => (PRECONDITION_FAILED, format!("unknown exchange type '{name}'")),
        E::ArgumentsTooLong { on, bytes, max } => {
            (PRECONDITION_FAILED, format!("arguments for {on} have {bytes} bytes, more than {max}"))
        }
        E::InvalidArgument { key, on, why } => {
            (PRECONDITION_FAILED, format!("invalid arg '{key}' for {on}: {}", value_fault(why)))
        }
        E::ArgumentNotName { key, on, found } => {
            (PRECONDITION_FAILED, format!("invalid type '{found}' for arg '{key}' in {on}"))
        }
        E::ForeignArgument { key, on, queue_type } => {
            (PRECONDITION_FAILED, format!("invalid arg '{key}' for {on} of queue type {queue_type}"))
        }
        E::ArgumentTooLarge { key } => (PRECONDITION_FAILED, format!("Exceeded max value for {key}")),
        E::ArgumentOutOfRange { key } => (PRECONDITION_FAILED, format!("Invalid value for {key}")),
        E::ExclusiveArguments { one, other } => {
            (PRECONDITION_FAILED, format!("{one} and {other} are mutually exclusive"))
        }
        E::UnsupportedProperty(name) => (PRECONDITION_FAILED, format!("Unsupported property: {name}")),
        E::DelaysTwice { key, exchange_type } => {
            (PRECONDITION_FAILED, format!("Invalid argument, '{exchange_type}' can't be used for '{key}'"))
        }
        E::NoDelayedType { key } => {
            (PRECONDITION_FAILED, format!("Invalid argument, '{key}' must be an existing exchange type"))
        }
        E::InvalidProperty { property, on } => {
            (PRECONDITION_FAILED, format!("invalid property '{property}' for {on}"))
        }
        E::NeedsName { queue_type } => {
            (PRECONDITION_FAILED, format!("Cannot declare a server-named queue for type {queue_type}"))
        }
        E::UnknownMatch(how) => (
            PRECONDITION_FAILED,
            format!(
                "Invalid x-match field value <<\"{how}\">>; expected all, any, all-with-x, or any-with-x"
            ),
        ),
        E::MatchNotString(ShownValue { text, type_name }) => (
            PRECONDITION_FAILED,
            format!("Invalid x-match field type {type_name} (value {text}); expected longstr"),
        ),
        E::WeightNotNumber(key) if key.is_empty() => {
            fixed(PRECONDITION_FAILED, "The binding key must be an integer: <<>>")
        }
        E::WeightNotNumber(key) => {
            (PRECONDITION_FAILED, format!("The binding key must be an integer: <<\"{key}\">>"))
        }
        E::WeightTooSmall => fixed(PRECONDITION_FAILED, "The binding key must be greater than 0"),
        E::WeightTooLarge { max } => (PRECONDITION_FAILED, format!("The binding key must not exceed {max}")),
        E::KeyNotPermitted(key) => {
            (PRECONDITION_FAILED, format!("Non empty binding '{key}' key not permitted"))
        }
        E::QueueTypeNotValid(queue_type) => {
            (PRECONDITION_FAILED, format!("Queue type {queue_type} not valid for this exchange type"))
        }
        E::DestinationNotQueue => fixed(PRECONDITION_FAILED, "Destination not found"),
        E::TooManyWildcards { key, count, max } => (
            PRECONDITION_FAILED,
            format!("Topic binding key '{key}' uses {count} '#' wildcards, at most {max} are allowed"),
        ),
    }
}

/// Two values that differ: what they are, and their types where one of them is missing.
fn shown(Difference { received, current }: &Difference) -> (String, String) {
    let beside_another = |value: &ShownValue| match value.type_name {
        ShownValue::VOID => "none".to_owned(),
        _ => format!("'{}'", value.text),
    };
    let alone = |value: &Option<ShownValue>| match value {
        None => "none".to_owned(),
        Some(ShownValue { text, type_name }) => format!("the value '{text}' of type '{type_name}'"),
    };
    match (received, current) {
        (Some(received), Some(current)) => (beside_another(received), beside_another(current)),
        (received, current) => (alone(received), alone(current)),
    }
}

/// What is wrong with a value, as an Erlang term.
fn value_fault(fault: &ValueFault) -> String {
    use ValueFault as F;
    match fault {
        F::Type(found) => format!("{{unacceptable_type,{found}}}"),
        F::NotInteger(found) => format!("\"expected integer, got {found}\""),
        F::Negative(number) => format!("{{value_negative,{number}}}"),
        F::Zero(number) => format!("{{value_zero,{number}}}"),
        F::TooLarge(number) => format!("{{value_too_large,{number}}}"),
        F::OverMaximum(number) => format!("{{max_value_exceeded,{number}}}"),
        F::QueueVersion(number) => format!("\"unsupported queue version '{number}'\""),
        F::QueueType(name) => format!("\"unsupported queue type '{name}'\""),
        F::Overflow => "invalid_overflow".to_owned(),
        F::DeadLetterStrategy => "invalid_dlx_strategy".to_owned(),
        F::DelayedRetryType => "invalid_delayed_retry_type".to_owned(),
        F::QueueLocator => "invalid_queue_locator_arg".to_owned(),
        F::NoDeadLetterExchange => "routing_key_but_no_dlx_defined".to_owned(),
        F::Age => "invalid_max_age".to_owned(),
        F::Delays { why, max } => {
            format!("\"{why}; expected 1 to {max} delays in ms, as in [1000,60000]\"")
        }
        F::StreamOffset(ShownValue { text, type_name }) => {
            format!("{{invalid_stream_offset_arg,{{{type_name},{text}}}}}")
        }
        F::FilterCount(max) => format!("\"expected 1 to {max} values\""),
        F::NoConsumerTag => "\"needs a consumer tag, by which it is known again\"".to_owned(),
    }
}

fn row_of_decoding(error: &DecodeError) -> Row {
    use DecodeError as E;
    match error {
        E::Frame { octet, start, is_whole, flaw } => {
            let extent = if *is_whole { "all".to_owned() } else { format!("first {}", start.len()) };
            let flaw = match flaw {
                FrameFlaw::TooLarge { size, allowed } => format!("{{frame_too_large,{size},{allowed}}}"),
                FrameFlaw::Unknown => "unknown_frame".to_owned(),
                FrameFlaw::End(octet) => format!("{{invalid_frame_end_marker,{octet}}}"),
            };
            (FRAME_ERROR, format!("type {octet}, {extent} octets = {}: {flaw}", erlang_binary(start)))
        }
        E::Method { class, method } => {
            (FRAME_ERROR, format!("method {method} of class {class} does not decode"))
        }
        E::ShortHeader => fixed(FRAME_ERROR, "content header is too short"),
        E::Malformed(malformed) => fixed(SYNTAX_ERROR, text_of(*malformed)),
        E::UnknownMethod => row(&AmqpError::UnknownMethod),
        E::HeaderWeight => row(&AmqpError::ExpectedHeader),
    }
}

/// What is wrong with properties or a table.
fn text_of(malformed: Malformed) -> &'static str {
    match malformed {
        Malformed::Properties => "content header does not decode",
        Malformed::Table => "field table does not decode",
        Malformed::TableName => "field table with a name that is not UTF-8",
        Malformed::TableDepth => "field table nested too deep",
    }
}

/// Bytes as Erlang prints a binary: `<<"GET /">>` when all are printable, `<<1,255>>` otherwise.
fn erlang_binary(bytes: &[u8]) -> String {
    let is_text = !bytes.is_empty() && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if is_text {
        let text = String::from_utf8_lossy(bytes).replace('\\', "\\\\").replace('"', "\\\"");
        return format!("<<\"{text}\">>");
    }
    let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
    format!("<<{}>>", numbers.join(","))
}

#[expect(clippy::too_many_lines, reason = "a row for each variant")]
fn row(error: &AmqpError) -> Row {
    use AmqpError as E;
    match error {
        E::Broker(error) => row_of_broker(error),
        E::Decode(error) => row_of_decoding(error),

        E::Shutdown => fixed(CONNECTION_FORCED, "broker forced connection closure with reason 'shutdown'"),
        E::ClosedByOperator(reason) => fixed(CONNECTION_FORCED, reason),
        E::UserDeleted(user) => (CONNECTION_FORCED, format!("user '{user}' is deleted")),
        E::LoginRefused { mechanism } => (
            LOGIN_REFUSED,
            format!(
                "Login was refused using authentication mechanism {mechanism}. \
                 For details see the broker logfile."
            ),
        ),
        E::NoPreviousQueue => fixed(NOT_FOUND, "no previously declared queue"),
        E::GetPastSingleActive(on) => (
            RESOURCE_LOCKED,
            format!(
                "cannot obtain access to locked {on}. basic.get operations are not supported by \
                 <<\"quorum\">> queues with single active consumer"
            ),
        ),
        E::ConfirmAfterTx => fixed(PRECONDITION_FAILED, "cannot switch from tx to confirm mode"),
        E::TxAfterConfirm => fixed(PRECONDITION_FAILED, "cannot switch from confirm to tx mode"),
        E::NotTransactional => fixed(PRECONDITION_FAILED, "channel is not transactional"),
        E::TransactionTooLarge { max } => {
            (PRECONDITION_FAILED, format!("transaction is larger than {max} bytes"))
        }
        // RabbitMQ's words, although here it is all or nothing.
        E::TransactionRefused => fixed(PRECONDITION_FAILED, "partial tx completion"),
        E::MessageTooLarge { size, max } => {
            (PRECONDITION_FAILED, format!("message size {size} is larger than configured max size {max}"))
        }
        E::OtherUserId { claimed, user } => (
            PRECONDITION_FAILED,
            format!("user_id property set to '{claimed}' but authenticated user was '{user}'"),
        ),
        E::InvalidExpiration { text, why } => {
            let why = match why {
                ExpirationFault::NoInteger => "no_integer".to_owned(),
                ExpirationFault::Leftover(rest) => format!("{{leftover_string,\"{rest}\"}}"),
                ExpirationFault::Negative(ms) => format!("{{value_negative,{ms}}}"),
                ExpirationFault::TooLarge(digits) => format!("{{value_too_large,{digits}}}"),
            };
            (PRECONDITION_FAILED, format!("invalid expiration '{text}': {why}"))
        }
        E::CopiesNotArray { header, found } => (
            PRECONDITION_FAILED,
            format!("invalid message: {{unacceptable_type_in_header,\"{header}\",{found}}}"),
        ),
        E::UnknownDeliveryTag(tag) => (PRECONDITION_FAILED, format!("unknown delivery tag {tag}")),
        E::UnackedLimit { max } => {
            (PRECONDITION_FAILED, format!("reached maximum ({max}) of unacknowledged messages"))
        }
        E::AckTimeout { channel, timeout_ms } => (
            PRECONDITION_FAILED,
            format!(
                "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout_ms} ms. \
                 This timeout value can be configured, see consumers doc guide to learn more"
            ),
        ),
        E::NoPrefetchOfStream(on) => {
            (PRECONDITION_FAILED, format!("consumer prefetch count is not set for stream {on}"))
        }
        E::OtherReplyQueue(on) => {
            (PRECONDITION_FAILED, format!("only creator channel may consume from {on}"))
        }
        E::ReplyConsumerAcks => fixed(PRECONDITION_FAILED, "reply consumer cannot acknowledge"),
        E::ReplyConsumerSet => fixed(PRECONDITION_FAILED, "reply consumer already set"),
        E::NoReplyConsumer => fixed(PRECONDITION_FAILED, "fast reply consumer does not exist"),

        E::BodyTooLarge { size, max } => {
            (FRAME_ERROR, format!("content body size {size} exceeds maximum allowed size {max}"))
        }
        E::BodyBeyondMemory => fixed(FRAME_ERROR, "content body size exceeds the address space"),
        E::BodyFrameTooLarge => fixed(FRAME_ERROR, "content body frame exceeds remaining content size"),
        E::UnknownMethod => fixed(COMMAND_INVALID, "unimplemented method"),
        E::UnknownMechanism(mechanism) => {
            (COMMAND_INVALID, format!("unknown authentication mechanism '{mechanism}'"))
        }
        E::UnexpectedMethod { state } => {
            (CHANNEL_ERROR, format!("unexpected method in connection state {state}"))
        }
        E::ChannelNotOpen => fixed(CHANNEL_ERROR, "expected 'channel.open'"),
        E::ChannelOpen => fixed(CHANNEL_ERROR, "second 'channel.open' seen"),
        E::UnexpectedFrame { octet, channel } => {
            (UNEXPECTED_FRAME, format!("unexpected frame of type {octet} on channel {channel}"))
        }
        E::UnexpectedFrameInHandshake { octet, channel } => (
            UNEXPECTED_FRAME,
            format!("unexpected frame of type {octet} on channel {channel} in the handshake"),
        ),
        E::ExpectedMethod => fixed(UNEXPECTED_FRAME, "expected method frame, got non method frame instead"),
        E::ExpectedHeader => fixed(
            UNEXPECTED_FRAME,
            "expected content header for class 60, got non content header frame instead",
        ),
        E::ExpectedBasicHeader { class } => (
            UNEXPECTED_FRAME,
            format!("expected content header for class 60, got one for class {class} instead"),
        ),
        E::ExpectedBody => {
            fixed(UNEXPECTED_FRAME, "expected content body, got non content body frame instead")
        }
        E::LimitNotNegotiable { field, wish, bound } => {
            let detail = if *wish == 0 { " (no limit)" } else { "" };
            let bound = match bound {
                Bound::Least(least) => format!("lower than the minimum allowed value ({least})"),
                Bound::Most(most) => format!("higher than the maximum allowed value ({most})"),
            };
            (NOT_ALLOWED, format!("negotiated {field} = {wish}{detail} is {bound}"))
        }
        E::ConnectionLimit { max } => {
            (NOT_ALLOWED, format!("connection refused: node connection limit ({max}) is reached"))
        }
        E::NoAccess { vhost, user } => {
            (NOT_ALLOWED, format!("access to vhost '{vhost}' refused for user '{user}'"))
        }
        E::ChannelMax(max) => (
            NOT_ALLOWED,
            format!("number of channels opened ({max}) has reached the negotiated channel_max ({max})"),
        ),
        E::ChannelLimit { max } => (
            NOT_ALLOWED,
            format!(
                "number of channels opened on node 'leveret' has reached the maximum allowed limit of ({max})"
            ),
        ),
        E::UserChannelLimit { user, max } => (
            NOT_ALLOWED,
            format!(
                "number of channels opened for user '{user}' has reached the maximum allowed user limit of {max}"
            ),
        ),
        E::ConsumerLimit { max } => {
            (NOT_ALLOWED, format!("reached maximum ({max}) of consumers per channel"))
        }
        E::ConsumerTagInUse(tag) => (NOT_ALLOWED, format!("attempt to reuse consumer tag '{tag}'")),
        E::UnfinishedLimit { max } => {
            (NOT_ALLOWED, format!("reached maximum ({max}) of bytes in unfinished bodies and transactions"))
        }
        E::ContentStalled { channel, timeout_s } => {
            (NOT_ALLOWED, format!("the content on channel {channel} did not go on for {timeout_s} s"))
        }
        E::FlowStop => fixed(NOT_IMPLEMENTED, "active=false"),
        E::Immediate => fixed(NOT_IMPLEMENTED, "immediate=true"),
        E::PrefetchSize(size) => (NOT_IMPLEMENTED, format!("prefetch_size!=0 ({size})")),
        E::RecoverWithoutRequeue => fixed(NOT_IMPLEMENTED, "requeue=false"),
        E::MethodOfStream { method, on } => {
            (NOT_IMPLEMENTED, format!("{method} not supported by stream queues {on}"))
        }
        E::GlobalQosOfStream(on) => (NOT_IMPLEMENTED, format!("{on} does not support global qos")),
        E::AutoAckOfStream(on) => {
            (NOT_IMPLEMENTED, format!("automatic acknowledgement not supported by stream {on}"))
        }
        E::GetFromReplyQueue(on) => (NOT_IMPLEMENTED, format!("basic.get not supported by volatile {on}")),
        E::StoreFailed => fixed(INTERNAL_ERROR, "the store has failed, nothing more can be kept"),
    }
}

impl fmt::Display for AmqpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reply { code, text } = self.reply();
        write!(f, "{} {text}", code.number)
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&row_of_broker(self).1)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&row_of_decoding(self).1)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(text_of(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn text(error: BrokerError) -> String {
        AmqpError::from(error).to_string()
    }

    #[test]
    fn texts_are_rabbitmqs() {
        let root = Arc::from("/");
        assert_eq!(text(BrokerError::no_queue(&root, "q")), "404 NOT_FOUND - no queue 'q' in vhost '/'");
        assert_eq!(
            text(BrokerError::no_exchange(&Arc::from("v"), "")),
            "404 NOT_FOUND - no exchange 'amq.default' in vhost 'v'"
        );
        let flag = |text: &str| Some(ShownValue { text: text.into(), type_name: "bool" });
        let differs = BrokerError::Inequivalent {
            key: "durable",
            on: Resource::queue(&root, "q"),
            difference: Difference { received: flag("false"), current: flag("true") }.into(),
        };
        assert_eq!(
            text(differs),
            "406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': \
             received 'false' but current is 'true'"
        );
    }

    #[test]
    fn the_words_for_operators_are_those_for_clients() {
        let error = BrokerError::no_queue(&Arc::from("/"), "q");
        assert_eq!(text(error.clone()), format!("404 NOT_FOUND - {error}"));
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let reply = |text: String| AmqpError::ClosedByOperator(text).reply().text;
        let cut = reply("\u{e9}".repeat(300));
        assert!(cut.len() <= REPLY_TEXT_MAX);
        assert!(cut.len() >= REPLY_TEXT_MAX - 1);
        assert!(cut.ends_with("\u{e9}..."));
        let fits = reply("x".repeat(REPLY_TEXT_MAX - "CONNECTION_FORCED - ".len()));
        assert!(fits.len() == REPLY_TEXT_MAX && fits.ends_with("xx"));
    }
}
