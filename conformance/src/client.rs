//! A small blocking AMQP 0-9-1 client on raw frames, for set-up work and for clients that are to be
//! hurt.
//!
//! One connection and channel 1. [`Client::call`] sends a method and waits for its answer; what the
//! broker says unasked (deliveries, confirms, `connection.blocked`) meanwhile waits for
//! [`Client::poll`]. The client trusts nothing about the broker but the protocol, and every wait
//! has a limit.

pub mod incoming;
pub mod method;

use self::incoming::{Assembler, Incoming, is_unasked};
use amq_protocol::frame::{
    AMQPContentHeader, AMQPFrame, ProtocolVersion, WriteContext, gen_frame, parse_frame,
};
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, channel, connection};
use amq_protocol::types::{FieldTable, LongString};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take: a broker that deletes a hundred thousand bindings takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

/// The class of content that `basic.publish` has.
const CLASS_BASIC: u16 = 60;

/// Bytes that a frame has beside its payload.
const FRAME_OVERHEAD: usize = 8;

/// What is put together before it is sent, at most: more is sent at once.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// What kept the client from its work.
#[derive(Debug)]
pub enum ClientError {
    /// The socket failed.
    Io(io::Error),
    /// The broker sent what is not AMQP, or what nobody asked for.
    Broker(String),
    /// The broker closed the channel or the connection.
    Closed {
        /// The reply code.
        code: u16,
        /// The reply text.
        text: String,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => write!(f, "connection failed: {why}"),
            Self::Broker(why) => write!(f, "the broker answered: {why}"),
            Self::Closed { code, text } => write!(f, "the broker answered: {code} {text}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(why: io::Error) -> Self {
        Self::Io(why)
    }
}

/// A blocking AMQP 0-9-1 client on raw frames.
#[derive(Debug)]
pub struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    assembler: Assembler,
    /// What came unasked while an answer was waited for.
    inbox: VecDeque<Incoming>,
    /// As the broker proposed.
    frame_max: usize,
    patience: Duration,
}

