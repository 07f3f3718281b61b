//! Where one key leads: a set that counts how often each member was put in.
//!
//! Two bindings may differ in their arguments alone; the target stays until both are gone. Most
//! keys have one target and some have thousands, so one costs no allocation and many cost no linear
//! search.

use crate::blocking;
use std::collections::BTreeMap;

/// A set that counts how often each member was inserted.
#[derive(Debug, Default)]
pub enum MultiSet<T> {
    /// Nothing.
    #[default]
    Empty,
    /// One target, put in once.
    One(T),
    /// Anything else, with how often each target was put in.
    Many(BTreeMap<T, u32>),
}

impl<T: Ord> MultiSet<T> {
    /// Puts `target` in once more.
    pub fn insert(&mut self, target: T) {
        *self = match std::mem::take(self) {
            Self::Empty => Self::One(target),
            Self::One(first) => {
                let mut many = BTreeMap::from([(first, 1)]);
                *many.entry(target).or_insert(0) += 1;
                Self::Many(many)
            }
            Self::Many(mut many) => {
                *many.entry(target).or_insert(0) += 1;
                Self::Many(many)
            }
        };
    }

    /// Takes `target` out once; nothing happens when it is not in.
    pub fn remove(&mut self, target: &T) {
        match self {
            Self::Empty => {}
            Self::One(only) => {
                if only == target {
                    *self = Self::Empty;
                }
            }
            Self::Many(many) => {
                if let Some(count) = many.get_mut(target) {
                    *count -= 1;
                    if *count == 0 {
                        many.remove(target);
                    }
                }
                if many.is_empty() {
                    *self = Self::Empty;
                }
            }
        }
    }

    /// Whether nothing is in.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Shows each target once.
    pub fn each<'a>(&'a self, mut visit: impl FnMut(&'a T)) {
        match self {
            Self::Empty => {}
            Self::One(only) => visit(only),
            Self::Many(many) => blocking::run_many(many.len(), || many.keys().for_each(visit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_stays_until_it_was_taken_out_as_often_as_put_in() {
        let members = |bag: &MultiSet<u32>| {
            let mut all = Vec::new();
            bag.each(|&target| all.push(target));
            all
        };
        let mut bag = MultiSet::default();
        for target in [7, 7, 3] {
            bag.insert(target);
        }
        assert_eq!(members(&bag), [3, 7]);
        bag.remove(&7);
        bag.remove(&9);
        assert_eq!(members(&bag), [3, 7]);
        bag.remove(&7);
        assert_eq!(members(&bag), [3]);
        bag.remove(&3);
        assert!(bag.is_empty());
    }
}
