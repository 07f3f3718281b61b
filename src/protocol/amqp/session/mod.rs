//! One client's protocol state: bytes in, bytes out, time as an argument; no socket, no runtime, no
//! lock of its own.
//!
//! The owner of a [`Session`] calls `handle_*` with what happened (input, mail, time, the end) and
//! then looks at [`Session::output`], [`Session::poll_deadline`],
//! [`Session::wants_input`] and [`Session::is_closed`].
//!
//! A session is in one of five states: it shakes hands, its login is refused and it waits to say
//! so, it is open, it has said `connection.close` and waits for the answer, or it is closed. What a
//! read brought is gathered (publishes by route, acknowledgements by queue) and handed to the
//! broker once, at the end of the read or before a method that could tell the difference.
//!
//! Invariants: nothing that a peer sends makes it panic; what it keeps for a peer is limited; a
//! reply that promises durability is in the output only after the log said so.

mod channel;
mod channel_output;
mod channels;
mod client_output;
mod connection;
mod connection_state;
mod consume;
mod consumers;
mod content;
mod copies;
mod deadline;
mod declare;
mod deferred_replies;
mod deliver;
mod dispatch;
mod flow;
mod handshake;
mod heartbeat;
mod inspect;
mod introduction;
mod mail;
mod mode;
mod overdue;
mod pending_channels;
mod publish;
mod renewed;
mod replies;
mod report;
mod shown;
mod stream;
mod trace;
mod tx;
mod unfinished;

use self::connection::Connection;
use self::connection_state::ConnectionState;
use self::handshake::Handshake;
use self::heartbeat::{Beat, Pulse};
use crate::broker::Broker;
use crate::client::budget::LONG;
use crate::client::identity::Peer;
use crate::client::write_timeout::WriteTimeout;
use crate::clock::Now;
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::reply::Reply;
use crate::protocol::amqp::wire::encode;
use crate::protocol::amqp::wire::frame::{self, Frame};
use crate::protocol::amqp::wire::method;
use crate::protocol::amqp::wire::output::Output;
use crate::queue::mailbox::Mailbox;
use amq_protocol::protocol::{AMQPClass, connection as amqp};
use std::mem;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// How long a peer may take to answer `connection.close` (RabbitMQ: `CLOSING_TIMEOUT`).
const CLOSING_MS: u64 = 30_000;

/// As [`CLOSING_MS`], for a client that was refused before it had entered, so that guessing
/// passwords is slow and leaves no sockets behind (RabbitMQ: `SILENT_CLOSE_DELAY`), and for one
/// whose answer could not be told from garbage (RabbitMQ takes as long).
const SILENCE_MS: u64 = 3_000;

/// One client's protocol state machine: bytes in, bytes out.
pub struct Session {
    link: ConnectionState,
    state: State,
    pulse: Pulse,
    patience: WriteTimeout,
    is_closed_by_client: bool,
}

enum State {
    Handshake {
        handshake: Handshake,
        until_ms: u64,
    },
    /// The login is refused, of which the client hears then: who guesses passwords has to wait.
    Refused {
        fault: Fault,
        until_ms: u64,
    },
    Open(Connection),
    /// Waits for `connection.close-ok`.
    Closing {
        until_ms: u64,
        /// What comes is not looked at: the stream of frames is lost, or the client was refused.
        deaf: bool,
    },
    Closed,
}

/// What a state wants after it took its input.
enum Next {
    Stay,
    Opened,
    /// The login was refused, which the client is told after so long.
    Refused(Fault, Duration),
    /// The login was refused and the client does not understand a refusal: say nothing for a while.
    Silence,
    Closed,
    ClosedByClient,
}

/// A fault that ends the connection.
struct Fault {
    error: AmqpError,
    /// Class and method at fault; zeros for none.
    ids: (u16, u16),
    /// The input cannot be cut into frames any more.
    deaf: bool,
}

impl Fault {
    fn of(error: AmqpError, ids: (u16, u16)) -> Self {
        Self { error, ids, deaf: false }
    }

    /// A frame that cannot be read, at `*used` in `input`: past it, if it can be told where that
    /// is, and then `used` grows.
    fn unreadable(error: AmqpError, input: &[u8], used: &mut usize) -> Self {
        let len = frame::whole(&input[*used..]);
        *used += len.unwrap_or_default();
        Self { error, ids: (0, 0), deaf: len.is_none() }
    }
}

