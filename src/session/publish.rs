//! From `basic.publish` and its content to the stage.
//!
//! A content that lies in the input in one piece is copied once, from there into a block. One that comes in parts is
//! gathered as a record first; a large body keeps that record as its block.
//!
//! What every message passes is always inlined: calls cost a 16-byte message a quarter of its time here.

use super::channel::{Channel, Mode};
use super::link::Link;
use crate::clock::Now;
use crate::error::AmqpError;
use crate::message::{Block, BlockBuilder, LARGE_BODY, Message};
use crate::wire::encode::{self, Content};
use crate::wire::frame::{self, Frame, Kind};
use crate::wire::properties::{self, BASIC, ContentHeader};

/// The largest body that may be declared, whatever the configuration says (RabbitMQ: `MAX_MSG_SIZE`).
const BODY_MAX: u64 = 512 * 1024 * 1024;

/// Ten years (RabbitMQ: `MAX_EXPIRY_TIMER`).
const EXPIRATION_MAX_MS: i128 = 315_360_000_000;

/// Property flags of `expiration` and `user-id`, the properties a broker has to look into.
const CHECKED_FLAGS: [u8; 2] = [0x01, 0x10];

/// A content that is on its way.
#[derive(Debug)]
pub(super) struct Incoming {
    exchange: Box<[u8]>,
    routing_key: Box<[u8]>,
    mandatory: bool,
    body: Option<Partial>,
}

/// A body of which parts are missing.
#[derive(Debug)]
struct Partial {
    record: BlockBuilder,
    missing: usize,
}

impl Incoming {
    pub(super) fn new(exchange: &[u8], routing_key: &[u8], mandatory: bool) -> Self {
        Self { exchange: exchange.into(), routing_key: routing_key.into(), mandatory, body: None }
    }

    /// What comes next, as error texts name it.
    pub(super) fn expects(&self) -> AmqpError {
        AmqpError::UnexpectedFrame(match self.body {
            None => "expected content header for class 60, got non content header frame instead".to_owned(),
            Some(_) => "expected content body, got non content body frame instead".to_owned(),
        })
    }
}

