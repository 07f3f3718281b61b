//! Signs of life, both ways (AMQP 0-9-1 section 4.2.7).
//!
//! Any byte from the client counts as one, and any byte to it. Half an interval without a word of
//! ours calls for a heartbeat; two intervals without one of the client's mean that it is gone.

use crate::clock::Now;

/// When each side was last heard.
#[derive(Debug)]
pub(super) struct Pulse {
    /// 0: no heartbeats.
    interval_ms: u64,
    heard_ms: u64,
    spoke_ms: u64,
}

/// What the time calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    Quiet,
    Send,
    Dead,
}

impl Pulse {
    pub(super) fn off(now: Now) -> Self {
        Self::every(0, now)
    }

    /// 0 seconds turns heartbeats off.
    pub(super) fn every(seconds: u16, now: Now) -> Self {
        Self { interval_ms: u64::from(seconds) * 1000, heard_ms: now.mono_ms, spoke_ms: now.mono_ms }
    }

    pub(super) fn heard(&mut self, now: Now) {
        self.heard_ms = now.mono_ms;
    }

    pub(super) fn spoke(&mut self, now: Now) {
        self.spoke_ms = now.mono_ms;
    }

    pub(super) fn check(&mut self, now: Now) -> Beat {
        if self.interval_ms == 0 {
            Beat::Quiet
        } else if now.mono_ms >= self.heard_ms + 2 * self.interval_ms {
            Beat::Dead
        } else if now.mono_ms >= self.spoke_ms + self.interval_ms / 2 {
            self.spoke(now);
            Beat::Send
        } else {
            Beat::Quiet
        }
    }

    pub(super) fn poll_deadline(&self) -> u64 {
        if self.interval_ms == 0 {
            return u64::MAX;
        }
        (self.heard_ms + 2 * self.interval_ms).min(self.spoke_ms + self.interval_ms / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, unix_ms: 0 }
    }

    #[test]
    fn silence_is_broken_by_us_and_ends_the_client() {
        let mut pulse = Pulse::every(10, at(1_000));
        assert_eq!(pulse.poll_deadline(), 6_000);
        assert_eq!(pulse.check(at(5_999)), Beat::Quiet);
        assert_eq!(pulse.check(at(6_000)), Beat::Send);
        assert_eq!(pulse.poll_deadline(), 11_000);
        pulse.heard(at(7_000));
        assert_eq!(pulse.check(at(26_999)), Beat::Send);
        assert_eq!(pulse.check(at(27_000)), Beat::Dead);
    }

    #[test]
    fn without_an_interval_nothing_is_ever_due() {
        let mut pulse = Pulse::off(at(5));
        assert_eq!(pulse.poll_deadline(), u64::MAX);
        assert_eq!(pulse.check(at(u64::MAX)), Beat::Quiet);
    }
}
