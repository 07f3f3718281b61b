//! Every fault a peer can commit, and what the peer is told: one type, one table.
//!
//! A variant names the fault and carries what the text needs; [`AmqpError::reply`] is the only
//! place that knows reply codes, whether the channel or the connection ends, and the words. The
//! texts are RabbitMQ 4.3's where clients match on them. A fault of the store is not a peer's fault
//! and is not here.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

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

/// What the peer is told of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Reply code, AMQP 0-9-1 section 1.1.
    pub code: u16,
    /// What ends.
    pub scope: Scope,
    /// `NAME - explanation`, at most [`REPLY_TEXT_MAX`] bytes.
    pub text: String,
}

/// What has a name in a vhost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceKind {
    /// A queue.
    Queue,
    /// An exchange; the default exchange is written `amq.default`.
    Exchange,
}

/// A thing that has a name in a vhost, as error texts write it: `queue 'q' in vhost '/'`.
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
        match kind {
            ResourceKind::Queue => write!(f, "queue '{name}' in vhost '{vhost}'"),
            ResourceKind::Exchange if name.is_empty() => {
                write!(f, "exchange 'amq.default' in vhost '{vhost}'")
            }
            ResourceKind::Exchange => write!(f, "exchange '{name}' in vhost '{vhost}'"),
        }
    }
}

/// A fault of a peer. See [`AmqpError::reply`] for what each one answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmqpError {
    /// 501: a frame is malformed (size, end octet, content longer than declared).
    Frame(String),
    /// 502: a method or a table does not decode.
    Syntax(String),
    /// 503: the method is unknown, or may not be sent by a client.
    CommandInvalid(String),
    /// 504: a method in a state that does not allow it, or on a channel that is not open.
    ChannelState(String),
    /// 505: a frame that may not come here.
    UnexpectedFrame(String),
    /// 530: the peer may not do that; the connection ends.
    NotAllowed(String),
    /// 540: a feature that neither RabbitMQ nor this broker has.
    NotImplemented(String),
    /// 541: the broker cannot keep its promise any more.
    Internal(String),
    /// 320: the operator closes the connection.
    ConnectionForced(String),
    /// 403 on the connection: the login was refused.
    LoginRefused {
        /// The SASL mechanism the client chose.
        mechanism: String,
    },
    /// 403: no permission, a reserved name, an internal exchange, a queue in exclusive use.
    AccessRefused(String),
    /// 404: the thing does not exist.
    NotFound(Resource),
    /// 404: an empty queue name on a channel that declared none.
    NoPreviousQueue,
    /// 405: an exclusive queue of another connection.
    ResourceLocked(String),
    /// 406: any condition of the method is not met.
    Precondition(String),
    /// 406: a redeclare differs.
    Inequivalent {
        /// Which argument differs.
        key: String,
        /// What was redeclared.
        on: Resource,
        /// `'value'`, or RabbitMQ's `the value '10' of type 'signedint'`, or `none`.
        received: String,
        /// As `received`.
        current: String,
    },
    /// 406: an argument has the wrong type or is out of range.
    InvalidArgument {
        /// The argument's name.
        key: String,
        /// What was declared.
        on: Resource,
        /// What is wrong, as RabbitMQ writes it.
        why: String,
    },
    /// 406: an acknowledgement of a delivery that is not outstanding.
    UnknownDeliveryTag(u64),
}

