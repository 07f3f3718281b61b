//! What is wrong with a file of settings, in one line: where it is, which key, and what is expected
//! there.

use crate::near::did_you_mean;
use toml::de::Error;

/// Keys that are listed where none is near, at most.
const LISTED_MAX: usize = 8;

/// What is wrong with `text` at a key; without one, with the text as such.
pub(super) fn in_words(text: &str, key: &str, error: &Error) -> String {
    let line =
        error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
    let message = error.message().replace('\n', ", ");
    format!("line {line}: {}", explained(key, &message))
}

fn explained(key: &str, message: &str) -> String {
    if let Some((name, known)) = unknown("unknown field `", message) {
        let section = key.rsplit_once('.').map_or(String::new(), |(section, _)| format!("{section}."));
        return format!("there is no key '{section}{name}'{}", instead(&name, &known));
    }
    if let Some((name, known)) = unknown("unknown variant `", message) {
        let known: Vec<String> = known.iter().map(|known| format!("'{known}'")).collect();
        return format!("{key} is '{name}'; it may be {}", known.join(", "));
    }
    let invalid = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = invalid.and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("{key} is {}; it has to be {}", found.replace('`', ""), form(expected));
    }
    if key.is_empty() { message.to_owned() } else { format!("{key}: {message}") }
}

/// The name that nobody knows, and those that there are: serde writes them between backquotes.
fn unknown(start: &str, message: &str) -> Option<(String, Vec<String>)> {
    message.starts_with(start).then_some(())?;
    let mut names = message.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((names.next()?, names.collect()))
}

fn instead(name: &str, known: &[String]) -> String {
    let near = did_you_mean(name, known);
    if !near.is_empty() || known.is_empty() || known.len() > LISTED_MAX {
        return near;
    }
    format!("; there are {}", known.join(", "))
}

/// What serde expects, as it is written in a file.
fn form(expected: &str) -> String {
    let largest = match expected {
        "u8" => u8::MAX.into(),
        "u16" => u16::MAX.into(),
        "u32" => u32::MAX.into(),
        "u64" | "usize" => u64::MAX,
        "a boolean" => return "true or false".to_owned(),
        "a sequence" => return "a list, as in ['a', 'b']".to_owned(),
        "a string" | "path string" => return "a text in quotes".to_owned(),
        other if other.starts_with("struct ") || other == "a map" => {
            return "a section, as in [section] with keys below".to_owned();
        }
        other => return other.to_owned(),
    };
    format!("a whole number from 0 to {largest}")
}
