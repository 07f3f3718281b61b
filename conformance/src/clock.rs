//! The one place of the suite that reads a clock. Nothing in the suite sleeps: it waits for an
//! event with a limit.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, for limits and durations.
#[must_use]
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the suite's clock")]
    Instant::now()
}

/// Nanoseconds of the wall clock: different for each run.
#[must_use]
pub(crate) fn stamp() -> u128 {
    #[expect(clippy::disallowed_methods, reason = "this is the suite's clock")]
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}
