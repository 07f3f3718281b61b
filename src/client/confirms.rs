//! Publisher confirms of one channel (RabbitMQ: confirms.md).
//!
//! Each read's publishes are one entry: "up to this number, with that ticket". A ticket that is
//! durable answers everything up to its number with one
//! `basic.ack(multiple)`. What a queue refused waits for nothing: it is answered with `basic.nack`
//! as soon as the queue has spoken, though older publishes may still wait for the disk. Every
//! publish is answered once, and `multiple` is set only where everything up to the tag has the same
//! answer or had one before; in RabbitMQ too nacks overtake acks.

use crate::ids::Ticket;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

/// The outstanding publisher confirms of one channel (RabbitMQ: confirms.md).
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    /// The number of the newest publish; the first one is 1.
    published: u64,
    /// Up to here they are covered by an entry, or confirmed.
    staged: u64,
    /// Everything up to here is answered.
    answered: u64,
    /// Ascending in both.
    waiting: VecDeque<(Ticket, u64)>,
    /// Refused, and not answered yet.
    refused: Vec<RangeInclusive<u64>>,
    /// Answered above `answered`: the last number by the first.
    overtook: BTreeMap<u64, u64>,
}

/// What became of publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A `basic.ack`.
    Taken,
    /// A `basic.nack`.
    Refused,
}

/// An answer to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) tag: u64,
    pub(crate) multiple: bool,
    /// How many publishes it answers.
    pub(crate) count: u64,
}

impl Answer {
    /// All of these; everything before them is answered.
    fn all(verdict: Verdict, numbers: RangeInclusive<u64>) -> Self {
        let (first, tag) = numbers.into_inner();
        let count = tag + 1 - first;
        Self { verdict, tag, multiple: count > 1, count }
    }
}

