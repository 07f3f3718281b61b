//! A headers exchange: a binding's arguments are compared with the headers of the message; keys
//! play no part.
//!
//! Without an index: each message is compared with each binding. `x-match` says how: `all` (also
//! when absent), `any`, and the same `-with-x`; without it, arguments that begin with `x-` are not
//! looked at. An argument without a value matches when the header is there at all. No argument to
//! look at is a match for `all` and none for `any`.

use crate::arguments::value::{same, term};
use crate::blocking;
use crate::error::{BrokerError, ShownValue};
use crate::message::table;
use crate::message::table::{FieldTable, FieldValue};
use std::collections::BTreeMap;

const MATCH: &str = "x-match";

/// Arguments of bindings and where they lead.
#[derive(Debug)]
pub struct Headers<T> {
    rules: BTreeMap<(T, Box<[u8]>), Rule>,
}

#[derive(Debug)]
struct Rule {
    /// One condition is enough; otherwise all must hold.
    any: bool,
    /// Header and value; [`FieldValue::Void`] for any value.
    conditions: Vec<(Box<str>, FieldValue)>,
    /// How many bindings with different keys share this rule.
    bindings: u32,
}

impl<T> Default for Headers<T> {
    fn default() -> Self {
        Self { rules: BTreeMap::new() }
    }
}

/// Whether a binding may have these arguments.
///
/// # Errors
/// `x-match` has a type or value that it cannot have.
pub fn check(arguments: &FieldTable) -> Result<(), BrokerError> {
    match arguments.get(MATCH) {
        None => Ok(()),
        Some(FieldValue::LongString(mode)) => match mode.as_slice() {
            b"all" | b"any" | b"all-with-x" | b"any-with-x" => Ok(()),
            _ => Err(BrokerError::UnknownMatch(String::from_utf8_lossy(mode).into_owned())),
        },
        Some(value) => {
            let (text, type_name) = (term(value).into(), table::type_name(value));
            Err(BrokerError::MatchNotString(ShownValue { text, type_name }))
        }
    }
}

impl Rule {
    fn new(arguments: &FieldTable) -> Self {
        let mode = match arguments.get(MATCH) {
            Some(FieldValue::LongString(mode)) => mode.as_slice(),
            _ => b"all",
        };
        let with_x = mode.ends_with(b"-with-x");
        let conditions = arguments
            .iter()
            .filter(|(key, _)| key.as_str() != MATCH && (with_x || !key.as_str().starts_with("x-")))
            .map(|(key, value)| (key.as_str().into(), value.clone()))
            .collect();
        Self { any: mode.starts_with(b"any"), conditions, bindings: 0 }
    }

    fn matches(&self, headers: &FieldTable) -> bool {
        let holds = |(key, wanted): &(Box<str>, FieldValue)| {
            let header = headers.get(&**key);
            header.is_some_and(|header| *wanted == FieldValue::Void || same(wanted, header))
        };
        if self.any { self.conditions.iter().any(holds) } else { self.conditions.iter().all(holds) }
    }
}

impl<T: Ord> Headers<T> {
    /// Binds `target` with `arguments`, an encoded table.
    pub fn insert(&mut self, arguments: &[u8], target: T) {
        let rule = || Rule::new(&table::decode(arguments).unwrap_or_default());
        self.rules.entry((target, arguments.into())).or_insert_with(rule).bindings += 1;
    }

    /// Takes one binding of `target` with `arguments` back.
    pub fn remove(&mut self, arguments: &[u8], target: T) {
        let key = (target, arguments.into());
        if let Some(rule) = self.rules.get_mut(&key) {
            rule.bindings -= 1;
            if rule.bindings == 0 {
                self.rules.remove(&key);
            }
        }
    }

    /// Whether nothing is bound, and headers need not be looked at.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Shows where a message with these headers goes; a target once for each binding of its that
    /// matches. How many bindings were looked at.
    pub fn route<'a>(&'a self, headers: &FieldTable, mut visit: impl FnMut(&'a T)) -> usize {
        blocking::run_many(self.rules.len(), || {
            for ((target, _), rule) in &self.rules {
                if rule.matches(headers) {
                    visit(target);
                }
            }
        });
        self.rules.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> FieldValue {
        FieldValue::LongString(text.into())
    }

    fn int(number: i32) -> FieldValue {
        FieldValue::LongInt(number)
    }

    fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in entries {
            table.insert((*key).into(), value.clone());
        }
        table
    }

