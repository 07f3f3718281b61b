//! Messages taken out of a queue by their numbers: deleted, made ready before their time, or moved
//! to elsewhere.
//!
//! A message is moved as a dead letter is: in one atomic batch of the log the targets take what it
//! becomes and its queue forgets it, so that it is in one place or the other after a crash, and in
//! no other. What no target takes stays where it stood. Routes are found before the batch, for
//! which the commit thread waits.

use super::browse::{Browser, Found};
use super::effects::{EffectHandler, Targets};
use crate::clock::Now;
use crate::ids::Ticket;
use crate::message::{Block, Message};
use crate::queue::browse::{Named, NotTaken};
use crate::queue::{Outcome, Queue, Waiting, Wanted};
use crate::store::StoreError;
use std::sync::Arc;

/// Messages that are moved in one atomic batch, at most.
pub(super) const BATCH_MAX: usize = 256;

/// Copies of them, but for those of one message.
pub(super) const COPIES_MAX: usize = 512;

/// Where a message is to go.
pub(super) enum Target {
    /// Into a queue in which it was before: to whoever remembers what was there, it is no
    /// duplicate.
    Back(Arc<Queue>),
    /// Into all of these queues, or none.
    Queues(Box<[Arc<Queue>]>),
}

/// A message and what is to become of it.
pub(super) struct Planned {
    pub(super) named: Named,
    /// A block of what it becomes.
    pub(super) block: Block,
    pub(super) target: Target,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MoveOutcome {
    /// It is elsewhere.
    Moved,
    /// A queue that it was to go to is full.
    Refused,
    /// It could not be taken.
    NotTaken(NotTaken),
}

/// Why nothing becomes of a message.
#[derive(Debug)]
pub enum Undone {
    /// It cannot be taken.
    NotTaken(NotTaken),
    /// Its queue is full.
    Full,
    /// The disk is full.
    NoRoom,
    /// The store cannot be read.
    Store(StoreError),
}

/// Takes messages out of their places.
#[derive(Clone, Copy)]
pub struct Transfers<'a>(pub(super) &'a EffectHandler);

impl Target {
    /// How many copies that makes.
    pub(super) fn copies(&self) -> usize {
        match self {
            Self::Back(_) => 1,
            Self::Queues(queues) => queues.len(),
        }
    }
}

impl Transfers<'_> {
    /// Deletes a message, which is not dead-lettered. It is gone when the ticket is durable. Reads
    /// the disk.
    ///
    /// # Errors
    /// It is not there, or cannot be taken.
    pub fn delete(self, queue: &Arc<Queue>, seq: u64, now: Now) -> Result<Ticket, Undone> {
        let named = self.find(queue, seq)?.named();
        let turn = queue.turn();
        let withdrawn = queue.withdraw(&[named]).pop().unwrap_or(Err(NotTaken::Gone));
        let effects = queue.return_withdrawn(&[withdrawn.map_err(Undone::NotTaken)?], &[], now);
        drop(turn);
        Ok(effects.ticket.max(self.0.carry_out(queue, &effects, now, None)))
    }

    /// Makes a delayed or parked message ready now, which is so when the ticket is durable. One
    /// that is parked goes to the end of its queue as if it had just arrived; one of a delayed
    /// exchange is routed. Reads the disk.
    ///
    /// # Errors
    /// It is not there, neither delayed nor parked, or there is no room for it.
    pub fn requeue(self, queue: &Arc<Queue>, seq: u64, now: Now) -> Result<Ticket, Undone> {
        let found = self.find(queue, seq)?;
        let turn = queue.turn();
        let effects = queue.bring_forward(found.named(), now).map_err(Undone::NotTaken)?;
        drop(turn);
        if let Some(effects) = effects {
            return Ok(effects.ticket.max(self.0.carry_out(queue, &effects, now, None)));
        }
        if self.0.is_full() {
            return Err(Undone::NoRoom);
        }
        let message = found.message();
        let block = renewed(&message, (message.exchange, message.routing_key), now);
        let target = Target::Back(Arc::clone(queue));
        let (outcomes, ticket) =
            self.move_batch(queue, vec![Planned { named: found.named(), block, target }], now);
        match outcomes.first() {
            Some(MoveOutcome::Moved) => Ok(ticket),
            Some(MoveOutcome::NotTaken(why)) => Err(Undone::NotTaken(*why)),
            Some(MoveOutcome::Refused) | None => Err(Undone::Full),
        }
    }

    fn find(self, queue: &Queue, seq: u64) -> Result<Found, Undone> {
        if queue.is_stream() {
            return Err(Undone::NotTaken(NotTaken::Stream));
        }
        let found = Browser(self.0).one(queue, seq).map_err(Undone::Store)?;
        found.ok_or(Undone::NotTaken(NotTaken::Gone))
    }

    /// Moves messages, no more than [`BATCH_MAX`]; what became of each, and when that is durable.
    pub(super) fn move_batch(
        self,
        queue: &Arc<Queue>,
        planned: Vec<Planned>,
        now: Now,
    ) -> (Vec<MoveOutcome>, Ticket) {
        self.0.log().wait_for_room();
        let batch = self.0.log().atomic_batch();
        let (mut targets, mut gone, mut back) = (Targets::default(), Vec::new(), Vec::new());
        let turn = queue.turn();
        let named: Vec<Named> = planned.iter().map(|planned| planned.named).collect();
        let withdrawn = queue.withdraw(&named);
        let mut outcomes = Vec::with_capacity(named.len());
        for (planned, withdrawn) in planned.into_iter().zip(withdrawn) {
            let Planned { block, target, .. } = planned;
            outcomes.push(match withdrawn {
                Err(why) => MoveOutcome::NotTaken(why),
                Ok(withdrawn) if self.hand_over(queue, block, &target, &mut targets, now) => {
                    gone.push(withdrawn);
                    MoveOutcome::Moved
                }
                Ok(withdrawn) => {
                    back.push(withdrawn);
                    MoveOutcome::Refused
                }
            });
        }
        let effects = queue.return_withdrawn(&gone, &back, now);
        drop(turn);
        for (target, effects) in targets.all() {
            self.0.carry_out(&target, &effects, now, Some(&batch));
        }
        self.0.carry_out(queue, &effects, now, Some(&batch));
        drop(batch);
        // What came before is durable once this is.
        (outcomes, self.0.log().last_appended())
    }

    /// Whether a message is where it is to go.
    pub(super) fn hand_over(
        self,
        source: &Queue,
        block: Block,
        target: &Target,
        targets: &mut Targets,
        now: Now,
    ) -> bool {
        match target {
            Target::Back(queue) => {
                let mut wanted = Wanted::default();
                wanted.add(&block, 0);
                let Some(mut room) = queue.reserve(&wanted) else { return false };
                let block = Arc::new(block);
                let (_, effects) = queue.enqueue_reserved(&mut room, &block, now);
                queue.give_back(room);
                targets.add(queue, &block, effects);
                true
            }
            Target::Queues(queues) => {
                let to = (&mut Waiting::default(), targets);
                self.0.hand_over_whole(source, block, queues, to, now) == Outcome::Gone
            }
        }
    }
}

/// A message that comes anew.
pub(super) fn renewed(message: &Message<'_>, (exchange, routing_key): (&[u8], &[u8]), now: Now) -> Block {
    Block::of(&Message { exchange, routing_key, arrived_at_ms: now.unix_ms, ..*message })
}
