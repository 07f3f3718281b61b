//! The content of a publish: in one piece in the input, or gathered from its parts.

use super::connection_state::ConnectionState;
use crate::clock::Now;
use crate::message::{Block, BlockBuilder, LARGE_BODY, Message};
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::frame::{self, Frame, Kind};
use crate::protocol::amqp::wire::header::{self, BASIC, ContentHeader};

/// The largest body that may be declared, whatever the configuration says (RabbitMQ:
/// `MAX_MSG_SIZE`).
const BODY_MAX: u64 = 512 * 1024 * 1024;

/// A content that is on its way.
#[derive(Debug)]
pub(super) struct IncomingContent {
    exchange: Box<[u8]>,
    routing_key: Box<[u8]>,
    mandatory: bool,
    body: Option<Partial>,
    /// When it went on last, monotonic milliseconds.
    pub(super) heard_ms: u64,
}

/// A body of which parts are missing.
#[derive(Debug)]
struct Partial {
    record: BlockBuilder,
    missing: usize,
}

impl IncomingContent {
    pub(super) fn new((exchange, routing_key): (&[u8], &[u8]), mandatory: bool, now: Now) -> Self {
        let (exchange, routing_key) = (exchange.into(), routing_key.into());
        Self { exchange, routing_key, mandatory, body: None, heard_ms: now.mono_ms }
    }

    /// Bytes that are kept of it.
    pub(super) fn bytes(&self) -> usize {
        self.body.as_ref().map_or(0, |partial| partial.record.bytes_len())
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.body.as_ref().map_or(0, |partial| partial.record.memory())
    }

    /// The header; whether that is all of the content.
    pub(super) fn take_header(
        &mut self,
        link: &mut ConnectionState,
        payload: &[u8],
    ) -> Result<bool, AmqpError> {
        if self.body.is_some() {
            return Err(self.expects());
        }
        self.heard_ms = link.now.mono_ms;
        let header = header::decode(payload)?;
        check_header(link, &header)?;
        let missing = usize::try_from(header.body_size).map_err(|_large| AmqpError::BodyBeyondMemory)?;
        link.tally.partial = true;
        link.tally.large |= missing >= LARGE_BODY;
        let mut record = BlockBuilder::default();
        let to: (&[u8], &[u8]) = (&self.exchange, &self.routing_key);
        let head = Message::published(link.now.unix_ms, to, header.raw, &[]);
        record.push_head(&head, missing);
        self.body = Some(Partial { record, missing });
        Ok(missing == 0)
    }

    /// A part of the body; whether it was the last.
    pub(super) fn take_body(
        &mut self,
        link: &mut ConnectionState,
        payload: &[u8],
    ) -> Result<bool, AmqpError> {
        let Some(partial) = &mut self.body else { return Err(self.expects()) };
        self.heard_ms = link.now.mono_ms;
        if payload.len() > partial.missing {
            return Err(AmqpError::BodyFrameTooLarge);
        }
        link.tally.partial = true;
        link.tally.large |= partial.missing >= LARGE_BODY;
        partial.record.push_body(payload, partial.missing);
        partial.missing -= payload.len();
        Ok(partial.missing == 0)
    }

    /// The message, alone in its block, and whether it is mandatory. It arrives when all of it is
    /// there, which is now.
    pub(super) fn finish(self, now: Now) -> Option<(Block, bool)> {
        let Partial { record, .. } = self.body?;
        Some((record.build().arrived_at(now.unix_ms), self.mandatory))
    }

    /// What comes next, as error texts name it.
    pub(super) fn expects(&self) -> AmqpError {
        match self.body {
            None => AmqpError::ExpectedHeader,
            Some(_) => AmqpError::ExpectedBody,
        }
    }
}

/// The content that follows a publish, when all of it lies at the head of `input` and takes one
/// body frame at most, as nearly always; and how many bytes it takes.
#[inline(always)]
pub(super) fn whole_content(
    input: &[u8],
    channel: u16,
    frame_max: u32,
) -> Option<(ContentHeader<'_>, &[u8], usize)> {
    let (header, used) = part(input, channel, Kind::Header, frame_max)?;
    let header = header::decode(header).ok()?;
    if header.body_size == 0 {
        return Some((header, &[], used));
    }
    let (body, body_used) = part(&input[used..], channel, Kind::Body, frame_max)?;
    (body.len() as u64 == header.body_size).then_some((header, body, used + body_used))
}

#[inline(always)]
fn part(input: &[u8], channel: u16, kind: Kind, frame_max: u32) -> Option<(&[u8], usize)> {
    match frame::decode(input, frame_max) {
        Ok(Some((Frame { kind: found, channel: on, payload }, used))) if found == kind && on == channel => {
            Some((payload, used))
        }
        _ => None,
    }
}

/// Whether a content may come in.
#[inline(always)]
pub(super) fn check_header(link: &ConnectionState, header: &ContentHeader<'_>) -> Result<(), AmqpError> {
    let size = header.body_size;
    if header.class != BASIC {
        let class = header.class;
        return Err(AmqpError::ExpectedBasicHeader { class });
    }
    if size > BODY_MAX {
        return Err(AmqpError::BodyTooLarge { size, max: BODY_MAX });
    }
    let max = link.broker.limits().message_bytes_max();
    if size > max {
        return Err(AmqpError::MessageTooLarge { size, max });
    }
    Ok(())
}
