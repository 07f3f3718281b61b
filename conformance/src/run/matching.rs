//! Holds what came against what was expected, and captures. Pure: variables are changed, nothing
//! else.

use crate::protocol::content::Header;
use crate::protocol::value::{Value, show_text};
use crate::run::eval::{Variables, inserted, integer, value};
use crate::run::message::Message;
use crate::script::expr::{Expr, Piece, Table};
use crate::script::{Call, Field, Relation};

/// Fields of methods that hold words for people, which the specification leaves to each broker.
const WORDS: &[&str] = &["reply-text"];

/// What a message has other than it should; empty when it is as expected. Captures stay in
/// `variables` either way. Words may be others unless `compares_words`.
pub(crate) fn call(
    call: &Call,
    message: &Message,
    compares_words: bool,
    variables: &mut Variables,
) -> Vec<String> {
    if call.spec != message.method.spec {
        return vec![format!("{} expected, {} came", call.spec.name, message.method.spec.name)];
    }
    let mut wrong = Vec::new();
    for said in &call.fields {
        let found = wrong.len();
        field(said, message.method.argument(said.spec.name), variables, &mut wrong);
        if !compares_words && WORDS.contains(&said.spec.name) {
            wrong.truncate(found);
        }
    }
    if let Some((header, body)) = &message.content {
        self::header(&call.properties, header, call.only, variables, &mut wrong);
        if let Some(said) = &call.body {
            field(said, Some(&Value::Text(body.clone())), variables, &mut wrong);
        }
    }
    wrong
}

/// What the properties of `header` are other than `fields` say.
pub(crate) fn header(
    fields: &[Field],
    header: &Header,
    only: bool,
    variables: &mut Variables,
    wrong: &mut Vec<String>,
) {
    for said in fields {
        let numbers =
            [("class", header.class.into()), ("weight", header.weight.into()), ("size", header.size.into())];
        match numbers.into_iter().find(|(name, _)| *name == said.spec.name) {
            Some((_, number)) => field(said, Some(&Value::Int('_', number)), variables, wrong),
            None => field(said, header.property(said.spec.name), variables, wrong),
        }
    }
    if only {
        wrong.extend(
            header
                .properties
                .iter()
                .filter(|(name, _)| !fields.iter().any(|said| said.spec.name == *name))
                .map(|(name, value)| format!("{name}: none expected, {} came", value.show(true))),
        );
    }
}

/// Holds one field against what came in it.
fn field(said: &Field, came: Option<&Value>, variables: &mut Variables, wrong: &mut Vec<String>) {
    let name = said.spec.name;
    let absent = matches!(said.value, Expr::Absent);
    let outcome = match (came, said.relation) {
        (None, Relation::Is) if absent => Ok(()),
        (None, _) => Err("it did not come".to_owned()),
        (Some(_), Relation::IsNot) if absent => Ok(()),
        (Some(came), _) if absent => Err(format!("none expected, {} came", came.show(false))),
        (Some(came), Relation::Is) => argument(&said.value, came, variables),
        (Some(came), Relation::Like) => like(&said.value, came, variables),
        (Some(came), relation) => compare(relation, &said.value, came, variables),
    };
    if let Err(why) = outcome {
        wrong.push(format!("{name}: {why}"));
    }
}

/// Holds the bytes of a body against `expected`.
///
/// # Errors
/// They are others.
pub(crate) fn body(expected: &Expr, came: &[u8], variables: &mut Variables) -> Result<(), String> {
    argument(expected, &Value::Text(came.to_vec()), variables)
}

/// A method's field or a property: its type is given, so that only the value is compared.
fn argument(expected: &Expr, came: &Value, variables: &mut Variables) -> Result<(), String> {
    match (expected, came) {
        (Expr::Bytes(_), Value::Text(text)) => any_value(expected, &Value::Bytes(text.clone()), variables),
        (
            Expr::Literal(Value::Int(..)) | Expr::Typed(..) | Expr::Sum(..),
            Value::Int(..) | Value::Timestamp(_),
        ) => {
            let (wanted, found) = (integer(expected, variables)?, as_integer(came));
            if Some(wanted) == found {
                Ok(())
            } else {
                Err(format!("{wanted} expected, {} came", came.show(false)))
            }
        }
        _ => any_value(expected, came, variables),
    }
}

