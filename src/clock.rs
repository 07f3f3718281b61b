//! The clock: the only place that reads one.
//!
//! Everything else is given a [`Now`] by its caller, so that a test decides what time it is.
//!
//! There are three clocks. One counts while the process runs; deadlines of connections are on it.
//! The **calendar** counts milliseconds since 1970 and goes on at the same pace, while the machine
//! sleeps as well, whatever the machine's clock is set to meanwhile: what waits in queues is on it,
//! in memory and on disk. The **wall clock** is the machine's, which may be set to any time at any
//! moment, and is for people. Where the calendar begins it is the wall clock; how far they are
//! apart since is kept with the data, so that what was to come in ten minutes comes after ten
//! minutes, even if the clock is set and the broker restarted in between. Only what is done to the
//! wall clock while the broker does not run moves the calendar.

use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock that counts while the machine sleeps, and is never set.
#[cfg(any(target_os = "linux", target_os = "android"))]
const BOOT_CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const BOOT_CLOCK: ClockId = ClockId::Monotonic;

/// The wall clock was set if it and the calendar move apart by more than this. Where time is only
/// kept right, it is slowed down or hurried, and all clocks with it.
const SET_MS: u64 = 100;

/// Two readings of clocks that took longer than this say nothing of how far they are apart.
const AT_ONCE_MS: u64 = 20;

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Where the calendar begins: at the wall clock.
static BEGINNING: LazyLock<Calendar> =
    LazyLock::new(|| Calendar { boot_ms: boot_ms(), unix_ms: wall_now_ms() });

/// A moment, on the clocks that are never set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the process began to read the clock. Never goes back: for deadlines of
    /// connections.
    pub mono_ms: u64,
    /// Milliseconds since 1970 by the calendar. Never jumps: for what waits in queues, which may
    /// outlive the process.
    pub unix_ms: u64,
}

/// A clock that goes on from a time that was read once.
#[derive(Debug, Clone, Copy)]
struct Calendar {
    boot_ms: u64,
    unix_ms: u64,
}

impl Calendar {
    /// The time when the machine's clock that is never set shows `boot_ms`.
    fn at(self, boot_ms: u64, ahead_at_start: i64) -> u64 {
        let passed_ms = boot_ms.saturating_sub(self.boot_ms);
        self.unix_ms.saturating_add(passed_ms).saturating_add_signed(ahead_at_start)
    }
}

/// The clocks of one broker: its calendar is that of its data.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Ahead>);

/// How far the calendar is ahead of the wall clock, in milliseconds.
#[derive(Debug)]
struct Ahead {
    at_start: i64,
    /// As it was last looked at.
    now: AtomicI64,
}

impl Clock {
    /// Goes on with the calendar of data that was so far ahead of the wall clock.
    #[must_use]
    pub fn starting(ahead_ms: i64) -> Self {
        Self(Arc::new(Ahead { at_start: ahead_ms, now: AtomicI64::new(ahead_ms) }))
    }

    /// Reads the clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono_ms: mono_ms(), unix_ms: BEGINNING.at(boot_ms(), self.0.at_start) }
    }

    /// What the wall clock shows when the calendar shows
    /// `unix_ms`, as far as is known: it is looked at when [`Self::is_set`] is called.
    #[must_use]
    pub fn wall_ms(&self, unix_ms: u64) -> u64 {
        unix_ms.saturating_add_signed(self.ahead_ms().saturating_neg())
    }

    /// What the calendar shows when the wall clock shows
    /// `wall_ms`: the inverse of [`Self::wall_ms`].
    #[must_use]
    pub fn calendar_ms(&self, wall_ms: u64) -> u64 {
        wall_ms.saturating_add_signed(self.ahead_ms())
    }

    /// How far the calendar is ahead of the wall clock, in milliseconds, as it was last looked at.
    #[must_use]
    pub fn ahead_ms(&self) -> i64 {
        self.0.now.load(Ordering::Relaxed)
    }

    /// Looks at the wall clock: by how many milliseconds it was set forward since the last look, if
    /// it was set.
    #[must_use]
    pub fn is_set(&self) -> Option<i64> {
        let before = self.now();
        let wall_ms = wall_now_ms();
        let after = self.now();
        let is_at_once = after.unix_ms.saturating_sub(before.unix_ms) <= AT_ONCE_MS;
        let set_ms = set_by(after.unix_ms, wall_ms, self.ahead_ms()).filter(|_| is_at_once)?;
        self.0.now.fetch_sub(set_ms, Ordering::Relaxed);
        Some(set_ms)
    }
}

/// Milliseconds since the process began to read the clock: [`Now::mono_ms`], which is the same for
/// all brokers of a process.
#[must_use]
pub fn mono_ms() -> u64 {
    whole_ms(START.elapsed())
}

