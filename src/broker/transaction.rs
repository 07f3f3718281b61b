//! What a transaction did takes effect, as one or not at all.
//!
//! Queues that may refuse are asked before anything is done: [`Rooms::reserve`] takes room in
//! each, in order of their ids and one lock at a time, and gives back all of it when one has not
//! enough. Nobody waits, so nobody waits for another; and of two transactions that want the same
//! last rooms the one that came first to the first of these gets on. Acknowledgements in the same
//! transaction make no room: what they settle is not ready. Of a transaction that is refused
//! nothing is dead-lettered either, also where `x-overflow` is `reject-publish-dlx`.
//!
//! A duplicate that a queue or an exchange has seen needs no room, so that a transaction may be
//! repeated when its answer was lost; two in one transaction need room for both.

use super::Broker;
use super::deduplicate::enqueue_unseen;
use crate::arguments::Requeue;
use crate::blocking;
use crate::clock::Now;
use crate::ids::{QueueId, Ticket};
use crate::message::Block;
use crate::queue::dedup::Deduplicator;
use crate::queue::{Effects, Queue, Reservation, Settled, Wanted};
use crate::routing::route::Route;
use crate::store::change::{AtomicBatch, Log};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Copies of blocks that are put into queues in one atomic batch: four milliseconds, if each takes
/// a microsecond.
const COPIES_MAX: usize = 4096;

/// Bytes of these copies, each of which is written: some ten milliseconds, for which all others
/// wait.
const COPIED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A block of more bytes is so much that others like it wait until it is on disk.
const LARGE_BYTES_MIN: usize = 1024 * 1024;

/// Runs of messages that are settled in one go.
const PORTION: usize = 1024;

/// What a transaction does with messages it settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// They are done.
    Ack,
    /// They go back.
    Requeue(Requeue),
    /// They are dead-lettered or dropped.
    Reject,
}

/// The room that a transaction has in the queues that might refuse; what is not used is given back.
#[derive(Debug, Default)]
pub struct Rooms {
    reserved: BTreeMap<QueueId, (Arc<Queue>, Reservation)>,
    /// Nothing is refused any more, also by a queue that did not refuse before a policy had it so.
    whole: bool,
}

impl Rooms {
    /// Takes room for what a transaction publishes; none if a queue would refuse any of it.
    #[must_use]
    pub fn reserve(publishes: &[(Arc<Route>, Block)], now: Now) -> Option<Self> {
        let mut wanted: BTreeMap<QueueId, (&Arc<Queue>, Wanted)> = BTreeMap::new();
        for (route, block) in publishes.iter().filter(|(route, _)| route.may_refuse) {
            for queue in route.queues.iter().filter(|queue| queue.may_refuse()) {
                let (_, wanted) = wanted.entry(queue.id).or_insert_with(|| (queue, Wanted::default()));
                let seen_by = [route.dedup.as_deref(), queue.dedup.as_deref()];
                let is_seen = |index| {
                    let knows = |by: &Deduplicator| by.knows(&block.message(index), now);
                    seen_by.into_iter().flatten().any(knows)
                };
                (0..block.len()).filter(|&index| !is_seen(index)).for_each(|index| wanted.add(block, index));
            }
        }
        let mut rooms = Self { reserved: BTreeMap::new(), whole: true };
        for (id, (queue, wanted)) in wanted {
            rooms.reserved.insert(id, (Arc::clone(queue), queue.reserve(&wanted)?));
        }
        Some(rooms)
    }

    /// Takes room for one message in each of `targets`; none if one of them would refuse it. What
    /// is full says when there is room, to `source`.
    pub(super) fn reserve_for(
        source: &Queue,
        block: &Block,
        targets: &[Arc<Queue>],
        now: Now,
    ) -> Option<Self> {
        let mut rooms = Self { reserved: BTreeMap::new(), whole: true };
        for queue in targets.iter().filter(|queue| queue.may_refuse()) {
            let mut wanted = Wanted::default();
            if !queue.dedup.as_deref().is_some_and(|seen| seen.knows(&block.message(0), now)) {
                wanted.add(block, 0);
            }
            let room = queue.reserve_for(source, &wanted)?;
            rooms.reserved.insert(queue.id, (Arc::clone(queue), room));
        }
        Some(rooms)
    }

    /// Puts a block into a queue: into the room there is, if it may refuse.
    pub(super) fn enqueue(&mut self, queue: &Arc<Queue>, block: &Arc<Block>, now: Now) -> (Ticket, Effects) {
        match self.reserved.get_mut(&queue.id) {
            Some((_, room)) => queue.enqueue_reserved(room, block, now),
            None if self.whole => queue.enqueue_reserved(&mut Reservation::default(), block, now),
            None => queue.enqueue(block, now),
        }
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        for (queue, room) in self.reserved.values() {
            if *room != Reservation::default() {
                queue.give_back(*room);
            }
        }
    }
}

