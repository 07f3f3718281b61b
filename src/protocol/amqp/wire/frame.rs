//! Where a frame begins and ends. What its payload means is for
//! [`super::method`] and [`super::header`].
//!
//! AMQP 0-9-1 section 4.2.3, integers big-endian:
//!
//! ```text
//!  0  u8   kind: 1 method, 2 content header, 3 content body, 8 heartbeat
//!  1  u16  channel
//!  3  u32  length of the payload
//!  7  payload
//!     u8   0xCE
//! ```

use super::error::{DecodeError, FrameFlaw};

/// The smallest frame size that may be negotiated, in bytes (AMQP 0-9-1 section 1.4.2.6). RabbitMQ
/// asks for 8192, but clients exist that offer 4096.
pub const FRAME_MIN: u32 = 4096;

/// The largest frame size that is offered, in bytes; RabbitMQ's default.
pub const FRAME_MAX: u32 = 131_072;

/// The last byte of every frame.
pub const FRAME_END: u8 = 0xCE;

/// Bytes of a frame before its payload.
pub const FRAME_HEAD: usize = 7;

/// Bytes of a frame that are not payload: the head and the end octet.
pub const FRAME_OVERHEAD: u32 = 8;

/// What a client of AMQP 0-9-1 sends first, and what a server answers to anything else.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// What a client of AMQP 0-9 sends first.
const HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\0\x09";

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A method and its arguments.
    Method,
    /// The class, size and properties of a content.
    Header,
    /// A part of a content's body.
    Body,
    /// A sign of life, without payload. On a channel other than 0 it is a fault, which the session
    /// answers.
    Heartbeat,
}

impl Kind {
    #[inline]
    fn of(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }

    /// The first byte of a frame of this kind.
    #[must_use]
    #[inline]
    pub fn octet(self) -> u8 {
        match self {
            Self::Method => 1,
            Self::Header => 2,
            Self::Body => 3,
            Self::Heartbeat => 8,
        }
    }
}

/// A frame, borrowed from the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: Kind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// What the frame carries, without head and end octet.
    pub payload: &'a [u8],
}

/// The first frame of the input and how many bytes it takes, or `None` while it is incomplete.
///
/// `frame_max` counts the whole frame. As in RabbitMQ a payload may be 8 bytes too large, because
/// clients exist that take `frame_max` for the size of the payload.
///
/// # Errors
/// [`DecodeError::Frame`].
#[inline]
pub fn decode(input: &[u8], frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, DecodeError> {
    let Some((head, rest)) = input.split_first_chunk::<FRAME_HEAD>() else { return Ok(None) };
    let [octet, channel @ .., a, b, c, d] = *head;
    let size = u32::from_be_bytes([a, b, c, d]);
    if size > frame_max {
        return Err(too_large(octet, size, frame_max));
    }
    let Some((payload, rest)) = rest.split_at_checked(size as usize) else { return Ok(None) };
    let Some(&end) = rest.first() else { return Ok(None) };
    match Kind::of(octet) {
        Some(kind) if end == FRAME_END && (kind != Kind::Heartbeat || payload.is_empty()) => {
            let channel = u16::from_be_bytes(channel);
            Ok(Some((Frame { kind, channel, payload }, FRAME_HEAD + payload.len() + 1)))
        }
        _ => Err(malformed(octet, payload, end)),
    }
}

/// How many bytes the frame at the head of the input takes, whatever it is, when it is whole and
/// ends as it should: what follows one that [`decode`] refuses can then still be read.
#[must_use]
pub fn whole(input: &[u8]) -> Option<usize> {
    let (&[_, _, _, a, b, c, d], rest) = input.split_first_chunk::<FRAME_HEAD>()?;
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    (*rest.get(size)? == FRAME_END).then_some(FRAME_HEAD + size + 1)
}

#[cold]
fn too_large(octet: u8, size: u32, frame_max: u32) -> DecodeError {
    let allowed = frame_max.saturating_sub(FRAME_OVERHEAD);
    fault(octet, &[], FrameFlaw::TooLarge { size, allowed })
}

#[cold]
fn malformed(octet: u8, payload: &[u8], end: u8) -> DecodeError {
    let flaw = if end == FRAME_END { FrameFlaw::Unknown } else { FrameFlaw::End(end) };
    fault(octet, payload, flaw)
}

fn fault(octet: u8, payload: &[u8], flaw: FrameFlaw) -> DecodeError {
    /// Bytes of a payload that are shown.
    const SHOWN: usize = 16;
    let start = payload.get(..SHOWN).unwrap_or(payload);
    DecodeError::Frame { octet, start: start.into(), is_whole: start.len() == payload.len(), flaw }
}

/// What a client began the connection with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// [`PROTOCOL_HEADER`], or what clients of AMQP 0-9 say, which RabbitMQ takes for the same:
    /// eight bytes of the input.
    Amqp091,
    /// Another protocol or version, HTTP or TLS among them: answer [`PROTOCOL_HEADER`] and close.
    Other,
    /// Too few bytes to tell.
    Incomplete,
}

