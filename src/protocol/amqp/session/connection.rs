//! An open connection: cuts the input into frames, finds their channels, and ends the turn.
//!
//! A turn is one call of `handle_input`. What it gathered is handed over by [`Channels::flush`],
//! which also runs before every method that could tell the difference.

use super::channels::{Channels, Closer};
use super::connection_state::ConnectionState;
use super::consume::check_qos;
use super::content;
use super::flow::Flow;
use super::{Fault, Next, dispatch, mail, overdue, renewed, report, unfinished};
use crate::arguments::Requeue;
use crate::blocking;
use crate::broker::Settlement;
use crate::client::budget::METHOD;
use crate::message::{LARGE_BODY, Message};
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::reply::{NOT_ALLOWED, UNEXPECTED_FRAME};
use crate::protocol::amqp::wire::encode;
use crate::protocol::amqp::wire::frame::{self, Frame, Kind};
use crate::protocol::amqp::wire::header::HEADER_MIN;
use crate::protocol::amqp::wire::method::{self, Method};
use amq_protocol::protocol::{AMQPClass, channel as amqp, connection};
use tracing::info;

/// Replies that may lie in the output before the client's next request is read. Beside these the
/// kernel holds some megabytes for a client that asks much before it reads.
const REPLIES_MAX: usize = 1024 * 1024;

/// Class and method of basic.publish, at fault for its content.
const PUBLISH: (u16, u16) = (60, 40);

/// Class and method of channel.open, which RabbitMQ does not blame when there are too many
/// channels.
const OPEN: (u16, u16) = (20, 10);

/// An open connection: dispatches frames to its channels.
pub(super) struct Connection {
    channels: Channels,
    flow: Flow,
}

impl Connection {
    /// A connection whose handshake is done.
    pub(super) fn open(link: &ConnectionState) -> Self {
        info!(peer = %link.client.peer.address, user = link.client.user, connection = link.client.id.0, "connected");
        Self { channels: Channels::default(), flow: Flow::default() }
    }

    /// Takes all whole frames; `used` grows by their bytes.
    pub(super) fn handle_input(
        &mut self,
        link: &mut ConnectionState,
        input: &[u8],
        used: &mut usize,
    ) -> Result<Next, Fault> {
        check_presence(link).map_err(|gone| Fault::of(gone, (0, 0)))?;
        let frame_max = link.limits.frame_max;
        while link.pending_get.is_none() {
            if link.batch.is_spent() {
                link.more_input = *used < input.len();
                break;
            }
            let decoded = frame::decode(&input[*used..], frame_max);
            let decoded = decoded.map_err(|error| Fault::unreadable(error.into(), input, used))?;
            let Some((frame, len)) = decoded else { break };
            *used += len;
            match frame {
                Frame { kind: Kind::Method, channel: 0, payload } => match self.handle_own(link, payload)? {
                    Next::Stay => {}
                    next => return Ok(next),
                },
                Frame { kind: Kind::Method, channel, payload } => {
                    let (content, outcome) = self.handle_method(link, channel, payload, &input[*used..]);
                    *used += content;
                    if let Err(error) = outcome {
                        // A method where a content should be is the fault of that content's
                        // publish.
                        let ids = match error.code() {
                            NOT_ALLOWED if method::ids(payload) == OPEN => (0, 0),
                            UNEXPECTED_FRAME => PUBLISH,
                            _ => method::ids(payload),
                        };
                        self.channels.fail(link, channel, error, ids)?;
                    }
                }
                Frame { kind: Kind::Heartbeat, channel: 0, .. } => {}
                Frame { kind: Kind::Header | Kind::Body, channel, .. } if channel != 0 => {
                    let ids = self.content_of(frame);
                    if let Err(error) = self.handle_content(link, frame) {
                        self.channels.fail(link, channel, error, ids)?;
                    }
                }
                Frame { kind, channel, .. } => {
                    let octet = kind.octet();
                    return Err(Fault::of(AmqpError::UnexpectedFrame { octet, channel }, (0, 0)));
                }
            }
        }
        Ok(Next::Stay)
    }

