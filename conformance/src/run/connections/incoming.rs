//! Waiting for what comes at an address: messages, frames, bytes, the end, and for nothing to come.

use crate::clock;
use crate::protocol::frame::{self, Frame};
use crate::protocol::method::Method;
use crate::protocol::value::show_text;
use crate::run::connections::Connections;
use crate::run::connections::handshake::active;
use crate::run::message::Message;
use crate::run::{Done, LIMIT, Trouble, unless_wrong};
use crate::script::Address;
use std::time::{Duration, Instant};

/// How long "nothing" listens after a round trip: what was on its way has come by then.
const GRACE: Duration = Duration::from_millis(20);
/// The same where there can be no round trip.
const GRACE_ALONE: Duration = Duration::from_millis(50);

impl Connections {
    /// The next message at `at`.
    pub(crate) fn message(&mut self, at: &Address, deadline: Instant) -> Done<Message> {
        loop {
            if let Some(message) = self.message_now(at)? {
                return Ok(message);
            }
            self.over(at)?;
            if !self.pump(deadline) {
                return Err(self.too_late(at));
            }
        }
    }

    /// The next message at `at`, if it is there.
    pub(crate) fn message_now(&mut self, at: &Address) -> Done<Option<Message>> {
        self.sort(&at.connection);
        let frames = self.link(&at.connection)?.frames(at.number());
        Message::take(frames).map_err(|reason| match frames.front() {
            Some(frame) => Trouble { reason, came: frame.show(), bytes: frame.bytes(), ..Trouble::default() },
            None => Trouble::from(reason),
        })
    }

    /// The next frame at `at`, which must be of `kind`.
    pub(crate) fn frame_of(&mut self, at: &Address, kind: u8, what: &str, deadline: Instant) -> Done<Frame> {
        loop {
            self.sort(&at.connection);
            if let Some(frame) = self.link(&at.connection)?.frames(at.number()).pop_front() {
                let right = frame.kind == kind;
                let wrong = if right { Vec::new() } else { vec![format!("{what} frame expected")] };
                return unless_wrong(&wrong, || (frame.show(), frame.bytes())).map(|()| frame);
            }
            self.over(at)?;
            if !self.pump(deadline) {
                return Err(self.too_late(at));
            }
        }
    }

    /// A heartbeat comes.
    pub(crate) fn heartbeat(&mut self, at: &Address, deadline: Instant) -> Done {
        loop {
            self.sort(&at.connection);
            if self.link(&at.connection)?.take_heartbeat() {
                return Ok(());
            }
            self.over(at)?;
            if !self.pump(deadline) {
                return Err(self.too_late(at));
            }
        }
    }

    /// No heartbeat came that nobody asked for, and none comes for so long.
    pub(crate) fn no_heartbeat(&mut self, name: &str, during: Duration) -> Done {
        let at = Address { connection: name.to_owned(), channel: None };
        let deadline = clock::now() + during;
        loop {
            self.sort(name);
            if self.link(name)?.take_heartbeat() {
                let frame = Frame { kind: frame::HEARTBEAT, channel: 0, payload: Vec::new() };
                let wrong = ["no heartbeat expected".to_owned()];
                return unless_wrong(&wrong, || (frame.show(), frame.bytes()));
            }
            self.over(&at)?;
            if !self.pump(deadline) {
                return Ok(());
            }
        }
    }

    /// These bytes come, whether they are frames or not.
    pub(crate) fn raw(&mut self, at: &Address, wanted: &[u8], deadline: Instant) -> Done {
        let mut late = false;
        loop {
            let link = self.link(&at.connection)?;
            if link.bytes_len() >= wanted.len() || link.ended.is_some() || late {
                let came = link.take_bytes(wanted.len());
                self.say(&format!("{at} < {}", show_text(&came)));
                if came == wanted {
                    return Ok(());
                }
                let reason = format!("these bytes expected: {}", show_text(wanted));
                return Err(Trouble { reason, came: show_text(&came), bytes: came, ..Trouble::default() });
            }
            late = !self.pump(deadline);
        }
    }

    /// The broker closes the socket, and nothing comes before.
    pub(crate) fn eof(&mut self, at: &Address, deadline: Instant) -> Done {
        loop {
            self.sort(&at.connection);
            let link = self.link(&at.connection)?;
            if let Some(frame) = link.leftover() {
                let reason = "the end of the stream expected".to_owned();
                return Err(Trouble {
                    reason,
                    came: frame.show(),
                    bytes: frame.bytes(),
                    ..Trouble::default()
                });
            }
            if link.malformed.is_none() && link.ended.is_some() {
                return Ok(());
            }
            if link.malformed.is_some() {
                self.over(at)?;
            }
            if !self.pump(deadline) {
                return Err(self.too_late(at));
            }
        }
    }

