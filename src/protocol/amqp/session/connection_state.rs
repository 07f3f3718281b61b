//! What all channels of a connection share: who is at the other end, the way out, and what the
//! current read gathers.

use super::Peer;
use super::consume::PendingGet;
use super::deliver::Subscription;
use super::report::Introduction;
use crate::auth::permission::{Grants, Right};
use crate::broker::clients::ClientHandle;
use crate::broker::entry::{VHostEntry, no_vhost};
use crate::broker::vhost::VHost;
use crate::broker::{Broker, Permit, Unfinished};
use crate::client::access::Access;
use crate::client::ack_batch::AckBatch;
use crate::client::budget::{STEPS, StepBudget};
use crate::client::publish_batch::PublishBatch;
use crate::client::route_cache::RouteCache;
use crate::clock::Now;
use crate::error::{BrokerError, Resource};
use crate::ids::{ConnectionId, ConsumerId, Ticket};
use crate::metrics::SizeTally;
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::output::Output;
use crate::queue::mailbox::{Mail, Mailbox};
use crate::queue::unread::{Share, TIGHT_BYTES};
use crate::store::change::Waiter;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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

/// What is counted during one turn, so that the shared counters are touched once.
#[derive(Debug, Default)]
pub(super) struct ReadTally {
    pub(super) received: u64,
    pub(super) received_confirm: u64,
    pub(super) sizes: SizeTally,
    pub(super) dropped: u64,
    pub(super) returned: u64,
    pub(super) confirmed: u64,
    pub(super) delivered_auto_ack: u64,
    pub(super) delivered_manual_ack: u64,
    pub(super) redelivered: u64,
    /// A part of a content came: a client that never sends the last one has published nothing, and
    /// takes memory.
    pub(super) partial: bool,
    /// That content is large.
    pub(super) large: bool,
    /// A transaction grew.
    pub(super) transacted: bool,
}

/// What all channels of a connection share: peer, output, limits, and the current read.
pub(super) struct ConnectionState {
    pub(super) broker: Arc<Broker>,
    pub(super) id: ConnectionId,
    pub(super) peer: Peer,
    /// Its places among the connections, once it was let in: of all, and of its vhost and user.
    pub(super) places: Option<(Permit, VHostEntry)>,
    /// The vhost it is in; nowhere to begin with.
    pub(super) vhost: Arc<VHost>,
    /// Its place among the clients that an operator sees, while it is open.
    pub(super) appearance: Option<ClientHandle>,
    /// Who the client says it is, until it is let in.
    pub(super) introduction: Option<Box<Introduction>>,
    /// Bytes taken from the client.
    pub(super) received_bytes: u64,
    /// Empty until the login succeeded.
    pub(super) user: String,
    pub(super) access: Access,
    pub(super) capabilities: Capabilities,
    pub(super) limits: NegotiatedLimits,
    pub(super) mailbox: Arc<Mailbox>,
    /// When the current call was made.
    pub(super) now: Now,
    pub(super) output: Output,
    /// What of it counts among all that lies ready for clients.
    pub(super) unread: Share,
    /// What its channels hold of bodies and transactions that are not finished.
    pub(super) unfinished: Unfinished,
    /// Bytes in the output, at most, that answer something the client asked.
    pub(super) replies: usize,
    pub(super) tally: ReadTally,

    /// Publishes that are not handed to their queues yet.
    pub(super) stage: PublishBatch,
    pub(super) routes: RouteCache,
    /// Channels in confirm mode with publishes on the stage.
    pub(super) publishers: Vec<u16>,
    /// Acknowledgements that are not handed to their queues yet.
    pub(super) settles: AckBatch,
    /// Channels whose consumers share a window, which has more room than before.
    pub(super) eased: BTreeSet<u16>,

    pub(super) subscriptions: BTreeMap<ConsumerId, Subscription>,
    /// Mail that was taken and not acted upon: the client takes its deliveries slowly. Limited by
    /// the windows of the consumers.
    pub(super) backlog: VecDeque<Mail>,
    inbox: Vec<Mail>,
    /// A `basic.get` that waits for the disk; until then no input is taken.
    pub(super) pending_get: Option<PendingGet>,
    /// What is spent on input.
    pub(super) input_budget: StepBudget,
    /// What is spent on deliveries.
    pub(super) mail_budget: StepBudget,
    /// Input was left for the next turn.
    pub(super) more_input: bool,
    /// Mail was left for the next turn.
    pub(super) more_mail: bool,