    /// Hands everything over and says what can be said.
    pub(super) fn end_turn(&mut self, link: &mut ConnectionState) -> Result<(), Fault> {
        self.channels.flush(link);
        // Before anything is announced: what a failed store has kept is not known.
        unfinished::check_kept(&self.channels, link)?;
        // Contents that are small may come to their end; many of them together are not small.
        let is_much = link.tally.partial && link.unfinished.bytes() >= LARGE_BODY as u64;
        let published = link.tally.received > 0 || link.tally.large || is_much;
        self.flow.watch(link, published, &self.channels)?;
        self.channels.announce(link);
        link.report();
        Ok(())
    }

    pub(super) fn handle_mail(&mut self, link: &mut ConnectionState) -> Result<(), Fault> {
        // What comes from here on wakes the session again: the store is looked at after that, not
        // before.
        link.inbox.take();
        check_presence(link).map_err(|gone| Fault::of(gone, (0, 0)))?;
        report::answer_calls(&self.channels, link, self.flow.status())?;
        self.flow.watch(link, false, &self.channels)?;
        mail::deliver(&mut self.channels, link);
        self.channels.announce(link);
        link.report();
        Ok(())
    }

    /// Does what is due.
    ///
    /// # Errors
    /// 406 or 530: the client left something for too long.
    pub(super) fn handle_timeout(&mut self, link: &mut ConnectionState) -> Result<(), Fault> {
        let reads = self.wants_input(link);
        overdue::take_back(&mut self.channels, link, reads)?;
        let reads = self.wants_input(link);
        unfinished::check_stale(&self.channels, link, reads)
    }

    /// Acts upon mail that a method had to take before its time: nobody is woken for it again.
    pub(super) fn deliver_taken(&mut self, link: &mut ConnectionState) {
        if !link.inbox.backlog.is_empty() {
            mail::deliver(&mut self.channels, link);
            link.report();
        }
    }

    pub(super) fn wants_input(&self, link: &ConnectionState) -> bool {
        link.pending_get.is_none()
            && self.flow.is_free()
            && link.output.has_room(link.output.pending_replies(), REPLIES_MAX)
            && link.output.has_room(self.channels.held_bytes(link), REPLIES_MAX)
    }

    /// Undoes everything: what is outstanding goes back, exclusive queues go.
    pub(super) fn shut(&mut self, link: &mut ConnectionState) {
        if let Some(handle) = link.client.handle.take() {
            link.client.vhost.counted.end_connection(handle.client().traffic());
        }
        self.channels.flush(link);
        self.channels.release_all(link);
        let exclusive = link.client.vhost.queues_of(link.client.id);
        blocking::run_many(METHOD * exclusive.len(), || {
            exclusive.iter().for_each(|queue| {
                link.broker.send_letters(queue, link.now);
                link.client.vhost.remove_queue(queue);
            });
        });
        link.pending_get = None;
        link.pending.take_waiting();
        link.inbox.backlog.clear();
        link.report();
    }

    /// A method on a channel, and the content behind it when that is all there: how many bytes that
    /// takes.
    #[inline]
    fn handle_method(
        &mut self,
        link: &mut ConnectionState,
        number: u16,
        payload: &[u8],
        rest: &[u8],
    ) -> (usize, Result<(), AmqpError>) {
        let Some(channel) = self.channels.get(number) else {
            return (0, self.channels.handle_outside(link, number, payload));
        };
        if let Some(incoming) = channel.incoming() {
            return (0, Err(incoming.expects()));
        }
        let outcome = match method::decode(payload) {
            Ok(Method::Publish { immediate: true, .. }) => Err(AmqpError::Immediate),
            Ok(Method::Publish { exchange, routing_key, mandatory, .. }) => {
                let Some((header, body, used)) = content::whole_content(rest, number, link.limits.frame_max)
                else {
                    channel.await_content(link, (exchange, routing_key), mandatory);
                    return (0, Ok(()));
                };
                let message = Message::published(link.now.unix_ms, (exchange, routing_key), header.raw, body);
                let checked = content::check_header(link, &header);
                return (used, checked.and_then(|()| channel.publish(link, mandatory, &message)));
            }
            Ok(Method::Ack { tag, multiple }) => channel.settle(link, tag, multiple, Settlement::Ack),
            Ok(Method::Nack { tag, multiple, requeue }) => {
                channel.settle(link, tag, multiple, fate(requeue, Requeue::Declined))
            }
            Ok(Method::Reject { tag, requeue }) => {
                channel.settle(link, tag, false, fate(requeue, Requeue::Failed))
            }
            Ok(Method::Deliver { .. }) => Err(AmqpError::UnknownMethod),
            Ok(Method::Other(method)) => self.handle_cold(link, number, *method, payload),
            Err(error) => Err(error.into()),
        };
        (0, outcome)
    }

