//! The clock: the only place that reads one.
//!
//! Everything else is given a [`Now`] by its caller, so that a test decides what time it is.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the process began to read the clock. Never goes back: for deadlines.
    pub mono_ms: u64,
    /// Milliseconds since 1970. May jump when the machine's clock is set: for what people and messages are shown.
    pub unix_ms: u64,
}

/// Reads both clocks.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Now {
    // A machine whose clock stands before 1970 gets the time 0 rather than a crash.
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono_ms: whole_ms(START.elapsed()), unix_ms: whole_ms(unix) }
}

/// Microseconds since the process began to read the clock, for what measures: latencies, rates.
#[must_use]
pub fn mono_us() -> u64 {
    whole_us(START.elapsed())
}

/// The moment at which [`Now::mono_ms`] becomes `mono_ms`, for a timer; none when it lies beyond what timers count.
#[must_use]
pub fn instant(mono_ms: u64) -> Option<Instant> {
    START.checked_add(Duration::from_millis(mono_ms))
}

/// The length of an interval such as `7D`: a whole number above 0 of years, months, days, hours, minutes or seconds.
#[must_use]
pub fn interval_ms(text: &str) -> Option<u64> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "Y" => 365 * 24 * 3600,
        "M" => 30 * 24 * 3600,
        "D" => 24 * 3600,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    if count.is_empty() || !count.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // More than a number holds is for ever.
    let count = count.parse::<u64>().unwrap_or(u64::MAX);
    (count > 0).then(|| count.saturating_mul(seconds * 1000))
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn whole_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_agrees_with_the_timers() {
        let before = now();
        let at = instant(before.mono_ms + 1).unwrap();
        assert!(at > instant(before.mono_ms).unwrap());
        assert!(now().mono_ms >= before.mono_ms);
        assert!(before.unix_ms > 1_700_000_000_000, "later than 2023");
    }

    #[test]
    fn microseconds_and_milliseconds_are_of_one_clock() {
        let (before, between, after) = (now(), mono_us(), now());
        assert!(before.mono_ms <= between / 1000);
        assert!(between / 1000 <= after.mono_ms);
    }

    #[test]
    fn no_deadline_has_no_instant_that_comes() {
        let never = instant(u64::MAX);
        assert!(never.is_none_or(|at| at > instant(u64::MAX / 4).unwrap()));
    }

    #[test]
    fn intervals() {
        assert_eq!(interval_ms("1s"), Some(1000));
        assert_eq!(interval_ms("90m"), Some(5_400_000));
        assert_eq!(interval_ms("2h"), Some(7_200_000));
        assert_eq!(interval_ms("1D"), Some(86_400_000));
        assert_eq!(interval_ms("1M"), Some(2_592_000_000));
        assert_eq!(interval_ms("1Y"), Some(31_536_000_000));
        assert_eq!(interval_ms("99999999999999999999Y"), Some(u64::MAX));
        for wrong in ["", "s", "0s", "1", "1x", "-1s", "+1s", " 1s", "1.5h", "1h ", "1\u{e9}", "\u{e9}"] {
            assert_eq!(interval_ms(wrong), None, "{wrong}");
        }
    }
}
