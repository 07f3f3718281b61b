//! What all channels of a connection share: who is at the other end, the way out, and what the
//! current read gathers.

use super::introduction::Introduction;
use crate::broker::{Broker, Unfinished};
use crate::client::identity::{Identity, Peer};
use crate::client::inbox::Inbox;
use crate::client::read_batch::{ReadBatch, ReadTally};
use crate::clock::Now;
use crate::ids::Ticket;
use crate::protocol::amqp::wire::output::Output;
use crate::queue::Queue;
use crate::queue::unread::{Share, TIGHT_BYTES};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Changes of what lies ready that are not worth telling: most connections have no more.
const UNREAD_STEP: usize = 16 * 1024;

/// What was negotiated; before that, what the broker offers.
#[derive(Debug, Clone, Copy)]
pub(super) struct NegotiatedLimits {
    pub(super) channel_max: u16,
    pub(super) frame_max: u32,
    pub(super) heartbeat_s: u16,
}

/// What the client understands beyond AMQP 0-9-1 (RabbitMQ: `client-properties.capabilities`).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Capabilities {
    pub(super) authentication_failure_close: bool,
    pub(super) connection_blocked: bool,
    pub(super) consumer_cancel_notify: bool,
}

/// A `basic.get` that waits for the disk.
#[derive(Clone)]
pub(super) struct PendingGet {
    pub(super) channel: u16,
    pub(super) queue: Arc<Queue>,
    pub(super) no_ack: bool,
}

/// What all channels of a connection share: peer, output, limits, and the current read.
pub(super) struct ConnectionState {
    pub(super) broker: Arc<Broker>,
    pub(super) client: Identity,
    /// Who the client says it is, until it is let in.
    pub(super) introduction: Option<Box<Introduction>>,
    /// Bytes taken from the client.
    pub(super) received_bytes: u64,
    pub(super) capabilities: Capabilities,
    pub(super) limits: NegotiatedLimits,
    pub(super) inbox: Inbox,
    /// When the current call was made.
    pub(super) now: Now,
    pub(super) output: Output,
    /// What of it counts among all that lies ready for clients.
    unread: Share,
    /// What its channels hold of bodies and transactions that are not finished.
    pub(super) unfinished: Unfinished,
    /// Bytes in the output, at most, that answer something the client asked, when it was counted.
    replies: usize,
    pub(super) tally: ReadTally,

    pub(super) batch: ReadBatch,
    /// Channels in confirm mode with publishes on the stage.
    pub(super) publishers: Vec<u16>,
    /// Channels whose consumers share a window, which has more room than before.
    pub(super) eased: BTreeSet<u16>,

    /// A `basic.get` that waits for the disk; until then no input is taken.
    pub(super) pending_get: Option<PendingGet>,
    /// Input was left for the next turn.
    pub(super) more_input: bool,

    /// Channels that wait for a ticket: with confirms to send or with frames held back.
    pub(super) waiting: BTreeSet<u16>,
    /// No delivery is overdue before this, in monotonic milliseconds.
    pub(super) due_ms: u64,
    /// No body that is on its way is given up before this, in monotonic milliseconds.
    pub(super) stale_ms: u64,
}

impl ConnectionState {
    pub(super) fn new(broker: Arc<Broker>, peer: Peer, now: Now) -> Self {
        let settings = &broker.settings().limits;
        let limits = NegotiatedLimits {
            channel_max: settings.channel_max,
            frame_max: settings.frame_max,
            heartbeat_s: settings.heartbeat_s,
        };
        Self {
            client: Identity::new(&broker, peer),
            introduction: None,
            received_bytes: 0,
            capabilities: Capabilities::default(),
            limits,
            inbox: Inbox::new(&broker),
            unread: Share::of(broker.unread()),
            unfinished: Unfinished::of(broker.alarms()),
            now,
            output: Output::default(),
            replies: 0,
            tally: ReadTally::default(),
            batch: ReadBatch::default(),
            publishers: Vec::new(),
            eased: BTreeSet::new(),
            pending_get: None,
            more_input: false,
            waiting: BTreeSet::new(),
            due_ms: u64::MAX,
            stale_ms: u64::MAX,
            broker,
        }
    }

    /// When what is delivered now is overdue.
    pub(super) fn due_after(&self, timeout_ms: u64) -> u64 {
        self.now.mono_ms.saturating_add(timeout_ms)
    }

    /// A content is on its way, of which not all came at once.
    pub(super) fn await_body(&mut self) {
        let timeout_s = self.broker.settings().limits.body_timeout_s;
        if timeout_s > 0 {
            self.stale_ms = self.stale_ms.min(self.due_after(u64::from(timeout_s) * 1000));
        }
    }

    /// The newest ticket that is on disk.
    pub(super) fn durable(&self) -> Ticket {
        self.broker.log().durable()
    }

    /// A channel has something to say once `ticket` is durable.
    pub(super) fn wait_for(&mut self, channel: u16, ticket: Ticket) {
        self.waiting.insert(channel);
        self.inbox.wake_at(&self.broker, ticket);
    }

    /// What input added to the output since it had `before` bytes counts as replies, for as long as
    /// it lies there.
    pub(super) fn count_replies(&mut self, before: usize) {
        let len = self.output.len();
        self.replies = (self.replies + len.saturating_sub(before)).min(len);
    }

    /// Bytes in the output, at most, that answer something the client asked.
    pub(super) fn pending_replies(&self) -> usize {
        self.replies.min(self.output.len())
    }

    /// Whether a buffer of `len` bytes may take more, `usual` in all as long as not too much lies
    /// ready for all clients.
    #[inline]
    pub(super) fn has_room(&self, len: usize, usual: usize) -> bool {
        // Most have little, and need not look at what others have.
        len < TIGHT_BYTES || len < self.broker.unread().allowed(usual)
    }

    /// Has what lies ready counted, when it is worth it.
    pub(super) fn count_unread(&mut self) {
        let (len, counted) = (self.output.len(), self.unread.bytes());
        if len.abs_diff(counted) >= UNREAD_STEP || (len == 0 && counted > 0) {
            self.unread.set(len);
        }
    }

    /// Hands what was counted to the broker.
    pub(super) fn report(&mut self) {
        std::mem::take(&mut self.tally).report(self.broker.metrics());
    }
}