/// Looks at the first bytes of a connection.
#[must_use]
pub fn protocol_header(input: &[u8]) -> Header {
    if [PROTOCOL_HEADER, HEADER_0_9].iter().any(|header| input.starts_with(header)) {
        Header::Amqp091
    } else if [PROTOCOL_HEADER, HEADER_0_9].iter().any(|header| header.starts_with(input)) {
        Header::Incomplete
    } else {
        Header::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_fault(input: &[u8], text: &str) {
        assert_eq!(decode(input, FRAME_MIN).unwrap_err().to_string(), text);
    }

    #[test]
    fn a_frame_is_none_until_its_last_byte() {
        let input = [3, 1, 2, 0, 0, 0, 2, 7, 8, FRAME_END, 99];
        for cut in 0..10 {
            assert_eq!(decode(&input[..cut], FRAME_MIN), Ok(None), "cut at {cut}");
        }
        let frame = Frame { kind: Kind::Body, channel: 258, payload: &[7, 8] };
        assert_eq!(decode(&input[..10], FRAME_MIN), Ok(Some((frame, 10))));
        assert_eq!(decode(&input, FRAME_MIN), Ok(Some((frame, 10))));
    }

    #[test]
    fn a_heartbeat_keeps_its_channel() {
        let frame = Frame { kind: Kind::Heartbeat, channel: 1, payload: &[] };
        assert_eq!(decode(&[8, 0, 1, 0, 0, 0, 0, FRAME_END], FRAME_MIN), Ok(Some((frame, 8))));
    }

    #[test]
    fn a_frame_too_large_is_refused_by_its_head_alone() {
        check_fault(&[3, 0, 1, 0, 0, 16, 1], "type 3, all octets = <<>>: {frame_too_large,4097,4088}");
        assert_eq!(decode(&[3, 0, 1, 0, 0, 16, 0], FRAME_MIN), Ok(None), "8 bytes too large are tolerated");
    }

    #[test]
    fn a_wrong_end_octet_is_refused() {
        check_fault(
            &[1, 0, 1, 0, 0, 0, 2, 7, 8, 0],
            "type 1, all octets = <<7,8>>: {invalid_frame_end_marker,0}",
        );
        let mut input = vec![3, 0, 1, 0, 0, 0, 17];
        input.extend_from_slice(b"say \"\\\" 789012345!");
        check_fault(
            &input,
            "type 3, first 16 octets = <<\"say \\\"\\\\\\\" 78901234\">>: \
             {invalid_frame_end_marker,33}",
        );
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        check_fault(&[4, 0, 0, 0, 0, 0, 0, FRAME_END], "type 4, all octets = <<>>: unknown_frame");
        check_fault(&[8, 0, 0, 0, 0, 0, 1, 5, FRAME_END], "type 8, all octets = <<5>>: unknown_frame");
    }

    #[test]
    fn only_amqp_091_is_recognised() {
        let input = b"AMQP\0\0\x09\x01more";
        for cut in 0..8 {
            assert_eq!(protocol_header(&input[..cut]), Header::Incomplete, "cut at {cut}");
        }
        assert_eq!(protocol_header(&input[..8]), Header::Amqp091);
        assert_eq!(protocol_header(input), Header::Amqp091);
        for other in [b"GET / HTTP/1.1\r\n".as_slice(), b"\x16\x03\x01", b"AMQP\0\x01", b"AMQP\x03\x01\0\0"] {
            assert_eq!(protocol_header(other), Header::Other, "{other:?}");
        }
    }
}
