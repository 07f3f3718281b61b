//! Sending: methods with their content cut to the negotiated frame size, single frames, bytes.

use crate::clock;
use crate::protocol::content::Header;
use crate::protocol::frame::{self, Frame};
use crate::protocol::method::Method;
use crate::protocol::value::Value;
use crate::run::handshake::active;
use crate::run::{Case, Done, LIMIT, Trouble, eval};
use crate::script::{Address, Call, Field, Sent};

impl Case<'_> {
    pub(super) fn send(&mut self, at: &Address, sent: &Sent) -> Done {
        let channel = at.number();
        let mut out = Vec::new();
        match sent {
            Sent::Method(call) => return self.send_call(at, call),
            Sent::MethodFrame(call) => {
                let method = eval::method(call.spec, &call.fields, &self.variables)?;
                Frame::encode(frame::METHOD, channel, &method.encode()?, &mut out);
                self.note_sent(at, &method);
            }
            Sent::Header(fields) => {
                let payload = self.header(fields)?.encode()?;
                Frame::encode(frame::HEADER, channel, &payload, &mut out);
            }
            Sent::Body(expr) => {
                let body = eval::text(expr, &self.variables)?;
                Frame::encode(frame::BODY, channel, &body, &mut out);
            }
            Sent::Heartbeat => Frame::encode(frame::HEARTBEAT, channel, &[], &mut out),
            Sent::ProtocolHeader => out.extend_from_slice(frame::PROTOCOL_HEADER),
            Sent::Raw(items) => out = eval::bytes(items, &self.variables)?,
            Sent::Frame(fields) => out = self.frame(channel, fields)?,
        }
        let text = self.text.split_once('>').map_or("", |(_, what)| what.trim()).to_owned();
        self.write(at, &out, &text)
    }

    /// Sends a method, and its content if it has any.
    fn send_call(&mut self, at: &Address, call: &Call) -> Done {
        let (method, content) = eval::call(call, &self.variables)?;
        self.send_method(at, &method, content.as_ref())?;
        if self.one_by_one && method.spec.name == "basic.publish" { self.part(at) } else { Ok(()) }
    }

    /// Waits until the broker has read what was sent at `at`, so that it is in no block with what
    /// follows: a channel.flow and its answer. What else comes meanwhile is for later steps.
    fn part(&mut self, at: &Address) -> Done {
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

    /// Sends a method that the runner or a script made.
    pub(super) fn send_method(
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
            shown.push_str(&crate::protocol::value::show_text(body));
        }
        self.note_sent(at, method);
        self.write(at, &out, &shown)
    }

    /// Writes bytes. A broken socket is not a failure here: what is expected next finds out.
    fn write(&mut self, at: &Address, bytes: &[u8], shown: &str) -> Done {
        self.say(&format!("{at} > {shown}"));
        if let Err(why) = self.link(&at.connection)?.write(bytes) {
            self.say(&format!("{at}: the write failed: {why}"));
        }
        Ok(())
    }

    fn note_sent(&mut self, at: &Address, method: &Method) {
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

    fn header(&self, fields: &[Field]) -> Done<Header> {
        let mut header = Header::new(0, Vec::new());
        for field in fields {
            let value = eval::sent(field, &self.variables)?;
            let number = match &value {
                Value::Int(_, number) => *number,
                _ => 0,
            };
            let small =
                || u16::try_from(number).map_err(|why| Trouble::from(format!("{}: {why}", field.spec.name)));
            match field.spec.name {
                "class" => header.class = small()?,
                "weight" => header.weight = small()?,
                "size" => {
                    header.size =
                        u64::try_from(number).map_err(|why| Trouble::from(format!("size: {why}")))?
                }
                name => header.properties.push((name, value)),
            }
        }
        Ok(header)
    }

    /// A frame of whatever parts.
    fn frame(&self, channel: u16, fields: &[Field]) -> Done<Vec<u8>> {
        let said = |name: &str| fields.iter().find(|field| field.spec.name == name);
        let number = |name: &str, default: i128| match said(name) {
            Some(field) => eval::integer(&field.value, &self.variables),
            None => Ok(default),
        };
        let payload = match said("payload") {
            Some(field) => eval::text(&field.value, &self.variables)?,
            None => Vec::new(),
        };
        let size = i128::try_from(payload.len()).unwrap_or(i128::MAX);
        let mut out = Vec::new();
        let mut put = |len, number| crate::protocol::value::put_integer(&mut out, len, number);
        put(1, number("type", frame::METHOD.into())?);
        put(2, number("channel", channel.into())?);
        put(4, number("size", size)?);
        out.extend_from_slice(&payload);
        crate::protocol::value::put_integer(&mut out, 1, number("end", frame::END.into())?);
        Ok(out)
    }
}