/// The content that follows a publish, when all of it lies at the head of `input` and takes one body frame at most,
/// as nearly always; and how many bytes it takes.
#[inline(always)]
pub(super) fn whole_content(
    input: &[u8],
    channel: u16,
    frame_max: u32,
) -> Option<(ContentHeader<'_>, &[u8], usize)> {
    let (header, used) = part(input, channel, Kind::Header, frame_max)?;
    let header = properties::decode_header(header).ok()?;
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
pub(super) fn check_header(link: &Link, header: &ContentHeader<'_>) -> Result<(), AmqpError> {
    let size = header.body_size;
    if header.class != BASIC {
        let class = header.class;
        return Err(AmqpError::UnexpectedFrame(format!(
            "expected content header for class 60, got one for class {class} instead"
        )));
    }
    if size > BODY_MAX {
        return Err(AmqpError::Frame(format!(
            "content body size {size} exceeds maximum allowed size {BODY_MAX}"
        )));
    }
    let allowed = link.broker.settings().message_bytes_max;
    if size > allowed {
        let why = format!("message size {size} is larger than configured max size {allowed}");
        return Err(AmqpError::Precondition(why));
    }
    Ok(())
}

impl Channel {
    /// A message whose content came in one piece.
    #[inline]
    pub(super) fn publish(
        &mut self,
        link: &mut Link,
        mandatory: bool,
        message: &Message<'_>,
    ) -> Result<(), AmqpError> {
        if self.admit(link, mandatory, message)? {
            let stage = self.mode.transaction().map_or(&mut link.stage, |tx| &mut tx.stage);
            if message.body.len() < LARGE_BODY {
                stage.push(link.routes.current(), message);
            } else {
                stage.push_block(link.routes.current(), Block::of(message));
            }
        }
        self.check_transaction()
    }

    /// A content header for the publish that came before.
    pub(super) fn take_header(&mut self, link: &mut Link, payload: &[u8]) -> Result<(), AmqpError> {
        let Some(incoming) = &mut self.incoming else {
            return Err(AmqpError::UnexpectedFrame(
                "expected method frame, got non method frame instead".to_owned(),
            ));
        };
        if incoming.body.is_some() {
            return Err(incoming.expects());
        }
        let header = properties::decode_header(payload)?;
        check_header(link, &header)?;
        let missing = usize::try_from(header.body_size).map_err(|_too_large| {
            AmqpError::Frame("content body size exceeds the address space".to_owned())
        })?;
        let mut record = BlockBuilder::default();
        let head = message(link.now, (&incoming.exchange, &incoming.routing_key), header.raw, &[]);
        record.push_head(&head, missing);
        incoming.body = Some(Partial { record, missing });
        if missing == 0 { self.complete(link) } else { Ok(()) }
    }

    /// A part of a body.
    pub(super) fn take_body(&mut self, link: &mut Link, payload: &[u8]) -> Result<(), AmqpError> {
        let Some(incoming) = &mut self.incoming else {
            return Err(AmqpError::UnexpectedFrame(
                "expected method frame, got non method frame instead".to_owned(),
            ));
        };
        let Some(partial) = &mut incoming.body else { return Err(incoming.expects()) };
        if payload.len() > partial.missing {
            return Err(AmqpError::Frame("content body frame exceeds remaining content size".to_owned()));
        }
        partial.record.push_body(payload);
        partial.missing -= payload.len();
        if partial.missing == 0 { self.complete(link) } else { Ok(()) }
    }

    /// Publishes the content that came in parts.
    fn complete(&mut self, link: &mut Link) -> Result<(), AmqpError> {
        let Some(Incoming { mandatory, body: Some(partial), .. }) = self.incoming.take().map(|boxed| *boxed)
        else {
            return Ok(());
        };
        let block = partial.record.build();
        let message = block.message(0);
        if message.body.len() < LARGE_BODY {
            return self.publish(link, mandatory, &message);
        }
        if self.admit(link, mandatory, &message)? {
            let stage = self.mode.transaction().map_or(&mut link.stage, |tx| &mut tx.stage);
            stage.push_block(link.routes.current(), block);
        }
        self.check_transaction()
    }

    /// Checks and routes a message; whether it is to be staged for `link.routes.current()`.
    #[inline]
    fn admit(&mut self, link: &mut Link, mandatory: bool, message: &Message<'_>) -> Result<bool, AmqpError> {
        check_properties(&link.user, message.properties)?;
        let routed = !link.routes.find(link.broker.vhost(), message)?.queues.is_empty();
        link.tally.received += 1;
        if let Mode::Confirm(confirms) = &mut self.mode {
            link.tally.received_confirm += 1;
            if confirms.publish() {
                link.publishers.push(self.number);
            }
        }
        if !routed {
            self.drop_or_return(link, mandatory, message);
        }
        Ok(routed)
    }

    #[cold]
    fn drop_or_return(&mut self, link: &mut Link, mandatory: bool, message: &Message<'_>) {
        if !mandatory {
            link.tally.dropped += 1;
            return;
        }
        link.tally.returned += 1;
        let &Message { exchange, routing_key, properties, body, .. } = message;
        let content = Content { exchange, routing_key, properties, body };
        let out = match &mut self.mode {
            // What a transaction returns, it returns when it commits.
            Mode::Transaction(tx) => &mut tx.returns,
            Mode::Plain | Mode::Confirm(_) => self.held.out(&mut link.output).own(),
        };
        encode::basic_return(out, self.number, link.limits.frame_max, 312, "NO_ROUTE", &content);
    }
}

/// A message that arrives now.
#[inline(always)]
pub(super) fn message<'a>(
    now: Now,
    (exchange, routing_key): (&'a [u8], &'a [u8]),
    properties: &'a [u8],
    body: &'a [u8],
) -> Message<'a> {
    let persistent = properties::delivery_mode(properties) == 2;
    Message { persistent, died: false, arrived_at_ms: now.unix_ms, exchange, routing_key, properties, body }
}

/// Looks into the properties that a broker must, if they are there.
#[inline]
fn check_properties(user: &str, raw: &[u8]) -> Result<(), AmqpError> {
    match raw {
        [high, low, ..] if (high & CHECKED_FLAGS[0]) | (low & CHECKED_FLAGS[1]) != 0 => look_into(user, raw),
        _ => Ok(()),
    }
}

#[cold]
fn look_into(user: &str, raw: &[u8]) -> Result<(), AmqpError> {
    let properties = properties::decode(raw)?;
    if let Some(claimed) = properties.user_id
        && claimed != user.as_bytes()
    {
        let claimed = String::from_utf8_lossy(claimed);
        return Err(AmqpError::Precondition(format!(
            "user_id property set to '{claimed}' but authenticated user was '{user}'"
        )));
    }
    properties.expiration.map_or(Ok(()), check_expiration)
}

/// `expiration` is a number of milliseconds in decimal digits (RabbitMQ: ttl.md); the texts are Erlang's.
fn check_expiration(expiration: &[u8]) -> Result<(), AmqpError> {
    let text = String::from_utf8_lossy(expiration);
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(if digits == 0 { 0 } else { sign + digits });
    let why = match number.parse::<i128>() {
        Err(_no_digits) if number.is_empty() => "no_integer".to_owned(),
        _ if !rest.is_empty() => format!("{{leftover_string,\"{rest}\"}}"),
        Ok(ms) if ms < 0 => format!("{{value_negative,{ms}}}"),
        Ok(ms) if ms <= EXPIRATION_MAX_MS => return Ok(()),
        Ok(_) | Err(_) => format!("{{value_too_large,{number}}}"),
    };
    Err(AmqpError::Precondition(format!("invalid expiration '{text}': {why}")))
}
