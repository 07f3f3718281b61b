//! Which messages count as the same, and for how long: the arguments of queues and exchanges that deduplicate, as LavinMQ
//! names them.
//!
//! | argument | |
//! |---|---|
//! | `x-message-deduplication` | boolean: whether it is done at all |
//! | `x-cache-size` | how many values are remembered, the newest; 128 |
//! | `x-cache-ttl` | for how many milliseconds; without it as long as there is room. A header of this name counts for its message |
//! | `x-deduplication-header` | the header whose value is looked at; `x-deduplication-header` |

use crate::broker::argument::{canonical, equivalent, integer, text};
use crate::error::{AmqpError, Resource};
use crate::message::Message;
use crate::wire::table::type_name;
use crate::wire::{properties, table};
use amq_protocol::types::{AMQPValue, FieldTable};

const DEDUPLICATION: &str = "x-message-deduplication";
const CACHE_SIZE: &str = "x-cache-size";
const CACHE_TTL: &str = "x-cache-ttl";
const HEADER: &str = "x-deduplication-header";

/// How many values are remembered when the declaration does not say (LavinMQ).
const CACHE_SIZE_DEFAULT: u64 = 128;

/// See the head of this file.
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

/// Whether something may be declared with these arguments.
///
/// # Errors
/// 406 when one of the four has a type or a value that it cannot have.
pub fn check(on: &Resource, arguments: &FieldTable) -> Result<(), AmqpError> {
    let value = |key: &str| arguments.inner().get(key);
    let wrong =
        |key: &str, why: String| Err(AmqpError::InvalidArgument { key: key.to_owned(), on: on.clone(), why });
    for key in [DEDUPLICATION, HEADER] {
        let fits = |value: &AMQPValue| {
            if key == HEADER { text(value).is_some() } else { matches!(value, AMQPValue::Boolean(_)) }
        };
        if let Some(value) = value(key).filter(|value| !fits(value)) {
            return wrong(key, format!("{{unacceptable_type,{}}}", type_name(value)));
        }
    }
    for (key, least) in [(CACHE_SIZE, 1), (CACHE_TTL, 0)] {
        let Some(value) = value(key) else { continue };
        match integer(value) {
            None => return wrong(key, format!("\"expected integer, got {}\"", type_name(value))),
            Some(number) if number < 0 => return wrong(key, format!("{{value_negative,{number}}}")),
            Some(number) if number < least => return wrong(key, format!("{{value_zero,{number}}}")),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Refuses to redeclare it differently.
///
/// # Errors
/// 406 that names the first difference.
pub fn check_equivalent(on: &Resource, received: &FieldTable, current: &FieldTable) -> Result<(), AmqpError> {
    [DEDUPLICATION, CACHE_SIZE, CACHE_TTL, HEADER]
        .into_iter()
        .try_for_each(|key| equivalent(key, on, received.inner().get(key), current.inner().get(key)))
}

impl Rules {
    /// What the arguments ask for, if they do; what is wrong with one makes it count as absent.
    #[must_use]
    pub fn new(arguments: &FieldTable) -> Option<Self> {
        let value = |key: &str| arguments.inner().get(key);
        let number = |key: &str| value(key).and_then(integer).and_then(|number| u64::try_from(number).ok());
        (value(DEDUPLICATION) == Some(&AMQPValue::Boolean(true))).then(|| Self {
            size: number(CACHE_SIZE).filter(|size| *size > 0).unwrap_or(CACHE_SIZE_DEFAULT),
            ttl_ms: number(CACHE_TTL),
            header: value(HEADER).and_then(text).map_or_else(|| HEADER.into(), Into::into),
        })
    }

    /// What tells a message that comes now from others; nothing when it has no such header, or is a dead letter, which was
    /// here before by right.
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
    use crate::message::Copies;

    fn arguments(entries: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in entries {
            table.insert((*key).into(), value.clone());
        }
        table
    }

    const ON: (&str, AMQPValue) = (DEDUPLICATION, AMQPValue::Boolean(true));

    fn string(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn id(asked: &[(&str, AMQPValue)], headers: &[(&str, AMQPValue)]) -> Option<Id> {
        let (mut encoded, mut raw) = (Vec::new(), Vec::new());
        table::encode(&arguments(headers), &mut encoded);
        let own = properties::Properties { headers: Some(&encoded), ..properties::Properties::default() };
        properties::encode(&own, &mut raw);
        let message = Message {
            persistent: true,
            died: false,
            copies: Copies::Open,
            expires: false,
            priority: None,
            arrived_at_ms: 0,
            exchange: b"",
            routing_key: b"",
            properties: &raw,
            body: b"",
        };
        Rules::new(&arguments(asked)).and_then(|rules| rules.id_of(&message, 1000))
    }

    #[test]
    fn nothing_is_done_unless_asked_for() {
        assert_eq!(Rules::new(&arguments(&[])), None);
        assert_eq!(Rules::new(&arguments(&[(DEDUPLICATION, AMQPValue::Boolean(false))])), None);
        assert_eq!(Rules::new(&arguments(&[(CACHE_SIZE, AMQPValue::LongInt(5))])), None);
        assert_eq!(Rules::new(&arguments(&[ON])).map(|rules| rules.size), Some(128));
        let five = arguments(&[ON, (CACHE_SIZE, AMQPValue::LongInt(5))]);
        assert_eq!(Rules::new(&five).map(|rules| rules.size), Some(5));
    }

    #[test]
    fn a_message_is_known_by_its_header() {
        let ttl = |ms: i32| (CACHE_TTL, AMQPValue::LongInt(ms));
        let a = || (HEADER, string("a"));
        assert_eq!(id(&[ON], &[]), None);
        assert_eq!(id(&[ON], &[("other", string("a"))]), None);
        assert_eq!(id(&[ON], &[(HEADER, AMQPValue::Void)]), None);
        assert_eq!(id(&[ON], &[a()]), Some(Id { value: b"Sa".to_vec(), until_ms: u64::MAX }));
        assert_eq!(id(&[ON, (HEADER, string("my"))], &[a()]), None);
        assert!(id(&[ON, (HEADER, string("my"))], &[("my", string("a"))]).is_some());
        let until = |asked: &[_], headers: &[_]| id(asked, headers).map(|id| id.until_ms);
        assert_eq!(until(&[ON, ttl(50)], &[a()]), Some(1050));
        assert_eq!(until(&[ON, ttl(50)], &[a(), ttl(7)]), Some(1007), "its own counts");
        assert_eq!(until(&[ON, ttl(50)], &[a(), ttl(-7)]), Some(1050));
        assert_eq!(until(&[ON, ttl(50)], &[a(), (CACHE_TTL, string("7"))]), Some(1050));
        assert_eq!(until(&[ON], &[a(), ttl(0)]), Some(1000));
        let value = |value| id(&[ON], &[(HEADER, value)]).map(|id| id.value);
        assert_eq!(value(AMQPValue::LongInt(5)), value(AMQPValue::LongLongInt(5)));
        assert_ne!(value(AMQPValue::LongInt(5)), value(string("5")));
    }

    #[test]
    fn wrong_arguments_are_named() {
        let on = Resource::Queue("q".to_owned());
        let said = |key: &str, value| {
            let fault = check(&on, &arguments(&[(key, value)])).err()?;
            let text = fault.reply().text;
            let head = format!("PRECONDITION_FAILED - invalid arg '{key}' for queue 'q' in vhost '/': ");
            Some(text.strip_prefix(&head).unwrap_or(&text).to_owned())
        };
        let int = AMQPValue::LongInt;
        assert_eq!(said(DEDUPLICATION, string("true")).as_deref(), Some("{unacceptable_type,longstr}"));
        assert_eq!(said(HEADER, int(1)).as_deref(), Some("{unacceptable_type,signedint}"));
        assert_eq!(said(CACHE_SIZE, int(0)).as_deref(), Some("{value_zero,0}"));
        assert_eq!(said(CACHE_SIZE, string("5")).as_deref(), Some("\"expected integer, got longstr\""));
        assert_eq!(said(CACHE_TTL, int(-1)).as_deref(), Some("{value_negative,-1}"));
        for (key, value) in [ON, (HEADER, string("h")), (CACHE_SIZE, int(1)), (CACHE_TTL, int(0))] {
            assert_eq!(said(key, value), None);
        }
        let none = FieldTable::default();
        assert!(check_equivalent(&on, &none, &none).is_ok());
        assert!(check_equivalent(&on, &arguments(&[ON]), &none).is_err());
    }
}
