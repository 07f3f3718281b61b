//! Values as people and shell scripts read them: one line, whatever they hold.

use serde_json::Value;

/// A value in a cell. Tables are written as rabbitmqctl writes them, `[{"name",value}]`; nothing is
/// written as nothing.
#[must_use]
pub fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => visible(text),
        Value::Null => String::new(),
        Value::Array(list) => format!("[{}]", list.iter().map(cell).collect::<Vec<_>>().join(", ")),
        Value::Object(_) | Value::Bool(_) | Value::Number(_) => nested(value),
    }
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

/// A value within another.
fn nested(value: &Value) -> String {
    match value {
        Value::String(_) => visible(&value.to_string()),
        Value::Array(list) => format!("[{}]", list.iter().map(nested).collect::<Vec<_>>().join(",")),
        Value::Object(table) => {
            let entries = table.iter().map(|(name, value)| {
                format!("{{{},{}}}", visible(&Value::from(name.as_str()).to_string()), nested(value))
            });
            format!("[{}]", entries.collect::<Vec<_>>().join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// The text without characters that would end the line or the column, or tell a terminal to do
/// something.
fn visible(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        assert_eq!(cell(&serde_json::from_str(json).unwrap()), expected);
    }

    #[test]
    fn tables_are_as_rabbitmqctl_writes_them() {
        check(
            r#"{"x-max-priority":5,"x-queue-type":"quorum"}"#,
            r#"[{"x-max-priority",5},{"x-queue-type","quorum"}]"#,
        );
        check(r#"{"a":{"b":[true,null,"c"]}}"#, r#"[{"a",[{"b",[true,null,"c"]}]}]"#);
        check("{}", "[]");
        check(r#"["administrator","monitoring"]"#, "[administrator, monitoring]");
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

    #[test]
    fn a_cell_is_one_line() {
        check(r#""plain \u00e9""#, "plain \u{e9}");
        check(r#""a\tb\nc\u001b[2Jd\u009b""#, r"a\tb\nc\u{1b}[2Jd\u{9b}");
        check("null", "");
        check("1.5", "1.5");
    }
}
