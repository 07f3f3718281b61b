//! A client as a socket: what is sent is bytes, what comes is cut into frames and no more.

use super::frames;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of a frame before and behind its payload.
const OVERHEAD: usize = 8;

/// How a broker ends something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It closed the channel, with this code.
    Channel(u16, u16),
    /// It closed the connection, with this code.
    Connection(u16),
    /// It closed the socket without a word, or it was closed by then.
    Gone,
    /// Nothing came for too long.
    Silence,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(_, code) | Self::Connection(code) => write!(f, "{code}"),
            Self::Gone => f.write_str("socket closed"),
            Self::Silence => f.write_str("no answer"),
        }
    }
}

impl From<Refused> for String {
    fn from(refused: Refused) -> Self {
        format!("the broker refused what it should not: {refused}")
    }
}

/// One frame that came.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    /// What kind of frame.
    pub(crate) kind: u8,
    /// What is in it.
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// Class and method of a method frame.
    pub(crate) fn ids(&self) -> Option<(u16, u16)> {
        let &[c0, c1, m0, m1] = self.payload.first_chunk()?;
        (self.kind == frames::METHOD).then_some((u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1])))
    }

    /// The two bytes behind class and method: the code of a close.
    fn code(&self) -> u16 {
        self.payload.get(4..6).map_or(0, |code| u16::from_be_bytes([code[0], code[1]]))
    }

    /// The delivery tag of basic.ack and basic.nack, and whether it means all before it.
    pub(crate) fn settled(&self) -> Option<(u64, bool)> {
        let tag: [u8; 8] = self.payload.get(4..12)?.try_into().ok()?;
        Some((u64::from_be_bytes(tag), self.payload.get(12)? & 1 == 1))
    }

    /// The delivery tag of basic.deliver, which stands behind the consumer's.
    pub(crate) fn delivery_tag(&self) -> Option<u64> {
        let at = 5 + usize::from(*self.payload.get(4)?);
        let tag: [u8; 8] = self.payload.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_be_bytes(tag))
    }
}

/// A raw client socket that sends bytes and cuts what arrives into frames.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: TcpStream,
    input: Vec<u8>,
    /// How much of `input` was handed out.
    used: usize,
}

impl Wire {
    /// A client that has said nothing.
    pub(crate) fn silent(socket: TcpStream) -> Self {
        Self { socket, input: Vec::new(), used: 0 }
    }

    /// Shakes hands and opens channel 1.
    pub(crate) fn open(socket: TcpStream) -> Result<Self, Refused> {
        let mut wire = Self::silent(socket);
        wire.send(&frames::handshake())?;
        wire.until((20, 11))?;
        Ok(wire)
    }

    /// Sends bytes, for as long as it takes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.socket.write_all(bytes).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Refused::Silence,
            _ => Refused::Gone,
        })
    }

    /// Sends bytes and waits for this method.
    pub(crate) fn call(&mut self, bytes: &[u8], ids: (u16, u16)) -> Result<(), Refused> {
        self.send(bytes)?;
        self.until(ids)
    }

    /// As [`Wire::call`], for requests that have `count` answers.
    pub(crate) fn calls(&mut self, bytes: &[u8], ids: (u16, u16), count: usize) -> Result<(), Refused> {
        self.send(bytes)?;
        (0..count).try_for_each(|_answer| self.until(ids))
    }

    /// Reads up to this method.
    pub(crate) fn until(&mut self, ids: (u16, u16)) -> Result<(), Refused> {
        loop {
            match self.next(PATIENCE)? {
                Some(frame) if frame.ids() == Some(ids) => return Ok(()),
                Some(_other) => {}
                None => return Err(Refused::Silence),
            }
        }
    }

    /// Opens a channel again that was closed by the broker.
    pub(crate) fn reopen(&mut self, channel: u16) -> Result<(), Refused> {
        let mut bytes = frames::method(channel, (20, 41), &[]);
        bytes.extend(frames::open_channel(channel));
        self.call(&bytes, (20, 11))
    }

    /// Closes the connection in order.
    pub(crate) fn close(mut self) -> Result<(), Refused> {
        self.call(&frames::close(), (10, 51))
    }

    /// The next frame, if one comes within `limit`; a close is a refusal.
    pub(crate) fn next(&mut self, limit: Duration) -> Result<Option<Frame<'_>>, Refused> {
        let len = loop {
            if let Some(len) = self.whole() {
                break len;
            }
            if !self.fill(limit)? {
                return Ok(None);
            }
        };
        let bytes = &self.input[self.used..self.used + len];
        self.used += len;
        let channel = u16::from_be_bytes([bytes[1], bytes[2]]);
        let frame = Frame { kind: bytes[0], payload: &bytes[7..len - 1] };
        match frame.ids() {
            Some((10, 50)) => Err(Refused::Connection(frame.code())),
            Some((20, 40)) => Err(Refused::Channel(channel, frame.code())),
            _ => Ok(Some(frame)),
        }
    }

    /// Another handle of the same socket.
    pub(crate) fn socket(&self) -> io::Result<TcpStream> {
        self.socket.try_clone()
    }

    fn whole(&self) -> Option<usize> {
        let input = &self.input[self.used..];
        let &[_, _, _, l0, l1, l2, l3] = input.first_chunk()?;
        let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize + OVERHEAD;
        (input.len() >= len).then_some(len)
    }

    /// Reads once; whether anything came.
    fn fill(&mut self, limit: Duration) -> Result<bool, Refused> {
        self.input.drain(..self.used);
        self.used = 0;
        // A limit of zero would mean none.
        let limit = limit.max(Duration::from_micros(1));
        self.socket.set_read_timeout(Some(limit)).map_err(|_gone| Refused::Gone)?;
        let old = self.input.len();
        self.input.resize(old + READ_BYTES, 0);
        let read = self.socket.read(&mut self.input[old..]);
        self.input.truncate(old + read.as_ref().map_or(0, |&read| read));
        match read {
            Ok(0) => Err(Refused::Gone),
            Ok(_some) => Ok(true),
            Err(late) if matches!(late.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
            Err(interrupted) if interrupted.kind() == ErrorKind::Interrupted => Ok(true),
            Err(_reset) => Err(Refused::Gone),
        }
    }
}
