//! Whom letters wait behind: what waits for a queue or a route is not overtaken by what comes after
//! it.

use crate::ids::QueueId;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many destinations without a route are told apart; of more it is only known that there are
/// some, and all letters wait for them.
const UNROUTED_MAX: usize = 256;

/// To where a letter is sent: its exchange and its routing keys. Two that are taken for the same
/// wait for each other, which costs a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Destination(u64);

impl Destination {
    pub(crate) fn of(exchange: &str, keys: &[&[u8]]) -> Self {
        let mut hasher = DefaultHasher::new();
        (exchange, keys).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Where letters were to go that are parked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    /// These queues refused some: what comes after them waits.
    refused_by: Vec<QueueId>,
    /// There was no route to these by the topology with that revision. Once it has another there
    /// may be one; what comes later and finds it waits.
    unrouted: BTreeMap<Destination, u64>,
    /// The same of others, the oldest revision of all.
    unrouted_others: Option<u64>,
}

impl Waiting {
    /// That queue has refused a letter.
    pub(crate) fn refuse(&mut self, queue: QueueId) {
        if !self.is_refused(queue) {
            self.refused_by.push(queue);
        }
    }

    /// Whether letters wait for that queue.
    pub(crate) fn is_refused(&self, queue: QueueId) -> bool {
        self.refused_by.contains(&queue)
    }

    /// There is no route to there by the topology with that revision.
    pub(crate) fn strand(&mut self, destination: Destination, revision: u64) {
        if self.unrouted.len() < UNROUTED_MAX || self.unrouted.contains_key(&destination) {
            self.unrouted.entry(destination).or_insert(revision);
        } else {
            self.strand_others(revision);
        }
    }

    /// Whether letters wait for a route to there that may have appeared with that revision.
    pub(crate) fn is_stranded(&self, destination: Destination, revision: u64) -> bool {
        let of_others = || self.unrouted_others.as_ref();
        self.unrouted.get(&destination).or_else(of_others).is_some_and(|&before| before != revision)
    }

    /// Takes in what is known of others.
    pub(super) fn add(&mut self, other: &Self) {
        other.refused_by.iter().for_each(|&queue| self.refuse(queue));
        other.unrouted.iter().for_each(|(&destination, &revision)| self.strand(destination, revision));
        other.unrouted_others.into_iter().for_each(|revision| self.strand_others(revision));
    }

    fn strand_others(&mut self, revision: u64) {
        let oldest = self.unrouted_others.map_or(revision, |before| before.min(revision));
        self.unrouted_others = Some(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(key: u32) -> Destination {
        Destination::of("e", &[&key.to_be_bytes()])
    }

    #[test]
    fn what_finds_a_route_waits_for_what_did_not_and_for_nothing_else() {
        let mut waiting = Waiting::default();
        waiting.strand(to(1), 5);
        waiting.strand(to(1), 6);
        assert!(!waiting.is_stranded(to(1), 5), "other headers may have a route");
        assert!(waiting.is_stranded(to(1), 6) && !waiting.is_stranded(to(2), 6));
        assert!(!waiting.is_stranded(Destination::of("f", &[&1_u32.to_be_bytes()]), 6));
        let mut all = Waiting::default();
        all.add(&waiting);
        assert!(all.is_stranded(to(1), 6));
    }

    #[test]
    fn of_many_destinations_it_is_only_known_that_there_are_some() {
        let mut waiting = Waiting::default();
        for (key, revision) in (0..).zip(5..).take(UNROUTED_MAX + 2) {
            waiting.strand(to(key), revision);
        }
        assert!(waiting.unrouted.len() == UNROUTED_MAX);
        assert!(waiting.is_stranded(to(9999), 6) && waiting.is_stranded(to(9999), 5));
    }
}
