//! Targets to draw one from: each is in as often as it is bound.
//!
//! They lie in an order that is the same after a restart, so that the same number draws the same
//! target then.

use super::RoutingTarget;

/// A set to draw from, in which each member counts as often as it was inserted.
#[derive(Debug)]
pub struct WeightedSet<T> {
    /// Ascending.
    lots: Vec<(u64, T)>,
}

impl<T> Default for WeightedSet<T> {
    fn default() -> Self {
        Self { lots: Vec::new() }
    }
}

impl<T: RoutingTarget> WeightedSet<T> {
    /// Puts `target` in once more.
    pub fn insert(&mut self, target: T) {
        let lot = (target.place(), target);
        let at = self.lots.partition_point(|other| *other < lot);
        self.lots.insert(at, lot);
    }

    /// Takes `target` out once; nothing happens when it is not in.
    pub fn remove(&mut self, target: &T) {
        let place = target.place();
        let found = self.lots.binary_search_by(|(other, held)| (other, held).cmp(&(&place, target)));
        if let Ok(at) = found {
            self.lots.remove(at);
        }
    }

    /// Whether there is more than one to draw.
    pub fn has_choice(&self) -> bool {
        self.lots.len() > 1
    }

    /// What `number` draws, if there is anything; numbers that are spread evenly draw each lot
    /// equally often.
    pub fn draw(&self, number: u64) -> Option<&T> {
        let count = u64::try_from(self.lots.len()).unwrap_or(u64::MAX);
        let at = usize::try_from(number.checked_rem(count)?).ok()?;
        self.lots.get(at).map(|(_, target)| target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lot_is_drawn_as_often_as_it_is_in_whatever_came_first() {
        let drawn = |targets: &[&'static str], removed: &[&'static str]| {
            let mut urn = WeightedSet::default();
            targets.iter().for_each(|target| urn.insert(*target));
            removed.iter().for_each(|target| urn.remove(target));
            (0..6).map(|number| urn.draw(number).copied()).collect::<Vec<_>>()
        };
        let all = drawn(&["a", "b", "b"], &[]);
        assert_eq!(all.iter().filter(|target| **target == Some("b")).count(), 4);
        assert_eq!(all, drawn(&["b", "a", "b"], &[]));
        assert_eq!(all, drawn(&["c", "b", "a", "c", "b", "b"], &["c", "b", "c", "c"]));
        assert_eq!(drawn(&["a"], &["b"]), [Some("a"); 6]);
        assert_eq!(drawn(&["a"], &["a"]), [None; 6]);
    }
}
