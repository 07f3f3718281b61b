//! What the threads of a run share: how far it is, and how much each has done.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use crate::clock;
use crate::perf::inbox::STAMP_BYTES;

/// Bits of a stamp that hold the time: microseconds of almost nine years.
const TIME_BITS: u32 = 48;

/// How far a run is. It only ever goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Everybody gets going.
    Warming,
    /// What happens counts.
    Measuring,
    /// Producers stop and wait for what is not confirmed; consumers go on.
    Draining,
    /// Everybody stops.
    Over,
}

/// The shared state of a run. Nothing is ordered by it, so that all accesses are relaxed.
#[derive(Debug)]
pub struct Run {
    phase: AtomicU8,
    /// Producers that are not done.
    producing: AtomicUsize,
    /// Tells this run's stamps from those of an earlier one whose messages still wait in the queue.
    nonce: u64,
}

impl Run {
    /// A run of so many producers that warms up; `nonce` should differ from run to run.
    #[must_use]
    pub fn new(producers: usize, nonce: u16) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Warming as u8),
            producing: AtomicUsize::new(producers),
            nonce: u64::from(nonce),
        }
    }

    /// Notes that a producer is done.
    pub fn leave(&self) {
        self.producing.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a producer is not done.
    #[must_use]
    pub fn producing(&self) -> bool {
        self.producing.load(Ordering::Relaxed) > 0
    }

    /// Goes on to this phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }

    /// Whether the run has come to this phase.
    #[must_use]
    pub fn reached(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) >= phase as u8
    }

    /// Whether what happens now counts.
    #[must_use]
    pub fn measuring(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == Phase::Measuring as u8
    }

    /// What the body of a message sent now begins with.
    #[must_use]
    pub fn stamp(&self, now_us: u64) -> [u8; STAMP_BYTES] {
        (self.nonce << TIME_BITS | now_us & ((1 << TIME_BITS) - 1)).to_be_bytes()
    }

    /// How old a message is, when its stamp is of this run.
    #[must_use]
    pub fn age_us(&self, stamp: [u8; STAMP_BYTES], now_us: u64) -> Option<u64> {
        let stamp = u64::from_be_bytes(stamp);
        let sent_us = stamp & ((1 << TIME_BITS) - 1);
        if stamp >> TIME_BITS == self.nonce { now_us.checked_sub(sent_us) } else { None }
    }
}

/// What one worker has done: written by it alone, read by the conductor; on a cache line of its
/// own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Tally {
    done: AtomicU64,
    refused: AtomicU64,
    last_us: AtomicU64,
}

impl Tally {
    /// Notes that this many messages were published (and confirmed, where that is asked for) or
    /// consumed.
    pub fn add(&self, count: u64) {
        if count > 0 {
            self.done.fetch_add(count, Ordering::Relaxed);
            self.touch();
        }
    }

    /// Notes that the broker refused this many publishes.
    pub fn refuse(&self, count: u64) {
        if count > 0 {
            self.refused.fetch_add(count, Ordering::Relaxed);
            self.touch();
        }
    }

    /// Notes that the work so far was done only now.
    pub fn touch(&self) {
        self.last_us.store(clock::mono_us(), Ordering::Relaxed);
    }
}

/// The sum of some workers' tallies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Messages published or consumed.
    pub done: u64,
    /// Publishes that the broker refused.
    pub refused: u64,
    /// When the last of it happened, in `mono_us`; 0 when nothing did.
    pub last_us: u64,
}

impl Sum {
    /// Adds up.
    #[must_use]
    pub fn of(tallies: &[Tally]) -> Self {
        tallies.iter().fold(Self::default(), |sum, tally| Self {
            done: sum.done + tally.done.load(Ordering::Relaxed),
            refused: sum.refused + tally.refused.load(Ordering::Relaxed),
            last_us: sum.last_us.max(tally.last_us.load(Ordering::Relaxed)),
        })
    }

    /// All messages that were dealt with, one way or the other.
    #[must_use]
    pub fn all(self) -> u64 {
        self.done + self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_go_forward() {
        let run = Run::new(1, 1);
        run.enter(Phase::Measuring);
        assert!(run.measuring() && !run.reached(Phase::Draining));
        run.enter(Phase::Over);
        run.enter(Phase::Draining);
        assert!(run.reached(Phase::Over));
    }

    #[test]
    fn only_stamps_of_this_run_have_an_age() {
        let (run, earlier) = (Run::new(1, 7), Run::new(1, 8));
        assert_eq!(run.age_us(run.stamp(1_000), 1_250), Some(250));
        assert_eq!(run.age_us(earlier.stamp(1_000), 1_250), None);
        assert_eq!(run.age_us(run.stamp(2_000), 1_250), None, "from the future");
        assert_eq!(run.age_us(*b"whatever", 1_250), None);
    }

    #[test]
    fn tallies_add_up() {
        let tallies = [Tally::default(), Tally::default()];
        tallies[0].add(3);
        tallies[1].add(4);
        tallies[1].refuse(2);
        let sum = Sum::of(&tallies);
        assert_eq!((sum.done, sum.refused, sum.all()), (7, 2, 9));
    }
}
