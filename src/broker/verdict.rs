//! What the queues of a route made of a block: when it is durable, and which of its records one of
//! them refused.

use crate::ids::Ticket;
use std::ops::Range;

/// The result of enqueueing a block: its ticket, and the records that a queue refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Enqueued {
    /// When it is durable, all persistent copies that were taken are.
    pub ticket: Ticket,
    /// The records that at least one queue did not take, as ranges that neither meet nor touch, in
    /// order. The other queues have them.
    pub refused: Vec<Range<u32>>,
}

impl Enqueued {
    /// What one more queue says.
    pub(super) fn add(&mut self, ticket: Ticket, refused: Vec<Range<u32>>) {
        self.ticket = self.ticket.max(ticket);
        if self.refused.is_empty() {
            self.refused = refused;
        } else if !refused.is_empty() {
            self.refused.extend(refused);
            self.refused.sort_unstable_by_key(|range| range.start);
            self.refused.dedup_by(|next, range| {
                let joined = next.start <= range.end;
                if joined {
                    range.end = range.end.max(next.end);
                }
                joined
            });
        }
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
mod tests {
    use super::*;

    /// Each of `queues` refuses the ranges between its commas.
    #[track_caller]
    fn check(queues: &[&[Range<u32>]], expected: &[Range<u32>]) {
        let mut all = Enqueued::default();
        for (ticket, refused) in (1..).zip(queues) {
            all.add(Ticket(ticket), refused.to_vec());
        }
        assert_eq!(all, Enqueued { ticket: Ticket(queues.len() as u64), refused: expected.to_vec() });
    }

    #[test]
    fn what_any_queue_refuses_is_refused() {
        check(&[&[], &[]], &[]);
        check(&[&[], &[2..4, 6..7]], &[2..4, 6..7]);
        check(&[&[2..4], &[0..1], &[]], &[0..1, 2..4]);
        check(&[&[2..4, 9..10], &[3..6], &[6..8]], &[2..8, 9..10]);
        check(&[&[0..10], &[3..4, 9..12]], &[0..12]);
    }
}