    /// Channels that wait for a ticket: with confirms to send or with frames held back.
    pub(super) waiting: BTreeSet<u16>,
    /// The newest ticket the mailbox is to be told of.
    notified: Ticket,
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
            id: broker.next_connection(),
            vhost: Arc::clone(broker.nowhere()),
            peer,
            places: None,
            appearance: None,
            introduction: None,
            received_bytes: 0,
            user: String::new(),
            access: Access::none(),
            capabilities: Capabilities::default(),
            limits,
            mailbox: Mailbox::among(broker.unread()),
            unread: Share::of(broker.unread()),
            unfinished: Unfinished::of(broker.alarms()),
            now,
            output: Output::default(),
            replies: 0,
            tally: ReadTally::default(),
            stage: PublishBatch::default(),
            routes: RouteCache::default(),
            publishers: Vec::new(),
            settles: AckBatch::default(),
            eased: BTreeSet::new(),
            subscriptions: BTreeMap::new(),
            backlog: VecDeque::new(),
            inbox: Vec::new(),
            pending_get: None,
            input_budget: StepBudget::default(),
            mail_budget: StepBudget::default(),
            more_input: false,
            more_mail: false,
            waiting: BTreeSet::new(),
            notified: Ticket(0),
            due_ms: u64::MAX,
            stale_ms: u64::MAX,
            broker,
        }
    }

    /// Lets the client into a vhost, if it may be there.
    ///
    /// # Errors
    /// 530: there are too many already, there is no such vhost, or it is not for this user.
    pub(super) fn enter(&mut self, name: &str) -> Result<(), AmqpError> {
        let place = self.broker.places().connections.take();
        let place = place.map_err(|max| AmqpError::ConnectionLimit { max })?;
        let vhost = self.broker.vhosts().get(name).ok_or_else(|| no_vhost(name))?;
        let entry = self.broker.accounts().enter(self.id, &vhost)?;
        self.vhost = vhost;
        if !self.grants().may_enter() {
            return Err(AmqpError::NoAccess { vhost: name.to_owned(), user: self.user.clone() });
        }
        self.places = Some((place, entry));
        Ok(())
    }

    /// What the client may do now.
    pub(super) fn grants(&mut self) -> Arc<Grants> {
        Arc::clone(self.access.grants((&self.broker, &self.vhost), self.id))
    }

    /// Whether the client may do that.
    ///
    /// # Errors
    /// 403 if not.
    pub(super) fn check(&mut self, right: Right, on: &Resource) -> Result<(), BrokerError> {
        self.access.grants((&self.broker, &self.vhost), self.id).check(right, on)
    }

    /// As [`ConnectionState::check`], for a queue.
    ///
    /// # Errors
    /// 403 if not.
    pub(super) fn check_queue(&mut self, right: Right, name: &str) -> Result<(), BrokerError> {
        self.check(right, &self.vhost.on_queue(name))
    }

    /// Whether the user and the vhost are still there.
    ///
    /// # Errors
    /// 320 if not.
    #[inline]
    pub(super) fn check_presence(&mut self) -> Result<(), AmqpError> {
        self.access.grants((&self.broker, &self.vhost), self.id);
        if !self.access.is_gone() {
            return Ok(());
        }
        self.vhost.check()?;
        Err(AmqpError::UserDeleted(self.user.clone()))
    }

    /// Whether others are to have their turn before more input is taken. What was gathered is paid
    /// for when it is handed over.
    #[inline]
    pub(super) fn is_spent(&self) -> bool {
        let gathered = self.stage.cost().saturating_add(self.settles.cost());
        gathered.saturating_add(self.input_budget.taken() + self.routes.cost()) >= STEPS
    }

    /// Counts what was gathered, and is about to be handed over.
    pub(super) fn pay(&mut self) {
        self.input_budget.take(self.routes.take_cost());
        self.input_budget.take(self.stage.cost());
        self.input_budget.take(self.settles.cost());
    }

    /// When what is delivered now is overdue.
    pub(super) fn due_after(&self, timeout_ms: u64) -> u64 {
        self.now.mono_ms.saturating_add(timeout_ms)
    }

    /// Moves all mail to the end of the backlog.
    pub(super) fn take_mail(&mut self) {
        self.mailbox.take(&mut self.inbox);
        self.backlog.extend(self.inbox.drain(..));
    }

    /// Takes what came too late: consumers and waiting replies are gone.
    pub(super) fn discard_mail(&mut self) {
        self.take_mail();
        self.backlog.clear();
    }

    /// The newest ticket that is on disk.
    pub(super) fn durable(&self) -> Ticket {
        self.broker.log().durable()
    }

    /// Has the mailbox woken once `ticket` is durable.
    pub(super) fn wake_at(&mut self, ticket: Ticket) {
        if ticket > self.notified {
            self.notified = ticket;
            let waiter: Arc<dyn Waiter> = Arc::clone(&self.mailbox) as Arc<dyn Waiter>;
            self.broker.log().notify(ticket, &waiter);
        }
    }

    /// A channel has something to say once `ticket` is durable.
    pub(super) fn wait_for(&mut self, channel: u16, ticket: Ticket) {
        self.waiting.insert(channel);
        self.wake_at(ticket);
    }

    /// What input added to the output since it had `before` bytes counts as replies, for as long as
    /// it lies there.
    pub(super) fn count_replies(&mut self, before: usize) {
        let len = self.output.len();
        self.replies = (self.replies + len.saturating_sub(before)).min(len);
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
        let tally = std::mem::take(&mut self.tally);
        let metrics = self.broker.metrics();
        if tally.received > 0 {
            metrics.received.add(tally.received);
            metrics.received_confirm.add(tally.received_confirm);
            metrics.sizes.add(&tally.sizes);
        }
        metrics.unroutable_dropped.add(tally.dropped);
        metrics.unroutable_returned.add(tally.returned);
        metrics.confirmed.add(tally.confirmed);
        metrics.delivered_auto_ack.add(tally.delivered_auto_ack);
        metrics.delivered_manual_ack.add(tally.delivered_manual_ack);
        metrics.redelivered.add(tally.redelivered);
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        if !self.user.is_empty() {
            self.broker.accounts().log_out(self.id);
        }
    }
}
