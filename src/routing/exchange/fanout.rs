//! A fanout exchange: every message goes to everything that is bound.

use super::multi_set::MultiSet;

/// Everything that is bound.
#[derive(Debug)]
pub struct Fanout<T> {
    all: MultiSet<T>,
}

impl<T> Default for Fanout<T> {
    fn default() -> Self {
        Self { all: MultiSet::Empty }
    }
}

impl<T: Ord> Fanout<T> {
    /// Binds `target`.
    pub fn insert(&mut self, target: T) {
        self.all.insert(target);
    }

    /// Takes one binding of `target` back.
    pub fn remove(&mut self, target: &T) {
        self.all.remove(target);
    }

    /// Shows where a message goes, each target once.
    pub fn route<'a>(&'a self, visit: impl FnMut(&'a T)) {
        self.all.each(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_gets_a_message_once() {
        let mut fanout = Fanout::default();
        for target in [5, 4, 5, 6] {
            fanout.insert(target);
        }
        fanout.remove(&5);
        fanout.remove(&6);
        let mut found = Vec::new();
        fanout.route(|&target| found.push(target));
        assert_eq!(found, [4, 5], "5 was bound twice and unbound once");
    }
}