impl AmqpError {
    /// The answer to this fault: the one table from faults to replies.
    #[must_use]
    pub fn reply(&self) -> Reply {
        use Scope::{Channel, Connection};
        let (code, name, scope, why): (u16, &str, Scope, Cow<'_, str>) = match self {
            Self::Frame(why) => (501, "FRAME_ERROR", Connection, why.into()),
            Self::Syntax(why) => (502, "SYNTAX_ERROR", Connection, why.into()),
            Self::CommandInvalid(why) => (503, "COMMAND_INVALID", Connection, why.into()),
            Self::ChannelState(why) => (504, "CHANNEL_ERROR", Connection, why.into()),
            Self::UnexpectedFrame(why) => (505, "UNEXPECTED_FRAME", Connection, why.into()),
            Self::NotAllowed(why) => (530, "NOT_ALLOWED", Connection, why.into()),
            Self::NotImplemented(why) => (540, "NOT_IMPLEMENTED", Connection, why.into()),
            Self::Internal(why) => (541, "INTERNAL_ERROR", Connection, why.into()),
            Self::ConnectionForced(why) => (320, "CONNECTION_FORCED", Connection, why.into()),
            Self::LoginRefused { mechanism } => (
                403,
                "ACCESS_REFUSED",
                Connection,
                format!(
                    "Login was refused using authentication mechanism {mechanism}. \
                     For details see the broker logfile."
                )
                .into(),
            ),
            Self::AccessRefused(why) => (403, "ACCESS_REFUSED", Channel, why.into()),
            Self::NotFound(what) => (404, "NOT_FOUND", Channel, format!("no {what}").into()),
            Self::NoPreviousQueue => (404, "NOT_FOUND", Channel, "no previously declared queue".into()),
            Self::ResourceLocked(why) => (405, "RESOURCE_LOCKED", Channel, why.into()),
            Self::Precondition(why) => (406, "PRECONDITION_FAILED", Channel, why.into()),
            Self::Inequivalent { key, on, received, current } => (
                406,
                "PRECONDITION_FAILED",
                Channel,
                format!("inequivalent arg '{key}' for {on}: received {received} but current is {current}")
                    .into(),
            ),
            Self::InvalidArgument { key, on, why } => {
                (406, "PRECONDITION_FAILED", Channel, format!("invalid arg '{key}' for {on}: {why}").into())
            }
            Self::UnknownDeliveryTag(tag) => {
                (406, "PRECONDITION_FAILED", Channel, format!("unknown delivery tag {tag}").into())
            }
        };
        let mut text = format!("{name} - {why}");
        if text.len() > REPLY_TEXT_MAX {
            // RabbitMQ shows that something is missing.
            let mut end = REPLY_TEXT_MAX - ELLIPSIS.len();
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str(ELLIPSIS);
        }
        Reply { code, scope, text }
    }

    /// What is wrong in words, without the name that a client finds before them.
    #[must_use]
    pub fn explanation(&self) -> String {
        let text = self.reply().text;
        text.split_once(" - ").map_or(text.as_str(), |(_, why)| why).to_owned()
    }

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

impl fmt::Display for AmqpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reply = self.reply();
        write!(f, "{} {}", reply.code, reply.text)
    }
}

impl std::error::Error for AmqpError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_rabbitmqs() {
        let root = Arc::from("/");
        assert_eq!(AmqpError::no_queue(&root, "q").to_string(), "404 NOT_FOUND - no queue 'q' in vhost '/'");
        assert_eq!(
            AmqpError::no_exchange(&Arc::from("v"), "").to_string(),
            "404 NOT_FOUND - no exchange 'amq.default' in vhost 'v'"
        );
        let differs = AmqpError::Inequivalent {
            key: "durable".into(),
            on: Resource::queue(&root, "q"),
            received: "'false'".into(),
            current: "'true'".into(),
        };
        assert_eq!(
            differs.to_string(),
            "406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': \
             received 'false' but current is 'true'"
        );
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let reply = AmqpError::Precondition("\u{e9}".repeat(300)).reply();
        assert!(reply.text.len() <= REPLY_TEXT_MAX);
        assert!(reply.text.len() >= REPLY_TEXT_MAX - 1);
        assert!(reply.text.ends_with("\u{e9}..."));
        let fits = AmqpError::Precondition("x".repeat(REPLY_TEXT_MAX - 22)).reply().text;
        assert!(fits.len() == REPLY_TEXT_MAX && fits.ends_with("xx"));
    }
}
