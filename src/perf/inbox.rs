//! What the broker sent, read in place: one buffer, no allocation a message.
//!
//! The three frames of a delivery are put together here, as only their end matters; confirms are
//! told apart by hand as well, and every other method is handed out as it is. Nothing here blocks
//! or knows a socket.
//!
//! ```text
//! frame    kind u8 | channel u16 | size u32 | payload | 0xCE                          (AMQP 0-9-1 section 4.2.3)
//! deliver  60 u16 | 60 u16 | consumer tag shortstr | tag u64 | redelivered u8 | ...
//! get-ok   60 u16 | 71 u16 | tag u64 | redelivered u8 | ...
//! ack      60 u16 | 80 u16 | tag u64 | multiple u8        nack: 120, requeue beside multiple
//! header   60 u16 | 0 u16 | body size u64 | flags u16 | ...
//! ```

use std::io::{self, Read};
use std::ops::Range;

use crate::perf::error::PerfError;

/// Most bytes one read takes: what the kernel hands over for the price of one call.
const INBOX_BYTES: usize = 256 * 1024;
/// Bytes of a frame beside its payload.
const FRAMING: usize = 8;
/// Body bytes kept of each message: the stamp.
pub const STAMP_BYTES: usize = 8;

const FRAME_METHOD: u8 = 1;
const FRAME_HEADER: u8 = 2;
const FRAME_BODY: u8 = 3;
const FRAME_HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xCE;

/// Class and method ids as they stand in front of a payload.
const DELIVER: [u8; 4] = [0, 60, 0, 60];
const GET_OK: [u8; 4] = [0, 60, 0, 71];
const GET_EMPTY: [u8; 4] = [0, 60, 0, 72];
const ACK: [u8; 4] = [0, 60, 0, 80];
const NACK: [u8; 4] = [0, 60, 0, 120];

/// Something the broker said.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole message.
    Delivery {
        /// Its delivery tag.
        tag: u64,
        /// First bytes of its body; `None` when the body is shorter.
        stamp: Option<[u8; STAMP_BYTES]>,
    },
    /// There was nothing to get.
    Empty,
    /// A publish was confirmed or refused.
    Confirm {
        /// Sequence number of the publish.
        tag: u64,
        /// Whether all before it are meant as well.
        multiple: bool,
        /// Whether it is a nack.
        refused: bool,
    },
    /// Any other method.
    Method(&'a [u8]),
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Bytes.
    Some,
    /// Nothing within the socket's timeout.
    None,
    /// The end of the stream.
    End,
}

/// The message whose frames are coming in.
#[derive(Debug, Clone, Copy)]
struct Partial {
    tag: u64,
    /// Body bytes to come; `None` until the content header came.
    body_left: Option<u64>,
    stamp: Option<[u8; STAMP_BYTES]>,
}

/// Bytes received, and how far they are read.
#[derive(Debug)]
pub struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    partial: Option<Partial>,
}

impl Inbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: vec![0; INBOX_BYTES], start: 0, end: 0, partial: None }
    }

    /// Reads once from the socket; what is left of the last read moves to the front.
    ///
    /// # Errors
    ///
    /// What the system said, apart from timeouts.
    pub fn fill(&mut self, from: &mut impl Read) -> io::Result<Arrival> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match from.read(&mut self.buffer[self.end..]) {
            Ok(0) => Ok(Arrival::End),
            Ok(count) => {
                self.end += count;
                Ok(Arrival::Some)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                    Ok(Arrival::None)
                }
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ok(Arrival::End),
                _ => Err(error),
            },
        }
    }

    /// The next thing that was said, or `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`PerfError::Protocol`] for what is not AMQP.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it returns borrows from the inbox, as no iterator can"
    )]
    pub fn next(&mut self) -> Result<Option<Incoming<'_>>, PerfError> {
        while let Some((kind, place)) = self.next_frame()? {
            match kind {
                FRAME_METHOD if self.partial.is_some() => {
                    return Err(protocol("a method amid the frames of a message"));
                }
                FRAME_METHOD => match delivery_tag(&self.buffer[place.clone()])? {
                    Some(tag) => self.partial = Some(Partial { tag, body_left: None, stamp: None }),
                    None => return method(&self.buffer[place]).map(Some),
                },
                FRAME_HEADER | FRAME_BODY => {
                    let Some(partial) = &mut self.partial else {
                        return Err(protocol("content without a method in front of it"));
                    };
                    partial.take(kind, &self.buffer[place])?;
                    if partial.body_left == Some(0) {
                        let Partial { tag, stamp, .. } = *partial;
                        self.partial = None;
                        return Ok(Some(Incoming::Delivery { tag, stamp }));
                    }
                }
                FRAME_HEARTBEAT => {}
                _ => return Err(protocol("an unknown kind of frame")),
            }
        }
        Ok(None)
    }

    /// Kind and place of the payload of the next whole frame, which from here on counts as read.
    #[inline]
    fn next_frame(&mut self) -> Result<Option<(u8, Range<usize>)>, PerfError> {
        let bytes = &self.buffer[self.start..self.end];
        let &[kind, _, _, a, b, c, d, ..] = bytes else { return Ok(None) };
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        if size > INBOX_BYTES - FRAMING || kind > FRAME_HEARTBEAT {
            return Err(no_frame(bytes));
        }
        let Some(&last) = bytes.get(size + FRAMING - 1) else { return Ok(None) };
        if last != FRAME_END {
            return Err(protocol("a frame without its end octet"));
        }
        let first = self.start + FRAMING - 1;
        self.start += size + FRAMING;
        Ok(Some((kind, first..first + size)))
    }
}