impl Client {
    /// Connects to `address` (host:port) as guest on `/` and opens channel 1.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub fn connect(address: &str) -> Result<Self, ClientError> {
        Self::connect_within(address, PATIENCE)
    }

    /// As [`Client::connect`]; `patience` is the limit for each answer, now and later.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses, or does not answer in time.
    pub fn connect_within(address: &str, patience: Duration) -> Result<Self, ClientError> {
        Self::open(address, "/", patience)
    }

    /// As [`Client::connect`], on that vhost.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub fn connect_to(address: &str, vhost: &str) -> Result<Self, ClientError> {
        Self::open(address, vhost, PATIENCE)
    }

    fn open(address: &str, vhost: &str, patience: Duration) -> Result<Self, ClientError> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(patience))?;
        let mut client = Self {
            socket,
            input: Vec::new(),
            output: Vec::new(),
            assembler: Assembler::default(),
            inbox: VecDeque::new(),
            frame_max: 0,
            patience,
        };
        client.put(&AMQPFrame::ProtocolHeader(ProtocolVersion::amqp_0_9_1()))?;
        client.flush()?;
        client.answer()?;
        let start_ok = connection::StartOk {
            client_properties: properties(),
            mechanism: "PLAIN".into(),
            response: LongString::from("\0guest\0guest"),
            locale: "en_US".into(),
        };
        client.put_on(0, AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)))?;
        client.flush()?;
        let AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) = client.answer()?.method else {
            return Err(ClientError::Broker("no connection.tune".into()));
        };
        client.frame_max = tune.frame_max as usize;
        let tune_ok =
            connection::TuneOk { channel_max: tune.channel_max, frame_max: tune.frame_max, heartbeat: 0 };
        client.put_on(0, AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)))?;
        let open = connection::Open { virtual_host: vhost.into() };
        client.put_on(0, AMQPClass::Connection(connection::AMQPMethod::Open(open)))?;
        client.flush()?;
        client.answer()?;
        client.call(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})))?;
        Ok(client)
    }

    /// Sends a method on channel 1 and returns the answer.
    ///
    /// # Errors
    /// The broker closes the channel or the connection, or the socket fails.
    pub fn call(&mut self, method: AMQPClass) -> Result<AMQPClass, ClientError> {
        Ok(self.ask(method)?.method)
    }

    /// As [`Client::call`], for answers that have content.
    ///
    /// # Errors
    /// The broker closes the channel or the connection, or the socket fails.
    pub fn ask(&mut self, method: AMQPClass) -> Result<Incoming, ClientError> {
        self.put_method(method)?;
        self.flush()?;
        self.answer()
    }

    /// Sends methods that want no answer; a failure shows in the next [`Client::call`].
    ///
    /// # Errors
    /// The socket fails.
    pub fn cast(&mut self, methods: impl IntoIterator<Item = AMQPClass>) -> Result<(), ClientError> {
        for method in methods {
            self.put_method(method)?;
        }
        self.flush()
    }

    /// Puts a method on channel 1 behind what will be sent next.
    ///
    /// # Errors
    /// The socket fails.
    pub fn put_method(&mut self, method: AMQPClass) -> Result<(), ClientError> {
        self.put_on(1, method)?;
        self.flush_much()
    }

    /// Puts a persistent message behind what will be sent next.
    ///
    /// # Errors
    /// The socket fails.
    pub fn publish(&mut self, exchange: &str, key: &str, body: &[u8]) -> Result<(), ClientError> {
        let frames = publish_frames(exchange, key, body, self.frame_max)?;
        self.put_bytes(&frames.concat())
    }

    /// Puts bytes, whatever they are, behind what will be sent next.
    ///
    /// # Errors
    /// The socket fails.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.output.extend_from_slice(bytes);
        self.flush_much()
    }

    /// Sends what was put together.
    ///
    /// # Errors
    /// The socket fails.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        self.socket.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// The next thing that the broker says, if it says something within `limit`.
    ///
    /// # Errors
    /// The broker closes the channel or the connection, or the socket fails.
    pub fn poll(&mut self, limit: Duration) -> Result<Option<Incoming>, ClientError> {
        match self.inbox.pop_front() {
            Some(incoming) => Ok(Some(incoming)),
            None => self.receive(limit),
        }
    }

    /// Closes the connection in order: what was sent before has been taken once this returns.
    ///
    /// # Errors
    /// The broker does not answer as it should.
    pub fn close(&mut self) -> Result<(), ClientError> {
        self.put_on(0, method::connection_close())?;
        self.flush()?;
        self.answer().map(|_close_ok| ())
    }

    /// How large the frames of this connection may be, in bytes.
    #[must_use]
    pub fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// The next thing the broker says that it would not say unasked.
    fn answer(&mut self) -> Result<Incoming, ClientError> {
        loop {
            let Some(incoming) = self.receive(self.patience)? else {
                return Err(ClientError::Io(ErrorKind::TimedOut.into()));
            };
            if !is_unasked(&incoming.method) {
                return Ok(incoming);
            }
            self.inbox.push_back(incoming);
        }
    }

    fn put_on(&mut self, channel: u16, method: AMQPClass) -> Result<(), ClientError> {
        self.put(&AMQPFrame::Method(channel, method))
    }

    fn put(&mut self, frame: &AMQPFrame) -> Result<(), ClientError> {
        self.output.extend(frame_bytes(frame)?);
        Ok(())
    }

    fn flush_much(&mut self) -> Result<(), ClientError> {
        if self.output.len() > OUTPUT_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    fn receive(&mut self, limit: Duration) -> Result<Option<Incoming>, ClientError> {
        let mut part = [0; 16 * 1024];
        loop {
            while let Some(frame) = self.next_frame()? {
                if let Some(incoming) = self.assembler.take(frame)? {
                    return Ok(Some(incoming));
                }
            }
            // A limit of zero would mean none.
            self.socket.set_read_timeout(Some(limit.max(Duration::from_micros(1))))?;
            match self.socket.read(&mut part) {
                Ok(0) => return Err(ClientError::Io(ErrorKind::UnexpectedEof.into())),
                Ok(read) => self.input.extend_from_slice(&part[..read]),
                Err(late) if matches!(late.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(interrupted) if interrupted.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn next_frame(&mut self) -> Result<Option<AMQPFrame>, ClientError> {
        // Type, channel, length: then the payload and the end octet.
        let Some(head) = self.input.first_chunk::<7>() else { return Ok(None) };
        let payload = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        if self.input.len() < payload + FRAME_OVERHEAD {
            return Ok(None);
        }
        let frame: Vec<u8> = self.input.drain(..payload + FRAME_OVERHEAD).collect();
        let (_, frame) = parse_frame(frame.as_slice())
            .map_err(|why| ClientError::Broker(format!("a frame cannot be read: {why}")))?;
        Ok(Some(frame))
    }
}

/// What this client can do (RabbitMQ: consumer-cancel.md, connection-blocked.md).
fn properties() -> FieldTable {
    let mut capabilities = FieldTable::default();
    capabilities.insert("connection.blocked".into(), true.into());
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), capabilities.into());
    properties
}

/// The frames of a persistent message on channel 1: method, content header, and the body's.
///
/// # Errors
/// A name is too long for the protocol.
pub fn publish_frames(
    exchange: &str,
    key: &str,
    body: &[u8],
    frame_max: usize,
) -> Result<Vec<Vec<u8>>, ClientError> {
    let header = AMQPContentHeader {
        class_id: CLASS_BASIC,
        body_size: body.len() as u64,
        properties: AMQPProperties::default().with_delivery_mode(2),
    };
    let mut frames = vec![
        frame_bytes(&AMQPFrame::Method(1, method::publish(exchange, key)))?,
        frame_bytes(&AMQPFrame::Header(1, header))?,
    ];
    let payload = if frame_max > FRAME_OVERHEAD { frame_max - FRAME_OVERHEAD } else { body.len().max(1) };
    for part in body.chunks(payload) {
        frames.push(frame_bytes(&AMQPFrame::Body(1, part.to_vec()))?);
    }
    Ok(frames)
}

fn frame_bytes(frame: &AMQPFrame) -> Result<Vec<u8>, ClientError> {
    let written = gen_frame(frame)(WriteContext::from(Vec::new()))
        .map_err(|why| ClientError::Broker(format!("a frame cannot be written: {why}")))?;
    Ok(written.into_inner().0)
}
