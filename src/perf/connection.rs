//! A blocking AMQP client with one channel: the handshake, calls that are answered, an orderly end.
//!
//! The socket has a timeout both ways, so that no thread is stuck for longer than that: a reader
//! looks whether the run is over, a writer reads what the broker wants to get rid of before it
//! takes more.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use amq_protocol::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::clock;
use crate::perf::error::PerfError;
use crate::perf::inbox::{Arrival, Inbox, Incoming};
use crate::perf::uri::Uri;
use crate::protocol::amqp::wire::encode;
use crate::protocol::amqp::wire::frame::{FRAME_MAX, FRAME_MIN, PROTOCOL_HEADER};
use crate::protocol::amqp::wire::method::{self, Method};

/// The one channel of a connection.
pub const CHANNEL: u16 = 1;
/// How long a thread may be stuck in one system call.
const SOCKET_TIMEOUT: Duration = Duration::from_millis(100);
/// How long an answer may take. Long: a broker with a deep backlog answers after it.
const ANSWER_MAX_US: u64 = 60_000_000;
/// How long the broker may block a publisher before the run is given up.
const BLOCKED_MAX_US: u64 = 3_000_000;
/// How long the answer to the end of the connection may take; nothing is lost without it.
const CLOSE_MAX_US: u64 = 5_000_000;

/// A connection with channel 1 open.
pub struct Connection {
    stream: TcpStream,
    /// What the broker said.
    pub inbox: Inbox,
    /// Longest frame, with its framing, that both sides take.
    pub frame_max: u32,
    /// Since when, and why, the broker takes no messages from here, if it said so.
    blocked: Option<(u64, String)>,
}