/// Why what came is no frame: most of the time something else is listening there.
#[cold]
fn no_frame(bytes: &[u8]) -> PerfError {
    match bytes {
        [b'H', b'T', b'T', b'P', ..] => PerfError::OtherProtocol("HTTP"),
        [21, 3, ..] => PerfError::OtherProtocol("TLS"),
        [b'A', b'M', b'Q', b'P', ..] => PerfError::OtherProtocol("another version of AMQP"),
        [kind, ..] if *kind > FRAME_HEARTBEAT => protocol("an unknown kind of frame"),
        _ => protocol("a frame larger than was agreed upon"),
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Partial {
    /// Takes the content header or a part of the body.
    #[inline]
    fn take(&mut self, kind: u8, payload: &[u8]) -> Result<(), PerfError> {
        match (kind, self.body_left) {
            (FRAME_HEADER, None) => {
                let size = word(payload, 4).ok_or_else(|| protocol("a content header too short"))?;
                self.body_left = Some(size);
            }
            (FRAME_BODY, Some(left)) => {
                let left = left
                    .checked_sub(payload.len() as u64)
                    .ok_or_else(|| protocol("more body than was announced"))?;
                self.stamp = self.stamp.or_else(|| payload.first_chunk().copied());
                self.body_left = Some(left);
            }
            _ => return Err(protocol("a content header and body frames out of order")),
        }
        Ok(())
    }
}

/// The delivery tag when this method is followed by content.
#[inline]
fn delivery_tag(payload: &[u8]) -> Result<Option<u64>, PerfError> {
    let tag_at = match payload.first_chunk() {
        Some(&DELIVER) => 5 + payload.get(4).copied().map_or(0, usize::from),
        Some(&GET_OK) => 4,
        _ => return Ok(None),
    };
    word(payload, tag_at).map(Some).ok_or_else(|| protocol("a delivery too short"))
}

/// A method that no content follows.
#[inline]
fn method(payload: &[u8]) -> Result<Incoming<'_>, PerfError> {
    let refused = match payload.first_chunk() {
        Some(&ACK) => false,
        Some(&NACK) => true,
        Some(&GET_EMPTY) => return Ok(Incoming::Empty),
        _ => return Ok(Incoming::Method(payload)),
    };
    match (word(payload, 4), payload.get(12)) {
        (Some(tag), Some(bits)) => Ok(Incoming::Confirm { tag, multiple: bits & 1 == 1, refused }),
        _ => Err(protocol("a confirm too short")),
    }
}

/// The 64 bits at this place of a payload.
#[inline]
fn word(payload: &[u8], at: usize) -> Option<u64> {
    payload.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

fn protocol(what: &str) -> PerfError {
    PerfError::Protocol(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out its parts one a read, then times out.
    struct Script<'a>(&'a [Vec<u8>]);

    impl Read for Script<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            into[..first.len()].copy_from_slice(first);
            self.0 = rest;
            Ok(first.len())
        }
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap();
        [&[kind, 0, 1], &size.to_be_bytes()[..], payload, &[FRAME_END]].concat()
    }

    fn delivery(tag: u64, parts: &[&[u8]]) -> Vec<u8> {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let deliver = [&DELIVER, &b"\x03c-1"[..], &tag.to_be_bytes(), &[0], b"\0\x01q"].concat();
        let header = [&[0, 60, 0, 0], &(size as u64).to_be_bytes()[..], &[0, 0]].concat();
        let mut bytes = [frame(FRAME_METHOD, &deliver), frame(FRAME_HEADER, &header)].concat();
        parts.iter().for_each(|part| bytes.extend(frame(FRAME_BODY, part)));
        bytes
    }

    /// Everything the inbox hands out of these reads, written down.
    fn read(parts: &[Vec<u8>]) -> Result<Vec<String>, PerfError> {
        let mut inbox = Inbox::new();
        let mut script = Script(parts);
        let mut said = Vec::new();
        while inbox.fill(&mut script).unwrap() == Arrival::Some {
            while let Some(incoming) = inbox.next()? {
                said.push(format!("{incoming:?}"));
            }
        }
        Ok(said)
    }

    fn told(incoming: &[Incoming<'_>]) -> Vec<String> {
        incoming.iter().map(|incoming| format!("{incoming:?}")).collect()
    }

    fn dialogue() -> (Vec<u8>, Vec<String>) {
        let get_ok = [&GET_OK, &9_u64.to_be_bytes()[..], b"\0\0\x01q\0\0\0\0"].concat();
        let mut bytes = delivery(7, &[b"0123456789"]);
        bytes.extend(delivery(8, &[]));
        bytes.extend(frame(FRAME_HEARTBEAT, &[]));
        bytes.extend(frame(FRAME_METHOD, &get_ok));
        bytes.extend(frame(FRAME_HEADER, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0]));
        bytes.extend(frame(FRAME_BODY, b"abc"));
        bytes.extend(delivery(10, &[b"01234567", b"89abcdef"]));
        bytes.extend(frame(FRAME_METHOD, &GET_EMPTY));
        bytes.extend(frame(FRAME_METHOD, &[&ACK[..], &4_u64.to_be_bytes(), &[1]].concat()));
        bytes.extend(frame(FRAME_METHOD, &[&NACK[..], &5_u64.to_be_bytes(), &[2]].concat()));
        bytes.extend(frame(FRAME_METHOD, &[0, 10, 0, 51]));
        let said = told(&[
            Incoming::Delivery { tag: 7, stamp: Some(*b"01234567") },
            Incoming::Delivery { tag: 8, stamp: None },
            Incoming::Delivery { tag: 9, stamp: None },
            Incoming::Delivery { tag: 10, stamp: Some(*b"01234567") },
            Incoming::Empty,
            Incoming::Confirm { tag: 4, multiple: true, refused: false },
            Incoming::Confirm { tag: 5, multiple: false, refused: true },
            Incoming::Method(&[0, 10, 0, 51]),
        ]);
        (bytes, said)
    }

    #[test]
    fn a_dialogue_reads_the_same_however_it_is_cut() {
        let (bytes, said) = dialogue();
        assert_eq!(read(std::slice::from_ref(&bytes)).unwrap(), said);
        for size in 1..bytes.len() {
            let parts: Vec<_> = bytes.chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(read(&parts).unwrap(), said, "cut every {size} bytes");
        }
    }

    #[test]
    fn more_than_a_buffer_goes_through() {
        let body = [7; 60_000];
        let parts: Vec<_> = (0..20).map(|tag| delivery(tag, &[&body, &body])).collect();
        assert_eq!(read(&parts).unwrap().len(), 20);
    }

    #[test]
    fn what_is_not_amqp_is_refused() {
        let no_end = [&frame(FRAME_METHOD, &[0, 10, 0, 51])[..11], &[0]].concat();
        let short_tag = frame(FRAME_METHOD, &[&DELIVER[..], b"\x03c-1", &[0; 7]].concat());
        let mut too_much = delivery(1, &[b"abc"]);
        let size_at = too_much.len() - 11 - 3 - 8 + 7;
        assert_eq!(too_much[size_at], 3);
        too_much[size_at] = 2;
        let mut interrupted = delivery(1, &[b"abc"]);
        interrupted.truncate(interrupted.len() - 11);
        interrupted.extend(frame(FRAME_METHOD, &[0, 10, 0, 51]));
        for bytes in [
            no_end,
            short_tag,
            too_much,
            interrupted,
            frame(4, &[]),
            frame(FRAME_BODY, b"abc"),
            frame(FRAME_METHOD, &[&ACK[..], &[0; 8]].concat()),
            vec![FRAME_METHOD, 0, 1, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(matches!(read(std::slice::from_ref(&bytes)), Err(PerfError::Protocol(_))), "{bytes:?}");
        }
    }
}
