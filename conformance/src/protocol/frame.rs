//! Frames: `type u8 | channel u16 | size u32 | payload | end 0xce`.

use crate::protocol::content::Header;
use crate::protocol::method::Method;
use crate::protocol::value::{put_integer, show_text};

/// The last byte of each frame.
pub(crate) const END: u8 = 0xce;
/// A method frame's type.
pub(crate) const METHOD: u8 = 1;
/// A content header frame's type.
pub(crate) const HEADER: u8 = 2;
/// A content body frame's type.
pub(crate) const BODY: u8 = 3;
/// A heartbeat frame's type.
pub(crate) const HEARTBEAT: u8 = 8;
/// What a frame costs beside its payload, bytes.
pub(crate) const OVERHEAD: usize = 8;

/// No frame of a broker is this long: what claims to be is not a frame.
const PAYLOAD_MAX: usize = 256 * 1024 * 1024;

/// The header that opens a connection: `AMQP` 0 0 9 1.
pub(crate) const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its type.
    pub(crate) kind: u8,
    /// Its channel.
    pub(crate) channel: u16,
    /// Between head and end.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Appends the frame.
    pub(crate) fn encode(kind: u8, channel: u16, payload: &[u8], out: &mut Vec<u8>) {
        out.push(kind);
        put_integer(out, 2, channel.into());
        put_integer(out, 4, i128::try_from(payload.len()).unwrap_or(i128::MAX));
        out.extend_from_slice(payload);
        out.push(END);
    }

    /// The first frame of `bytes`, and how many of them it is; `None` when more must come.
    ///
    /// # Errors
    /// What is there is not a frame.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let Some(head) = bytes.first_chunk::<7>() else { return Ok(None) };
        if head.starts_with(b"AMQP") {
            return Err("a protocol header came where a frame was expected".into());
        }
        let [kind, channel @ .., a, b, c, d] = *head;
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if !matches!(kind, METHOD | HEADER | BODY | HEARTBEAT) || len > PAYLOAD_MAX {
            return Err(format!("a frame of type {kind} and {len} bytes is not of AMQP 0-9-1"));
        }
        if bytes.len() < len + OVERHEAD {
            return Ok(None);
        }
        if bytes[len + 7] != END {
            return Err(format!("a frame ends with {:#04x} instead of 0xce", bytes[len + 7]));
        }
        let payload = bytes[7..7 + len].to_vec();
        Ok(Some((Self { kind, channel: u16::from_be_bytes(channel), payload }, len + OVERHEAD)))
    }

    /// All of its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        Self::encode(self.kind, self.channel, &self.payload, &mut out);
        out
    }

    /// As a script writes it.
    pub(crate) fn show(&self) -> String {
        let wrong = |what: &str, why: String| format!("a malformed {what} frame ({why})");
        match self.kind {
            METHOD => {
                Method::decode(&self.payload).map_or_else(|why| wrong("method", why), |method| method.show())
            }
            HEADER => Header::decode(&self.payload).map_or_else(
                |why| wrong("header", why),
                |header| format!("header size={}{}", header.size, header.show_properties()),
            ),
            BODY => format!("body {}", show_text(&self.payload)),
            HEARTBEAT => "heartbeat".into(),
            kind => format!("frame type={kind} payload={}", show_text(&self.payload)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_off_one_by_one_however_they_are_cut() {
        let mut wire = Vec::new();
        Frame::encode(METHOD, 1, b"abc", &mut wire);
        Frame::encode(HEARTBEAT, 0, b"", &mut wire);
        let (mut bytes, mut found) = (Vec::new(), Vec::new());
        for byte in wire {
            bytes.push(byte);
            if let Some((frame, len)) = Frame::decode(&bytes).unwrap() {
                found.push(frame);
                bytes.drain(..len);
            }
        }
        let first = Frame { kind: METHOD, channel: 1, payload: b"abc".to_vec() };
        assert_eq!(found, [first, Frame { kind: HEARTBEAT, channel: 0, payload: Vec::new() }]);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bad in [&b"AMQP\0\0\x09\x01"[..], b"HTTP/1.1", b"\x01\0\0\0\0\0\0\xcf"] {
            assert!(Frame::decode(bad).is_err(), "{bad:?}");
        }
    }
}
