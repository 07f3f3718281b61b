//! What a policy makes of a declared queue: arguments that nobody declared.

use super::table::{Precedence, Subject, value};
use super::{QueueFlags, QueueType, Settings};
use crate::message::table::FieldValue;
use crate::message::table::integer;
use crate::policy::{Definition, Value};

impl Settings {
    /// What these settings, as declared, are under a policy. The arguments stay what they are.
    #[must_use]
    pub fn under(&self, policy: &Definition) -> Self {
        let flags =
            QueueFlags { durable: self.durable, auto_delete: self.auto_delete, exclusive: self.exclusive };
        let mut arguments = self.arguments.clone();
        for argument in Subject::Queue(self.kind).arguments() {
            let Some((key, wins)) = argument.policy else { continue };
            let Some(asked) = policy.get(key).and_then(as_argument) else { continue };
            let policys = match value(&arguments, argument.name) {
                None => true,
                Some(declared) => wins.is_policys(self.kind, &asked, declared),
            };
            if policys {
                arguments.insert(argument.name.into(), asked);
            }
        }
        let governed = Self::new(flags, arguments);
        Self { arguments: self.arguments.clone(), policy: policy.clone(), delays: self.delays, ..governed }
    }
}

impl Precedence {
    /// Whether what a policy asks counts, not what was declared.
    fn is_policys(self, kind: QueueType, asked: &FieldValue, declared: &FieldValue) -> bool {
        let numbers = integer(asked).zip(integer(declared));
        let (less, negative) =
            numbers.map_or((false, false), |(asked, declared)| (asked < declared, asked.min(declared) < 0));
        match self {
            _ if kind == QueueType::Stream => true,
            Self::Least => less,
            Self::Limit => less != negative,
            Self::Argument => false,
            Self::Policy => true,
            Self::PolicyOnQuorum => kind == QueueType::Quorum,
        }
    }
}

/// The value that an argument would have to say the same.
fn as_argument(value: &Value) -> Option<FieldValue> {
    Some(match value {
        Value::Integer(number) => FieldValue::LongLongInt(*number),
        Value::Text(text) => FieldValue::LongString(text.as_str().into()),
        Value::Integers(numbers) => {
            FieldValue::FieldArray(numbers.iter().copied().map(FieldValue::LongLongInt).collect())
        }
        Value::Other(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{LengthLimit, Overflow};
    use crate::message::table::FieldTable;

    fn string(text: &str) -> FieldValue {
        FieldValue::LongString(text.into())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn int(number: i64) -> FieldValue {
        FieldValue::LongLongInt(number)
    }

    /// A queue of a type declared with `arguments`, under a policy.
    fn under(kind: &str, arguments: &[(&str, FieldValue)], policy: &[(&str, Value)]) -> Settings {
        let mut table = FieldTable::default();
        table.insert("x-queue-type".into(), string(kind));
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        let flags = QueueFlags { durable: true, auto_delete: false, exclusive: false };
        let policy = policy.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Settings::new(flags, table).under(&policy)
    }

    #[test]
    fn a_policy_says_what_the_declaration_does_not() {
        let settings = under(
            "classic",
            &[],
            &[
                ("message-ttl", Value::Integer(7)),
                ("expires", Value::Integer(8)),
                ("max-length", Value::Integer(9)),
                ("overflow", text("reject-publish")),
                ("dead-letter-exchange", text("dlx")),
                ("dead-letter-routing-key", text("k")),
                ("consumer-timeout", Value::Integer(10)),
                ("retry-delays", Value::Integers(vec![5, 6])),
                ("max-age", text("1D")),
            ],
        );
        assert_eq!((settings.ttl_ms, settings.expires_ms), (Some(7), Some(8)));
        let limit = LengthLimit { messages: 9, bytes: None, overflow: Overflow::Reject };
        assert_eq!((settings.length, settings.consumer_timeout_ms), (Some(limit), Some(10)));
        assert_eq!(settings.dead_letter_exchange.as_deref(), Some("dlx"));
        assert_eq!(settings.dead_letter_routing_key.as_deref(), Some("k"));
        assert_eq!((settings.delivery_limit, settings.retry.is_none()), (Some(2), false));
        assert_eq!((settings.retention.age_ms, settings.arguments.len()), (None, 1));
    }

    #[test]
    fn numbers_are_the_smaller() {
        let ttl = |declared, asked| {
            under("classic", &[("x-message-ttl", int(declared))], &[("message-ttl", Value::Integer(asked))])
                .ttl_ms
        };
        assert_eq!((ttl(5, 3), ttl(3, 5)), (Some(3), Some(3)));
        let limit = |declared, asked| {
            let policy = [("delivery-limit", Value::Integer(asked))];
            under("quorum", &[("x-delivery-limit", int(declared))], &policy).delivery_limit
        };
        assert_eq!(
            (limit(5, 3), limit(3, 5), limit(-1, 5), limit(5, -1)),
            (Some(3), Some(3), Some(5), Some(5))
        );
        assert_eq!((limit(-1, -2), under("quorum", &[], &[]).delivery_limit), (None, Some(20)));
        let unlimited = under("quorum", &[], &[("delivery-limit", Value::Integer(-1))]);
        assert_eq!(unlimited.delivery_limit, None);
    }

    #[test]
    fn of_other_things_one_side_wins() {
        let letters = under(
            "classic",
            &[("x-dead-letter-exchange", string("a"))],
            &[("dead-letter-exchange", text("b")), ("dead-letter-routing-key", text("k"))],
        );
        assert_eq!(letters.dead_letter_exchange.as_deref(), Some("a"));
        assert_eq!(letters.dead_letter_routing_key.as_deref(), Some("k"));
        let overflow = |kind| {
            let arguments = [("x-overflow", string("drop-head")), ("x-max-length", int(1))];
            let settings = under(kind, &arguments, &[("overflow", text("reject-publish"))]);
            settings.length.map(|limit| limit.overflow)
        };
        assert_eq!(
            (overflow("classic"), overflow("quorum")),
            (Some(Overflow::DropHead), Some(Overflow::Reject))
        );
        let stream = under(
            "stream",
            &[("x-max-length-bytes", int(5)), ("x-max-age", string("1h"))],
            &[("max-length-bytes", Value::Integer(9)), ("max-age", text("2h"))],
        );
        assert_eq!((stream.retention.bytes, stream.retention.age_ms), (Some(9), Some(7_200_000)));
    }
}