impl Session {
    /// A session for a client that connected at the time `now`, or a little before.
    #[must_use]
    pub fn new(broker: Arc<Broker>, peer: Peer, now: Now) -> Self {
        let limits = broker.limits().get();
        let patience = WriteTimeout::of(limits.write_timeout_s);
        let until_ms = now.mono_ms + 1000 * u64::from(limits.handshake_timeout_s);
        Self {
            link: ConnectionState::new(broker, peer, now),
            state: State::Handshake { handshake: Handshake::Header, until_ms },
            pulse: Pulse::off(now),
            patience,
            is_closed_by_client: false,
        }
    }

    /// Lets the session do as much again as it may before others have their turn. Call it when they
    /// have had it.
    pub fn renew_budget(&mut self) {
        self.link.batch.budget.renew();
        self.link.inbox.budget.renew();
        self.link.broker.begin_turn();
    }

    /// Whether it has stopped because its budget is spent, with input left that it wants. Call
    /// [`Session::renew_budget`] and then [`Session::handle_input`] with the rest, even if nothing
    /// more came.
    #[must_use]
    pub fn has_more_input(&self) -> bool {
        self.link.more_input && self.wants_input()
    }

    /// As [`Session::has_more_input`], with [`Session::handle_mail`] to be called.
    #[must_use]
    pub fn has_more_mail(&self) -> bool {
        self.link.inbox.more
    }

    /// Steps taken since the budget was renewed; a step takes about a microsecond.
    #[must_use]
    pub fn steps_taken(&self) -> usize {
        self.link.batch.budget.taken() + self.link.inbox.budget.taken()
    }

    /// Whether it did something since then that takes long and cannot be cut, as it may do again.
    #[must_use]
    pub fn took_long(&self) -> bool {
        self.steps_taken() >= LONG
    }

    /// Takes what it can use of `input` and returns how many bytes that was. Call it again with the
    /// rest and more; after [`Session::wants_input`] has become true again, with the rest even if
    /// nothing more came.
    pub fn handle_input(&mut self, input: &[u8], now: Now) -> usize {
        self.link.now = now;
        self.pulse.heard(now);
        self.link.more_input = false;
        let before = self.link.output.len();
        let mut used = 0;
        loop {
            let step = self.take(&input[used..]);
            used += step;
            if step == 0 {
                break;
            }
        }
        if let State::Open(connection) = &mut self.state
            && let Err(fault) = connection.end_turn(&mut self.link)
        {
            self.close(&fault);
        }
        self.link.output.count_replies(before);
        self.link.received_bytes += used as u64;
        self.link.note_traffic();
        if let State::Open(connection) = &mut self.state {
            connection.deliver_taken(&mut self.link);
        }
        self.note_output();
        used
    }

    /// Takes what the mailbox has. Call it when the mailbox woke, and when output was written.
    pub fn handle_mail(&mut self, now: Now) {
        self.link.now = now;
        self.link.inbox.more = false;
        match &mut self.state {
            State::Open(connection) => {
                if let Err(fault) = connection.handle_mail(&mut self.link) {
                    self.close(&fault);
                }
            }
            State::Handshake { .. } | State::Refused { .. } | State::Closing { .. } | State::Closed => {
                self.link.inbox.discard();
            }
        }
        self.note_output();
    }

    /// Does what is due. Call it at [`Session::poll_deadline`].
    pub fn handle_timeout(&mut self, now: Now) {
        self.link.now = now;
        match self.state {
            State::Handshake { until_ms, .. } if now.mono_ms >= until_ms => {
                warn!(peer = %self.link.client.peer.address, "closed: the handshake took too long");
                self.state = State::Closed;
            }
            State::Refused { until_ms, .. } if now.mono_ms >= until_ms => self.tell_refusal(),
            State::Closing { until_ms, .. } if now.mono_ms >= until_ms => self.state = State::Closed,
            State::Open(_) => {
                self.check_pulse();
                self.check_patience();
                self.check_deadlines();
            }
            State::Handshake { .. } | State::Refused { .. } | State::Closing { .. } | State::Closed => {}
        }
        self.note_output();
    }

