//! A direct exchange: the routing key equals the binding key.

use super::multi_set::MultiSet;
use super::shrink;
use std::collections::HashMap;

/// Binding keys and where they lead.
#[derive(Debug)]
pub struct Direct<T> {
    keys: HashMap<Box<[u8]>, MultiSet<T>>,
}

impl<T> Default for Direct<T> {
    fn default() -> Self {
        Self { keys: HashMap::new() }
    }
}

impl<T: Ord> Direct<T> {
    /// Binds `target` with `key`.
    pub fn insert(&mut self, key: &[u8], target: T) {
        if let Some(bag) = self.keys.get_mut(key) {
            bag.insert(target);
        } else {
            self.keys.insert(key.into(), MultiSet::One(target));
        }
    }

    /// Takes one binding of `target` with `key` back.
    pub fn remove(&mut self, key: &[u8], target: &T) {
        if let Some(bag) = self.keys.get_mut(key) {
            bag.remove(target);
            if bag.is_empty() {
                self.keys.remove(key);
                shrink::give_back(&mut self.keys);
            }
        }
    }

    /// Shows where a message with this routing key goes, each target once.
    pub fn route<'a>(&'a self, routing_key: &[u8], visit: impl FnMut(&'a T)) {
        if let Some(bag) = self.keys.get(routing_key) {
            bag.each(visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bindings: &[(&[u8], u32)], removed: &[(&[u8], u32)], key: &[u8], expected: &[u32]) {
        let mut direct = Direct::default();
        for &(key, target) in bindings {
            direct.insert(key, target);
        }
        for (key, target) in removed {
            direct.remove(key, target);
        }
        let mut found = Vec::new();
        direct.route(key, |&target| found.push(target));
        assert_eq!(found, expected, "{bindings:?} without {removed:?} for {key:?}");
    }

    #[test]
    fn keys_are_compared_byte_for_byte() {
        check(&[(b"a", 1), (b"a", 2), (b"b", 3)], &[], b"a", &[1, 2]);
        check(&[(b"a", 1)], &[], b"A", &[]);
        check(&[(b"a.*", 1), (b"#", 2)], &[], b"a.b", &[]);
        check(&[(b"\xff\x00", 1)], &[], b"\xff\x00", &[1]);
        check(&[(b"", 1)], &[], b"", &[1]);
    }

    #[test]
    fn an_unbound_target_gets_nothing() {
        check(&[(b"a", 1), (b"a", 2)], &[(b"a", 1)], b"a", &[2]);
        check(&[(b"a", 1)], &[(b"a", 1)], b"a", &[]);
        check(&[(b"a", 1)], &[(b"b", 1), (b"a", 2)], b"a", &[1]);
        check(&[(b"a", 1), (b"a", 1)], &[(b"a", 1)], b"a", &[1]);
    }
}
