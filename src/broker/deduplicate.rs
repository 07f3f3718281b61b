//! The way of a block into queues where some messages may have been seen before.
//!
//! All of this is called in an atomic batch, so that what is remembered reaches the disk with the
//! messages.

use super::effects::EffectHandler;
use super::transaction::Rooms;
use super::verdict::Enqueued;
use super::vhost::BrokerContext;
use crate::clock::Now;
use crate::ids::Ticket;
use crate::message::Block;
use crate::queue::dedup::turn::{DedupGuard, Sifted};
use crate::queue::{Effects, Queue};
use crate::routing::route::Route;
use crate::store::change::AtomicBatch;
use std::mem;
use std::sync::Arc;

/// Puts into each queue of a route what neither the exchange nor the queue has seen. A message
/// that one of the queues refuses was not taken in by the exchange: it may come again, and then
/// all queues get it.
pub(super) fn enqueue_unseen(
    handler: &EffectHandler,
    route: &Route,
    block: Block,
    rooms: &mut Rooms,
    (now, batch): (Now, &AtomicBatch<'_>),
) -> Enqueued {
    let context = handler.context();
    let mut sifted = Sifted::all(Arc::new(block));
    let (mut all, mut all_effects) = (Enqueued::default(), Vec::new());
    let mut at_exchange = route.dedup.as_deref().map(DedupGuard::begin);
    if let Some(turn) = &mut at_exchange {
        all.ticket = turn.sift(&mut sifted, !route.queues.is_empty(), now);
    }
    for queue in &route.queues {
        let (ticket, mut effects) = enqueue_sifted(context, queue, sifted.clone(), rooms, now);
        all.add(ticket, mem::take(&mut effects.refused));
        all_effects.push((queue, effects));
    }
    if let Some(mut turn) = at_exchange {
        context.metrics.deduplicated.add(turn.duplicates);
        let echoes = turn.forget(&all.refused);
        all.add(Ticket(0), echoes);
        all.ticket = turn.end(&*context.log, all.ticket, route.queues.iter().any(|queue| queue.is_durable()));
    }
    for (queue, effects) in all_effects {
        handler.carry_out(queue, &effects, now, Some(batch));
    }
    all
}

/// Puts a block that did not come from a client into a queue, without what that has seen.
pub(super) fn hand_in(
    context: &BrokerContext,
    queue: &Arc<Queue>,
    block: &Arc<Block>,
    rooms: &mut Rooms,
    now: Now,
) -> (Ticket, Effects) {
    if queue.dedup.is_none() {
        return rooms.enqueue(queue, block, now);
    }
    enqueue_sifted(context, queue, Sifted::all(Arc::clone(block)), rooms, now)
}

/// What is refused is told by its places in the block as it came.
fn enqueue_sifted(
    context: &BrokerContext,
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
        context.metrics.deduplicated.add(turn.duplicates);
        let echoes = turn.forget(&refused.refused);
        refused.add(Ticket(0), echoes);
        ticket = turn.end(&*context.log, ticket, queue.is_durable());
    }
    effects.refused = refused.refused;
    (ticket.max(waits_for), effects)
}