/// The atomic batch of something that may be put into so many queues that the commit thread, and
/// who waits for it, would wait for long. It ends after [`COPIES_MAX`] copies, or before they have
/// more than [`COPIED_BYTES_MAX`] bytes, and another one begins once the disk has most of that:
/// what was appended before may then reach the disk without the rest.
pub(super) struct AtomicBatches<'a> {
    log: &'a dyn Log,
    batch: Option<AtomicBatch<'a>>,
    copies: usize,
    bytes: usize,
}

impl<'a> AtomicBatches<'a> {
    pub(super) fn of(log: &'a dyn Log) -> Self {
        Self { log, batch: None, copies: 0, bytes: 0 }
    }

    /// The batch for one more copy of a block of so many bytes, or for one more portion of
    /// acknowledgements.
    pub(super) fn take(&mut self, bytes: usize) -> &AtomicBatch<'a> {
        self.make_room(bytes);
        self.batch.get_or_insert_with(|| self.log.atomic_batch())
    }

    /// Waits, if so many bytes more would be too much at a time; with a large block also before its
    /// first copy. Nobody may wait for the caller.
    pub(super) fn make_room(&mut self, bytes: usize) {
        let is_full = self.copies == COPIES_MAX || self.bytes + bytes > COPIED_BYTES_MAX;
        let is_large = bytes > LARGE_BYTES_MIN;
        if is_full || is_large && self.copies == 0 {
            (self.batch, self.copies, self.bytes) = (None, 0, 0);
            blocking::run(|| if is_large { self.log.wait_for_turn() } else { self.log.wait_for_room() });
        }
        self.copies += 1;
        self.bytes += bytes;
    }
}

impl Broker {
    /// Everything a transaction did, as one, in the `rooms` that [`Rooms::reserve`] took for the
    /// same `publishes`. When the ticket is durable, all of it is. One of more than `COPIES_MAX`
    /// copies or `COPIED_BYTES_MAX` bytes may be there in part after a crash, but nothing is
    /// acknowledged without all that was published.
    pub fn commit_tx(
        &self,
        publishes: Vec<(Arc<Route>, Block)>,
        mut rooms: Rooms,
        acks: &[(Arc<Queue>, Settlement, Vec<Settled>)],
        now: Now,
    ) -> Ticket {
        let mut batches = AtomicBatches::of(&*self.log);
        let mut newest = Ticket(0);
        self.metrics.routed.add(publishes.iter().map(|(route, block)| route.reach(block)).sum());
        for (route, block) in publishes {
            newest = newest.max(self.enqueue_in_rooms(&route, block, &mut rooms, (now, &mut batches)));
        }
        let portions = acks
            .iter()
            .flat_map(|(queue, ack, settled)| settled.chunks(PORTION).map(move |part| (queue, ack, part)));
        for (queue, ack, settled) in portions {
            let batch = batches.take(0);
            let effects = match ack {
                Settlement::Ack => queue.settle(settled, now),
                Settlement::Requeue(how) => queue.put_back(settled, *how, now),
                Settlement::Reject => queue.reject(settled, now),
            };
            newest = newest.max(effects.ticket);
            newest = newest.max(self.effects.carry_out(queue, &effects, now, Some(batch)));
            // What this has not sent is dead all the same once the transaction is on disk.
            newest = newest.max(queue.keep_letters());
        }
        newest
    }

    fn enqueue_in_rooms(
        &self,
        route: &Route,
        block: Block,
        rooms: &mut Rooms,
        (now, batches): (Now, &mut AtomicBatches<'_>),
    ) -> Ticket {
        let block_bytes = block.bytes().len();
        if route.deduplicates {
            return enqueue_unseen(&self.effects, route, block, rooms, (now, batches.take(block_bytes)))
                .ticket;
        }
        let block = Arc::new(block);
        let mut newest = Ticket(0);
        for queue in &route.queues {
            let batch = batches.take(block_bytes);
            let (ticket, effects) = rooms.enqueue(queue, &block, now);
            newest = newest.max(ticket);
            self.effects.carry_out(queue, &effects, now, Some(batch));
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::change::Change;
    use crate::store::fake::FakeLog;

    /// How many of the copies of so many bytes are in the batch after each.
    fn copies(bytes: &[usize]) -> Vec<usize> {
        let log = FakeLog::<Vec<Vec<Change>>>::default();
        let mut batches = AtomicBatches::of(&log);
        bytes
            .iter()
            .map(|&bytes| {
                let _batch = batches.take(bytes);
                batches.copies
            })
            .collect()
    }

    #[test]
    fn a_batch_ends_before_it_has_too_many_bytes_or_copies() {
        let half = COPIED_BYTES_MAX / 2;
        assert_eq!(copies(&[half, half, 1, half, half]), [1, 2, 1, 2, 1]);
        assert_eq!(copies(&[1, 3 * COPIED_BYTES_MAX, 0, 1]), [1, 1, 1, 2], "one copy is whole in any case");
        assert_eq!(copies(&[1; COPIES_MAX + 2])[COPIES_MAX - 1..], [COPIES_MAX, 1, 2]);
    }
}
