//! What the broker owes after everything that was tried, confirmed, delivered and settled.
//!
//! It keeps three kinds of messages apart: confirmed ones must be delivered and settled in each of their queues;
//! those that were tried and never confirmed may be; nothing else may appear.

use std::collections::{BTreeMap, BTreeSet};

/// A message: its publisher, and its number there.
pub(super) type Id = (u16, u64);

/// The queue whose refused messages become dead letters, and the queue that they go to.
pub(super) const WORK: &str = "work";
pub(super) const DEAD: &str = "dead";

/// One in so many messages is refused by those who work on [`WORK`].
const REFUSED: u64 = 5;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// Every message that a publisher began to send, and the queues it is for.
    tried: BTreeMap<Id, &'static [&'static str]>,
    queues: BTreeMap<&'static str, Seen>,
    /// What must still be settled, and where.
    owed: BTreeSet<(&'static str, Id)>,
    confirmed: u64,
    /// What went wrong.
    pub(super) faults: Vec<String>,
}

/// What was seen of one queue.
#[derive(Debug, Default)]
struct Seen {
    delivered: BTreeSet<Id>,
    settled: BTreeSet<Id>,
    /// The newest number of each publisher.
    newest: BTreeMap<u16, u64>,
}

/// Whether a worker refuses this message.
pub(super) fn is_refused(queue: &str, id: Id) -> bool {
    queue == WORK && id.1.is_multiple_of(REFUSED)
}

/// Where a message that is published to `queue` ends.
fn last_queue(queue: &'static str, id: Id) -> &'static str {
    if is_refused(queue, id) { DEAD } else { queue }
}

impl Oracle {
    pub(super) fn tried(&mut self, id: Id, queues: &'static [&'static str]) {
        self.tried.insert(id, queues);
    }

    /// The broker confirmed it.
    pub(super) fn confirmed(&mut self, id: Id) {
        for queue in self.tried.get(&id).copied().unwrap_or_default() {
            let queue = last_queue(queue, id);
            if !self.queues.entry(queue).or_default().settled.contains(&id) {
                self.owed.insert((queue, id));
            }
        }
        self.confirmed += 1;
    }

    pub(super) fn confirmed_count(&self) -> u64 {
        self.confirmed
    }

    pub(super) fn delivered(&mut self, queue: &'static str, id: Id, redelivered: bool) {
        let dead = queue == DEAD;
        let origin = if dead { WORK } else { queue };
        let expected = self.tried.get(&id).is_some_and(|queues| queues.contains(&origin));
        if !expected || (dead && !is_refused(WORK, id)) {
            self.faults.push(format!("{queue} delivered {id:?}, which nobody sent there"));
        }
        let seen = self.queues.entry(queue).or_default();
        // A dead letter is a new message each time its first self dies; a crash may take it back to life.
        if dead {
            seen.delivered.insert(id);
        } else if seen.delivered.insert(id) {
            let newest = seen.newest.insert(id.0, id.1);
            if newest.is_some_and(|newest| newest > id.1) {
                self.faults.push(format!("{queue} delivered {id:?} after {newest:?} of the same publisher"));
            }
        } else if !redelivered {
            self.faults.push(format!("{queue} delivered {id:?} again without saying so"));
        }
    }

    /// It was acknowledged, or refused for good.
    pub(super) fn settled(&mut self, queue: &'static str, id: Id) {
        self.queues.entry(queue).or_default().settled.insert(id);
        self.owed.remove(&(queue, id));
    }

    /// A message is there after a clean stop, without which nothing settled may come back.
    pub(super) fn left(&mut self, queue: &'static str, id: Id) {
        if self.queues.entry(queue).or_default().settled.contains(&id) {
            self.faults.push(format!("{queue} kept {id:?}, which was settled before a clean stop"));
        }
    }

    pub(super) fn owes_nothing(&self) -> bool {
        self.owed.is_empty()
    }

    /// Everything wrong so far, and what is still owed.
    pub(super) fn verdict(&self) -> Result<(), String> {
        if self.faults.is_empty() && self.owed.is_empty() {
            return Ok(());
        }
        let lost: Vec<_> = self.owed.iter().take(10).collect();
        let faults = &self.faults[..self.faults.len().min(10)];
        Err(format!(
            "of {} confirmed messages {} are lost: {lost:?} ...; {} other faults: {faults:#?} ...",
            self.confirmed,
            self.owed.len(),
            self.faults.len()
        ))
    }
}

#[test]
fn the_oracle_tells_right_from_wrong() {
    let check = |want: Option<&str>, story: fn(&mut Oracle)| {
        let mut oracle = Oracle::default();
        for number in 1..=5 {
            oracle.tried((0, number), &["a", WORK]);
        }
        story(&mut oracle);
        match (want, oracle.verdict()) {
            (None, Ok(())) => {}
            (Some(want), Err(verdict)) if verdict.contains(want) => {}
            (want, verdict) => panic!("expected {want:?}, got {verdict:?}"),
        }
    };
    let whole = |oracle: &mut Oracle, id| {
        oracle.confirmed(id);
        for queue in ["a", WORK] {
            oracle.delivered(queue, id, false);
            oracle.settled(queue, id);
        }
    };
    check(None, |oracle| {
        oracle.delivered("a", (0, 1), false);
        oracle.delivered("a", (0, 1), true);
    });
    check(Some("1 are lost"), |oracle| {
        oracle.confirmed((0, 1));
        oracle.settled("a", (0, 1));
    });
    check(Some("nobody sent"), |oracle| oracle.delivered("a", (1, 1), false));
    check(Some("nobody sent"), |oracle| oracle.delivered(DEAD, (0, 1), false));
    check(Some("after Some(2)"), |oracle| {
        [2, 1].into_iter().for_each(|n| oracle.delivered("a", (0, n), false))
    });
    check(Some("again without"), |oracle| (0..2).for_each(|_| oracle.delivered("a", (0, 1), false)));
    check(Some("was settled before"), |oracle| {
        oracle.settled("a", (0, 1));
        oracle.left("a", (0, 1));
    });
    let mut oracle = Oracle::default();
    oracle.tried((0, 5), &["a", WORK]);
    whole(&mut oracle, (0, 5));
    assert!(!oracle.owes_nothing(), "a refused message is owed to the dead letters");
    oracle.delivered(DEAD, (0, 5), false);
    oracle.settled(DEAD, (0, 5));
    assert_eq!(oracle.verdict(), Ok(()));
}