fn as_integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(_, number) => Some(*number),
        Value::Timestamp(seconds) => Some((*seconds).into()),
        _ => None,
    }
}

fn compare(relation: Relation, expected: &Expr, came: &Value, variables: &Variables) -> Result<(), String> {
    let wanted = value(expected, variables)?;
    let holds = match (relation, as_integer(&wanted), as_integer(came)) {
        (Relation::AtLeast, Some(wanted), Some(came)) => came >= wanted,
        (Relation::AtMost, Some(wanted), Some(came)) => came <= wanted,
        (_, Some(wanted), Some(came)) => came != wanted,
        _ => *came != wanted,
    };
    if holds {
        Ok(())
    } else {
        Err(format!("{}{} expected, {} came", relation.sign(), wanted.show(false), came.show(false)))
    }
}

/// Holds any value, of a table too, against `expected`.
fn any_value(expected: &Expr, came: &Value, variables: &mut Variables) -> Result<(), String> {
    let differs = |wanted: &str| Err(format!("{wanted} expected, {} came", came.show(true)));
    match expected {
        Expr::Any(None) => Ok(()),
        Expr::Any(Some(letter)) if came.letter() == *letter => Ok(()),
        Expr::Any(Some(letter)) => differs(&format!("any {letter}")),
        Expr::Var(name) => match variables.get(name) {
            None => {
                let kept = match came {
                    // Where a number came from says nothing about where it goes.
                    Value::Int(_, number) => Value::Int('_', *number),
                    other => other.clone(),
                };
                variables.insert(name.clone(), kept);
                Ok(())
            }
            Some(known) => same(known, came),
        },
        Expr::Text(pieces) => match came {
            Value::Text(text) if matches(pieces, text, false, variables) => Ok(()),
            _ => differs(&show(pieces, variables)),
        },
        Expr::Array(wanted) => match came {
            Value::Array(values) if values.len() == wanted.len() => {
                for (at, (wanted, came)) in wanted.iter().zip(values).enumerate() {
                    any_value(wanted, came, variables).map_err(|why| format!("[{at}]: {why}"))?;
                }
                Ok(())
            }
            Value::Array(values) => differs(&format!("an array of {} (not {})", wanted.len(), values.len())),
            _ => differs("an array"),
        },
        Expr::Table(wanted) => match came {
            Value::Table(entries) => table(wanted, entries, variables),
            _ => differs("a table"),
        },
        _ => same(&value(expected, variables)?, came),
    }
}

/// Each key as often as it is said, the first of a name against the first that came; in order if
/// that is wanted.
fn table(wanted: &Table, came: &[(Vec<u8>, Value)], variables: &mut Variables) -> Result<(), String> {
    let shown = || Value::Table(came.to_vec()).show(true);
    let mut met = vec![false; came.len()];
    let mut last: Option<(usize, &str)> = None;
    let (forbidden, said): (Vec<_>, Vec<_>) =
        wanted.entries.iter().partition(|(_, expected)| matches!(expected, Expr::Absent));
    for (key, expected) in &said {
        let at = meet(key.as_bytes(), came, &mut met)
            .ok_or_else(|| format!("'{key}' did not come; {}", shown()))?;
        any_value(expected, &came[at].1, variables).map_err(|why| format!("'{key}': {why}"))?;
        if let Some((before, name)) = last.filter(|(before, _)| wanted.is_ordered && *before > at) {
            return Err(format!(
                "'{name}' expected before '{key}', it came {} later; {}",
                before - at,
                shown()
            ));
        }
        last = Some((at, key));
    }
    for ((key, value), _) in came.iter().zip(&met).filter(|(_, met)| !**met) {
        let is_among = |keys: &[&(String, Expr)]| keys.iter().any(|(said, _)| key == said.as_bytes());
        let name = String::from_utf8_lossy(key);
        if is_among(&said) {
            return Err(format!("'{name}' came more often than expected; {}", shown()));
        }
        if !wanted.is_open || is_among(&forbidden) {
            return Err(format!("'{name}' was not expected, {} came", value.show(true)));
        }
    }
    Ok(())
}

