//! One connection of a script: the socket, a thread that reads it, and what came sorted by channel.
//!
//! The thread only moves bytes into the case's one queue of events, so that a case can wait for
//! several connections at once without polling. Bytes become frames when the case looks, for a
//! script may ask for the bytes. While a connection is paused the thread leaves in the socket what
//! is there: it looks first, and takes through a gate.

use crate::protocol::frame::{self, Frame};
use crate::protocol::method::Method;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long connecting may take, and a write.
const SOCKET_LIMIT: Duration = Duration::from_secs(10);

/// The frame size before a script negotiates one, bytes.
const FRAME_MAX: usize = 131_072;

/// What a reading thread tells.
#[derive(Debug)]
pub(crate) struct Event {
    /// The connection's number.
    pub(crate) link: usize,
    /// Bytes, or why there are no more.
    pub(crate) what: Result<Vec<u8>, String>,
}

/// Whether a reading thread may take what is there.
#[derive(Debug, Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = closed;
        self.opened.notify_all();
    }

    /// Does `work` while the gate is open and stays so.
    fn pass<T>(&self, work: impl FnOnce() -> T) -> T {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let _open = self.opened.wait_while(closed, |closed| *closed).unwrap_or_else(PoisonError::into_inner);
        work()
    }
}

/// One connection of a script: its socket, and what has arrived, by channel.
#[derive(Debug)]
pub(crate) struct Link {
    /// Its number among all connections of the case.
    pub(crate) id: usize,
    socket: TcpStream,
    gate: Arc<Gate>,
    is_paused: bool,
    /// Bytes that are not frames yet.
    bytes: Vec<u8>,
    /// Frames by channel, oldest first.
    inbox: BTreeMap<u16, VecDeque<Frame>>,
    /// Heartbeats that nobody asked for.
    heartbeats: usize,
    /// How the stream ended, once it has.
    pub(crate) ended: Option<String>,
    /// Why what came is not AMQP, once that is so.
    pub(crate) malformed: Option<String>,
    /// What a frame may have, bytes, by this side's tune-ok.
    pub(crate) frame_max: usize,
    /// Whether connection.open-ok came and no close since.
    pub(crate) is_open: bool,
    /// Channels whose open-ok came and no close since.
    pub(crate) channels: BTreeSet<u16>,
    /// Channels whose frames are of no interest; 0 stands for all.
    pub(crate) ignored: BTreeSet<u16>,
}

