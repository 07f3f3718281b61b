//! From `basic.publish` and its content to the stage.
//!
//! A content that lies in the input in one piece is copied once, from there into a block. One that
//! comes in parts is gathered as a record first; a large body keeps that record as its block. What
//! has properties that matter here goes through [`super::inspect`].
//!
//! What every message passes is always inlined: calls cost a 16-byte message a quarter of its time
//! here.

use super::channel::{Channel, Mode};
use super::connection_state::ConnectionState;
use super::deliver::shown;
use super::inspect;
use crate::client::publish_batch::Publish;
use crate::clock::Now;
use crate::message::properties;
use crate::message::{Block, BlockBuilder, Copies, LARGE_BODY, Message};
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::encode::{self, Content};
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
    let max = link.broker.settings().limits.message_bytes_max;
    if size > max {
        return Err(AmqpError::MessageTooLarge { size, max });
    }
    Ok(())
}

impl Channel {
    /// A message whose content came in one piece.
    #[inline]
    pub(super) fn publish(
        &mut self,
        link: &mut ConnectionState,
        mandatory: bool,
        message: &Message<'_>,
    ) -> Result<(), AmqpError> {
        if inspect::is_due(message.properties) {
            return self.publish_inspected(link, mandatory, message, None);
        }
        link.batch.routes.find(&mut link.client, message)?;
        self.publish_checked(link, mandatory, message, None)
    }

    /// A message that nothing is wrong with goes to `link.batch.routes.current()`; `block` is of this
    /// message alone, when there is one already.
    #[inline(always)]
    pub(super) fn publish_checked(
        &mut self,
        link: &mut ConnectionState,
        mandatory: bool,
        message: &Message<'_>,
        block: Option<Block>,
    ) -> Result<(), AmqpError> {
        if self.admit(link, mandatory, message) {
            let route = link.batch.routes.current();
            if route.apart {
                if route.traced {
                    self.trace_publish(link, message);
                }
                if link.batch.routes.current().may_refuse {
                    self.stage_refusable(link, message, block);
                    return self.check_transaction(link);
                }
            }
            let stage = self.mode.transaction().map_or(&mut link.batch.publishes, |tx| &mut tx.stage);
            match block {
                Some(block) => stage.push_block(link.batch.routes.current(), block),
                None if message.body.len() < LARGE_BODY => stage.push(link.batch.routes.current(), message),
                None => stage.push_block(link.batch.routes.current(), Block::of(message)),
            }
        }
        self.check_transaction(link)
    }

    /// A content header for the publish that came before.
    pub(super) fn take_header(
        &mut self,
        link: &mut ConnectionState,
        payload: &[u8],
    ) -> Result<(), AmqpError> {
        let Some(incoming) = &mut self.incoming else {
            return Err(AmqpError::ExpectedMethod);
        };
        if incoming.body.is_some() {
            return Err(incoming.expects());
        }
        incoming.heard_ms = link.now.mono_ms;
        let header = header::decode(payload)?;
        check_header(link, &header)?;
        let missing = usize::try_from(header.body_size).map_err(|_large| AmqpError::BodyBeyondMemory)?;
        link.tally.partial = true;
        link.tally.large |= missing >= LARGE_BODY;
        let mut record = BlockBuilder::default();
        let head = message(link.now, (&incoming.exchange, &incoming.routing_key), header.raw, &[]);
        record.push_head(&head, missing);
        incoming.body = Some(Partial { record, missing });
        if missing == 0 { self.complete(link) } else { Ok(()) }
    }

    /// A part of a body.
    pub(super) fn take_body(&mut self, link: &mut ConnectionState, payload: &[u8]) -> Result<(), AmqpError> {
        let Some(incoming) = &mut self.incoming else {
            return Err(AmqpError::ExpectedMethod);
        };
        let Some(partial) = &mut incoming.body else { return Err(incoming.expects()) };
        incoming.heard_ms = link.now.mono_ms;
        if payload.len() > partial.missing {
            return Err(AmqpError::BodyFrameTooLarge);
        }
        link.tally.partial = true;
        link.tally.large |= partial.missing >= LARGE_BODY;
        partial.record.push_body(payload, partial.missing);
        partial.missing -= payload.len();
        if partial.missing == 0 { self.complete(link) } else { Ok(()) }
    }

    /// Publishes the content that came in parts.
    fn complete(&mut self, link: &mut ConnectionState) -> Result<(), AmqpError> {
        let Some(IncomingContent { mandatory, body: Some(partial), .. }) =
            self.incoming.take().map(|boxed| *boxed)
        else {
            return Ok(());
        };
        // A message arrives when all of it is there.
        let block = partial.record.build().arrived_at(link.now.unix_ms);
        let message = block.message(0);
        if message.body.len() < LARGE_BODY {
            return self.publish(link, mandatory, &message);
        }
        // The block's bytes are shared, not copied.
        let own = Some(block.clone());
        if inspect::is_due(message.properties) {
            return self.publish_inspected(link, mandatory, &message, own);
        }
        link.batch.routes.find(&mut link.client, &message)?;
        self.publish_checked(link, mandatory, &message, own)
    }

    /// Counts a message; whether it is to be staged for `link.batch.routes.current()`.
    #[inline(always)]
    fn admit(&mut self, link: &mut ConnectionState, mandatory: bool, message: &Message<'_>) -> bool {
        let route = link.batch.routes.current();
        let routed = !route.queues.is_empty() || route.knows(message, link.now);
        link.tally.received += 1;
        link.tally.sizes.add(message.body.len());
        if !self.publishes {
            self.start_publishing(link);
        }
        if let Mode::Confirm(confirms) = &mut self.mode {
            link.tally.received_confirm += 1;
            if confirms.publish() {
                link.publishers.push(self.number);
            }
        }
        if !routed {
            self.drop_or_return(link, mandatory, message);
        }
        routed
    }

    /// From now on the channel counts as a publisher.
    #[cold]
    fn start_publishing(&mut self, link: &ConnectionState) {
        self.publishes = true;
        link.broker.metrics().publishers_started.add(1);
    }

    /// Stages a message that a queue may refuse, so that it can be told which publish it was. A
    /// transaction is not told.
    #[cold]
    fn stage_refusable(&mut self, link: &mut ConnectionState, message: &Message<'_>, block: Option<Block>) {
        let (stage, number) = match &mut self.mode {
            Mode::Plain => (&mut link.batch.publishes, 0),
            Mode::Confirm(confirms) => (&mut link.batch.publishes, confirms.newest()),
            Mode::Transaction(tx) => (&mut tx.stage, 0),
        };
        let block = block.or_else(|| (message.body.len() >= LARGE_BODY).then(|| Block::of(message)));
        let publish = Publish { channel: self.number, number };
        stage.push_refusable(link.batch.routes.current(), message, block, publish);
    }

    #[cold]
    fn drop_or_return(&mut self, link: &mut ConnectionState, mandatory: bool, message: &Message<'_>) {
        if link.batch.routes.current().traced {
            self.trace_publish(link, message);
        }
        if !mandatory {
            link.tally.dropped += 1;
            return;
        }
        link.tally.returned += 1;
        let &Message { exchange, routing_key, body, .. } = message;
        let content = Content { exchange, routing_key, properties: &shown(message, 0, 0), body };
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
    let (died, copies, arrived_at_ms) = (false, Copies::Open, now.unix_ms);
    let (expires, priority) = (properties::has_expiration(properties), properties::priority(properties));
    Message {
        persistent,
        died,
        copies,
        expires,
        priority,
        arrived_at_ms,
        exchange,
        routing_key,
        properties,
        body,
    }
}