/// Where `key` came first of those that nothing `met` yet; it is met from here on.
fn meet(key: &[u8], came: &[(Vec<u8>, Value)], met: &mut [bool]) -> Option<usize> {
    let at = came.iter().zip(&*met).position(|((found, _), met)| !met && found == key)?;
    met[at] = true;
    Some(at)
}

/// Whether `came` is `wanted`; an integer whose type was not said is equal in any type.
fn same(wanted: &Value, came: &Value) -> Result<(), String> {
    let equal = match (wanted, came) {
        (Value::Int('_', wanted), Value::Int(_, came)) => wanted == came,
        (Value::Array(wanted), Value::Array(came)) => {
            wanted.len() == came.len()
                && wanted.iter().zip(came).all(|(wanted, came)| same(wanted, came).is_ok())
        }
        (Value::Table(wanted), Value::Table(came)) => {
            let mut met = vec![false; came.len()];
            wanted.len() == came.len()
                && wanted.iter().all(|(key, wanted)| {
                    meet(key, came, &mut met).is_some_and(|at| same(wanted, &came[at].1).is_ok())
                })
        }
        _ => wanted == came,
    };
    if equal {
        Ok(())
    } else {
        Err(format!(
            "{} expected, {} came",
            wanted.show(!matches!(wanted, Value::Int('_', _))),
            came.show(true)
        ))
    }
}

fn like(expected: &Expr, came: &Value, variables: &mut Variables) -> Result<(), String> {
    match (expected, came) {
        (Expr::Text(pieces), Value::Text(text)) if matches(pieces, text, true, variables) => Ok(()),
        (Expr::Text(pieces), _) => {
            Err(format!("something like {} expected, {} came", show(pieces, variables), came.show(true)))
        }
        _ => Err("a pattern is a text".into()),
    }
}

/// Whether `text` is what `pieces` describe; captures the shortest texts that make it so.
fn matches(pieces: &[Piece], text: &[u8], stars: bool, variables: &mut Variables) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return text.is_empty() };
    let after = |plain: &[u8], variables: &mut Variables| {
        text.strip_prefix(plain).is_some_and(|text| matches(rest, text, stars, variables))
    };
    match first {
        Piece::Plain(plain) => after(plain, variables),
        Piece::Star if !stars => after(b"*", variables),
        Piece::Star => (0..=text.len()).any(|len| matches(rest, &text[len..], stars, variables)),
        Piece::Value(Expr::Var(name)) if !variables.contains_key(name) => (0..=text.len()).any(|len| {
            variables.insert(name.clone(), Value::Text(text[..len].to_vec()));
            let found = matches(rest, &text[len..], stars, variables);
            if !found {
                variables.remove(name);
            }
            found
        }),
        Piece::Value(inner) => match value(inner, variables) {
            Ok(known) => after(&inserted(&known), variables),
            Err(_no_value) => false,
        },
    }
}

