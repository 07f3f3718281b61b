//! `x-modulus-hash`: the hash of the routing key chooses one of the bindings (RabbitMQ:
//! exchanges.md).
//!
//! Every binding counts, so a queue that is bound twice has two shares; binding keys mean nothing
//! beyond that. Most keys move when a binding comes or goes: [`super::consistent_hash`] is for
//! those who mind.

use super::RoutingTarget;
use super::hash::hash;
use super::weighted_set::WeightedSet;

/// Everything that is bound.
#[derive(Debug)]
pub struct ModulusHash<T> {
    urn: WeightedSet<T>,
}

impl<T> Default for ModulusHash<T> {
    fn default() -> Self {
        Self { urn: WeightedSet::default() }
    }
}

impl<T: RoutingTarget> ModulusHash<T> {
    /// Binds `target`.
    pub fn insert(&mut self, target: T) {
        self.urn.insert(target);
    }

    /// Takes one binding of `target` back.
    pub fn remove(&mut self, target: &T) {
        self.urn.remove(target);
    }

    /// Shows where a message with this routing key goes.
    pub fn route<'a>(&'a self, routing_key: &[u8], visit: impl FnMut(&'a T)) {
        self.urn.draw(hash(routing_key)).into_iter().for_each(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(bindings: &[&'static str]) -> Vec<(&'static str, usize)> {
        let mut exchange = ModulusHash::default();
        bindings.iter().for_each(|target| exchange.insert(*target));
        let mut found = Vec::new();
        for key in 0..10_000 {
            exchange.route(format!("key-{key}").as_bytes(), |target| found.push(*target));
        }
        let count = |wanted| found.iter().filter(|target| **target == wanted).count();
        ["a", "b", "c"].map(|target| (target, count(target))).to_vec()
    }

    #[test]
    fn a_key_has_one_queue_and_a_queue_as_many_shares_as_bindings() {
        let shares = shares(&["a", "b", "c", "b"]);
        assert_eq!(shares.iter().map(|(_, count)| count).sum::<usize>(), 10_000);
        for ((target, count), expected) in shares.into_iter().zip([2500, 5000, 2500]) {
            assert!(count.abs_diff(expected) < 250, "{target}: {count}");
        }
    }

    #[test]
    fn the_order_of_binding_plays_no_part() {
        assert_eq!(shares(&["a", "b", "c"]), shares(&["c", "a", "b"]));
        assert_eq!(shares(&[]), [("a", 0), ("b", 0), ("c", 0)]);
    }
}