impl Connection {
    /// Connects, logs in as the client named `name`, and opens the channel.
    ///
    /// # Errors
    ///
    /// When the broker is not there, is not one, or refuses the login or the vhost.
    pub fn open(uri: &Uri, name: &str) -> Result<Self, PerfError> {
        let doing = format!("cannot connect to {}:{}", uri.host, uri.port);
        let stream = TcpStream::connect((uri.host.as_str(), uri.port)).map_err(PerfError::io(doing))?;
        let settings = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(SOCKET_TIMEOUT)))
            .and_then(|()| stream.set_write_timeout(Some(SOCKET_TIMEOUT)));
        settings.map_err(PerfError::io("cannot set up the socket"))?;
        let mut this = Self { stream, inbox: Inbox::new(), frame_max: FRAME_MIN, blocked: None };
        this.handshake(uri, name)?;
        this.open_channel()?;
        Ok(this)
    }

    fn handshake(&mut self, uri: &Uri, name: &str) -> Result<(), PerfError> {
        use connection::AMQPMethod::{Open, OpenOk, Start, StartOk, Tune, TuneOk};
        self.write_all(&PROTOCOL_HEADER)?;
        let AMQPClass::Connection(Start(_)) = self.answer()? else {
            return Err(unexpected("connection.start"));
        };
        let start_ok = connection::StartOk {
            client_properties: client_properties(name),
            mechanism: "PLAIN".into(),
            response: LongString::from(format!("\0{}\0{}", uri.user, uri.password).into_bytes()),
            locale: "en_US".into(),
        };
        self.tell(0, &AMQPClass::Connection(StartOk(start_ok)))?;
        let AMQPClass::Connection(Tune(tune)) = self.answer()? else {
            return Err(unexpected("connection.tune"));
        };
        self.frame_max =
            if tune.frame_max == 0 { FRAME_MAX } else { tune.frame_max.clamp(FRAME_MIN, FRAME_MAX) };
        let tune_ok =
            connection::TuneOk { channel_max: tune.channel_max, frame_max: self.frame_max, heartbeat: 0 };
        self.tell(0, &AMQPClass::Connection(TuneOk(tune_ok)))?;
        self.tell(0, &AMQPClass::Connection(Open(connection::Open { virtual_host: short(&uri.vhost)? })))?;
        let AMQPClass::Connection(OpenOk(_)) = self.answer()? else {
            return Err(unexpected("connection.open-ok"));
        };
        Ok(())
    }

    /// Opens the channel, at the start and again after the broker closed it.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub fn open_channel(&mut self) -> Result<(), PerfError> {
        match self.call(&AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})))? {
            AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)) => Ok(()),
            _ => Err(unexpected("channel.open-ok")),
        }
    }

    /// Says a method on the channel and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`PerfError::Refused`] when the broker closes the channel or the connection, or what the
    /// socket says.
    pub fn call(&mut self, method: &AMQPClass) -> Result<AMQPClass, PerfError> {
        self.say(method)?;
        self.answer()
    }

    /// Says a method on the channel, whose answer, if there is one, is read later.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn say(&mut self, method: &AMQPClass) -> Result<(), PerfError> {
        self.tell(CHANNEL, method)
    }

    fn tell(&mut self, channel: u16, method: &AMQPClass) -> Result<(), PerfError> {
        let mut bytes = Vec::new();
        encode::method(&mut bytes, channel, method);
        self.write_all(&bytes)
    }

    /// The next method that the broker says; deliveries and confirms before it are thrown away.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub fn answer(&mut self) -> Result<AMQPClass, PerfError> {
        self.answer_within(ANSWER_MAX_US)
    }

    fn answer_within(&mut self, time_us: u64) -> Result<AMQPClass, PerfError> {
        let start_us = clock::mono_us();
        let deadline_us = start_us + time_us;
        loop {
            while let Some(incoming) = self.inbox.next()? {
                if let Incoming::Method(payload) = incoming {
                    let method = decode(payload)?;
                    if self.note_blocked(&method) {
                        continue;
                    }
                    return refusal(&method).map_or(Ok(method), |refused| self.leave(refused));
                }
            }
            self.read()?;
            self.check_blocked(start_us)?;
            if clock::mono_us() > deadline_us {
                return Err(PerfError::TimedOut("an answer to a method"));
            }
        }
    }

    /// Answers a close of the broker, so that it may forget us.
    fn leave<T>(&mut self, refused: PerfError) -> Result<T, PerfError> {
        let (channel, answer) = match &refused {
            PerfError::Refused { what: "channel", .. } => {
                (CHANNEL, AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})))
            }
            _ => (0, AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))),
        };
        // The broker may be gone already; its own words are the better error.
        let _ = self.tell(channel, &answer);
        Err(refused)
    }

    /// Whether a method says that the broker blocks publishers, or does so no longer, which is
    /// noted.
    fn note_blocked(&mut self, method: &AMQPClass) -> bool {
        use connection::AMQPMethod::{Blocked, Unblocked};
        match method {
            AMQPClass::Connection(Blocked(blocked)) => {
                self.blocked = Some((clock::mono_us(), blocked.reason.to_string()));
                true
            }
            AMQPClass::Connection(Unblocked(_)) => {
                self.blocked = None;
                true
            }
            _ => false,
        }
    }

    /// Looks whether the broker has taken no messages for too long, at the earliest since then.
    ///
    /// # Errors
    ///
    /// [`PerfError::Blocked`] if so.
    pub fn check_blocked(&self, earliest_us: u64) -> Result<(), PerfError> {
        match &self.blocked {
            Some((since_us, reason))
                if clock::mono_us() >= earliest_us.max(*since_us).saturating_add(BLOCKED_MAX_US) =>
            {
                Err(PerfError::Blocked(reason.clone()))
            }
            _ => Ok(()),
        }
    }

    /// What to do with a method that came unasked: nothing, unless it ends something or tells that
    /// publishers are blocked.
    ///
    /// # Errors
    ///
    /// [`PerfError::Refused`], after having answered.
    pub fn unasked(&mut self, method: &AMQPClass) -> Result<(), PerfError> {
        self.note_blocked(method);
        refusal(method).map_or(Ok(()), |refused| self.leave(refused))
    }

    /// Reads once, waiting for at most the socket's timeout; whether anything came.
    ///
    /// # Errors
    ///
    /// What the socket says; [`PerfError::Disconnected`] at its end.
    pub fn read(&mut self) -> Result<bool, PerfError> {
        match self.inbox.fill(&mut self.stream).map_err(PerfError::io("cannot read from the broker"))? {
            Arrival::Some => Ok(true),
            Arrival::None => Ok(false),
            Arrival::End => Err(PerfError::Disconnected),
        }
    }

    /// Reads what is there, without waiting; whether anything was.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn read_available(&mut self) -> Result<bool, PerfError> {
        self.set_nonblocking(true)?;
        let came = self.read();
        self.set_nonblocking(false)?;
        came
    }

    fn set_nonblocking(&self, on: bool) -> Result<(), PerfError> {
        self.stream.set_nonblocking(on).map_err(PerfError::io("cannot set up the socket"))
    }

    /// Writes as much as the socket takes within its timeout; returns how many bytes.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, PerfError> {
        match self.stream.write(bytes) {
            Ok(count) => Ok(count),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Ok(0),
                // The broker's last words, when it had some, say more than a broken pipe.
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Err(self.last_words()),
                _ => Err(PerfError::io("cannot write to the broker")(error)),
            },
        }
    }

    fn last_words(&mut self) -> PerfError {
        let mut answers = std::iter::repeat_with(|| self.answer_within(CLOSE_MAX_US).err());
        answers.find_map(|error| error).unwrap_or(PerfError::Disconnected)
    }

    /// Writes everything, for as long as an answer may take.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), PerfError> {
        let deadline_us = clock::mono_us() + ANSWER_MAX_US;
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.write(rest)?;
            rest = &rest[count..];
            if clock::mono_us() > deadline_us {
                return Err(PerfError::TimedOut("it takes no more bytes"));
            }
        }
        Ok(())
    }

    /// Waits until the broker has dealt with everything said on the channel, by closing that.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub fn finish_channel(&mut self) -> Result<(), PerfError> {
        let close = channel::Close { reply_code: 200, reply_text: "done".into(), class_id: 0, method_id: 0 };
        self.tell(CHANNEL, &AMQPClass::Channel(channel::AMQPMethod::Close(close)))?;
        while !matches!(self.answer()?, AMQPClass::Channel(channel::AMQPMethod::CloseOk(_))) {}
        Ok(())
    }

    /// Ends the connection in order; deliveries on their way are thrown away.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub fn close(mut self) -> Result<(), PerfError> {
        let close =
            connection::Close { reply_code: 200, reply_text: "done".into(), class_id: 0, method_id: 0 };
        self.tell(0, &AMQPClass::Connection(connection::AMQPMethod::Close(close)))?;
        loop {
            match self.answer_within(CLOSE_MAX_US)? {
                AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) => return Ok(()),
                _ => continue,
            }
        }
    }
}

