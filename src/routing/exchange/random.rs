//! `x-random`: chance chooses one of the bindings (RabbitMQ: plugin `rabbitmq_random_exchange`).
//!
//! Every binding counts, so a queue that is bound twice has two shares; keys mean nothing beyond
//! that. The draws are a counter and a hash, begun somewhere else in each exchange and each
//! process.

use super::RoutingTarget;
use super::hash::mix;
use super::weighted_set::WeightedSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Everything that is bound.
#[derive(Debug)]
pub struct Random<T> {
    urn: WeightedSet<T>,
    next: AtomicU64,
}

impl<T> Default for Random<T> {
    fn default() -> Self {
        Self { urn: WeightedSet::default(), next: AtomicU64::new(RandomState::new().hash_one(0)) }
    }
}

impl<T: RoutingTarget> Random<T> {
    /// Binds `target`.
    pub fn insert(&mut self, target: T) {
        self.urn.insert(target);
    }

    /// Takes one binding of `target` back.
    pub fn remove(&mut self, target: &T) {
        self.urn.remove(target);
    }

    /// Whether there is anything to choose.
    pub fn has_choice(&self) -> bool {
        self.urn.has_choice()
    }

    /// Shows where the next message goes.
    pub fn route<'a>(&'a self, visit: impl FnMut(&'a T)) {
        let number = mix(self.next.fetch_add(1, Ordering::Relaxed));
        self.urn.draw(number).into_iter().for_each(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_binding_is_drawn_about_equally_often() {
        let mut exchange = Random::default();
        ["a", "b", "c", "b"].into_iter().for_each(|target| exchange.insert(target));
        let mut found = Vec::new();
        (0..10_000).for_each(|_| exchange.route(|target| found.push(*target)));
        assert_eq!(found.len(), 10_000);
        for (target, expected) in [("a", 2500), ("b", 5000), ("c", 2500)] {
            let count = found.iter().filter(|drawn| **drawn == target).count();
            assert!(count.abs_diff(expected) < 350, "{target}: {count}");
        }
        let again = found.windows(2).filter(|two| two[0] == two[1]).count();
        assert!(again.abs_diff(3750) < 400, "one draw says nothing of the next: {again}");
    }

    #[test]
    fn without_a_choice_there_is_none() {
        let mut exchange = Random::default();
        exchange.route(|_: &&str| panic!("nothing is bound"));
        exchange.insert("a");
        assert!(!exchange.has_choice());
        let mut found = Vec::new();
        exchange.route(|target| found.push(*target));
        assert_eq!(found, ["a"]);
    }
}
