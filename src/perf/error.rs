//! Why a run ended early: one line for the person who started it.

use std::fmt;
use std::io;

/// Why the load generator gave up.
#[derive(Debug)]
pub enum PerfError {
    /// The flags do not go together.
    Options(String),
    /// The address of the broker is not an AMQP URI; the text never holds the password.
    Uri(String),
    /// A system call failed.
    Io {
        /// What was being done: "cannot connect to 127.0.0.1:5672".
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The broker closed the channel or the connection.
    Refused {
        /// What it closed: "connection", "channel".
        what: &'static str,
        /// AMQP reply code.
        code: u16,
        /// The broker's own words.
        text: String,
    },
    /// The broker takes no messages, for the reason it gives.
    Blocked(String),
    /// The broker cancelled a consumer.
    Cancelled,
    /// The broker ended the TCP connection without a word.
    Disconnected,
    /// The broker did not answer in time.
    TimedOut(&'static str),
    /// Something else than AMQP 0-9-1 is spoken there.
    OtherProtocol(&'static str),
    /// The broker sent what AMQP 0-9-1 does not allow here.
    Protocol(String),
    /// A thread of the load generator panicked.
    Panicked,
}

impl PerfError {
    /// Wraps what the system said with what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing: doing.into(), source }
    }
}

impl fmt::Display for PerfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(why) => f.write_str(why),
            Self::Uri(why) => write!(f, "not an AMQP URI: {why}"),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::Refused { what, code, text } => write!(f, "the broker closed the {what}: {code} {text}"),
            Self::Blocked(reason) => write!(f, "the broker is blocking publishers: {reason}"),
            Self::Cancelled => f.write_str("the broker cancelled a consumer: its queue is gone"),
            Self::Disconnected => f.write_str("the broker ended the connection without a word"),
            Self::TimedOut(what) => write!(f, "the broker did not answer in time: {what}"),
            Self::OtherProtocol(what) => {
                write!(f, "the port speaks {what}, not AMQP 0-9-1 without TLS: see --uri")
            }
            Self::Protocol(why) => write!(f, "protocol error of the broker: {why}"),
            Self::Panicked => f.write_str("a worker thread panicked"),
        }
    }
}

impl std::error::Error for PerfError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
