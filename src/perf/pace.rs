//! `--rate`: when each message is due, by absolute deadlines, so that a late one does not delay the
//! rest.
//!
//! The messages of all producers interleave: of `share` producers the one at `index` sends numbers
//! `index`, `index + share`, `index + 2 share` ... of one common timetable.

use std::time::Duration;

use crate::clock;

/// Microseconds in a second.
const SECOND_US: u128 = 1_000_000;
/// Longest single pause: how soon a paced producer notices that the run is over.
const PAUSE_MAX_US: u64 = 100_000;

/// The timetable of one producer.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// When number 0 of the common timetable is due, in `mono_us`.
    pub start_us: u64,
    /// Messages a second of all producers together; at least 1.
    pub rate: u64,
    /// Which producer this is, from 0.
    pub index: u64,
    /// How many producers share the timetable.
    pub share: u64,
}

impl Pace {
    /// How many messages of this producer are due by `now_us`, of all those since the start.
    #[must_use]
    pub fn due(&self, now_us: u64) -> u64 {
        let Some(elapsed_us) = now_us.checked_sub(self.start_us) else { return 0 };
        let last = u128::from(elapsed_us) * u128::from(self.rate) / SECOND_US;
        match last.checked_sub(u128::from(self.index)) {
            Some(past) => u64::try_from(past / u128::from(self.share)).unwrap_or(u64::MAX).saturating_add(1),
            None => 0,
        }
    }

    /// When the message after the first `sent` ones of this producer is due, in `mono_us`.
    #[must_use]
    pub fn deadline_us(&self, sent: u64) -> u64 {
        let number = u128::from(sent) * u128::from(self.share) + u128::from(self.index);
        let after_us = (number * SECOND_US).div_ceil(u128::from(self.rate));
        self.start_us.saturating_add(u64::try_from(after_us).unwrap_or(u64::MAX))
    }
}

/// Waits until `deadline_us`, but not longer than a tenth of a second.
pub fn pause_until(deadline_us: u64) {
    pause(deadline_us.saturating_sub(clock::mono_us()).min(PAUSE_MAX_US));
}

/// Waits for `pause_us`. Socket timeouts would not do: the kernel rounds them to its tick, some
/// milliseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "a load generator is what makes time pass: the one place that sleeps"
)]
pub fn pause(pause_us: u64) {
    std::thread::sleep(Duration::from_micros(pause_us));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u64, index: u64, share: u64) -> Pace {
        Pace { start_us: 5_000, rate, index, share }
    }

    #[test]
    fn nothing_is_due_before_the_start_and_one_at_the_start() {
        assert_eq!(pace(1000, 0, 1).due(4_999), 0);
        assert_eq!(pace(1000, 0, 1).due(5_000), 1);
        assert_eq!(pace(1000, 0, 1).due(5_999), 1);
        assert_eq!(pace(1000, 0, 1).due(6_000), 2);
    }

    #[test]
    fn a_message_is_due_at_its_deadline_and_not_before() {
        for (rate, share) in [(1, 1), (3, 2), (1000, 1), (1000, 7), (333_333, 3), (5_000_000, 4)] {
            for index in 0..share {
                let pace = pace(rate, index, share);
                for sent in (0..100_000).step_by(997) {
                    let deadline = pace.deadline_us(sent);
                    assert!(pace.due(deadline) > sent, "{pace:?} {sent}");
                    assert!(pace.due(deadline - 1) <= sent, "{pace:?} {sent}");
                }
            }
        }
    }

    #[test]
    fn producers_share_the_rate_exactly() {
        let total: u64 = (0..7).map(|index| pace(1000, index, 7).due(5_000 + 10_000_000 - 1)).sum();
        assert_eq!(total, 10_000);
    }
}
