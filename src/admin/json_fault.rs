//! What is wrong with JSON that somebody wrote, in words for people: serde's name the types of the
//! program.

use std::fmt::Display;

/// What serde says, in other words.
#[must_use]
pub fn in_words(error: &impl Display) -> String {
    let told = error.to_string().replace('`', "'");
    let (why, place) = told.rsplit_once(" at line ").unwrap_or((&told, ""));
    let (line, column) = place.split_once(" column ").unwrap_or(("", "0"));
    // What is of another type as a whole is at no column.
    let place = if column == "0" { String::new() } else { format!(" in line {line}, column {column}") };
    format!("{}{place}", explained(why))
}

fn explained(why: &str) -> String {
    let wrong = why.strip_prefix("invalid type: ").or_else(|| why.strip_prefix("invalid value: "));
    if let Some((found, expected)) = wrong.and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("expected {}, not {}", form(expected), value(found));
    }
    if let Some(name) = why.strip_prefix("missing field ") {
        return format!("{name} is missing");
    }
    if let Some((name, known)) =
        why.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected "))
    {
        return format!("{name} is unknown; expected {known}");
    }
    match why {
        "key must be a string" => "a name has to be in double quotes".to_owned(),
        "expected value" => "expected a JSON value".to_owned(),
        "expected ident" => "expected true, false, null or a text in double quotes".to_owned(),
        why => why.to_owned(),
    }
}

/// A type, as JSON calls it.
fn form(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on",
        "a map" => "an object",
        "a sequence" => "a list",
        "a string" => "a text",
        "a boolean" => "true or false",
        "unit" => "nothing",
        struct_of if struct_of.starts_with("struct ") => "an object",
        other => other,
    }
}

/// A value, as JSON writes it.
fn value(found: &str) -> &str {
    match found {
        "map" => "an object",
        "sequence" => "a list",
        "unit value" => "null",
        other => {
            let kinds = ["string ", "integer ", "floating point ", "boolean "];
            kinds
                .iter()
                .find_map(|kind| other.strip_prefix(kind))
                .map_or(other, |shown| shown.trim_matches('\''))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "snake_case")]
    enum Wanted {
        One { _count: i64 },
        Two,
    }

    #[test]
    fn faults_are_told_without_the_words_of_the_program() {
        for (text, expected) in [
            (r#"{"one":{"_count":"x"}}"#, r#"expected a whole number, not "x" in line 1, column 20"#),
            (r#"{"one":{"_count":true}}"#, "expected a whole number, not true in line 1, column 21"),
            (r#"{"one":{}}"#, "'_count' is missing in line 1, column 9"),
            ("\"three\"", "'three' is unknown; expected 'one' or 'two' in line 1, column 7"),
            ("{one:1}", "a name has to be in double quotes in line 1, column 2"),
            ("x", "expected a JSON value in line 1, column 1"),
        ] {
            let error = serde_json::from_str::<Wanted>(text).expect_err(text);
            let told = in_words(&error);
            assert_eq!(told, expected, "{error}");
        }
        assert!(matches!(serde_json::from_str::<Wanted>("\"two\""), Ok(Wanted::Two)));
        let word = serde_json::from_str::<serde_json::Value>("no").expect_err("it is no JSON");
        let words = "expected true, false, null or a text in double quotes in line 1, column 2";
        assert_eq!(in_words(&word), words);
        let list = serde_json::from_value::<std::collections::BTreeMap<String, i64>>(serde_json::json!([]));
        assert_eq!(in_words(&list.expect_err("it is a list")), "expected an object, not a list");
    }
}