/// What a text or pattern means here.
fn show(pieces: &[Piece], variables: &Variables) -> String {
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Plain(plain) => out.extend_from_slice(plain),
            Piece::Star => out.push(b'*'),
            Piece::Value(inner) => match value(inner, variables) {
                Ok(known) => out.extend(inserted(&known)),
                Err(_captured_here) => out.extend_from_slice(b"<anything>"),
            },
        }
    }
    show_text(&out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::samples::{expected, message, variables};

    /// What is wrong with `came` where `wanted` is expected, all in one line.
    fn wrong(wanted: &str, came: &str) -> String {
        call(&expected(wanted), &message(came), true, &mut variables(&[])).join("; ")
    }

    #[track_caller]
    fn meets(wanted: &str, came: &str) {
        assert_eq!(wrong(wanted, came), "", "{wanted} and {came}");
    }

    #[track_caller]
    fn fails(wanted: &str, came: &str, why: &str) {
        let wrong = wrong(wanted, came);
        assert!(wrong.contains(why), "{wanted} and {came}: '{wrong}'");
    }

    #[test]
    fn fields_that_are_not_named_may_be_anything() {
        meets("queue.declare-ok", "queue.declare-ok queue=\"x\" message-count=3");
        meets("queue.declare-ok message-count=3", "queue.declare-ok queue=\"x\" message-count=3");
        fails(
            "queue.declare-ok message-count=2",
            "queue.declare-ok message-count=3",
            "message-count: 2 expected, 3",
        );
        fails("queue.declare-ok", "queue.delete-ok", "queue.declare-ok expected, queue.delete-ok came");
    }

    #[test]
    fn words_may_be_left_out() {
        let wanted = expected("channel.close reply-code=404 reply-text=\"NOT_FOUND\" method=queue.bind");
        let found = |came: &str, compares_words: bool| {
            call(&wanted, &message(came), compares_words, &mut variables(&[])).join("; ")
        };
        let words = "channel.close reply-code=404 reply-text=\"where is it\" method=queue.bind";
        assert_eq!(found(words, false), "");
        assert_eq!(found(words, true), "reply-text: \"NOT_FOUND\" expected, \"where is it\" came");
        let code = "channel.close reply-code=403 reply-text=\"NOT_FOUND\" method=queue.bind";
        assert_eq!(found(code, false), "reply-code: 404 expected, 403 came");
    }

    #[test]
    fn numbers_are_compared() {
        meets("basic.ack delivery-tag>=2", "basic.ack delivery-tag=2");
        meets("basic.ack delivery-tag<=$n", "basic.ack delivery-tag=7");
        meets("basic.ack delivery-tag!=1", "basic.ack delivery-tag=2");
        fails("basic.ack delivery-tag>=3", "basic.ack delivery-tag=2", ">=3 expected, 2 came");
        fails("basic.ack delivery-tag!=$n", "basic.ack delivery-tag=7", "!=7 expected");
    }

    #[test]
    fn patterns_and_captures_in_texts() {
        meets(
            "channel.close reply-text~\"NOT_FOUND - * '$q'*\"",
            "channel.close reply-text=\"NOT_FOUND - no 'hare'\"",
        );
        meets("channel.close reply-text~\"a\\*b\"", "channel.close reply-text=\"a*b\"");
        fails("channel.close reply-text~\"a\\*b\"", "channel.close reply-text=\"axb\"", "something like");
        fails("channel.close reply-text=\"a*b\"", "channel.close reply-text=\"axb\"", "expected");
        let mut known = variables(&[]);
        let ok = message("queue.declare-ok queue=\"amq.gen-xyz\" message-count=5");
        let wanted = expected("queue.declare-ok queue=\"amq.gen-$rest\" message-count=$count");
        assert_eq!(call(&wanted, &ok, true, &mut known), Vec::<String>::new());
        assert_eq!(known.get("rest"), Some(&Value::Text(b"xyz".to_vec())));
        assert_eq!(known.get("count"), Some(&Value::Int('_', 5)), "it has no type of its own any more");
        // Captured once, it is a value.
        assert_eq!(call(&wanted, &ok, true, &mut known), Vec::<String>::new());
        let other = message("queue.declare-ok queue=\"amq.gen-other\" message-count=5");
        assert_eq!(call(&wanted, &other, true, &mut known).len(), 1);
    }

    #[test]
    fn tables_hold_exactly_what_is_said_with_exactly_the_types() {
        let came = "basic.deliver headers={a: 1I, b: [\"x\", {c: true}], d: 7T}";
        meets("basic.deliver headers={d: 7T, a: 1I, b: [\"x\", {c: true}]}", came);
        meets("basic.deliver headers={a: 1, b: _A, d: _T}", came);
        meets("basic.deliver headers={a: _, ...}", came);
        meets("basic.deliver headers={a: $new, e: none, ...}", came);
        fails("basic.deliver headers={a: 1l, ...}", came, "'a': 1l expected, 1I came");
        fails("basic.deliver headers={a: _S, ...}", came, "'a': any S expected, 1I came");
        fails("basic.deliver headers={a: 1I}", came, "was not expected");
        fails("basic.deliver headers={a: none, ...}", came, "'a' was not expected, 1I came");
        fails("basic.deliver headers={a: none}", came, "'a' was not expected, 1I came");
        fails("basic.deliver headers={e: _, ...}", came, "'e' did not come");
        fails("basic.deliver headers={b: [\"x\"], ...}", came, "an array of 1 (not 2)");
        fails("basic.deliver headers={b: [\"x\", {c: false}], ...}", came, "'b': [1]: 'c': false expected");
    }

    #[test]
    fn keys_come_in_order_where_that_is_wanted() {
        let came = "basic.deliver headers={a: 1I, b: 2I, c: {y: void, x: void}}";
        meets("basic.deliver headers=ordered {a: 1I, b: 2I, c: {x: void, y: void}}", came);
        meets("basic.deliver headers=ordered {a: 1I, c: ordered {y: void, x: void}, d: none, ...}", came);
        meets("basic.deliver headers={c: ordered {y: void, ...}, a: 1I, ...}", came);
        fails(
            "basic.deliver headers=ordered {b: 2I, a: 1I, ...}",
            came,
            "'b' expected before 'a', it came 1 later; {a: 1I, b: 2I, ",
        );
        fails("basic.deliver headers=ordered {c: _, a: _, b: _}", came, "'c' expected before 'a'");
        fails("basic.deliver headers=ordered {a: _, b: _}", came, "'c' was not expected");
        fails("basic.deliver headers={c: ordered {x: _, y: _}, ...}", came, "'c': 'x' expected before 'y'");
    }

    #[test]
    fn a_key_comes_as_often_as_it_is_said() {
        let came = "basic.deliver headers={a: 1I, b: true, a: 2I}";
        meets("basic.deliver headers={a: 1I, a: 2I, b: true}", came);
        meets("basic.deliver headers=ordered {a: 1I, b: true, a: 2I}", came);
        meets("basic.deliver headers={b: true, a: _, a: $new, ...}", came);
        fails("basic.deliver headers={a: 2I, a: 1I, ...}", came, "'a': 2I expected, 1I came");
        fails("basic.deliver headers={a: 1I, ...}", came, "'a' came more often than expected");
        fails("basic.deliver headers={a: 1I, b: true}", came, "'a' came more often than expected");
        fails("basic.deliver headers={a: 1I, a: 2I, a: 3I, b: true}", came, "'a' did not come");
        fails("basic.deliver headers=ordered {a: 1I, a: 2I, b: true}", came, "'a' expected before 'b'");
        let mut known = variables(&[]);
        let keep = expected("basic.deliver headers=$all");
        assert_eq!(call(&keep, &message(came), true, &mut known), Vec::<String>::new());
        assert_eq!(call(&keep, &message(came), true, &mut known), Vec::<String>::new());
        let other = message("basic.deliver headers={a: 1I, b: true, a: 1I}");
        assert_eq!(call(&keep, &other, true, &mut known).len(), 1, "the second of a name is another");
    }

    #[test]
    fn properties_that_must_come_or_must_not() {
        let came = "basic.deliver priority=3 body=\"hare\"";
        meets("basic.deliver priority=_ body=$q", came);
        meets("basic.deliver priority!=none expiration=none", came);
        meets("basic.deliver only priority=3", came);
        meets("basic.deliver body=bytes(68 61 \"re\")", came);
        fails("basic.deliver expiration=_", came, "expiration: it did not come");
        fails("basic.deliver expiration!=none", came, "expiration: it did not come");
        fails("basic.deliver priority=none", came, "none expected, 3 came");
        fails("basic.deliver only", came, "priority: none expected");
        fails("basic.deliver body=\"har\"", came, "body: \"har\" expected, \"hare\"");
    }
}
