//! Waiting for what must come next, and for nothing to come.

use crate::clock;
use crate::protocol::content::Header;
use crate::protocol::frame;
use crate::protocol::method::Method;
use crate::run::eval::{bytes, integer};
use crate::run::matching;
use crate::run::message::Message;
use crate::run::{Case, Done, LIMIT, Trouble, unless_wrong};
use crate::script::{Call, Expectation, Expected};
use std::collections::BTreeSet;

impl Case<'_> {
    pub(super) fn expect(&mut self, expectation: &Expectation) -> Done {
        let at = &expectation.at;
        let deadline = clock::now() + expectation.within.unwrap_or(LIMIT);
        match &expectation.what {
            Expected::Method(call) => {
                let message = self.connections.message(at, deadline)?;
                self.hold(call, &message)
            }
            Expected::MethodFrame(call) => {
                let frame = self.connections.frame_of(at, frame::METHOD, "a method", deadline)?;
                let method = Method::decode(&frame.payload)?;
                self.hold(call, &Message { method, content: None, frames: vec![frame] })
            }
            Expected::Header(fields) => {
                let frame = self.connections.frame_of(at, frame::HEADER, "a content header", deadline)?;
                let header = Header::decode(&frame.payload)?;
                let mut wrong = Vec::new();
                matching::header(fields, &header, false, &mut self.variables, &mut wrong);
                unless_wrong(&wrong, || (frame.show(), frame.bytes()))
            }
            Expected::Body(body) => {
                let frame = self.connections.frame_of(at, frame::BODY, "a content body", deadline)?;
                let wrong: Vec<_> =
                    matching::body(body, &frame.payload, &mut self.variables).err().into_iter().collect();
                unless_wrong(&wrong, || (frame.show(), frame.bytes()))
            }
            Expected::Heartbeat => self.connections.heartbeat(at, deadline),
            Expected::Raw(items) => {
                let wanted = bytes(items, &self.variables)?;
                self.connections.raw(at, &wanted, deadline)
            }
            Expected::Eof => self.connections.eof(at, deadline),
            Expected::Acks(from, to) => {
                let mut left = tags(integer(from, &self.variables)?, integer(to, &self.variables)?);
                while !left.is_empty() {
                    let message = self.connections.message(at, deadline)?;
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

    /// At a script's end: nothing may have come that no step asked for.
    pub(super) fn nothing_left(&mut self) -> Done {
        let at_end = |case: &mut Self| {
            case.text = format!("{}   (after the last step)", case.text);
        };
        self.connections.resume_all();
        for at in &self.connections.open_channels() {
            self.connections.sort(&at.connection);
            if self.connections.can_round_trip(at) {
                self.connections.round_trip(at).inspect_err(|_| at_end(self))?;
            }
        }
        for name in self.connections.names() {
            self.connections.sort(&name);
            if let Some(frame) = self.connections.link(&name)?.leftover() {
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