    /// Says goodbye because the broker stops.
    pub fn handle_shutdown(&mut self, now: Now) {
        self.end(AmqpError::Shutdown, now);
    }

    /// Says goodbye because the store failed: nothing is confirmed any more.
    pub fn handle_store_failure(&mut self, now: Now) {
        if let State::Open(_) = self.state {
            flow::tell_blocked(&mut self.link, "the store has failed");
        }
        self.end(AmqpError::StoreFailed, now);
    }

    /// The socket is gone: what was not acknowledged goes back, exclusive queues go.
    pub fn handle_disconnect(&mut self, now: Now) {
        self.link.now = now;
        if let State::Open(connection) = &mut self.state {
            connection.shut(&mut self.link);
        }
        self.link.client.places = None;
        self.state = State::Closed;
    }

    /// What is to be written to the socket.
    pub fn output(&mut self) -> &mut Output {
        &mut self.link.output
    }

    /// When [`Session::handle_timeout`] is due, in [`Now::mono_ms`]; `u64::MAX` for never.
    #[must_use]
    pub fn poll_deadline(&self) -> u64 {
        match self.state {
            State::Handshake { until_ms, .. }
            | State::Refused { until_ms, .. }
            | State::Closing { until_ms, .. } => until_ms,
            State::Open(_) => {
                let of_link = self.link.overdue.at_ms().min(self.link.stale.at_ms());
                self.pulse.poll_deadline().min(self.patience.poll_deadline()).min(of_link)
            }
            State::Closed => u64::MAX,
        }
    }

