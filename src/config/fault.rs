//! What is wrong with a file of settings, in one line: where it is, which key, and what is expected
//! there.

use super::DOCUMENTED;
use super::limits::range_of;
use crate::near::did_you_mean;
use toml::de::{DeTable, Error};

/// What RabbitMQ's settings are called here, for those who bring theirs along.
const RABBITMQ_KEYS: [(&str, &str); 9] = [
    ("loopback_users", "users.local_only"),
    ("listeners", "amqp"),
    ("proxy_protocol", "proxy_protocol_from"),
    ("vm_memory_high_watermark", "memory_limit"),
    ("heartbeat", "limits.heartbeat_s"),
    ("frame_max", "limits.frame_max"),
    ("channel_max", "limits.channel_max"),
    ("max_message_size", "limits.message_bytes_max"),
    ("handshake_timeout", "limits.handshake_timeout_s"),
];

/// Keys that are listed where none is near, at most.
const LISTED_MAX: usize = 8;

/// What is wrong with `text` at a key; without one, with the text as such.
pub(super) fn in_words(text: &str, key: &str, error: &Error) -> String {
    let span = error.span().unwrap_or_default();
    let line = line_at(text, span.start);
    let message = error.message().replace('\n', ", ");
    if message == "duplicate key" {
        return format!("line {line}: the key '{}' is there twice", text.get(span).unwrap_or(key));
    }
    format!("line {line}: {}", explained(key, &message))
}

/// The number of the line with a key of a section, or with the section.
pub(super) fn line_of(text: &str, section: &str, key: &str) -> usize {
    let start = DeTable::parse(text).ok().and_then(|all| {
        let (name, keys) = all.get_ref().get_key_value(section)?;
        let key = keys.get_ref().as_table().and_then(|keys| keys.get_key_value(key));
        Some(key.map_or(name.span().start, |(key, _)| key.span().start))
    });
    line_at(text, start.unwrap_or(0))
}

fn line_at(text: &str, start: usize) -> usize {
    1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count()
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
        return format!("{key} is {}; it has to be {}", found.replace('`', ""), form(key, expected));
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
    if let Some((_, ours)) = RABBITMQ_KEYS.iter().find(|(theirs, _)| *theirs == name) {
        return format!("; did you mean '{ours}'?");
    }
    if let Some(elsewhere) = keys().find(|key| key.rsplit_once('.').is_some_and(|(_, last)| last == name)) {
        return format!("; did you mean '{elsewhere}'?");
    }
    let near = did_you_mean(name, known);
    if !near.is_empty() || known.is_empty() || known.len() > LISTED_MAX {
        return near;
    }
    format!("; there are {}", known.join(", "))
}

/// All keys, as the file that explains them has them, with their sections.
fn keys() -> impl Iterator<Item = String> {
    let mut section = "";
    DOCUMENTED.lines().filter_map(move |line| {
        let line = line.trim_start_matches('#');
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            return None;
        }
        let (key, _) = line.split_once(" = ").filter(|(key, _)| !key.contains(' '))?;
        // A host's own certificate is in a section of its own.
        (!section.contains('"'))
            .then(|| if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") })
    })
}

/// What serde expects at a key, as it is written in a file.
fn form(key: &str, expected: &str) -> String {
    if let Some(range) = key.strip_prefix("limits.").and_then(range_of) {
        return format!("a whole number from {} to {}", range.start(), range.end());
    }
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
