//! What can be wrong with bytes that a peer sends. What the peer is told of it is for
//! [`crate::protocol`].

use crate::message::error::Malformed;

/// Why bytes do not decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// A frame is not one.
    Frame {
        /// Its first octet, which says what it is.
        octet: u8,
        /// How its payload begins.
        start: Box<[u8]>,
        /// Whether that is the whole payload.
        is_whole: bool,
        /// What is wrong.
        flaw: FrameFlaw,
    },
    /// The arguments of a method.
    Method {
        /// Its class.
        class: u16,
        /// Its number in the class.
        method: u16,
    },
    /// There is no such method.
    UnknownMethod,
    /// A content header ends before its flags.
    ShortHeader,
    /// The weight of a content header, which has to be 0.
    HeaderWeight,
    /// Properties, or a field table.
    Malformed(Malformed),
}

impl From<Malformed> for DecodeError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFlaw {
    /// Its payload is too large.
    TooLarge {
        /// Bytes of its payload.
        size: u32,
        /// Bytes that it may have.
        allowed: u32,
    },
    /// It is of no kind that there is, or a heartbeat with a payload.
    Unknown,
    /// It does not end as a frame does, but with this octet.
    End(u8),
}

impl std::error::Error for DecodeError {}
