//! Publisher confirms of one channel (RabbitMQ: confirms.md).
//!
//! Each read's publishes are one entry: "up to this number, with that ticket". A ticket that is durable answers
//! everything up to its number with one `basic.ack(multiple)`. Nothing is refused yet; when a queue may refuse
//! (`x-overflow=reject-publish`), an entry gets a verdict and [`Confirms::answer`] returns acks and nacks.

use crate::ids::Ticket;
use std::collections::VecDeque;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    /// The number of the newest publish; the first one is 1.
    published: u64,
    /// Up to here they are covered by an entry, or confirmed.
    staged: u64,
    confirmed: u64,
    /// Ascending in both.
    waiting: VecDeque<(Ticket, u64)>,
}

/// A `basic.ack` to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) tag: u64,
    pub(super) multiple: bool,
    /// How many publishes it answers.
    pub(super) count: u64,
}

impl Confirms {
    /// One more publish; whether it is the first that no entry covers.
    #[inline]
    pub(super) fn publish(&mut self) -> bool {
        self.published += 1;
        self.published == self.staged + 1
    }

    /// Everything published so far is durable with `ticket`.
    pub(super) fn staged(&mut self, ticket: Ticket) {
        self.staged = self.published;
        match self.waiting.back_mut() {
            // Acks are cumulative: whoever comes later waits for the earlier ones too.
            Some(newest) if newest.0 >= ticket => newest.1 = self.published,
            _ => self.waiting.push_back((ticket, self.published)),
        }
    }

    /// What to answer now that everything up to `durable` is on disk.
    pub(super) fn answer(&mut self, durable: Ticket) -> Option<Answer> {
        let before = self.confirmed;
        while let Some(&(ticket, up_to)) = self.waiting.front()
            && ticket <= durable
        {
            self.confirmed = up_to;
            self.waiting.pop_front();
        }
        let count = self.confirmed - before;
        (count > 0).then_some(Answer { tag: self.confirmed, multiple: count > 1, count })
    }

    /// The ticket that answers everything, if something waits.
    pub(super) fn awaits(&self) -> Option<Ticket> {
        self.waiting.back().map(|&(ticket, _)| ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(confirms: &mut Confirms, count: u64, ticket: u64) {
        for _ in 0..count {
            confirms.publish();
        }
        confirms.staged(Ticket(ticket));
    }

    #[test]
    fn one_ack_answers_everything_that_is_durable() {
        let mut confirms = Confirms::default();
        publish(&mut confirms, 3, 5);
        publish(&mut confirms, 2, 6);
        publish(&mut confirms, 1, 9);
        assert_eq!(confirms.answer(Ticket(4)), None);
        assert_eq!(confirms.answer(Ticket(6)), Some(Answer { tag: 5, multiple: true, count: 5 }));
        assert_eq!(confirms.awaits(), Some(Ticket(9)));
        assert_eq!(confirms.answer(Ticket(9)), Some(Answer { tag: 6, multiple: false, count: 1 }));
        assert_eq!(confirms.awaits(), None);
    }

    #[test]
    fn what_need_not_wait_waits_for_what_came_before() {
        let mut confirms = Confirms::default();
        publish(&mut confirms, 1, 5);
        publish(&mut confirms, 1, 0);
        assert_eq!(confirms.answer(Ticket(4)), None);
        assert_eq!(confirms.answer(Ticket(5)), Some(Answer { tag: 2, multiple: true, count: 2 }));
        publish(&mut confirms, 1, 0);
        assert_eq!(confirms.answer(Ticket(5)), Some(Answer { tag: 3, multiple: false, count: 1 }));
    }
}
