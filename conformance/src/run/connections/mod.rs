//! The connections of a case: each by the name that the script gives it, what goes out and comes in
//! over all of them, and the transcript of it.
//!
//! Knows no script but its addresses: what is expected is for the case.

pub(crate) mod handshake;
mod incoming;
pub(crate) mod link;

use crate::clock;
use crate::protocol::content::Header;
use crate::protocol::frame::{self, Frame};
use crate::protocol::method::Method;
use crate::protocol::value::show_text;
use crate::run::sweep::{Declared, sweep};
use crate::run::target::Target;
use crate::run::{Done, LIMIT, Trouble};
use crate::script::Address;
use link::{Event, Link};
use std::collections::BTreeMap;
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

/// How many lines of a transcript are kept, the last ones.
const TRANSCRIPT_MAX: usize = 200;
/// How long a line of it may be, characters.
const TRANSCRIPT_WIDTH: usize = 400;

/// The connections of a case, the transcript of what went over them, and what was declared there.
pub(crate) struct Connections {
    links: BTreeMap<String, Link>,
    next_link: usize,
    sender: Sender<Event>,
    events: Receiver<Event>,
    began: Instant,
    transcript: Vec<String>,
    declared: Declared,
}

impl Connections {
    pub(crate) fn new() -> Self {
        let (sender, events) = channel();
        Self {
            links: BTreeMap::new(),
            next_link: 0,
            sender,
            events,
            began: clock::now(),
            transcript: Vec::new(),
            declared: Declared::default(),
        }
    }

    /// Connects, and says nothing yet.
    pub(crate) fn connect(&mut self, target: &Target, name: &str) -> Done {
        if self.links.get(name).is_some_and(|link| link.ended.is_none()) {
            return Err(Trouble::from(format!("connection '{name}' is open already")));
        }
        self.next_link += 1;
        let address = (target.host.as_str(), target.port);
        let link = Link::connect(address, self.next_link, self.sender.clone())
            .map_err(|why| Trouble::silence(format!("{}:{}: {why}", target.host, target.port)))?;
        self.links.insert(name.to_owned(), link);
        Ok(())
    }

    /// The connection called `name`.
    pub(crate) fn link(&mut self, name: &str) -> Done<&mut Link> {
        self.links.get_mut(name).ok_or_else(|| Trouble::from(format!("connection '{name}' was not opened")))
    }

    /// Adds a line to the transcript.
    pub(crate) fn say(&mut self, line: &str) {
        let shown: String = line.chars().take(TRANSCRIPT_WIDTH).collect();
        let more = if shown.len() < line.len() { " ..." } else { "" };
        if self.transcript.len() >= TRANSCRIPT_MAX {
            self.transcript.remove(0);
        }
        self.transcript
            .push(format!("{:8.1} ms  {shown}{more}", self.began.elapsed().as_secs_f64() * 1000.0));
    }

    /// What was said so far, oldest first; nothing is kept of it.
    pub(crate) fn take_transcript(&mut self) -> Vec<String> {
        mem::take(&mut self.transcript)
    }

