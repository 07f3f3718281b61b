//! Numbers as people read them at a glance, in few characters.

use std::time::Duration;

/// Counts from this one on are told in millions and more.
const COUNT_WHOLE_MAX: u64 = 99_999_999;

/// Bytes in a KiB, a KiB in a MiB.
const STEP: f64 = 1024.0;

/// A number with commas between thousands; very large ones in millions and more.
pub(super) fn count(number: u64) -> String {
    if number <= COUNT_WHOLE_MAX {
        return grouped(&number.to_string());
    }
    scaled(number as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"])
}

/// How often something happens in a second.
pub(super) fn rate(per_second: f64) -> String {
    if per_second <= 0.0 {
        return "0".to_owned();
    }
    if per_second < 99.95 { format!("{per_second:.1}") } else { grouped(&format!("{per_second:.0}")) }
}

/// Bytes, in KiB and more.
pub(super) fn bytes(number: f64) -> String {
    if number < STEP {
        return format!("{number:.0} B");
    }
    scaled(number, STEP, &["", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// A time in its two largest units.
pub(super) fn age(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..10 => format!("{s}.{}s", time.subsec_millis() / 100),
        10..60 => format!("{s}s"),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d {:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// The number in the largest unit in which it is at least one.
fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What would be rounded up to a whole step is one of the next unit.
    while number >= step - 0.05 && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    format!("{number:.1}{}", units[unit])
}

fn grouped(digits: &str) -> String {
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0, 999, 1000, 1_234_567, 99_999_999].map(count),
            ["0", "999", "1,000", "1,234,567", "99,999,999"]
        );
        assert_eq!([100_000_000, 1_500_000_000, u64::MAX].map(count), ["100.0M", "1.5G", "18.4E"]);
        assert_eq!(
            [0.0, -1.0, 0.24, 12.0, 99.94, 99.96, 12_345.6].map(rate),
            ["0", "0", "0.2", "12.0", "99.9", "100", "12,346"]
        );
        assert_eq!(
            [0.0, 1023.0, 1024.0, 1_048_575.0, 5e9].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "4.7 GiB"]
        );
        assert_eq!(
            [0, 9_999, 10_000, 61_000, 3_600_000, 90_000_000].map(|ms| age(Duration::from_millis(ms))),
            ["0.0s", "9.9s", "10s", "1m 01s", "1h 00m", "1d 01h"]
        );
    }
}
