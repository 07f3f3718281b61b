//! Why a command did not do what it should: one line, and a status that scripts can tell apart.

use crate::manage::{Kind, Refusal};
use std::fmt;

/// Everything that has no status of its own; a refusal above all.
const STATUS_REFUSED: u8 = 1;

/// What was typed cannot be meant.
const STATUS_USAGE: u8 = 2;

/// There is no broker, or it cannot do it now (sysexits: `EX_UNAVAILABLE`; rabbitmqctl's too).
const STATUS_UNAVAILABLE: u8 = 69;

/// The socket is somebody else's (sysexits: `EX_NOPERM`; rabbitmqctl's too).
const STATUS_NO_RIGHT: u8 = 77;

/// See the head of this file.
#[derive(Debug)]
pub enum CtlError {
    /// What was typed cannot be meant.
    Usage(String),
    /// No broker is running there.
    NotRunning(String),
    /// The socket may not be used.
    NoRight(String),
    /// The broker refuses.
    Refused(Refusal),
    /// The broker said what no broker says.
    Garbled(String),
    /// The answer could not be written.
    Output(String),
    /// Nobody reads the answer any more.
    Unread,
}

impl CtlError {
    /// The status that the process ends with.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => STATUS_USAGE,
            Self::NotRunning(_) => STATUS_UNAVAILABLE,
            Self::NoRight(_) => STATUS_NO_RIGHT,
            Self::Refused(refusal) if refusal.kind == Kind::Unavailable => STATUS_UNAVAILABLE,
            Self::Refused(_) | Self::Garbled(_) | Self::Output(_) | Self::Unread => STATUS_REFUSED,
        }
    }
}

impl fmt::Display for CtlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::NotRunning(why) | Self::NoRight(why) => f.write_str(why),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Garbled(what) => write!(f, "the broker's answer makes no sense: {what}"),
            Self::Output(why) => write!(f, "cannot write the answer: {why}"),
            Self::Unread => f.write_str("nobody reads the answer"),
        }
    }
}

impl std::error::Error for CtlError {}