    /// Takes in what comes next on any connection; whether something came before `deadline`.
    pub(crate) fn pump(&mut self, deadline: Instant) -> bool {
        match self.events.recv_timeout(deadline.saturating_duration_since(clock::now())) {
            Ok(Event { link, what }) => {
                if let Some(link) = self.links.values_mut().find(|known| known.id == link) {
                    link.accept(what);
                }
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }

    /// Takes in whatever comes until `deadline`.
    pub(crate) fn pump_until(&mut self, deadline: Instant) {
        while self.pump(deadline) {}
    }

    /// Makes frames of what came on the connection called `name`, and says so.
    pub(crate) fn sort(&mut self, name: &str) {
        let Some(link) = self.links.get_mut(name) else { return };
        for frame in link.sort() {
            let at = Address {
                connection: name.to_owned(),
                channel: Some(frame.channel).filter(|&channel| channel != 0),
            };
            self.declared.note_frame(name, &frame);
            self.say(&format!("{at} < {}", frame.show()));
        }
    }

    /// Sends a method that the runner or a script made.
    pub(crate) fn send_method(
        &mut self,
        at: &Address,
        method: &Method,
        content: Option<&(Header, Vec<u8>)>,
    ) -> Done {
        let channel = at.number();
        let mut out = Vec::new();
        Frame::encode(frame::METHOD, channel, &method.encode()?, &mut out);
        let mut shown = method.show();
        if let Some((header, body)) = content {
            Frame::encode(frame::HEADER, channel, &header.encode()?, &mut out);
            let part = self.link(&at.connection)?.frame_max.saturating_sub(frame::OVERHEAD).max(1);
            for part in body.chunks(part) {
                Frame::encode(frame::BODY, channel, part, &mut out);
            }
            shown.push_str(&header.show_properties());
            shown.push_str(" body=");
            shown.push_str(&show_text(body));
        }
        self.note_sent(at, method);
        self.write(at, &out, &shown)
    }

    /// Writes bytes. A broken socket is not a failure here: what is expected next finds out.
    pub(crate) fn write(&mut self, at: &Address, bytes: &[u8], shown: &str) -> Done {
        self.say(&format!("{at} > {shown}"));
        if let Err(why) = self.link(&at.connection)?.write(bytes) {
            self.say(&format!("{at}: the write failed: {why}"));
        }
        Ok(())
    }

    /// Keeps account of what goes out.
    pub(crate) fn note_sent(&mut self, at: &Address, method: &Method) {
        self.declared.note_sent(&at.connection, at.number(), method);
        let Some(link) = self.links.get_mut(&at.connection) else { return };
        match method.spec.name {
            "connection.tune-ok" => {
                let size = usize::try_from(method.number("frame-max")).unwrap_or(0);
                link.frame_max = if size == 0 { link.frame_max } else { size };
            }
            "connection.close" => link.is_open = false,
            "channel.close" => {
                link.channels.remove(&at.number());
            }
            _ => {}
        }
    }

    /// Ends every connection, politely where it can be, and deletes what was declared at `target`.
    pub(crate) fn close_all(&mut self, target: &Target) {
        for link in self.links.values_mut().filter(|link| link.ended.is_none() && link.is_open) {
            link.resume();
            // The broker may close it at the same moment.
            let _written = link.write(handshake::GOODBYE);
        }
        let deadline = clock::now() + LIMIT;
        let awaits = |link: &Link| link.ended.is_none() && link.is_open && link.malformed.is_none();
        let waiting = |connections: &Self| connections.links.values().any(awaits);
        while waiting(self) && self.pump(deadline) {
            for link in self.links.values_mut() {
                link.sort();
            }
        }
        self.links.clear();
        sweep(target, &self.declared);
    }

    /// Closes the sockets, whatever is under way.
    pub(crate) fn drop_all(&mut self) {
        self.links.clear();
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The names of all of them.
    pub(crate) fn names(&self) -> Vec<String> {
        self.links.keys().cloned().collect()
    }

    /// Reads on wherever this side stopped to.
    pub(crate) fn resume_all(&mut self) {
        self.links.values_mut().for_each(Link::resume);
    }

    /// The channels that are open and not ignored.
    pub(crate) fn open_channels(&self) -> Vec<Address> {
        let live = self
            .links
            .iter()
            .filter(|(_, link)| link.ended.is_none() && link.is_open && !link.ignored.contains(&0));
        live.flat_map(|(name, link)| {
            let channels = link.channels.iter().filter(|channel| !link.ignored.contains(channel));
            channels.map(|&channel| Address { connection: name.clone(), channel: Some(channel) })
        })
        .collect()
    }

    /// Whether the broker can say no more at `at`.
    pub(crate) fn is_over(&self, at: &Address) -> bool {
        let link = self.links.get(&at.connection);
        link.is_none_or(|link| link.ended.is_some() || link.close().is_some())
    }
}
