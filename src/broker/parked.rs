//! What operators do with parked messages: dead letters and delayed messages that have nowhere to
//! go. See `queue::classic::core::letters`.

use super::effects::{EffectHandler, Targets, are_names};
use super::paging::PAGE_BYTES;
use super::transfer::{Target, Transfers, renewed};
use super::vhost::routing::PutOff;
use crate::clock::Now;
use crate::ids::{SeqRange, Ticket};
use crate::message::{Block, Message};
use crate::queue::{Cause, DeathReason, Outcome, Queue, Waiting};
use crate::store::StoreError;
use std::ops::Range;
use std::sync::Arc;

/// A parked message.
#[derive(Debug)]
pub struct Parked<'a> {
    /// Why it died.
    pub reason: DeathReason,
    /// Why it is parked.
    pub cause: Cause,
    /// When it died, milliseconds since 1970 by the wall clock.
    pub died_ms: u64,
    /// The message.
    pub message: Message<'a>,
    /// Bytes of its record.
    pub bytes: usize,
}

/// What moving came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Messages that are elsewhere.
    pub moved: u64,
    /// Messages that found no way and are still parked.
    pub parked: u64,
    /// When it is durable, so is all this.
    pub ticket: Ticket,
}

/// Some records of a block.
type Piece = (Arc<Block>, Range<u32>);

/// An operator's operations on parked messages.
#[derive(Clone, Copy)]
pub struct ParkedMessages<'a>(pub(super) &'a EffectHandler);

impl ParkedMessages<'_> {
    /// Shows the first `most` messages that are parked in a queue, in the order in which they were.
    /// Reads the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn each(self, queue: &Queue, most: u64, mut show: impl FnMut(&Parked<'_>)) -> Result<(), StoreError> {
        let mut shown = 0;
        while shown < most
            && let Some(run) = queue.parked_run(shown)
        {
            let pieces = match run.records {
                Some(piece) => vec![piece],
                None => self.read_records(queue, run.range)?,
            };
            let mut count = 0;
            for (block, records) in pieces {
                for index in records.take(usize::try_from(most - shown - count).unwrap_or(usize::MAX)) {
                    let bytes = block.bytes_of(index..index + 1);
                    let (reason, cause, died_ms) = (run.reason, run.cause, self.0.clock.wall_ms(run.died_ms));
                    show(&Parked { reason, cause, died_ms, message: block.message(index), bytes });
                    count += 1;
                }
            }
            // What is missing on disk is found missing when it is moved.
            shown += count.max(1);
        }
        Ok(())
    }

    /// The records of consecutive messages, from the first on, as far as a read brings them.
    fn read_records(self, queue: &Queue, range: SeqRange) -> Result<Vec<Piece>, StoreError> {
        let mut pieces = Vec::new();
        for page in self.0.pages.load(queue.id, range, PAGE_BYTES)? {
            let of_page = SeqRange::of(page.first, u64::from(page.block.len())).meet(range);
            let index = |seq: u64| u32::try_from(seq - page.first).unwrap_or(u32::MAX);
            if !of_page.is_empty() {
                let records = index(of_page.first)..index(of_page.end);
                pieces.push((Arc::new(page.block), records));
            }
        }
        Ok(pieces)
    }

    /// Moves all that is parked in a queue now: back to its end, or to where an exchange sends it
    /// with a routing key. Its times to live begin anew, and nobody has delivered it. What a full
    /// queue refuses stays parked in its place, and with it all that would come after it in that
    /// queue, though there be room again. It ends when the disk is full. Reads the disk.
    ///
    /// # Errors
    /// The store cannot be read; what was moved by then is.
    pub fn requeue(
        self,
        queue: &Arc<Queue>,
        to: Option<(&str, &str)>,
        now: Now,
    ) -> Result<Moved, StoreError> {
        let (mut left, mut all) = (queue.stats().parked, Moved::default());
        let mut waiting = Waiting::default();
        while left > 0 && !self.0.is_full() {
            if let Some(unread) = queue.unread_parked() {
                let pages = self.0.pages.load(queue.id, unread, PAGE_BYTES)?;
                queue.show_parked(pages);
            }
            let mut put_off = PutOff::default();
            if let (Some((exchange, key)), Some(vhost)) = (to, self.0.vhost_of(queue)) {
                // A match that takes long is made here, and not under the batch.
                let _found_again_below = vhost.route_own_by(exchange, &[key.as_bytes()], &[], &mut put_off);
            }
            self.0.log().wait_for_room();
            let batch = self.0.log().atomic_batch();
            let mut targets = Targets::default();
            let effects = {
                let _turn = queue.turn();
                let Some(mut batch) = queue.next_parked(left) else { break };
                for part in &mut batch.parts {
                    for index in part.records.clone() {
                        left = left.saturating_sub(1);
                        let message = part.block.message(index);
                        let means = (&mut targets, &mut put_off, &mut waiting);
                        let outcome = self.move_one(queue, &message, to, means, now);
                        all.moved += u64::from(outcome == Outcome::Gone);
                        part.note(outcome);
                    }
                }
                let (effects, _none_is_new) = queue.letters_sent(batch, self.0.parked_max(), now);
                effects
            };
            all.ticket = all.ticket.max(effects.ticket);
            for (target, effects) in targets.all() {
                self.0.carry_out(&target, &effects, now, Some(&batch));
            }
            self.0.carry_out(queue, &effects, now, Some(&batch));
        }
        all.parked = queue.stats().parked;
        Ok(all)
    }

    fn move_one(
        self,
        queue: &Arc<Queue>,
        message: &Message<'_>,
        to: Option<(&str, &str)>,
        (targets, put_off, waiting): (&mut Targets, &mut PutOff, &mut Waiting),
        now: Now,
    ) -> Outcome {
        let Some((exchange, routing_key)) = to else {
            if waiting.is_refused(queue.id) {
                return Outcome::Stuck(Cause::Refused);
            }
            let block = renewed(message, (message.exchange, message.routing_key), now);
            let target = Target::Back(Arc::clone(queue));
            let has_room = Transfers(self.0).hand_over(queue, block, &target, targets, now);
            if has_room {
                return Outcome::Gone;
            }
            waiting.refuse(queue.id);
            return Outcome::Stuck(Cause::Refused);
        };
        let Some(vhost) =
            self.0.vhost_of(queue).filter(|_| are_names([exchange, routing_key].map(str::as_bytes)))
        else {
            return Outcome::Stuck(Cause::NoRoute);
        };
        let keys = [routing_key.as_bytes()];
        let Some(route) = vhost.route_own_by(exchange, &keys, message.properties, put_off) else {
            return Outcome::Stuck(Cause::ExchangeMissing);
        };
        if route.queues.is_empty() {
            return Outcome::Stuck(Cause::NoRoute);
        }
        let block = renewed(message, (exchange.as_bytes(), routing_key.as_bytes()), now);
        // Into all queues or none: what is not moved may be moved again.
        self.0.hand_over_whole(queue, block, &route.queues, (waiting, targets), now)
    }

    /// Drops all that is parked in a queue: how many messages, and when that is durable, and what
    /// somebody else dropped before.
    pub fn drop_all(self, queue: &Arc<Queue>, now: Now) -> (u64, Ticket) {
        let mut all = 0;
        loop {
            self.0.log().wait_for_room();
            let turn = queue.turn();
            let Some((dropped, effects)) = queue.drop_parked(now) else { break };
            drop(turn);
            all += dropped;
            self.0.carry_out(queue, &effects, now, None);
        }
        (all, self.0.log().last_appended())
    }
}
