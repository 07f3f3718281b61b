//! What is logged of letters: that some were parked or dropped, once in a while.

use super::{Cause, LetterTally, Letters};
use crate::clock::Now;
use crate::queue::Queue;

/// How often it is logged that messages are parked or dropped.
const LOG_EVERY_MS: u64 = 60_000;

/// What was logged.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// When, in milliseconds since 1970.
    at_ms: Option<u64>,
    pub(super) parked: u64,
    pub(super) dropped: u64,
}

impl Letters {
    /// Logs once in a while what was parked and dropped.
    pub(in crate::queue::classic) fn tell(&mut self, queue: &Queue, tally: LetterTally, now: Now) {
        let told = &mut self.told;
        told.parked += tally.parked;
        told.dropped += tally.dropped_at_limit;
        let is_due = told.at_ms.is_none_or(|at_ms| now.unix_ms.saturating_sub(at_ms) >= LOG_EVERY_MS);
        if !is_due || (told.parked == 0 && told.dropped == 0) {
            return;
        }
        let (parked, dropped) = (std::mem::take(&mut told.parked), std::mem::take(&mut told.dropped));
        told.at_ms = Some(now.unix_ms);
        let why = self.parked.back().and_then(|entry| entry.cause).map_or("", Cause::name);
        if dropped > 0 {
            tracing::error!(queue = %queue.name, dropped, parked = self.held,
                "dead letters dropped: limits.parked_max or limits.parked_bytes_max is reached");
        }
        if parked > 0 {
            tracing::warn!(queue = %queue.name, vhost = %queue.home().name, new = parked, parked = self.held, why,
                "messages parked: see leveret ctl list_parked and requeue_parked");
        }
    }

    /// When what has come since is to be logged, if anything has.
    pub(in crate::queue::classic) fn tell_at(&self) -> Option<u64> {
        let told = &self.told;
        let at_ms = told.at_ms.filter(|_| told.parked > 0 || told.dropped > 0)?;
        Some(at_ms.saturating_add(LOG_EVERY_MS))
    }
}
