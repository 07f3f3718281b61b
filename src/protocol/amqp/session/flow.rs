//! When a publisher has to wait: memory or disk is short, or the log is behind.

use super::Fault;
use super::channels::Channels;
use super::connection_state::ConnectionState;
use crate::broker::clients::ClientStatus;
use crate::ids::Ticket;
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::encode;
use crate::store::change::Health;
use amq_protocol::protocol::{AMQPClass, connection};

/// Bytes that the log may be behind before who brings more is not read any more: what redb writes
/// in about 10 ms.
const BEHIND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Changes of which the same is true.
const BEHIND_CHANGES_MAX: usize = 16 * 1024;

/// Who brings no more bytes than this at a time, in no more than [`LITTLE_MESSAGES`], does not wait
/// for what others bring.
const LITTLE_BYTES: u64 = 16 * 1024;
const LITTLE_MESSAGES: u64 = 16;

/// How many times as far behind the log may be before those wait, too: many of them bring much.
const FAR: usize = 8;

/// What keeps a connection that published, or declared something, from being read.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Memory or disk is short.
    blocked: bool,
    /// The log is behind.
    throttled: bool,
}

impl Flow {
    /// Whether nothing does.
    pub(super) fn is_free(&self) -> bool {
        !self.blocked && !self.throttled
    }

    /// As an operator sees it.
    pub(super) fn status(&self) -> ClientStatus {
        match (self.blocked, self.throttled) {
            (true, _) => ClientStatus::Blocked,
            (false, true) => ClientStatus::Flow,
            (false, false) => ClientStatus::Running,
        }
    }

    /// Publishers are told when memory or disk is short, and wait while the log is behind, as those
    /// do who declare; all go when the store failed.
    pub(super) fn watch(
        &mut self,
        link: &mut ConnectionState,
        published: bool,
        channels: &Channels,
    ) -> Result<(), Fault> {
        let health = link.broker.health();
        if health == Health::Failed && link.broker.is_of_cluster() {
            return Err(Fault::of(AmqpError::Shutdown, (0, 0)));
        }
        if health == Health::Failed {
            tell_blocked(link, "the store has failed");
            return Err(Fault::of(AmqpError::StoreFailed, (0, 0)));
        }
        match link.broker.alarms().shortage(health).reason() {
            // What waits for its confirm then waits for room, and its client would not know why.
            Some(reason)
                if !self.blocked
                    && (published || health == Health::Full && channels.await_confirms(link)) =>
            {
                self.blocked = true;
                tell_blocked(link, reason);
            }
            None if self.blocked => {
                self.blocked = false;
                tell(link, connection::AMQPMethod::Unblocked(connection::Unblocked {}));
            }
            Some(_) | None => {}
        }
        if self.blocked {
            link.broker.alarms().wait();
        }
        if published || link.tally.declared || self.throttled {
            // Whatever is pending after this was read gets a later ticket; what is durable by then
            // wakes at once.
            let next = Ticket(link.durable().0 + 1);
            let log = link.broker.log();
            let is_little = published && !self.throttled && brings_little(link);
            let share = if is_little { FAR } else { 1 };
            let is_behind = log.pending_bytes() / share > BEHIND_BYTES_MAX
                || log.pending_changes() / share > BEHIND_CHANGES_MAX;
            // On a full disk it stays behind until somebody consumes, and that may be this client:
            // publishers are blocked then.
            self.throttled = is_behind && health == Health::Good;
            if self.throttled {
                link.inbox.wake_at(&link.broker, next);
            }
        }
        Ok(())
    }
}

/// Whether the messages of this turn are few and small.
fn brings_little(link: &ConnectionState) -> bool {
    let tally = &link.tally;
    let is_more = tally.large || tally.partial || tally.transacted || tally.declared;
    !is_more && tally.received <= LITTLE_MESSAGES && tally.sizes.bytes() <= LITTLE_BYTES
}

/// Tells clients that understand it why they are not heard.
pub(super) fn tell_blocked(link: &mut ConnectionState, reason: &str) {
    tell(link, connection::AMQPMethod::Blocked(connection::Blocked { reason: reason.into() }));
}

fn tell(link: &mut ConnectionState, method: connection::AMQPMethod) {
    if link.capabilities.connection_blocked {
        encode::method(link.output.own(), 0, &AMQPClass::Connection(method));
    }
}