/// The fault, when this method ends the channel, the connection or a consumer.
fn refusal(method: &AMQPClass) -> Option<PerfError> {
    let (what, code, text) = match method {
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
            ("channel", close.reply_code, &close.reply_text)
        }
        AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
            ("connection", close.reply_code, &close.reply_text)
        }
        AMQPClass::Basic(basic::AMQPMethod::Cancel(_)) => return Some(PerfError::Cancelled),
        _ => return None,
    };
    Some(PerfError::Refused { what, code, text: text.to_string() })
}

/// Reads the payload of a method frame.
///
/// # Errors
///
/// [`PerfError::Protocol`] when it does not decode, or is none that a broker sends.
pub fn decode(payload: &[u8]) -> Result<AMQPClass, PerfError> {
    match method::decode(payload) {
        Ok(Method::Other(method)) => Ok(*method),
        Ok(_) => Err(unexpected("a method that brokers say")),
        Err(fault) => Err(PerfError::Protocol(fault.to_string())),
    }
}

/// The broker answered with another method than the one that has to come.
#[must_use]
pub fn unexpected(instead_of: &str) -> PerfError {
    PerfError::Protocol(format!("something else came instead of {instead_of}"))
}

/// A short string.
///
/// # Errors
///
/// [`PerfError::Options`] when it is longer than 255 bytes.
pub fn short(text: &str) -> Result<ShortString, PerfError> {
    ShortString::try_new(text)
        .map_err(|_too_long| PerfError::Options(format!("longer than 255 bytes: {text}")))
}

/// Who we are and what we understand. `authentication_failure_close` makes a refused login a close
/// with a text instead of a closed socket (RabbitMQ: auth-notification.md).
fn client_properties(name: &str) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for capability in [
        "publisher_confirms",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "authentication_failure_close",
    ] {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    for (key, value) in [
        ("product", "leveret perf"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("platform", "Rust"),
        ("connection_name", name),
    ] {
        properties.insert(key.into(), AMQPValue::LongString(value.into()));
    }
    properties
}
