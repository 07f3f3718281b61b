//! Sending: methods with their content cut to the negotiated frame size, single frames, bytes.

use crate::protocol::content::Header;
use crate::protocol::frame::{self, Frame};
use crate::protocol::value::{Value, put_integer};
use crate::run::{Case, Done, Trouble, eval};
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
                self.connections.note_sent(at, &method);
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
        self.connections.write(at, &out, &text)
    }

    /// Sends a method, and its content if it has any.
    fn send_call(&mut self, at: &Address, call: &Call) -> Done {
        let (method, content) = eval::call(call, &self.variables)?;
        self.connections.send_method(at, &method, content.as_ref())?;
        if self.one_by_one && method.spec.name == "basic.publish" {
            self.connections.part(at)
        } else {
            Ok(())
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
        let mut put = |len, number| put_integer(&mut out, len, number);
        put(1, number("type", frame::METHOD.into())?);
        put(2, number("channel", channel.into())?);
        put(4, number("size", size)?);
        out.extend_from_slice(&payload);
        put_integer(&mut out, 1, number("end", frame::END.into())?);
        Ok(out)
    }
}
