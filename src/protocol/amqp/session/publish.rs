//! From `basic.publish` and its content to the stage.
//!
//! A content that lies in the input in one piece is copied once, from there into a block. One that
//! comes in parts is gathered as a record first; a large body keeps that record as its block. What
//! has properties that matter here goes through [`super::inspect`].
//!
//! What every message passes is always inlined: calls cost a 16-byte message a quarter of its time
//! here.

use super::channel::Channel;
use super::connection_state::ConnectionState;
use super::inspect;
use super::mode::Mode;
use super::shown::shown;
use super::trace;
use crate::client::publish_batch::Publish;
use crate::message::{Block, LARGE_BODY, Message};
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::encode::{self, Content};
use crate::statistics::Event;

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

    /// A message that nothing is wrong with goes to the route found last; `block` is of this
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
                    trace::published(link, self.out.number, message);
                }
                if link.batch.routes.current().may_refuse {
                    self.stage_refusable(link, message, block);
                    return self.mode.check_transaction(link);
                }
            }
            let stage = self.mode.transaction().map_or(&mut link.batch.publishes, |tx| &mut tx.stage);
            match block {
                Some(block) => stage.push_block(link.batch.routes.current(), block),
                None if message.body.len() < LARGE_BODY => stage.push(link.batch.routes.current(), message),
                None => stage.push_block(link.batch.routes.current(), Block::of(message)),
            }
        }
        self.mode.check_transaction(link)
    }

    /// A message that came in parts, gathered as a block.
    pub(super) fn publish_gathered(
        &mut self,
        link: &mut ConnectionState,
        mandatory: bool,
        block: &Block,
    ) -> Result<(), AmqpError> {
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
        link.tally.flow.add(&route.flow, route.queues.len());
        self.out.events.counters.add_alone(Event::Publish, 1);
        link.tally.sizes.add(message.body.len());
        self.count_publisher(link);
        if let Mode::Confirm(confirms) = &mut self.mode {
            link.tally.received_confirm += 1;
            if confirms.publish() {
                link.pending.note_publisher(self.out.number);
            }
        }
        if !routed {
            self.drop_or_return(link, mandatory, message);
        }
        routed
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
        let publish = Publish { channel: self.out.number, number };
        stage.push_refusable(link.batch.routes.current(), message, block, publish);
    }

    #[cold]
    fn drop_or_return(&mut self, link: &mut ConnectionState, mandatory: bool, message: &Message<'_>) {
        if link.batch.routes.current().traced {
            trace::published(link, self.out.number, message);
        }
        if !mandatory {
            link.tally.dropped += 1;
            self.out.events.counters.add_alone(Event::DropUnroutable, 1);
            return;
        }
        link.tally.returned += 1;
        self.out.events.counters.add_alone(Event::ReturnUnroutable, 1);
        let &Message { exchange, routing_key, body, .. } = message;
        let content = Content { exchange, routing_key, properties: &shown(message, 0, 0), body };
        let number = self.out.number;
        let frames = match &mut self.mode {
            // What a transaction returns, it returns when it commits.
            Mode::Transaction(tx) => &mut tx.returns,
            Mode::Plain | Mode::Confirm(_) => self.out.frames(&mut link.output).own(),
        };
        encode::basic_return(frames, number, link.limits.frame_max, 312, "NO_ROUTE", &content);
    }
}
