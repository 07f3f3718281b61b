//! What all channels of a connection share: who is at the other end, the way out, and what the
//! current read gathers.

use super::client_output::ClientOutput;
use super::deadline::Deadline;
use super::pending_channels::PendingChannels;
use crate::broker::{Broker, Unfinished};
use crate::client::identity::{Identity, Peer};
use crate::client::inbox::Inbox;
use crate::client::read_batch::{ReadBatch, ReadTally};
use crate::clock::Now;
use crate::ids::Ticket;
use crate::queue::Queue;
use std::sync::Arc;

/// What was negotiated; before that, what the broker offers. A plain record.
#[derive(Debug, Clone, Copy)]
pub(super) struct NegotiatedLimits {
    pub(super) channel_max: u16,
    pub(super) frame_max: u32,
    pub(super) heartbeat_s: u16,
}

/// What the client understands beyond AMQP 0-9-1 (RabbitMQ: `client-properties.capabilities`). A
/// plain record.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Capabilities {
    pub(super) authentication_failure_close: bool,
    pub(super) connection_blocked: bool,
    pub(super) consumer_cancel_notify: bool,
}

/// A `basic.get` that waits for the disk: a plain record of what was asked.
#[derive(Clone)]
pub(super) struct PendingGet {
    pub(super) channel: u16,
    pub(super) queue: Arc<Queue>,
    pub(super) no_ack: bool,
}

/// What all channels of a connection share: peer, output, limits, and the current read.
///
/// It is the parts that any channel may need, several at a time and some of them to change; what
/// belongs to one of them alone is private to its type.
pub(super) struct ConnectionState {
    pub(super) broker: Arc<Broker>,
    pub(super) client: Identity,
    /// Bytes taken from the client.
    pub(super) received_bytes: u64,
    pub(super) capabilities: Capabilities,
    pub(super) limits: NegotiatedLimits,
    pub(super) inbox: Inbox,
    /// When the current call was made.
    pub(super) now: Now,
    pub(super) output: ClientOutput,
    /// What its channels hold of bodies and transactions that are not finished.
    pub(super) unfinished: Unfinished,
    pub(super) tally: ReadTally,
    pub(super) batch: ReadBatch,
    pub(super) pending: PendingChannels,
    /// A `basic.get` that waits for the disk; until then no input is taken.
    pub(super) pending_get: Option<PendingGet>,
    /// Input was left for the next turn.
    pub(super) more_input: bool,
    /// No delivery is overdue before this.
    pub(super) overdue: Deadline,
    /// No body that is on its way is given up before this.
    pub(super) stale: Deadline,
}

impl ConnectionState {
    pub(super) fn new(broker: Arc<Broker>, peer: Peer, now: Now) -> Self {
        let settings = broker.limits().get();
        let limits = NegotiatedLimits {
            channel_max: settings.channel_max,
            frame_max: settings.frame_max,
            heartbeat_s: settings.heartbeat_s,
        };
        Self {
            client: Identity::new(&broker, peer),
            received_bytes: 0,
            capabilities: Capabilities::default(),
            limits,
            inbox: Inbox::new(&broker),
            unfinished: Unfinished::of(broker.alarms()),
            now,
            output: ClientOutput::new(broker.unread()),
            tally: ReadTally::default(),
            batch: ReadBatch::default(),
            pending: PendingChannels::default(),
            pending_get: None,
            more_input: false,
            overdue: Deadline::NEVER,
            stale: Deadline::NEVER,
            broker,
        }
    }

    /// When what is delivered now is overdue.
    pub(super) fn due_after(&self, timeout_ms: u64) -> u64 {
        self.now.mono_ms.saturating_add(timeout_ms)
    }

    /// A content is on its way, of which not all came at once.
    pub(super) fn await_body(&mut self) {
        let timeout_s = self.broker.limits().get().body_timeout_s;
        if timeout_s > 0 {
            self.stale.bring_forward(self.due_after(u64::from(timeout_s) * 1000));
        }
    }

    /// The newest ticket that is on disk.
    pub(super) fn durable(&self) -> Ticket {
        self.broker.log().durable()
    }

    /// A channel has something to say once `ticket` is durable.
    pub(super) fn wait_for(&mut self, channel: u16, ticket: Ticket) {
        self.pending.note_waiting(channel);
        self.inbox.wake_at(&self.broker, ticket);
    }

    /// Shows operators how many bytes came and went.
    pub(super) fn note_traffic(&self) {
        if let Some(handle) = &self.client.handle {
            let sent = self.output.progress() + self.output.len() as u64;
            handle.client().note_traffic([self.received_bytes, sent]);
        }
    }

    /// Hands what was counted to the broker.
    pub(super) fn report(&mut self) {
        self.tally.report(self.broker.metrics());
    }
}