/// By how much the wall clock is before the time at which it should be, if that is much.
fn set_by(unix_ms: u64, wall_ms: u64, ahead_ms: i64) -> Option<i64> {
    let is_ahead = i64::try_from(i128::from(unix_ms) - i128::from(wall_ms)).ok()?;
    let set_ms = ahead_ms.saturating_sub(is_ahead);
    (set_ms.unsigned_abs() > SET_MS).then_some(set_ms)
}

fn boot_ms() -> u64 {
    let time = clock_gettime(BOOT_CLOCK);
    let part = u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000_000;
    u64::try_from(time.tv_sec).unwrap_or_default().saturating_mul(1000) + part
}

/// What the wall clock shows, milliseconds since 1970: for what people read, and nothing else.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn wall_now_ms() -> u64 {
    // A machine whose clock stands before 1970 gets the time 0 rather than a crash.
    whole_ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Microseconds since the process began to read the clock, for what measures: latencies, rates.
#[must_use]
pub fn mono_us() -> u64 {
    whole_us(START.elapsed())
}

/// The moment at which [`Now::mono_ms`] becomes `mono_ms`, for a timer; none when it lies beyond
/// what timers count.
#[must_use]
pub fn instant(mono_ms: u64) -> Option<Instant> {
    START.checked_add(Duration::from_millis(mono_ms))
}

/// The length of an interval such as `7D`: a whole number above 0 of years, months, days, hours,
/// minutes or seconds.
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

/// A time in milliseconds since 1970 as a date and a time of day in UTC (ISO 8601), in the
/// Gregorian calendar without leap seconds.
#[must_use]
pub fn date_and_time(unix_ms: u64) -> String {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    /// In 400 years.
    const CYCLE_DAYS: u64 = 146_097;
    /// From the first of March of the year 0 to 1970. A year that begins in March has its leap day
    /// at its end.
    const BEFORE_1970: u64 = 719_468;
    let (days, ms) = (unix_ms / DAY_MS + BEFORE_1970, unix_ms % DAY_MS);
    let (cycle, day) = (days / CYCLE_DAYS, days % CYCLE_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / (CYCLE_DAYS - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z", 400 * cycle + year)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_agrees_with_the_timers() {
        let clock = Clock::starting(0);
        let before = clock.now();
        let at = instant(before.mono_ms + 1).unwrap();
        assert!(at > instant(before.mono_ms).unwrap());
        assert!(mono_ms() >= before.mono_ms);
        assert!(before.unix_ms > 1_700_000_000_000, "later than 2023");
    }

    #[test]
    fn the_calendar_goes_on_whatever_the_wall_clock_is_set_to() {
        let beginning = Calendar { boot_ms: 5_000, unix_ms: 1_795_000_000_000 };
        assert_eq!(beginning.at(6_500, 0), 1_795_000_001_500);
        assert_eq!(beginning.at(6_500, -500), 1_795_000_001_000, "the data's calendar was behind");
        assert_eq!(beginning.at(4_000, 0), 1_795_000_000_000, "it never goes back");
    }

    #[test]
    fn a_clock_that_is_set_is_told_from_one_that_is_kept_right() {
        let unix_ms = 1_795_000_000_000;
        assert_eq!(set_by(unix_ms, unix_ms + 100, 0), None);
        assert_eq!(set_by(unix_ms, unix_ms + 20_000, 0), Some(20_000));
        assert_eq!(set_by(unix_ms, unix_ms + 20_000, -20_000), None, "it is known already");
        assert_eq!(set_by(unix_ms, unix_ms - 20_000, -20_000), Some(-40_000));
        assert_eq!(set_by(unix_ms, 0, 0), Some(-1_795_000_000_000), "a machine that has forgotten the year");
    }

    #[test]
    fn each_broker_has_the_calendar_of_its_data() {
        let (one, other) = (Clock::starting(0), Clock::starting(3_600_000));
        let ahead_ms = other.now().unix_ms - one.now().unix_ms;
        assert!((3_600_000..3_660_000).contains(&ahead_ms), "{ahead_ms}");
        assert_eq!((one.wall_ms(5_000_000), other.wall_ms(5_000_000)), (5_000_000, 1_400_000));
        assert_eq!((one.calendar_ms(7), other.calendar_ms(7)), (7, 3_600_007));
    }

    #[test]
    fn microseconds_and_milliseconds_are_of_one_clock() {
        let (before, between, after) = (mono_ms(), mono_us(), mono_ms());
        assert!(before <= between / 1000);
        assert!(between / 1000 <= after);
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

    #[test]
    fn times_are_dates_in_utc() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_795_000_000, "2026-11-18T11:06:40.007Z"),
            (1_830_297_599, "2027-12-31T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(date_and_time(seconds * 1000 + 7), date);
        }
        assert!(date_and_time(u64::MAX).ends_with('Z'));
    }
}