    /// Any method but publishes and acknowledgements, on an open channel.
    fn handle_cold(
        &mut self,
        link: &mut ConnectionState,
        number: u16,
        method: AMQPClass,
        payload: &[u8],
    ) -> Result<(), AmqpError> {
        self.channels.flush(link);
        link.batch.budget.take(METHOD);
        check_qos(payload)?;
        if let AMQPClass::Channel(amqp::AMQPMethod::Close(_)) = method {
            let ok = AMQPClass::Channel(amqp::AMQPMethod::CloseOk(amqp::CloseOk {}));
            self.channels.close(link, number, &ok, Closer::Client);
            return Ok(());
        }
        match self.channels.get(number) {
            Some(channel) => dispatch::handle_method(channel, link, method),
            None => Ok(()),
        }
    }

    /// A part of a content. Which method is at fault for a content frame that cannot be taken: the
    /// publish that waits for it, if it is a frame that any publish could wait for.
    fn content_of(&self, frame: Frame<'_>) -> (u16, u16) {
        let waits = self.channels.at(frame.channel).is_some_and(|channel| channel.incoming().is_some());
        let is_cut = frame.kind == Kind::Header && frame.payload.len() < HEADER_MIN;
        if waits && !is_cut { PUBLISH } else { (0, 0) }
    }

    fn handle_content(&mut self, link: &mut ConnectionState, frame: Frame<'_>) -> Result<(), AmqpError> {
        let Some(channel) = self.channels.get(frame.channel) else {
            let is_ignored = self.channels.is_closing(frame.channel);
            return if is_ignored { Ok(()) } else { Err(AmqpError::ExpectedMethod) };
        };
        match frame.kind {
            Kind::Header => channel.take_header(link, frame.payload),
            _ => channel.take_body(link, frame.payload),
        }
    }

    /// A method of the connection itself.
    fn handle_own(&mut self, link: &mut ConnectionState, payload: &[u8]) -> Result<Next, Fault> {
        use connection::AMQPMethod as M;
        let fault = |error| Fault::of(error, method::ids(payload));
        let reply = match method::decode(payload).map_err(|error| fault(error.into()))? {
            Method::Other(class) => match *class {
                AMQPClass::Connection(M::Close(close)) => {
                    info!(
                        peer = %link.client.peer.address, user = link.client.user, code = close.reply_code,
                        reason = close.reply_text.as_str(), "closed by the client"
                    );
                    self.shut(link);
                    let ok = AMQPClass::Connection(M::CloseOk(connection::CloseOk {}));
                    encode::method(link.output.own(), 0, &ok);
                    return Ok(Next::ClosedByClient);
                }
                AMQPClass::Connection(M::UpdateSecret(update)) => {
                    // The users are the broker's own, so that the new secret is not looked at, as
                    // in RabbitMQ: it matters where secrets are tokens. What the user may do is.
                    let reason = update.reason.as_str();
                    info!(peer = %link.client.peer.address, user = link.client.user, reason, "secret renewed by the client");
                    renewed::cancel_unpermitted(&mut self.channels, link);
                    M::UpdateSecretOk(connection::UpdateSecretOk {})
                }
                _ => return Err(fault(AmqpError::UnexpectedMethod { state: "running" })),
            },
            _ => return Err(fault(AmqpError::UnexpectedMethod { state: "running" })),
        };
        encode::method(link.output.own(), 0, &AMQPClass::Connection(reply));
        Ok(Next::Stay)
    }
}

/// Whether the user and the vhost are still there.
///
/// # Errors
/// 320 if not.
#[inline]
fn check_presence(link: &mut ConnectionState) -> Result<(), AmqpError> {
    if !link.client.is_gone() {
        return Ok(());
    }
    link.client.vhost.check()?;
    Err(AmqpError::UserDeleted(link.client.user.clone()))
}

fn fate(requeue: bool, how: Requeue) -> Settlement {
    if requeue { Settlement::Requeue(how) } else { Settlement::Reject }
}
