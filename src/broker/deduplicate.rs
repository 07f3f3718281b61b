//! The way of a block into queues where some messages may have been seen before.
//!
//! All of this is called in an atomic batch, so that what is remembered reaches the disk with the
//! messages.

use crate::broker::Broker;
use crate::broker::transaction::Rooms;
use crate::broker::verdict::Enqueued;
use crate::clock::Now;
use crate::ids::Ticket;
use crate::message::Block;
use crate::queue::dedup::turn::{DedupGuard, Sifted};
use crate::queue::{Effects, Queue};
use crate::routing::route::Route;
use crate::store::change::AtomicBatch;
use std::mem;
use std::sync::Arc;

impl Broker {
    /// Puts into each queue of a route what neither the exchange nor the queue has seen. A message
    /// that one of the queues refuses was not taken in by the exchange: it may come again, and then
    /// all queues get it.
    pub(in crate::broker) fn enqueue_unseen(
        &self,
        route: &Route,
        block: Block,
        rooms: &mut Rooms,
        (now, batch): (Now, &AtomicBatch<'_>),
    ) -> Enqueued {
        let mut sifted = Sifted::all(Arc::new(block));
        let (mut all, mut all_effects) = (Enqueued::default(), Vec::new());
        let mut at_exchange = route.dedup.as_deref().map(DedupGuard::begin);
        if let Some(turn) = &mut at_exchange {
            all.ticket = turn.sift(&mut sifted, !route.queues.is_empty(), now);
        }
        for queue in &route.queues {
            let (ticket, mut effects) = self.enqueue_sifted(queue, sifted.clone(), rooms, now);
            all.add(ticket, mem::take(&mut effects.refused));
            all_effects.push((queue, effects));
        }
        if let Some(mut turn) = at_exchange {
            self.metrics.deduplicated.add(turn.duplicates);
            let echoes = turn.forget(&all.refused);
            all.add(Ticket(0), echoes);
            all.ticket =
                turn.end(&*self.log, all.ticket, route.queues.iter().any(|queue| queue.is_durable()));
        }
        for (queue, effects) in all_effects {
            self.carry_out(queue, &effects, now, Some(batch));
        }
        all
    }

    /// Puts a block that did not come from a client into a queue, without what that has seen.
    pub(in crate::broker) fn hand_in(
        &self,
        queue: &Arc<Queue>,
        block: &Arc<Block>,
        rooms: &mut Rooms,
        now: Now,
    ) -> (Ticket, Effects) {
        if queue.dedup.is_none() {
            return rooms.enqueue(queue, block, now);
        }
        self.enqueue_sifted(queue, Sifted::all(Arc::clone(block)), rooms, now)
    }

    /// What is refused is told by its places in the block as it came.
    fn enqueue_sifted(
        &self,
        queue: &Arc<Queue>,
        mut sifted: Sifted,
        rooms: &mut Rooms,
        now: Now,
    ) -> (Ticket, Effects) {
        let mut turn = queue.dedup.as_deref().map(DedupGuard::begin);
        let waits_for = turn.as_mut().map_or(Ticket(0), |turn| turn.sift(&mut sifted, true, now));
        let (mut ticket, mut effects) = rooms.enqueue(queue, &sifted.block, now);
        let mut refused = Enqueued::default();
        refused.add(Ticket(0), sifted.places_of(mem::take(&mut effects.refused)));
        if let Some(mut turn) = turn {
            self.metrics.deduplicated.add(turn.duplicates);
            let echoes = turn.forget(&refused.refused);
            refused.add(Ticket(0), echoes);
            ticket = turn.end(&*self.log, ticket, queue.is_durable());
        }
        effects.refused = refused.refused;
        (ticket.max(waits_for), effects)
    }
}
