//! Which messages count as the same, and for how long: the arguments of queues and exchanges that
//! deduplicate, as LavinMQ names them.
//!
//! | argument | |
//! |---|---|
//! | `x-message-deduplication` | boolean: whether it is done at all |
//! | `x-cache-size` | how many values are remembered, the newest; 128 |
//! | `x-cache-ttl` | for how many milliseconds; without it as long as there is room. A header of this name counts for its message |
//! | `x-deduplication-header` | the header whose value is looked at; `x-deduplication-header` |

use crate::arguments::table::{
    CACHE_SIZE, CACHE_TTL, DEDUPLICATION, DEDUPLICATION_HEADER, flag, number, string,
};
use crate::arguments::value::canonical;
use crate::message::Message;
use crate::message::table::{FieldTable, integer};
use crate::message::{properties, table};

/// How many values are remembered when the declaration does not say (LavinMQ).
const CACHE_SIZE_DEFAULT: u64 = 128;

/// Which messages count as duplicates, and for how long (LavinMQ: message deduplication).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How many values are remembered.
    pub size: u64,
    ttl_ms: Option<u64>,
    header: Box<str>,
}

/// What tells a message from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    /// The value of its header, the same bytes for values that are equal.
    pub value: Vec<u8>,
    /// Until when it is remembered, milliseconds since 1970; `u64::MAX` without end.
    pub until_ms: u64,
}

impl Rules {
    /// What the arguments ask for, if they do; what is wrong with one makes it count as absent.
    #[must_use]
    pub fn new(arguments: &FieldTable) -> Option<Self> {
        flag(arguments, DEDUPLICATION).then(|| Self {
            size: number(arguments, CACHE_SIZE).filter(|size| *size > 0).unwrap_or(CACHE_SIZE_DEFAULT),
            ttl_ms: number(arguments, CACHE_TTL),
            header: string(arguments, DEDUPLICATION_HEADER)
                .map_or_else(|| DEDUPLICATION_HEADER.into(), Into::into),
        })
    }

    /// What tells a message that comes now from others; nothing when it has no such header, or is a
    /// dead letter, which was here before by right.
    #[must_use]
    pub fn id_of(&self, message: &Message<'_>, now_unix_ms: u64) -> Option<Id> {
        if message.died {
            return None;
        }
        let headers = properties::decode(message.properties).ok()?.headers?;
        let value = table::get(headers, self.header.as_bytes()).filter(|value| value.kind != b'V')?;
        let own_ttl = || {
            let ttl = table::get(headers, CACHE_TTL.as_bytes())?.decode().ok()?;
            u64::try_from(integer(&ttl)?).ok()
        };
        let until_ms = own_ttl().or(self.ttl_ms).map_or(u64::MAX, |ttl| now_unix_ms.saturating_add(ttl));
        Some(Id { value: canonical(value), until_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::table::FieldValue;

    fn arguments(entries: &[(&str, FieldValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in entries {
            table.insert((*key).into(), value.clone());
        }
        table
    }

    const ON: (&str, FieldValue) = (DEDUPLICATION, FieldValue::Boolean(true));

    fn string(text: &str) -> FieldValue {
        FieldValue::LongString(text.into())
    }

    fn id(asked: &[(&str, FieldValue)], headers: &[(&str, FieldValue)]) -> Option<Id> {
        let (mut encoded, mut raw) = (Vec::new(), Vec::new());
        table::encode(&arguments(headers), &mut encoded);
        let own = properties::Properties { headers: Some(&encoded), ..properties::Properties::default() };
        properties::encode(&own, &mut raw);
        let message = Message { persistent: true, ..Message::published(0, (b"", b""), &raw, b"") };
        Rules::new(&arguments(asked)).and_then(|rules| rules.id_of(&message, 1000))
    }

    #[test]
    fn nothing_is_done_unless_asked_for() {
        assert_eq!(Rules::new(&arguments(&[])), None);
        assert_eq!(Rules::new(&arguments(&[(DEDUPLICATION, FieldValue::Boolean(false))])), None);
        assert_eq!(Rules::new(&arguments(&[(CACHE_SIZE, FieldValue::LongInt(5))])), None);
        assert_eq!(Rules::new(&arguments(&[ON])).map(|rules| rules.size), Some(128));
        let five = arguments(&[ON, (CACHE_SIZE, FieldValue::LongInt(5))]);
        assert_eq!(Rules::new(&five).map(|rules| rules.size), Some(5));
    }

    #[test]
    fn a_message_is_known_by_its_header() {
        let ttl = |ms: i32| (CACHE_TTL, FieldValue::LongInt(ms));
        let a = || (DEDUPLICATION_HEADER, string("a"));
        assert_eq!(id(&[ON], &[]), None);
        assert_eq!(id(&[ON], &[("other", string("a"))]), None);
        assert_eq!(id(&[ON], &[(DEDUPLICATION_HEADER, FieldValue::Void)]), None);
        assert_eq!(id(&[ON], &[a()]), Some(Id { value: b"Sa".to_vec(), until_ms: u64::MAX }));
        assert_eq!(id(&[ON, (DEDUPLICATION_HEADER, string("my"))], &[a()]), None);
        assert!(id(&[ON, (DEDUPLICATION_HEADER, string("my"))], &[("my", string("a"))]).is_some());
        let until = |asked: &[_], headers: &[_]| id(asked, headers).map(|id| id.until_ms);
        assert_eq!(until(&[ON, ttl(50)], &[a()]), Some(1050));
        assert_eq!(until(&[ON, ttl(50)], &[a(), ttl(7)]), Some(1007), "its own counts");
        assert_eq!(until(&[ON, ttl(50)], &[a(), ttl(-7)]), Some(1050));
        assert_eq!(until(&[ON, ttl(50)], &[a(), (CACHE_TTL, string("7"))]), Some(1050));
        assert_eq!(until(&[ON], &[a(), ttl(0)]), Some(1000));
        let value = |value| id(&[ON], &[(DEDUPLICATION_HEADER, value)]).map(|id| id.value);
        assert_eq!(value(FieldValue::LongInt(5)), value(FieldValue::LongLongInt(5)));
        assert_ne!(value(FieldValue::LongInt(5)), value(string("5")));
    }
}
