//! The headers that tell of a message's deaths (RabbitMQ: dlx.md): `x-death`, an array of tables,
//! the most recent death first, and three each for the first and the last death.

use super::table::{self, FieldTable, FieldValue};
use std::cmp::Ordering;

const DEATHS: &str = "x-death";

/// One entry of `x-death`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Death {
    pub(crate) count: i64,
    pub(crate) reason: String,
    pub(crate) queue: String,
    /// Seconds since 1970 of the first death of this queue and reason.
    pub(crate) time_s: u64,
    pub(crate) exchange: String,
    pub(crate) routing_keys: Vec<Vec<u8>>,
    /// The `expiration` that the message had and lost.
    pub(crate) original_expiration: Option<Vec<u8>>,
}

/// The deaths that headers tell of, the most recent first; what is malformed counts for nothing.
pub(crate) fn read(headers: &FieldTable) -> Vec<Death> {
    let Some(FieldValue::FieldArray(deaths)) = headers.get(DEATHS) else { return Vec::new() };
    deaths.as_slice().iter().filter_map(read_death).collect()
}

fn read_death(entry: &FieldValue) -> Option<Death> {
    let FieldValue::FieldTable(fields) = entry else { return None };
    let string = |key: &str| match fields.get(key) {
        Some(FieldValue::LongString(value)) => Some(value.clone()),
        _ => None,
    };
    let Some(&FieldValue::LongLongInt(count)) = fields.get("count") else { return None };
    let Some(&FieldValue::Timestamp(time_s)) = fields.get("time") else { return None };
    Some(Death {
        count,
        reason: text(&string("reason")?),
        queue: text(&string("queue")?),
        time_s,
        exchange: text(&string("exchange")?),
        routing_keys: table::strings(fields.get("routing-keys")),
        original_expiration: string("original-expiration"),
    })
}

/// A death that headers tell of beside `x-death`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastDeath<'a> {
    /// Why it died.
    pub(crate) reason: &'a str,
    /// In which queue.
    pub(crate) queue: &'a str,
    /// The exchange that it had come by.
    pub(crate) exchange: &'a str,
    /// It had died before, so that its headers may tell of its first death.
    pub(crate) is_repeated: bool,
}

/// The headers' bytes: all keys in order, with the death's own among them.
pub(crate) fn write(headers: FieldTable, last: LastDeath<'_>, history: &[Death]) -> Vec<u8> {
    let mut all = headers;
    let of_last = [("reason", last.reason), ("queue", last.queue), ("exchange", last.exchange)];
    let is_first = !(last.is_repeated && all.contains_key("x-first-death-reason"));
    for (name, value) in of_last {
        all.insert(format!("x-last-death-{name}"), FieldValue::LongString(value.into()));
        if is_first {
            all.insert(format!("x-first-death-{name}"), FieldValue::LongString(value.into()));
        }
    }
    let mut out = Vec::new();
    let (mut before, mut after) = (FieldTable::default(), FieldTable::default());
    for (key, value) in all {
        match key.as_str().cmp(DEATHS) {
            Ordering::Less => before.insert(key, value),
            Ordering::Equal => continue,
            Ordering::Greater => after.insert(key, value),
        };
    }
    table::encode(&before, &mut out);
    write_history(history, &mut out);
    table::encode(&after, &mut out);
    out
}

/// `x-death` with its fields in the order in which RabbitMQ writes them, which a sorted table would
/// lose.
fn write_history(history: &[Death], out: &mut Vec<u8>) {
    short(out, DEATHS.as_bytes());
    out.push(b'A');
    with_length(out, |out| {
        for death in history {
            out.push(b'F');
            with_length(out, |out| {
                if let Some(expiration) = &death.original_expiration {
                    long_field(out, b"original-expiration", expiration);
                }
                short(out, b"count");
                out.push(b'l');
                out.extend_from_slice(&death.count.to_be_bytes());
                long_field(out, b"reason", death.reason.as_bytes());
                long_field(out, b"queue", death.queue.as_bytes());
                short(out, b"time");
                out.push(b'T');
                out.extend_from_slice(&death.time_s.to_be_bytes());
                long_field(out, b"exchange", death.exchange.as_bytes());
                short(out, b"routing-keys");
                out.push(b'A');
                with_length(out, |out| {
                    for key in &death.routing_keys {
                        out.push(b'S');
                        with_length(out, |out| out.extend_from_slice(key));
                    }
                });
            });
        }
    });
}

fn long_field(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    short(out, key);
    out.push(b'S');
    with_length(out, |out| out.extend_from_slice(value));
}

fn short(out: &mut Vec<u8>, key: &[u8]) {
    out.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(key);
}

/// Writes what `content` writes behind its length in four bytes.
fn with_length(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    content(out);
    let len = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
