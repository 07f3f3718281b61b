//! What is wrong with a history, judged after everything was drained.
//!
//! The promises it holds a broker to:
//!
//! * A confirmed message, or one that came back from disk, is delivered and settled in each of its
//!   queues.
//! * A settled message does not come again, unless the process was killed before the settling was
//!   certainly on disk. It certainly is once a publish is confirmed that was tried after the broker
//!   had taken the settling (whatever it promises to keep is kept in one order), once the
//!   transaction it is part of is committed, or once the broker stops in order.
//! * A message is with one consumer at a time, and is marked as redelivered when it comes again.
//! * A consumer first sees the messages of one channel in the order in which they were published.
//! * A publish to several queues, a transaction, and a dead letter happen as a whole or not at all.
//! * What was purged or deleted stays gone; nothing comes that was not sent.
//!
//! Where the history leaves a doubt, the broker has the benefit of it.

mod copies;
mod facts;
mod lost;
mod queues;
#[cfg(test)]
mod tests;

use self::copies::Copies;
use self::facts::Facts;
use super::history::{Event, Id, Record};
use std::fmt;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Confirmed, and neither settled nor there.
    Lost,
    /// Delivered again after it was settled, or to two at once.
    Duplicated,
    /// First seen out of the order in which it was published.
    Reordered,
    /// Purged, deleted, or settled by a completed transaction, and there again.
    Resurrected,
    /// Never sent to where it was seen, or not as it was seen.
    Invented,
    /// In one of its places and not in another.
    HalfDone,
    /// Not marked as redelivered though it had been delivered.
    WrongFlag,
    /// A connection was ended that had done nothing wrong.
    Cut,
    /// The process ended, or did not start.
    Died,
    /// Nothing went on any more.
    Stuck,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Resurrected => "resurrected",
            Self::Invented => "invented",
            Self::HalfDone => "half-done",
            Self::WrongFlag => "wrong redelivered flag",
            Self::Cut => "connection cut",
            Self::Died => "died",
            Self::Stuck => "stuck",
        })
    }
}

/// One promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which kind.
    pub kind: Kind,
    /// In words.
    pub what: String,
    /// The messages that it is about.
    pub messages: Vec<Id>,
}

impl Violation {
    fn new(kind: Kind, what: String, messages: impl IntoIterator<Item = Id>) -> Self {
        Self { kind, what, messages: messages.into_iter().collect() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.what)
    }
}

/// Everything wrong with `records`, after whose end nothing is left in the broker.
#[must_use]
pub fn check(records: &[Record]) -> Vec<Violation> {
    let facts = Facts::of(records);
    let mut violations = plain_faults(records, &facts);
    let mut copies = Copies::new(&facts);
    for at in in_order_of_processes(records) {
        copies.handle(at, &records[at]);
    }
    violations.append(&mut copies.violations);
    violations.extend(queues::check(records));
    // A broker that has failed was not drained: what it still owes is not known to be missing.
    if !violations.iter().any(|violation| violation.kind == Kind::Died) {
        violations.extend(lost::check(&facts, &copies));
    }
    violations
}

/// What was read late from a process that had ended is sorted to what came from it before.
fn in_order_of_processes(records: &[Record]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by_key(|&at| records[at].epoch);
    order
}

/// What is wrong by itself.
fn plain_faults(records: &[Record], facts: &Facts) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let (kind, what) = match &record.event {
            Event::Cut { why } if !facts.ends_before(record.epoch, at) => {
                (Kind::Cut, format!("channel {}: {why}", record.channel))
            }
            Event::Damaged { queue } => (Kind::Invented, format!("{queue} delivered a damaged body")),
            Event::Died { why } => (Kind::Died, why.clone()),
            Event::Stuck { what } => (Kind::Stuck, what.clone()),
            _ => continue,
        };
        violations.push(Violation::new(kind, format!("{what} (event {at})"), []));
    }
    violations
}