    /// Fails when nothing can come at `at` any more.
    fn over(&mut self, at: &Address) -> Done {
        let link = self.link(&at.connection)?;
        let close = link.close().filter(|_| at.number() != 0);
        if let Some(close) = close {
            let reason = "the broker closed the connection instead".to_owned();
            return Err(Trouble {
                reason,
                came: close.show(),
                bytes: close.encode().unwrap_or_default(),
                ..Trouble::default()
            });
        }
        if let Some(why) = link.malformed.clone() {
            let bytes = link.take_bytes(64);
            return Err(Trouble {
                reason: "what came is not AMQP".into(),
                came: why,
                bytes,
                ..Trouble::default()
            });
        }
        match &link.ended {
            Some(why) => Err(Trouble::from(format!("nothing can come any more: {why}"))),
            None if link.is_paused() => {
                Err(Trouble::from("nothing can come: this side does not read".to_owned()))
            }
            None => Ok(()),
        }
    }

    /// Nothing came in time; what came elsewhere may tell why.
    pub(crate) fn too_late(&mut self, at: &Address) -> Trouble {
        self.sort(&at.connection);
        let mut trouble = Trouble::silence("nothing came in time".to_owned());
        if let Some(frame) = self.links.get(&at.connection).and_then(|link| link.leftover()) {
            trouble.came = format!("nothing at {at}; on channel {}: {}", frame.channel, frame.show());
            trouble.bytes = frame.bytes();
        }
        trouble
    }

    /// Whether a round trip at `at` is possible.
    pub(crate) fn can_round_trip(&self, at: &Address) -> bool {
        let link = self.links.get(&at.connection);
        link.is_some_and(|link| link.is_open && link.channels.contains(&at.number()))
    }

    /// A round trip that changes nothing: channel.flow active=true.
    pub(crate) fn round_trip(&mut self, at: &Address) -> Done {
        self.send_method(at, &active("channel.flow"), None)?;
        let message = self.message(at, clock::now() + LIMIT)?;
        let wrong = if message.method == active("channel.flow-ok") {
            Vec::new()
        } else {
            vec!["nothing expected but the answer to a round trip".to_owned()]
        };
        unless_wrong(&wrong, || (message.show(), message.bytes()))
    }

    /// Nothing more may come at `at`.
    pub(crate) fn nothing(&mut self, at: &Address, during: Option<Duration>) -> Done {
        let mut grace = GRACE_ALONE;
        let channels: Vec<u16> = match at.channel {
            Some(channel) => vec![channel],
            None => self.link(&at.connection)?.channels.iter().copied().collect(),
        };
        self.sort(&at.connection);
        for channel in channels {
            let at = Address { connection: at.connection.clone(), channel: Some(channel) };
            if during.is_none() && self.can_round_trip(&at) {
                self.round_trip(&at)?;
                grace = GRACE;
            }
        }
        self.pump_until(clock::now() + during.unwrap_or(grace));
        self.sort(&at.connection);
        let link = self.link(&at.connection)?;
        let frame = match at.channel {
            Some(channel) => link.frames(channel).front(),
            None => link.leftover(),
        };
        if let Some(frame) = frame {
            return unless_wrong(&["nothing expected".to_owned()], || (frame.show(), frame.bytes()));
        }
        match &link.ended {
            Some(why) if why != "this side closed it" => {
                Err(Trouble::from(format!("nothing expected, but {why}")))
            }
            _ => Ok(()),
        }
    }

    /// Waits until the broker has read what was sent at `at`, so that it is in no block with what
    /// follows: a channel.flow and its answer. What else comes meanwhile is for later steps.
    pub(crate) fn part(&mut self, at: &Address) -> Done {
        self.send_method(at, &active("channel.flow"), None)?;
        let deadline = clock::now() + LIMIT;
        loop {
            self.sort(&at.connection);
            let link = self.link(&at.connection)?;
            let is_open = link.ended.is_none() && link.channels.contains(&at.number());
            let frames = link.frames(at.number());
            let is_answer = |frame: &Frame| {
                frame.kind == frame::METHOD
                    && Method::decode(&frame.payload).is_ok_and(|method| method == active("channel.flow-ok"))
            };
            if let Some(answer) = frames.iter().position(is_answer) {
                frames.remove(answer);
                return Ok(());
            }
            // The publish was refused, which is for the script to say.
            if !is_open {
                return Ok(());
            }
            if !self.pump(deadline) {
                return Err(self.too_late(at));
            }
        }
    }
}