impl Confirms {
    /// One more publish; whether it is the first that no entry covers.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        self.published += 1;
        self.published == self.staged + 1
    }

    /// The number of the newest publish.
    pub(crate) fn newest(&self) -> u64 {
        self.published
    }

    /// Everything published so far is durable with `ticket`.
    pub(crate) fn staged(&mut self, ticket: Ticket) {
        self.staged = self.published;
        match self.waiting.back_mut() {
            // Acks are cumulative: whoever comes later waits for the earlier ones too.
            Some(newest) if newest.0 >= ticket => newest.1 = self.published,
            _ => self.waiting.push_back((ticket, self.published)),
        }
    }

    /// These publishes, which are not answered yet, were refused.
    pub(crate) fn refuse(&mut self, numbers: RangeInclusive<u64>) {
        self.refused.push(numbers);
    }

    /// What to answer now that everything up to `durable` is on disk.
    pub(crate) fn answer(&mut self, durable: Ticket, mut say: impl FnMut(Answer)) {
        let mut up_to = self.answered;
        while let Some(&(ticket, number)) = self.waiting.front()
            && ticket <= durable
        {
            up_to = number;
            self.waiting.pop_front();
        }
        if !self.refused.is_empty() || !self.overtook.is_empty() {
            self.answer_in_parts(up_to, say);
        } else if up_to > self.answered {
            say(Answer::all(Verdict::Taken, self.answered + 1..=up_to));
            self.answered = up_to;
        }
    }

    /// As [`Confirms::answer`], where some were refused: everything up to `up_to`, and what is
    /// refused after that.
    #[cold]
    fn answer_in_parts(&mut self, up_to: u64, mut say: impl FnMut(Answer)) {
        let old = std::mem::take(&mut self.overtook).into_iter().map(|(first, last)| (first..=last, false));
        let new = self.refused.drain(..).map(|numbers| (numbers, true));
        let mut parts: Vec<_> = old.chain(new).collect();
        parts.sort_unstable_by_key(|(numbers, _)| *numbers.start());
        parts.dedup_by(|(next, next_is_new), (numbers, is_new)| {
            let joined = is_new == next_is_new && numbers.end() + 1 == *next.start();
            if joined {
                *numbers = *numbers.start()..=*next.end();
            }
            joined
        });
        for (numbers, is_new) in parts {
            let (first, last) = (*numbers.start(), *numbers.end());
            if first <= up_to && first > self.answered + 1 {
                say(Answer::all(Verdict::Taken, self.answered + 1..=first - 1));
                self.answered = first - 1;
            }
            if first == self.answered + 1 {
                if is_new {
                    say(Answer::all(Verdict::Refused, numbers));
                }
                self.answered = last;
                continue;
            }
            if is_new {
                numbers.for_each(|number| say(Answer::all(Verdict::Refused, number..=number)));
            }
            match self.overtook.last_entry() {
                Some(mut before) if *before.get() + 1 == first => *before.get_mut() = last,
                _ => drop(self.overtook.insert(first, last)),
            }
        }
        if up_to > self.answered {
            say(Answer::all(Verdict::Taken, self.answered + 1..=up_to));
            self.answered = up_to;
        }
    }

    /// How many publishes are not answered.
    pub(crate) fn unanswered(&self) -> u64 {
        let overtook: u64 = self.overtook.iter().map(|(first, last)| last + 1 - first).sum();
        self.published - self.answered - overtook
    }

    /// The ticket that answers everything, if something waits.
    pub(crate) fn awaits(&self) -> Option<Ticket> {
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

    /// What is answered: `+` for taken and `-` for refused, the tag, `*` for multiple.
    #[track_caller]
    fn check(confirms: &mut Confirms, durable: u64, expected: &str) {
        let mut said = Vec::new();
        let mut count = 0;
        confirms.answer(Ticket(durable), |answer| {
            let sign = if answer.verdict == Verdict::Taken { '+' } else { '-' };
            let multiple = if answer.multiple { "*" } else { "" };
            said.push(format!("{sign}{}{multiple}", answer.tag));
            assert_eq!(answer.count > 1, answer.multiple);
            count += answer.count;
        });
        assert_eq!(said.join(" "), expected);
        let unanswered = confirms.waiting.back().map_or(confirms.answered, |&(_, up_to)| up_to);
        assert!(confirms.answered <= unanswered);
    }

    #[test]
    fn one_ack_answers_everything_that_is_durable() {
        let mut confirms = Confirms::default();
        publish(&mut confirms, 3, 5);
        publish(&mut confirms, 2, 6);
        publish(&mut confirms, 1, 9);
        check(&mut confirms, 4, "");
        check(&mut confirms, 6, "+5*");
        assert_eq!(confirms.awaits(), Some(Ticket(9)));
        check(&mut confirms, 9, "+6");
        assert_eq!(confirms.awaits(), None);
    }

    #[test]
    fn what_need_not_wait_waits_for_what_came_before() {
        let mut confirms = Confirms::default();
        publish(&mut confirms, 1, 5);
        publish(&mut confirms, 1, 0);
        check(&mut confirms, 4, "");
        check(&mut confirms, 5, "+2*");
        publish(&mut confirms, 1, 0);
        check(&mut confirms, 5, "+3");
    }

    #[test]
    fn what_is_refused_is_answered_in_its_turn() {
        let mut confirms = Confirms::default();
        confirms.refuse(4..=6);
        confirms.refuse(1..=2);
        confirms.refuse(8..=8);
        publish(&mut confirms, 9, 0);
        check(&mut confirms, 0, "-2* +3 -6* +7 -8 +9");
        confirms.refuse(10..=12);
        publish(&mut confirms, 3, 0);
        check(&mut confirms, 0, "-12*");
        assert_eq!(confirms.awaits(), None);
    }

    #[test]
    fn what_is_refused_does_not_wait_for_the_disk() {
        let mut confirms = Confirms::default();
        confirms.refuse(2..=3);
        publish(&mut confirms, 4, 5);
        check(&mut confirms, 4, "-2 -3");
        confirms.refuse(5..=5);
        publish(&mut confirms, 1, 0);
        check(&mut confirms, 4, "-5");
        confirms.refuse(7..=7);
        publish(&mut confirms, 2, 6);
        check(&mut confirms, 4, "-7");
        check(&mut confirms, 5, "+1 +4");
        check(&mut confirms, 5, "");
        check(&mut confirms, 6, "+6");
        publish(&mut confirms, 2, 7);
        check(&mut confirms, 7, "+9*");
    }

    #[test]
    fn every_publish_is_answered_once() {
        // Four bits for each of three reads: which of four publishes are refused. Tickets become
        // durable afterwards.
        for bits in 0..1_u32 << 12 {
            let mut confirms = Confirms::default();
            let mut answers: BTreeMap<u64, Verdict> = BTreeMap::new();
            let mut answer = |confirms: &mut Confirms, durable| {
                confirms.answer(Ticket(durable), |answer| {
                    let first = if answer.multiple { 1 } else { answer.tag };
                    let open: Vec<_> =
                        (first..=answer.tag).filter(|tag| !answers.contains_key(tag)).collect();
                    assert_eq!(open.len() as u64, answer.count, "{bits:b}");
                    answers.extend(open.into_iter().map(|tag| (tag, answer.verdict)));
                });
            };
            for read in 0..3 {
                for number in (1..=4).map(|nth| read * 4 + nth) {
                    if bits >> (number - 1) & 1 == 1 {
                        confirms.refuse(number..=number);
                    }
                }
                publish(&mut confirms, 4, read + 1);
                answer(&mut confirms, read / 2);
            }
            answer(&mut confirms, 3);
            for number in 1..=12 {
                let refused = bits >> (number - 1) & 1 == 1;
                let expected = if refused { Verdict::Refused } else { Verdict::Taken };
                assert_eq!(answers.get(&number), Some(&expected), "{number} of {bits:b}");
            }
        }
    }
}
