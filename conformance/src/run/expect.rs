//! Waiting for what must come next, and for nothing to come.

use crate::clock;
use crate::protocol::content::Header;
use crate::protocol::frame::{self, Frame};
use crate::protocol::method::Method;
use crate::run::eval::{bytes, integer};
use crate::run::handshake::active;
use crate::run::matching;
use crate::run::message::Message;
use crate::run::{Case, Done, LIMIT, Trouble};
use crate::script::{Address, Call, Expectation, Expected};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long "nothing" listens after a round trip: what was on its way has come by then.
const GRACE: Duration = Duration::from_millis(20);
/// The same where there can be no round trip.
const GRACE_ALONE: Duration = Duration::from_millis(50);

impl Case<'_> {
    pub(super) fn expect(&mut self, expectation: &Expectation) -> Done {
        let at = &expectation.at;
        let deadline = clock::now() + expectation.within.unwrap_or(LIMIT);
        match &expectation.what {
            Expected::Method(call) => {
                let message = self.message(at, deadline)?;
                self.hold(call, &message)
            }
            Expected::MethodFrame(call) => {
                let frame = self.frame_of(at, frame::METHOD, "a method", deadline)?;
                let method = Method::decode(&frame.payload)?;
                self.hold(call, &Message { method, content: None, frames: vec![frame] })
            }
            Expected::Header(fields) => {
                let frame = self.frame_of(at, frame::HEADER, "a content header", deadline)?;
                let header = Header::decode(&frame.payload)?;
                let mut wrong = Vec::new();
                matching::header(fields, &header, false, &mut self.variables, &mut wrong);
                unless_wrong(&wrong, || (frame.show(), frame.bytes()))
            }
            Expected::Body(body) => {
                let frame = self.frame_of(at, frame::BODY, "a content body", deadline)?;
                let wrong: Vec<_> =
                    matching::body(body, &frame.payload, &mut self.variables).err().into_iter().collect();
                unless_wrong(&wrong, || (frame.show(), frame.bytes()))
            }
            Expected::Heartbeat => self.heartbeat(at, deadline),
            Expected::Raw(items) => {
                let wanted = bytes(items, &self.variables)?;
                self.raw(at, &wanted, deadline)
            }
            Expected::Eof => self.eof(at, deadline),
            Expected::Acks(from, to) => {
                let mut left = tags(integer(from, &self.variables)?, integer(to, &self.variables)?);
                while !left.is_empty() {
                    let message = self.message(at, deadline)?;
                    acknowledge(&mut left, &message).map_err(|why| Trouble {
                        reason: why,
                        came: message.show(),
                        bytes: message.bytes(),
                        ..Trouble::default()
                    })?;
                }
                Ok(())
            }
        }
    }

    fn hold(&mut self, call: &Call, message: &Message) -> Done {
        let wrong = matching::call(call, message, self.compares_words, &mut self.variables);
        unless_wrong(&wrong, || (message.show(), message.bytes()))
    }

    /// The next message at `at`.
    pub(super) fn message(&mut self, at: &Address, deadline: Instant) -> Done<Message> {
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
    pub(super) fn message_now(&mut self, at: &Address) -> Done<Option<Message>> {
        self.sort(&at.connection);
        let frames = self.link(&at.connection)?.frames(at.number());
        Message::take(frames).map_err(|reason| match frames.front() {
            Some(frame) => Trouble { reason, came: frame.show(), bytes: frame.bytes(), ..Trouble::default() },
            None => Trouble::from(reason),
        })
    }

    /// The next frame at `at`, which must be of `kind`.
    fn frame_of(&mut self, at: &Address, kind: u8, what: &str, deadline: Instant) -> Done<Frame> {
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

    fn heartbeat(&mut self, at: &Address, deadline: Instant) -> Done {
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
    pub(super) fn no_heartbeat(&mut self, name: &str, during: Duration) -> Done {
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

    fn raw(&mut self, at: &Address, wanted: &[u8], deadline: Instant) -> Done {
        let mut late = false;
        loop {
            let link = self.link(&at.connection)?;
            if link.bytes_len() >= wanted.len() || link.ended.is_some() || late {
                let came = link.take_bytes(wanted.len());
                self.say(&format!("{at} < {}", crate::protocol::value::show_text(&came)));
                if came == wanted {
                    return Ok(());
                }
                let reason = format!("these bytes expected: {}", crate::protocol::value::show_text(wanted));
                return Err(Trouble {
                    reason,
                    came: crate::protocol::value::show_text(&came),
                    bytes: came,
                    ..Trouble::default()
                });
            }
            late = !self.pump(deadline);
        }
    }

    fn eof(&mut self, at: &Address, deadline: Instant) -> Done {
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
    pub(super) fn too_late(&mut self, at: &Address) -> Trouble {
        self.sort(&at.connection);
        let mut trouble = Trouble::silence("nothing came in time".to_owned());
        if let Some(frame) = self.links.get(&at.connection).and_then(|link| link.leftover()) {
            trouble.came = format!("nothing at {at}; on channel {}: {}", frame.channel, frame.show());
            trouble.bytes = frame.bytes();
        }
        trouble
    }

    /// Whether a round trip at `at` is possible.
    fn can_round_trip(&self, at: &Address) -> bool {
        let link = self.links.get(&at.connection);
        link.is_some_and(|link| link.is_open && link.channels.contains(&at.number()))
    }

    /// A round trip that changes nothing: channel.flow active=true.
    pub(super) fn round_trip(&mut self, at: &Address) -> Done {
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
    pub(super) fn nothing(&mut self, at: &Address, during: Option<Duration>) -> Done {
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

    /// At a script's end: nothing may have come that no step asked for.
    pub(super) fn nothing_left(&mut self) -> Done {
        let at_end = |case: &mut Self| {
            case.text = format!("{}   (after the last step)", case.text);
        };
        self.links.values_mut().for_each(|link| link.resume());
        let open: Vec<Address> = self
            .links
            .iter()
            .filter(|(_, link)| link.ended.is_none() && link.is_open && !link.ignored.contains(&0))
            .flat_map(|(name, link)| {
                let channels = link.channels.iter().filter(|channel| !link.ignored.contains(channel));
                channels.map(|&channel| Address { connection: name.clone(), channel: Some(channel) })
            })
            .collect();
        for at in &open {
            self.sort(&at.connection);
            if self.can_round_trip(at) {
                self.round_trip(at).inspect_err(|_| at_end(self))?;
            }
        }
        let names: Vec<String> = self.links.keys().cloned().collect();
        for name in names {
            self.sort(&name);
            if let Some(frame) = self.link(&name)?.leftover() {
                let frame = frame.clone();
                at_end(self);
                let reason =
                    format!("nothing more was expected on connection {name}, channel {}", frame.channel);
                return Err(Trouble {
                    reason,
                    came: frame.show(),
                    bytes: frame.bytes(),
                    ..Trouble::default()
                });
            }
        }
        Ok(())
    }
}

fn unless_wrong(wrong: &[String], came: impl FnOnce() -> (String, Vec<u8>)) -> Done {
    if wrong.is_empty() {
        return Ok(());
    }
    let (came, bytes) = came();
    Err(Trouble { reason: wrong.join("\n"), came, bytes, ..Trouble::default() })
}

/// The tags that acks are expected for.
pub(super) fn tags(from: i128, to: i128) -> BTreeSet<u64> {
    (from..=to).filter_map(|tag| u64::try_from(tag).ok()).collect()
}

/// Takes off `left` what `message` acknowledges.
///
/// # Errors
/// It is no ack, or for another tag.
pub(super) fn acknowledge(left: &mut BTreeSet<u64>, message: &Message) -> Result<(), String> {
    let shown = || left.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    if message.method.spec.name != "basic.ack" {
        return Err(format!("acks expected for {}", shown()));
    }
    let tag = message.method.number("delivery-tag");
    if !left.contains(&tag) {
        return Err(format!("acks expected for {}, this is for {tag}", shown()));
    }
    if message.method.bit("multiple") {
        left.retain(|&other| other > tag);
    } else {
        left.remove(&tag);
    }
    Ok(())
}
