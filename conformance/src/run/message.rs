//! What a broker said on a channel: a method, with its content put together from however many
//! frames.

use crate::protocol::content::Header;
use crate::protocol::frame::{self, Frame};
use crate::protocol::method::Method;
use crate::protocol::value::show_text;
use std::collections::VecDeque;

/// A method that the broker sent on a channel, with its complete content.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The method.
    pub(crate) method: Method,
    /// Header and body, where the method has them.
    pub(crate) content: Option<(Header, Vec<u8>)>,
    /// The frames that it came in.
    pub(crate) frames: Vec<Frame>,
}

impl Message {
    /// Takes the first message off `frames`; `None` when more must come.
    ///
    /// # Errors
    /// The frames do not make a message.
    pub(crate) fn take(frames: &mut VecDeque<Frame>) -> Result<Option<Self>, String> {
        let Some(first) = frames.front() else { return Ok(None) };
        if first.kind != frame::METHOD {
            return Err(format!("a method expected, {} came", first.show()));
        }
        let method = Method::decode(&first.payload).map_err(|why| format!("a malformed method: {why}"))?;
        if !method.spec.content {
            return Ok(Some(Self { method, content: None, frames: frames.drain(..1).collect() }));
        }
        let Some(second) = frames.get(1) else { return Ok(None) };
        if second.kind != frame::HEADER {
            return Err(format!(
                "a content header expected after {}, {} came",
                method.spec.name,
                second.show()
            ));
        }
        let header =
            Header::decode(&second.payload).map_err(|why| format!("a malformed content header: {why}"))?;
        let size = usize::try_from(header.size).map_err(|why| why.to_string())?;
        let (mut body, mut used) = (Vec::new(), 2);
        while body.len() < size {
            let Some(next) = frames.get(used) else { return Ok(None) };
            if next.kind != frame::BODY {
                return Err(format!("a content body expected, {} came", next.show()));
            }
            body.extend_from_slice(&next.payload);
            used += 1;
        }
        if body.len() > size {
            return Err(format!("a body of {} bytes came for a header that says {size}", body.len()));
        }
        Ok(Some(Self { method, content: Some((header, body)), frames: frames.drain(..used).collect() }))
    }

    /// As a script writes it.
    pub(crate) fn show(&self) -> String {
        let mut out = self.method.show();
        if let Some((header, body)) = &self.content {
            out.push_str(&header.show_properties());
            out.push_str(" body=");
            out.push_str(&show_text(body));
        }
        out
    }

    /// All of its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.frames.iter().flat_map(Frame::bytes).collect()
    }
}
