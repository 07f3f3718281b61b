//! Transactions of one channel (AMQP 0-9-1 section 1.9): publishes and acknowledgements that take
//! effect together.
//!
//! Messages are routed, and tags taken, when the client names them; both wait here for `tx.commit`,
//! which hands everything to the broker in one atomic batch, so that it reaches the disk in one
//! commit. A rollback forgets the publishes, and the acknowledged deliveries are outstanding again;
//! so does a commit of which a full queue would refuse a part, and the channel closes.

use super::channel_output::ChannelOutput;
use super::connection_state::ConnectionState;
use crate::blocking;
use crate::broker::{Rooms, Settlement};
use crate::client::ack_batch::AckBatch;
use crate::client::publish_batch::PublishBatch;
use crate::client::unacked::{Part, Unacked, UnackedRun};
use crate::protocol::amqp::fault::AmqpError;
use std::mem;

/// The open transaction of one channel (AMQP 0-9-1 section 1.9).
#[derive(Default)]
pub(super) struct Transaction {
    pub(super) stage: PublishBatch,
    /// The `basic.return`s of what no queue takes.
    pub(super) returns: Vec<u8>,
    settles: Vec<(UnackedRun, u64, Settlement)>,
}

impl Transaction {
    /// An acknowledgement that waits for the commit.
    pub(super) fn settle(&mut self, part: Part<'_>, fate: Settlement) {
        let run =
            UnackedRun { first_tag: part.first_tag, first_seq: part.settled.range.first, ..part.run.clone() };
        self.settles.push((run, part.settled.range.len(), fate));
    }

    /// How many publishes and how many acknowledgements wait.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.stage.count(), self.settles.iter().map(|(_, count, _)| count).sum())
    }

    /// Forgets everything; the acknowledged deliveries go back to `unacked`.
    pub(super) fn roll_back(&mut self, unacked: &mut Unacked) {
        let settles = mem::take(&mut self.settles);
        blocking::run_many(settles.len(), || {
            for (run, count, _) in settles {
                unacked.add(run, count);
            }
        });
        *self = Self::default();
    }

    /// Bytes of its messages, of what is to be returned, and of its acknowledgements.
    pub(super) fn bytes(&self) -> usize {
        self.stage.bytes()
            + self.returns.len()
            + self.settles.len() * size_of::<(UnackedRun, u64, Settlement)>()
    }

    fn settled(&mut self) -> AckBatch {
        let mut settles = AckBatch::default();
        for (run, count, fate) in self.settles.drain(..) {
            settles.add(&run.queue, fate, run.settled(count));
        }
        settles
    }

    /// Everything takes effect; what the channel says from now on waits until it is on disk.
    /// Whether there was anything.
    ///
    /// # Errors
    /// 406: a queue is full. Nothing has taken effect: what was acknowledged is outstanding again,
    /// and goes back with the channel.
    pub(super) fn commit(
        &mut self,
        out: &mut ChannelOutput,
        link: &mut ConnectionState,
    ) -> Result<bool, AmqpError> {
        // A message's time to live begins now.
        let now = link.now.unix_ms;
        let (broker, cost) = (&link.broker, self.stage.cost() + self.settles.len());
        link.batch.budget.take(cost);
        let committed = blocking::run_many(cost, || {
            let publishes: Vec<_> =
                self.stage.take().map(|(route, block)| (route, block.arrived_at(now))).collect();
            let rooms = Rooms::reserve(&publishes, link.now)?;
            let acks = self.settled().take();
            let is_empty = publishes.is_empty() && acks.is_empty();
            Some((!is_empty).then(|| broker.commit_tx(publishes, rooms, &acks, link.now)))
        });
        let Some(ticket) = committed else {
            // The channel takes back what was acknowledged as it closes.
            return Err(AmqpError::TransactionRefused);
        };
        let returns = mem::take(&mut self.returns);
        out.frames(&mut link.output).own().extend_from_slice(&returns);
        if let Some(ticket) = ticket {
            out.hold(link, ticket);
        }
        Ok(ticket.is_some())
    }

    /// A transaction does not grow without a limit: a larger one is a backlog in the wrong place.
    ///
    /// # Errors
    /// 406: it is too large.
    pub(super) fn check_size(&self, link: &mut ConnectionState) -> Result<(), AmqpError> {
        let max = link.broker.limits().get().transaction_bytes_max;
        link.tally.transacted = true;
        // It goes into a block of its own if the worst comes to the worst.
        link.batch.budget.take(1);
        if self.bytes() as u64 > max {
            return Err(AmqpError::TransactionTooLarge { max });
        }
        Ok(())
    }
}
