//! What a run came to.

use super::check::{Kind, Violation};
use super::history::{Event, Id, Record};
use super::inject::Fault;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

/// Lines of history that are shown with a violation, at most.
const LINES_MAX: usize = 300;

/// Violations that are shown of each kind, at most: after the first few, the others mostly follow
/// from them.
const SHOWN_MAX: usize = 4;

/// The sum of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Everything follows from it but the timing.
    pub seed: u64,
    /// Episodes that were driven to their end.
    pub episodes: u32,
    /// Whatever a client tried: publishes, settlings, commits, declares, purges, deletes.
    pub operations: u64,
    /// Publishes tried.
    pub published: u64,
    /// Of these: confirmed, or part of a committed transaction.
    pub confirmed: u64,
    /// Of these: refused by the broker.
    pub refused: u64,
    /// Of these: rolled back, or never committed.
    pub withdrawn: u64,
    /// Of these: the connection ended before an answer.
    pub unknown: u64,
    /// Deliveries, and answers to gets.
    pub delivered: u64,
    /// How often each fault happened.
    pub faults: BTreeMap<Fault, u64>,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// The history of the messages that something is wrong with.
    pub history: Vec<String>,
}

impl Report {
    /// Adds a history to the sum.
    pub(crate) fn count(&mut self, records: &[Record]) {
        let mut transactional = HashSet::new();
        // Publishes of each transaction that is not committed yet.
        let mut open: BTreeMap<u32, (u64, bool)> = BTreeMap::new();
        for Record { channel, event, .. } in records {
            match event {
                Event::Transactional => {
                    transactional.insert(*channel);
                }
                Event::Published { .. } => {
                    self.published += 1;
                    self.operations += 1;
                    if transactional.contains(channel) {
                        open.entry(*channel).or_default().0 += 1;
                    }
                }
                Event::Confirmed { .. } => self.confirmed += 1,
                Event::Refused { .. } => self.refused += 1,
                Event::Delivered { .. } => self.delivered += 1,
                Event::CommitTried => {
                    self.operations += 1;
                    open.entry(*channel).or_default().1 = true;
                }
                Event::Committed => self.confirmed += open.remove(channel).unwrap_or_default().0,
                Event::RolledBack => {
                    self.operations += 1;
                    self.withdrawn += open.remove(channel).unwrap_or_default().0;
                }
                Event::Settled { .. } | Event::DeclareTried { .. } | Event::RemoveTried { .. } => {
                    self.operations += 1;
                }
                _ => {}
            }
        }
        self.withdrawn += open.values().filter(|(_, tried)| !tried).map(|(count, _)| count).sum::<u64>();
        self.unknown = self.published - self.confirmed - self.refused - self.withdrawn;
    }

    /// Keeps what is wrong, and the part of the history that shows it.
    pub(crate) fn keep(&mut self, violations: Vec<Violation>, records: &[Record]) {
        let concerned: BTreeSet<Id> =
            shown(&violations).flat_map(|violation| violation.messages.iter().copied()).collect();
        let matters = |event: &Event| match event {
            Event::Ending { .. } | Event::Fault { .. } | Event::Died { .. } | Event::Stuck { .. } => true,
            event => event.message().is_some_and(|id| concerned.contains(&id)),
        };
        if !violations.is_empty() {
            let lines = records.iter().enumerate().filter(|(_, record)| matters(&record.event));
            self.history.extend(lines.take(LINES_MAX).map(|(at, Record { epoch, channel, event })| {
                format!("event {at}, process {epoch}, channel {channel}: {event:?}")
            }));
        }
        self.violations.extend(violations);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.history {
            writeln!(f, "  {line}")?;
        }
        for violation in shown(&self.violations) {
            writeln!(f, "{violation}")?;
        }
        let faults: Vec<_> = self.faults.iter().map(|(fault, count)| format!("{fault} {count}")).collect();
        writeln!(f, "seed {}, {} episodes, faults: {}", self.seed, self.episodes, faults.join(", "))?;
        writeln!(f, "{} operations, {} deliveries", self.operations, self.delivered)?;
        writeln!(
            f,
            "{} publishes: {} confirmed, {} refused, {} withdrawn, {} unknown",
            self.published, self.confirmed, self.refused, self.withdrawn, self.unknown
        )?;
        let mut kinds: BTreeMap<Kind, u64> = BTreeMap::new();
        for violation in &self.violations {
            *kinds.entry(violation.kind).or_default() += 1;
        }
        let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!(", {kind} {count}")).collect();
        write!(f, "{} violations{}", self.violations.len(), kinds.concat())
    }
}

/// The first few of each kind.
fn shown(violations: &[Violation]) -> impl Iterator<Item = &Violation> {
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    violations.iter().filter(move |violation| {
        let count = counts.entry(violation.kind).or_default();
        *count += 1;
        *count <= SHOWN_MAX
    })
}
