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
#[must_use]
pub fn visible(text: &str) -> String {
    if !text.contains(is_obeyed) {
        return text.to_owned();
    }
    let shown = |c: char| if is_obeyed(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// Whether a terminal would obey it: control characters, and those that turn the direction of the
/// text around, so that what follows seems to say something else.
fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    fn a_cell_is_one_line() {
        check(r#""plain \u00e9""#, "plain \u{e9}");
        check(r#""a\tb\nc\u001b[2Jd\u009b""#, r"a\tb\nc\u{1b}[2Jd\u{9b}");
        check(r#""a\u202eb""#, r"a\u{202e}b");
        check("null", "");
        check("1.5", "1.5");
    }
}
