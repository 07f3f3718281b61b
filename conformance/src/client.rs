//! A small blocking AMQP 0-9-1 client on raw frames, for set-up work that a load generator does not do.
//!
//! One connection, channel 1, one method at a time. It trusts nothing about the broker but the protocol.

use amq_protocol::frame::{AMQPFrame, ProtocolVersion, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{AMQPClass, channel, connection};
use amq_protocol::types::{FieldTable, LongString};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take: a broker that deletes a hundred thousand bindings takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

/// What kept the client from its work.
#[derive(Debug)]
pub enum ClientError {
    /// The socket failed.
    Io(io::Error),
    /// The broker sent what is not AMQP, or closed with this text.
    Broker(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => write!(f, "connection failed: {why}"),
            Self::Broker(why) => write!(f, "the broker answered: {why}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(why: io::Error) -> Self {
        Self::Io(why)
    }
}

/// See the head of this file.
#[derive(Debug)]
pub struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Client {
    /// Connects to `address` (host:port) as guest on `/` and opens channel 1.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub fn connect(address: &str) -> Result<Self, ClientError> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self { socket, input: Vec::new(), output: Vec::new() };
        client.put(&AMQPFrame::ProtocolHeader(ProtocolVersion::amqp_0_9_1()))?;
        client.send()?;
        client.receive()?;
        let start_ok = connection::StartOk {
            client_properties: FieldTable::default(),
            mechanism: "PLAIN".into(),
            response: LongString::from("\0guest\0guest"),
            locale: "en_US".into(),
        };
        client.put_method(0, AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)))?;
        client.send()?;
        let AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) = client.receive()? else {
            return Err(ClientError::Broker("no connection.tune".into()));
        };
        let tune_ok =
            connection::TuneOk { channel_max: tune.channel_max, frame_max: tune.frame_max, heartbeat: 0 };
        client.put_method(0, AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)))?;
        let open = connection::Open { virtual_host: "/".into() };
        client.put_method(0, AMQPClass::Connection(connection::AMQPMethod::Open(open)))?;
        client.send()?;
        client.receive()?;
        client.call(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})))?;
        Ok(client)
    }

    /// Sends a method on channel 1 and returns the answer.
    ///
    /// # Errors
    /// The broker closes the channel or the connection, or the socket fails.
    pub fn call(&mut self, method: AMQPClass) -> Result<AMQPClass, ClientError> {
        self.put_method(1, method)?;
        self.send()?;
        self.receive()
    }

    /// Sends methods that want no answer; a failure shows in the next [`Client::call`].
    ///
    /// # Errors
    /// The socket fails.
    pub fn cast(&mut self, methods: impl IntoIterator<Item = AMQPClass>) -> Result<(), ClientError> {
        for method in methods {
            self.put_method(1, method)?;
            if self.output.len() > 64 * 1024 {
                self.send()?;
            }
        }
        self.send()
    }

    fn put_method(&mut self, channel: u16, method: AMQPClass) -> Result<(), ClientError> {
        self.put(&AMQPFrame::Method(channel, method))
    }

    fn put(&mut self, frame: &AMQPFrame) -> Result<(), ClientError> {
        let written = gen_frame(frame)(WriteContext::from(Vec::new()))
            .map_err(|why| ClientError::Broker(format!("a frame cannot be written: {why}")))?;
        self.output.extend_from_slice(&written.into_inner().0);
        Ok(())
    }

    fn send(&mut self) -> Result<(), ClientError> {
        self.socket.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    fn receive(&mut self) -> Result<AMQPClass, ClientError> {
        let mut part = [0; 16 * 1024];
        loop {
            if let Some(method) = self.next_method()? {
                return Ok(method);
            }
            let read = self.socket.read(&mut part)?;
            if read == 0 {
                return Err(ClientError::Broker("end of stream".into()));
            }
            self.input.extend_from_slice(&part[..read]);
        }
    }

    fn next_method(&mut self) -> Result<Option<AMQPClass>, ClientError> {
        loop {
            // Type, channel, length: then the payload and the end octet.
            let Some(head) = self.input.first_chunk::<7>() else { return Ok(None) };
            let payload = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            if self.input.len() < payload + 8 {
                return Ok(None);
            }
            let frame: Vec<u8> = self.input.drain(..payload + 8).collect();
            let (_, frame) = parse_frame(frame.as_slice())
                .map_err(|why| ClientError::Broker(format!("a frame cannot be read: {why}")))?;
            match frame {
                AMQPFrame::Method(_, AMQPClass::Channel(channel::AMQPMethod::Close(close))) => {
                    return Err(ClientError::Broker(format!("{} {}", close.reply_code, close.reply_text)));
                }
                AMQPFrame::Method(_, AMQPClass::Connection(connection::AMQPMethod::Close(close))) => {
                    return Err(ClientError::Broker(format!("{} {}", close.reply_code, close.reply_text)));
                }
                AMQPFrame::Method(_, method) => return Ok(Some(method)),
                _ => {}
            }
        }
    }
}