    #[track_caller]
    fn check_match(arguments: &[(&str, FieldValue)], headers: &[(&str, FieldValue)], expected: bool) {
        let mut encoded = Vec::new();
        table::encode(&table(arguments), &mut encoded);
        let mut exchange = Headers::default();
        exchange.insert(&encoded, 1);
        let mut found = false;
        exchange.route(&table(headers), |_| found = true);
        assert_eq!(found, expected, "{arguments:?} for {headers:?}");
        exchange.remove(&encoded, 1);
        assert!(exchange.is_empty());
    }

    #[test]
    fn all_is_the_default() {
        check_match(&[("a", int(1)), ("b", int(2))], &[("a", int(1)), ("b", int(2)), ("c", int(3))], true);
        check_match(&[("a", int(1)), ("b", int(2))], &[("a", int(1))], false);
        check_match(&[("x-match", string("all")), ("a", int(1))], &[("a", int(1))], true);
        check_match(&[], &[], true);
        check_match(&[], &[("a", int(1))], true);
    }

    #[test]
    fn any_wants_one() {
        let any = ("x-match", string("any"));
        check_match(&[any.clone(), ("a", int(1)), ("b", int(2))], &[("b", int(2))], true);
        check_match(&[any.clone(), ("a", int(1)), ("b", int(2))], &[("b", int(3))], false);
        check_match(&[any], &[("a", int(1))], false);
    }

    #[test]
    fn x_headers_count_only_where_asked_for() {
        check_match(&[("x-foo", int(1)), ("a", int(1))], &[("a", int(1))], true);
        check_match(&[("x-match", string("any")), ("x-foo", int(1))], &[("x-foo", int(1))], false);
        check_match(&[("x-match", string("all-with-x")), ("x-foo", int(1))], &[("x-foo", int(1))], true);
        check_match(&[("x-match", string("all-with-x")), ("x-foo", int(1))], &[("x-foo", int(2))], false);
        check_match(&[("x-match", string("any-with-x")), ("x-foo", int(1))], &[("x-foo", int(1))], true);
        check_match(&[("x-match", string("any-with-x"))], &[("x-match", string("any-with-x"))], false);
        check_match(&[("x-match", string("all-with-x"))], &[], true);
        check_match(&[("X-a", int(1))], &[], false);
        check_match(&[("x-", int(1))], &[], true);
    }

    #[test]
    fn void_asks_for_presence_and_numbers_compare_by_value() {
        check_match(&[("a", FieldValue::Void)], &[("a", int(1))], true);
        check_match(&[("a", FieldValue::Void)], &[("a", FieldValue::Void)], true);
        check_match(&[("a", FieldValue::Void)], &[], false);
        check_match(&[("a", int(1))], &[("a", FieldValue::Void)], false);
        check_match(&[("a", int(1))], &[("a", FieldValue::LongLongInt(1))], true);
        check_match(&[("a", FieldValue::ShortShortInt(5))], &[("a", FieldValue::ShortInt(5))], true);
        check_match(&[("a", int(1))], &[("a", FieldValue::Double(1.0))], false);
        check_match(&[("a", int(1))], &[("a", string("1"))], false);
        check_match(&[("a", int(1))], &[("a", FieldValue::Boolean(true))], false);
        check_match(&[("a", FieldValue::Timestamp(7))], &[("a", int(7))], true);
        let array = |items| FieldValue::FieldArray(items);
        check_match(&[("a", array(vec![int(1)]))], &[("a", array(vec![int(1)]))], true);
        check_match(&[("a", array(vec![int(1)]))], &[("a", array(vec![FieldValue::Double(1.0)]))], false);
    }

    #[test]
    fn a_bad_x_match_is_refused_in_rabbitmqs_words() {
        let said = |value| check(&table(&[("x-match", value)])).map_err(|fault| fault.to_string());
        assert_eq!(said(string("any-with-x")), Ok(()));
        assert_eq!(
            said(string("x")),
            Err("Invalid x-match field value <<\"x\">>; \
                 expected all, any, all-with-x, or any-with-x"
                .to_owned())
        );
        let wrong_type = |kind: &str, value: &str| {
            Err(format!("Invalid x-match field type {kind} (value {value}); expected longstr"))
        };
        assert_eq!(said(int(1)), wrong_type("signedint", "1"));
        assert_eq!(said(FieldValue::Boolean(true)), wrong_type("bool", "true"));
        assert_eq!(said(FieldValue::Void), wrong_type("void", "undefined"));
    }
}
