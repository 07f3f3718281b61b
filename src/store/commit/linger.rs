//! Whether the commit thread waits a moment before it cuts a group that somebody waits for.
//!
//! A message that is consumed before the cut needs no disk at all. While consumers keep pace with
//! publishers, a moment's wait lets most of a group vanish and saves the fsync, which takes longer
//! than the wait; while they do not, it would only delay confirms. So it is tried where consumers
//! keep pace, and left for a while where it did not help.

use crate::message::Block;
use crate::store::change::Change;
use std::ops::Range;
use std::time::Duration;

/// A little over the time in which a client on the same machine takes and acknowledges a batch;
/// less than an fsync.
const MOMENT: Duration = Duration::from_micros(150);

/// Groups in a row without waiting, once waiting did not help.
const PAUSE: u32 = 200;

/// Groups that are waited for before it is judged whether that helped.
const TRIAL: u32 = 8;

/// Decides whether the commit thread waits for more changes before it cuts a group. The counts are
/// sums in which each group limits_bytes a little less than the next.
#[derive(Debug, Default)]
pub(in crate::store) struct Linger {
    published: u64,
    settled: u64,
    /// Of what was published in groups that were waited for: bytes in all, and bytes that vanished.
    waited_bytes: u64,
    vanished_bytes: u64,
    waited_groups: u32,
    pause: u32,
}

impl Linger {
    /// How long to wait before the next cut, when somebody waits for it.
    pub(in crate::store) fn moment(&self) -> Duration {
        let keep_pace = self.published > 0 && self.settled >= self.published / 4 * 3;
        if keep_pace && self.pause == 0 { MOMENT } else { Duration::ZERO }
    }

    /// A group was cut after `waited`; `bytes` of its records were to be written, and `left` of
    /// them are.
    pub(in crate::store) fn learn(&mut self, changes: Tally, waited: bool, bytes: usize, left: usize) {
        let Tally { published, settled } = changes;
        if published == 0 && settled == 0 {
            return;
        }
        self.published = fade(self.published) + published;
        // A purge is no sign of consumers that keep pace.
        self.settled = fade(self.settled) + settled.min(2 * self.published);
        self.pause = self.pause.saturating_sub(1);
        if waited && bytes > 0 {
            self.waited_bytes = fade(self.waited_bytes) + bytes as u64;
            self.vanished_bytes = fade(self.vanished_bytes) + bytes.saturating_sub(left) as u64;
            self.waited_groups += 1;
            if self.waited_groups >= TRIAL && self.vanished_bytes < self.waited_bytes / 3 {
                *self = Self { pause: PAUSE, ..Self::default() };
            }
        }
    }
}

fn fade(sum: u64) -> u64 {
    sum - sum / 8
}

/// Messages that a group publishes and settles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store) struct Tally {
    published: u64,
    settled: u64,
}

impl Tally {
    pub(in crate::store) fn of(changes: &[Change]) -> Self {
        let mut tally = Self::default();
        for change in changes {
            match change {
                Change::Publish { block, range, .. } | Change::Spill { block, range, .. } => {
                    tally.published += records(block, range)
                }
                Change::Settle { range, .. } => tally.settled += range.len(),
                _ => {}
            }
        }
        tally
    }
}

fn records(block: &Block, range: &Range<u32>) -> u64 {
    u64::from(range.end.min(block.len()).saturating_sub(range.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(published: u64, settled: u64) -> Tally {
        Tally { published, settled }
    }

    #[test]
    fn publishers_alone_are_not_kept_waiting() {
        let mut linger = Linger::default();
        for _group in 0..50 {
            linger.learn(tally(100, 0), false, 1000, 1000);
            assert_eq!(linger.moment(), Duration::ZERO);
        }
    }

    #[test]
    fn consumers_that_keep_pace_are_waited_for_while_it_helps() {
        let mut linger = Linger::default();
        linger.learn(tally(100, 100), false, 1000, 1000);
        assert_eq!(linger.moment(), MOMENT);
        for _group in 0..50 {
            linger.learn(tally(100, 100), true, 1000, 100);
            assert_eq!(linger.moment(), MOMENT);
        }
        let mut groups = 0;
        while linger.moment() == MOMENT {
            linger.learn(tally(100, 100), true, 1000, 1000);
            groups += 1;
            assert!(groups < 50, "waiting that does not help ends");
        }
        for _group in 0..PAUSE - 1 {
            linger.learn(tally(100, 100), false, 1000, 1000);
            assert_eq!(linger.moment(), Duration::ZERO);
        }
        linger.learn(tally(100, 100), false, 1000, 1000);
        assert_eq!(linger.moment(), MOMENT, "and is tried again after a while");
    }

    #[test]
    fn a_purge_is_no_consumer() {
        let mut linger = Linger::default();
        linger.learn(tally(100, 1_000_000), false, 1000, 0);
        for _group in 0..16 {
            linger.learn(tally(100, 0), false, 1000, 1000);
        }
        assert_eq!(linger.moment(), Duration::ZERO);
    }
}