    /// Whether the socket is to be read. When not: the log is behind or the disk full, the client
    /// does not take the replies to what it asked, or a `basic.get` waits for the disk. The mailbox
    /// wakes when that may have changed.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match &self.state {
            State::Handshake { .. } | State::Refused { .. } | State::Closing { .. } => true,
            State::Open(connection) => connection.wants_input(&self.link),
            State::Closed => false,
        }
    }

    /// Whether the client has shaken hands and was let in.
    #[must_use]
    pub fn has_entered(&self) -> bool {
        self.link.client.places.is_some()
    }

    /// The user that logged in; empty before.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.link.client.user
    }

    /// Whether either side has closed the connection, or is about to: it is then no news that the
    /// client leaves.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.state, State::Refused { .. } | State::Closing { .. } | State::Closed)
    }

    /// Whether nothing more will be said once the output is written.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether it is closed because the client asked for it: then the stream is the client's to
    /// end, once it has read the answer.
    #[must_use]
    pub fn is_closed_by_client(&self) -> bool {
        self.is_closed_by_client
    }

    /// Where queues and the log reach this session.
    #[must_use]
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.link.inbox.mailbox
    }

    /// Lets the state take what it can; how many bytes that was.
    fn take(&mut self, input: &[u8]) -> usize {
        let mut used = 0;
        let taken = match &mut self.state {
            State::Handshake { handshake, .. } => handshake.handle_input(&mut self.link, input, &mut used),
            State::Open(connection) => connection.handle_input(&mut self.link, input, &mut used),
            State::Closing { deaf: false, .. } => Ok(await_close_ok(&mut self.link, input, &mut used)),
            State::Refused { .. } | State::Closing { deaf: true, .. } | State::Closed => {
                used = input.len();
                Ok(Next::Stay)
            }
        };
        match taken {
            Ok(Next::Stay) => {}
            Ok(Next::Opened) => {
                self.pulse = Pulse::every(self.link.limits.heartbeat_s, self.link.now);
                self.state = State::Open(Connection::open(&self.link));
            }
            Ok(Next::Refused(fault, wait)) if wait.is_zero() => self.close(&fault),
            Ok(Next::Refused(fault, wait)) => {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(SILENCE_MS);
                self.state = State::Refused { fault, until_ms: self.link.now.mono_ms + wait_ms };
            }
            Ok(Next::Silence) => {
                self.state = State::Closing { until_ms: self.link.now.mono_ms + SILENCE_MS, deaf: true };
            }
            Ok(Next::Closed) => self.state = State::Closed,
            Ok(Next::ClosedByClient) => {
                self.state = State::Closed;
                self.is_closed_by_client = true;
            }
            Err(fault) => self.close(&fault),
        }
        used
    }

    /// Ends the connection for a reason that is not the client's.
    fn end(&mut self, why: AmqpError, now: Now) {
        self.link.now = now;
        match self.state {
            State::Open(_) => self.close(&Fault::of(why, (0, 0))),
            State::Handshake { .. } | State::Refused { .. } => self.state = State::Closed,
            State::Closing { .. } | State::Closed => {}
        }
        self.note_output();
    }

    /// The client has waited long enough to hear that its login is refused.
    fn tell_refusal(&mut self) {
        if let State::Refused { fault, .. } = mem::replace(&mut self.state, State::Closed) {
            self.close(&fault);
        }
    }

    /// Ends the connection for a fault: everything of it is undone, then the client is told.
    fn close(&mut self, fault: &Fault) {
        warn!(peer = %self.link.client.peer.address, user = self.link.client.user, "closing the connection: {}", fault.error);
        let is_stranger = !matches!(self.state, State::Open(_));
        if let State::Open(connection) = &mut self.state {
            connection.shut(&mut self.link);
        }
        let Reply { code, text } = fault.error.reply();
        let close = amqp::AMQPMethod::Close(amqp::Close {
            reply_code: code.number,
            reply_text: text.into(),
            class_id: fault.ids.0,
            method_id: fault.ids.1,
        });
        encode::method(self.link.output.own(), 0, &AMQPClass::Connection(close));
        let patience_ms = if fault.deaf || is_stranger { SILENCE_MS } else { CLOSING_MS };
        self.state = State::Closing { until_ms: self.link.now.mono_ms + patience_ms, deaf: fault.deaf };
    }

    fn check_pulse(&mut self) {
        let now = self.link.now;
        if !self.wants_input() {
            // The socket is not read, so the client's silence says nothing.
            self.pulse.heard(now);
        }
        match self.pulse.check(now) {
            Beat::Quiet => {}
            Beat::Send if self.link.output.is_empty() => encode::heartbeat(self.link.output.own()),
            Beat::Send => {}
            Beat::Dead => {
                let (peer, timeout_s) = (self.link.client.peer.address, self.link.limits.heartbeat_s);
                warn!(%peer, user = self.link.client.user, timeout_s, "closed: the client missed two heartbeats");
                self.cut();
            }
        }
    }

    fn check_patience(&mut self) {
        let (output, now) = (&self.link.output, self.link.now);
        if self.patience.ends(output.progress(), output.is_empty(), now) {
            let (peer, unread) = (self.link.client.peer.address, self.link.output.len());
            warn!(%peer, user = self.link.client.user, unread, "closed: the client does not read (limits.write_timeout_s)");
            self.cut();
        }
    }

    /// Ends the connection of a client that would not hear why.
    fn cut(&mut self) {
        if let State::Open(connection) = &mut self.state {
            connection.shut(&mut self.link);
        }
        self.link.output.discard();
        self.state = State::Closed;
    }

    fn check_deadlines(&mut self) {
        if let State::Open(connection) = &mut self.state
            && let Err(fault) = connection.handle_timeout(&mut self.link)
        {
            self.close(&fault);
        }
    }

    /// What is being written counts as a sign of life, and is to be read.
    fn note_output(&mut self) {
        if !self.link.output.is_empty() {
            self.pulse.spoke(self.link.now);
            let progress = self.link.output.progress();
            self.patience.watch(progress, self.link.now);
            if self.link.broker.alarms().memory_is_short() {
                self.patience.hurry(progress, self.link.now);
            }
        }
        self.link.output.count_unread();
    }
}

/// After `connection.close` everything is discarded but its answer and the client's own close.
fn await_close_ok(link: &mut ConnectionState, input: &[u8], used: &mut usize) -> Next {
    loop {
        match frame::decode(&input[*used..], link.limits.frame_max) {
            Ok(Some((Frame { payload, channel, .. }, len))) => {
                *used += len;
                match (channel, method::ids(payload)) {
                    (0, (10, 51)) => return Next::Closed,
                    (0, (10, 50)) => {
                        let close_ok = amqp::AMQPMethod::CloseOk(amqp::CloseOk {});
                        encode::method(link.output.own(), 0, &AMQPClass::Connection(close_ok));
                        return Next::ClosedByClient;
                    }
                    _ => {}
                }
            }
            Ok(None) => return Next::Stay,
            Err(_garbage) => return Next::Closed,
        }
    }
}
