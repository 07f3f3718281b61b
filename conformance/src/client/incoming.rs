//! What a broker says, put together from its frames: a method, and the content that belongs to it.

use super::ClientError;
use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::basic::AMQPMethod as Basic;
use amq_protocol::protocol::connection::AMQPMethod as Connection;
use amq_protocol::protocol::{AMQPClass, channel};

/// A body of more bytes than this is not what any program of this package sends.
const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// One thing that the broker said.
#[derive(Debug, PartialEq)]
pub struct Incoming {
    /// The method.
    pub method: AMQPClass,
    /// Its content; empty for a method that has none.
    pub body: Vec<u8>,
}

/// Joins method, content header and body frames of one channel.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// A method whose content is not complete.
    open: Option<Incoming>,
    /// Bytes of the body that are to come; unknown before the content header.
    missing: Option<u64>,
}

impl Assembler {
    /// Takes the next frame; returns what it completes.
    ///
    /// # Errors
    /// The broker closes the channel or the connection, or frames come in an order that no content
    /// has.
    pub(super) fn take(&mut self, frame: AMQPFrame) -> Result<Option<Incoming>, ClientError> {
        match frame {
            AMQPFrame::Method(_, method) => self.take_method(method),
            AMQPFrame::Header(_, header) => {
                if self.open.is_none() || self.missing.is_some() || header.body_size > BODY_BYTES_MAX {
                    return Err(ClientError::Broker("a content header that belongs nowhere".into()));
                }
                self.missing = Some(header.body_size);
                Ok(self.complete())
            }
            AMQPFrame::Body(_, part) => {
                let missing = self.missing.and_then(|missing| missing.checked_sub(part.len() as u64));
                let (Some(open), Some(missing)) = (&mut self.open, missing) else {
                    return Err(ClientError::Broker("a body that belongs nowhere".into()));
                };
                open.body.extend(part);
                self.missing = Some(missing);
                Ok(self.complete())
            }
            AMQPFrame::ProtocolHeader(version) => {
                Err(ClientError::Broker(format!("its protocol is {version}")))
            }
            AMQPFrame::Heartbeat | AMQPFrame::InvalidHeartbeat(_) => Ok(None),
        }
    }

    fn take_method(&mut self, method: AMQPClass) -> Result<Option<Incoming>, ClientError> {
        match &method {
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                Err(ClientError::Closed { code: close.reply_code, text: close.reply_text.to_string() })
            }
            AMQPClass::Connection(Connection::Close(close)) => {
                Err(ClientError::Closed { code: close.reply_code, text: close.reply_text.to_string() })
            }
            // Methods of the connection may come between the frames of a content, those of the
            // channel may not.
            AMQPClass::Connection(_) => Ok(Some(Incoming { method, body: Vec::new() })),
            _ if self.open.is_some() => Err(ClientError::Broker("a method instead of content".into())),
            _ if has_content(&method) => {
                self.open = Some(Incoming { method, body: Vec::new() });
                Ok(None)
            }
            _ => Ok(Some(Incoming { method, body: Vec::new() })),
        }
    }

    fn complete(&mut self) -> Option<Incoming> {
        if self.missing == Some(0) {
            self.missing = None;
            self.open.take()
        } else {
            None
        }
    }
}

fn has_content(method: &AMQPClass) -> bool {
    matches!(method, AMQPClass::Basic(Basic::Deliver(_) | Basic::GetOk(_) | Basic::Return(_)))
}

/// Whether a broker says this of its own accord, and not as an answer.
pub(super) fn is_unasked(method: &AMQPClass) -> bool {
    matches!(
        method,
        AMQPClass::Basic(
            Basic::Deliver(_) | Basic::Return(_) | Basic::Ack(_) | Basic::Nack(_) | Basic::Cancel(_)
        ) | AMQPClass::Connection(Connection::Blocked(_) | Connection::Unblocked(_))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use amq_protocol::frame::AMQPContentHeader;
    use amq_protocol::protocol::{basic, connection};

    fn deliver() -> AMQPClass {
        AMQPClass::Basic(basic::AMQPMethod::Deliver(basic::Deliver {
            consumer_tag: "c".into(),
            delivery_tag: 1,
            redelivered: false,
            exchange: "".into(),
            routing_key: "q".into(),
        }))
    }

    fn header(body_size: u64) -> AMQPFrame {
        let properties = basic::AMQPProperties::default();
        AMQPFrame::Header(1, AMQPContentHeader { class_id: 60, body_size, properties })
    }

    #[test]
    fn content_is_put_together_from_its_frames() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.take(AMQPFrame::Method(1, deliver())).unwrap(), None);
        assert_eq!(assembler.take(header(5)).unwrap(), None);
        assert_eq!(assembler.take(AMQPFrame::Body(1, b"ab".to_vec())).unwrap(), None);
        let blocked = AMQPClass::Connection(connection::AMQPMethod::Unblocked(connection::Unblocked {}));
        assert!(assembler.take(AMQPFrame::Method(0, blocked)).unwrap().is_some(), "not of the channel");
        let whole = assembler.take(AMQPFrame::Body(1, b"cde".to_vec())).unwrap();
        assert_eq!(whole, Some(Incoming { method: deliver(), body: b"abcde".to_vec() }));
        assembler.take(AMQPFrame::Method(1, deliver())).unwrap();
        assert!(assembler.take(header(0)).unwrap().is_some(), "an empty body has no frame");
    }

    #[test]
    fn frames_out_of_order_are_refused() {
        assert!(Assembler::default().take(header(1)).is_err());
        assert!(Assembler::default().take(AMQPFrame::Body(1, vec![1])).is_err());
        let mut assembler = Assembler::default();
        assembler.take(AMQPFrame::Method(1, deliver())).unwrap();
        assert!(assembler.take(AMQPFrame::Method(1, deliver())).is_err());
        let mut assembler = Assembler::default();
        assembler.take(AMQPFrame::Method(1, deliver())).unwrap();
        assembler.take(header(1)).unwrap();
        assert!(assembler.take(AMQPFrame::Body(1, vec![1, 2])).is_err(), "longer than announced");
    }
}
