//! `--confirm N`: which publishes are not confirmed yet, and how many more may be sent.
//!
//! Brokers confirm mostly in order and many at a time, so what is remembered is the first number
//! not confirmed and, rarely, numbers confirmed ahead of it.

use std::collections::BTreeSet;

use crate::perf::error::PerfError;

/// The unconfirmed publishes of one channel; numbers begin at 1 as the broker's do.
#[derive(Debug)]
pub struct Window {
    limit: u64,
    /// Lowest number not confirmed.
    base: u64,
    /// Number of the next publish.
    next: u64,
    /// Numbers above `base` that are confirmed.
    early: BTreeSet<u64>,
}

impl Window {
    /// Room for `limit` unconfirmed publishes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit, base: 1, next: 1, early: BTreeSet::new() }
    }

    /// How many publishes are not confirmed.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.next - self.base - self.early.len() as u64
    }

    /// How many publishes may be sent now.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.limit - self.outstanding()
    }

    /// Notes that `count` messages were published, at most [`Self::free`] many.
    pub fn publish(&mut self, count: u64) {
        assert!(count <= self.free(), "more published than the window has room for");
        self.next += count;
    }

    /// Takes a confirm; returns how many publishes it settles.
    ///
    /// # Errors
    ///
    /// [`PerfError::Protocol`] when it names one that is not outstanding.
    pub fn settle(&mut self, tag: u64, multiple: bool) -> Result<u64, PerfError> {
        if tag < self.base || tag >= self.next || (!multiple && self.early.contains(&tag)) {
            return Err(PerfError::Protocol(format!("a confirm of {tag}, which is not outstanding")));
        }
        let before = self.outstanding();
        if multiple {
            self.base = tag + 1;
            self.early = self.early.split_off(&self.base);
        } else {
            self.early.insert(tag);
        }
        while self.early.first() == Some(&self.base) {
            self.early.pop_first();
            self.base += 1;
        }
        Ok(before - self.outstanding())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiple_settles_all_up_to_the_tag() {
        let mut window = Window::new(10);
        window.publish(10);
        assert_eq!(window.free(), 0);
        assert_eq!(window.settle(4, true).unwrap(), 4);
        assert_eq!(window.settle(5, false).unwrap(), 1);
        assert_eq!((window.outstanding(), window.free()), (5, 5));
        window.publish(5);
        assert_eq!(window.settle(15, true).unwrap(), 10);
        assert_eq!(window.outstanding(), 0);
    }

    #[test]
    fn confirms_come_in_any_order() {
        let mut window = Window::new(6);
        window.publish(6);
        assert_eq!(window.settle(3, false).unwrap(), 1);
        assert_eq!(window.settle(5, false).unwrap(), 1);
        assert_eq!(window.free(), 2);
        assert_eq!(window.settle(4, true).unwrap(), 3, "1, 2 and 4: 3 was confirmed before");
        assert_eq!(window.outstanding(), 1, "6; 5 was confirmed before");
        assert_eq!(window.settle(6, true).unwrap(), 1);
        assert_eq!(window.free(), 6);
    }

    #[test]
    fn a_window_of_one_is_one_at_a_time() {
        let mut window = Window::new(1);
        for tag in 1..=100 {
            assert_eq!(window.free(), 1);
            window.publish(1);
            assert_eq!(window.free(), 0);
            assert_eq!(window.settle(tag, tag % 2 == 0).unwrap(), 1);
        }
    }

    #[test]
    fn a_confirm_of_what_is_not_outstanding_is_the_brokers_fault() {
        let mut window = Window::new(5);
        window.publish(3);
        window.settle(2, false).unwrap();
        for (tag, multiple) in [(0, true), (2, false), (4, false), (9, true)] {
            assert!(window.settle(tag, multiple).is_err(), "{tag} {multiple}");
        }
        window.settle(1, false).unwrap();
        assert!(window.settle(1, false).is_err());
        assert_eq!(window.outstanding(), 1);
    }
}