impl Link {
    /// Connects to `address` and starts to read.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(crate) fn connect(address: (&str, u16), id: usize, events: Sender<Event>) -> io::Result<Self> {
        let mut last = io::Error::other("the name has no address");
        let mut connected = None;
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, SOCKET_LIMIT) {
                Ok(socket) => {
                    connected = Some(socket);
                    break;
                }
                Err(why) => last = why,
            }
        }
        let Some(socket) = connected else { return Err(last) };
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(SOCKET_LIMIT))?;
        let reading = socket.try_clone()?;
        let gate = Arc::new(Gate::default());
        let through = Arc::clone(&gate);
        thread::spawn(move || read(reading, id, &events, &through));
        Ok(Self {
            id,
            socket,
            gate,
            is_paused: false,
            bytes: Vec::new(),
            inbox: BTreeMap::new(),
            heartbeats: 0,
            ended: None,
            malformed: None,
            frame_max: FRAME_MAX,
            is_open: false,
            channels: BTreeSet::new(),
            ignored: BTreeSet::new(),
        })
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The socket fails.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Closes the socket; its thread ends.
    pub(crate) fn shut(&mut self) {
        // It may be closed already.
        let _closed = self.socket.shutdown(Shutdown::Both);
        self.resume();
        self.ended.get_or_insert_with(|| "this side closed it".into());
        self.is_open = false;
        self.channels.clear();
    }

    /// Leaves in the socket whatever comes, until [`Link::resume`].
    pub(crate) fn pause(&mut self) {
        self.is_paused = true;
        self.gate.set(true);
    }

    /// Takes again what comes.
    pub(crate) fn resume(&mut self) {
        if self.is_paused {
            self.is_paused = false;
            self.gate.set(false);
        }
    }

    /// Whether nothing is taken from the socket now.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Takes in what its thread told.
    pub(crate) fn accept(&mut self, what: Result<Vec<u8>, String>) {
        match what {
            Ok(bytes) => self.bytes.extend_from_slice(&bytes),
            Err(why) => {
                self.ended.get_or_insert(why);
                self.is_open = false;
                self.channels.clear();
            }
        }
    }

    /// Makes frames of the bytes; returns those that are new.
    pub(crate) fn sort(&mut self) -> Vec<Frame> {
        let (mut new, mut used) = (Vec::new(), 0);
        while self.malformed.is_none() {
            match Frame::decode(&self.bytes[used..]) {
                Ok(None) => break,
                Ok(Some((frame, len))) => {
                    used += len;
                    self.note(&frame);
                    if frame.kind == frame::HEARTBEAT && frame.channel == 0 {
                        self.heartbeats += 1;
                    } else if !self.ignored.contains(&0) && !self.ignored.contains(&frame.channel) {
                        self.inbox.entry(frame.channel).or_default().push_back(frame.clone());
                    }
                    new.push(frame);
                }
                Err(why) => self.malformed = Some(why),
            }
        }
        self.bytes.drain(..used);
        new
    }

    /// Keeps account of what is open.
    fn note(&mut self, frame: &Frame) {
        if frame.kind != frame::METHOD {
            return;
        }
        let Ok(method) = Method::decode(&frame.payload) else { return };
        match method.spec.name {
            "connection.open-ok" => self.is_open = true,
            "connection.close" | "connection.close-ok" => {
                self.is_open = false;
                self.channels.clear();
            }
            "channel.open-ok" => {
                self.channels.insert(frame.channel);
            }
            "channel.close" | "channel.close-ok" => {
                self.channels.remove(&frame.channel);
            }
            _ => {}
        }
    }

    /// The frames of `channel` that nobody took yet.
    pub(crate) fn frames(&mut self, channel: u16) -> &mut VecDeque<Frame> {
        self.inbox.entry(channel).or_default()
    }

    /// The first frame that nobody took, of any channel.
    pub(crate) fn leftover(&self) -> Option<&Frame> {
        self.inbox.values().find_map(VecDeque::front)
    }

    /// The connection.close that came and that nobody took.
    pub(crate) fn close(&self) -> Option<Method> {
        let frames = self.inbox.get(&0)?.iter().filter(|frame| frame.kind == frame::METHOD);
        frames
            .filter_map(|frame| Method::decode(&frame.payload).ok())
            .find(|method| method.spec.name == "connection.close")
    }

    /// Forgets what came on `channel`, 0 for all, now and from now on.
    pub(crate) fn ignore(&mut self, channel: u16) {
        self.ignored.insert(channel);
        if channel == 0 {
            self.inbox.clear();
        } else {
            self.inbox.remove(&channel);
        }
    }

    /// Takes a heartbeat, if one came.
    pub(crate) fn take_heartbeat(&mut self) -> bool {
        let came = self.heartbeats > 0;
        self.heartbeats -= usize::from(came);
        came
    }

    /// Takes `len` bytes that are not frames yet; all there are when fewer.
    pub(crate) fn take_bytes(&mut self, len: usize) -> Vec<u8> {
        self.bytes.drain(..len.min(self.bytes.len())).collect()
    }

    /// How many bytes are not frames yet.
    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shut();
    }
}

fn read(mut socket: TcpStream, link: usize, events: &Sender<Event>, gate: &Gate) {
    let mut part = vec![0; 64 * 1024];
    loop {
        // Waits without taking anything, and not in the gate. An error shows again in the read.
        match socket.peek(&mut part[..1]) {
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            _ => {}
        }
        let (what, over) = match gate.pass(|| socket.read(&mut part)) {
            Ok(0) => (Err("the broker closed the socket".to_owned()), true),
            Ok(len) => (Ok(part[..len].to_vec()), false),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            Err(why) => (Err(format!("the socket failed: {why}")), true),
        };
        // The case may be over.
        if events.send(Event { link, what }).is_err() || over {
            return;
        }
    }
}
