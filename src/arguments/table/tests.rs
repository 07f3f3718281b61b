//! That every argument there is has one row, and how the arguments of exchanges and consumers are
//! refused.

use super::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Names that look like those of arguments and are of something else: a binding's argument, a type
/// of exchange. Those of headers are in `message`.
const NOT_ARGUMENTS: &[&str] = &["x-match", "x-delayed-message"];

/// The names that a source defines as constants, with the line of each: every string that begins
/// with `x-`, and what else is a name of the table.
fn names(source: &str) -> Vec<&str> {
    let value = |line: &'_ str| -> Option<(usize, usize)> {
        let at = line.find("const ").and_then(|_| line.find("str = \"")).map(|at| at + "str = \"".len())?;
        Some((at, at + line[at..].find('"')?))
    };
    let of_arguments =
        |name: &&str| name.starts_with("x-") || TABLE.iter().any(|argument| argument.name == *name);
    source
        .lines()
        .filter_map(|line| value(line).map(|(start, end)| &line[start..end]))
        .filter(of_arguments)
        .filter(|name| !NOT_ARGUMENTS.contains(name))
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source is text");
            found.push((path.display().to_string(), text));
        }
    }
}

#[test]
fn every_name_of_an_argument_is_in_the_table_once_and_nowhere_else() {
    assert_eq!(names("/// A.\npub(super) const A: &str = \"x-new\";\nconst B: &str = \"b\";"), ["x-new"]);
    let mut found = Vec::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&src, &mut found);
    found.retain(|(path, _)| !Path::new(path).starts_with(src.join("message")));
    let defined: Vec<(&str, &str)> =
        found.iter().flat_map(|(path, text)| names(text).into_iter().map(|name| (&**path, name))).collect();
    let elsewhere: Vec<_> =
        defined.iter().filter(|(path, _)| !path.ends_with("arguments/table.rs")).collect();
    assert!(elsewhere.is_empty(), "named outside of the table: {elsewhere:?}");
    let constants: Vec<&str> = defined.iter().map(|(_, name)| *name).collect();
    let rows: Vec<&str> = TABLE.iter().map(|argument| argument.name).collect();
    let as_set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(as_set(&rows).len(), rows.len(), "an argument has two rows");
    let constants: BTreeSet<&str> = constants.into_iter().collect();
    assert_eq!(constants, as_set(&rows), "constants and rows are not the same");
}

#[test]
fn a_policy_key_is_the_name_of_its_argument_and_of_no_other() {
    let keys: Vec<&str> = TABLE.iter().filter_map(|argument| argument.policy).map(|(key, _)| key).collect();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    for argument in TABLE {
        let key = argument.name.trim_start_matches("x-");
        assert!(argument.policy.is_none_or(|(policy, _)| policy == key), "{key}");
    }
}

fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn string_value(text: &str) -> FieldValue {
    FieldValue::LongString(text.into())
}

/// What is said to arguments, without what every such text begins with; nothing when they are
/// taken.
fn said(taker: Subject, on: &Resource, entries: &[(&str, FieldValue)]) -> String {
    let arguments = table(entries);
    let checked = taker.check_foreign(on, &arguments).and_then(|()| taker.check_values(on, &arguments));
    let text = checked.err().map(|fault| fault.to_string()).unwrap_or_default();
    text.trim_start_matches("").to_owned()
}

#[test]
fn an_exchange_refuses_what_it_cannot_use() {
    let on = Resource::exchange(&"/".into(), "x");
    let hashing = Subject::Exchange { kind: ExchangeType::ConsistentHash, delays: false };
    let of = |entries: &[(&str, FieldValue)]| said(hashing, &on, entries);
    assert_eq!(of(&[(HASH_HEADER, string_value("h"))]), "");
    assert_eq!(of(&[(HASH_PROPERTY, string_value("timestamp"))]), "");
    let app_id = (HASH_PROPERTY, string_value("app_id"));
    assert_eq!(of(std::slice::from_ref(&app_id)), "Unsupported property: app_id");
    let both = of(&[app_id.clone(), (HASH_HEADER, string_value("h"))]);
    assert_eq!(both, "hash-header and hash-property are mutually exclusive");
    let odd = "invalid type 'bool' for arg 'hash-header' in exchange 'x' in vhost '/'";
    assert_eq!(of(&[(HASH_HEADER, FieldValue::Boolean(true))]), odd);
    let odd = "invalid type 'bool' for arg 'alternate-exchange' in exchange 'x' in vhost '/'";
    assert_eq!(of(&[(ALTERNATE_EXCHANGE, FieldValue::Boolean(true))]), odd);
    let direct = Subject::Exchange { kind: ExchangeType::Direct, delays: false };
    assert_eq!(said(direct, &on, &[app_id, (DELAYED_TYPE, string_value("y"))]), "", "the client's own");
    let delaying = Subject::Exchange { kind: ExchangeType::Direct, delays: true };
    let text = said(delaying, &on, &[(DELAYED_TYPE, string_value("y"))]);
    assert_eq!(text, "unknown exchange type 'y'");
}

#[test]
fn deduplication_is_the_same_for_queues_and_exchanges() {
    let exchange = Subject::Exchange { kind: ExchangeType::Fanout, delays: false };
    let takers = [
        (Subject::Queue(QueueType::Classic), Resource::queue(&"/".into(), "n")),
        (exchange, Resource::exchange(&"/".into(), "n")),
    ];
    for (taker, on) in takers {
        let check = |key: &str, value, why: &str| {
            let expected =
                if why.is_empty() { String::new() } else { format!("invalid arg '{key}' for {on}: {why}") };
            assert_eq!(said(taker, &on, &[(key, value)]), expected);
        };
        check(DEDUPLICATION, string_value("true"), "{unacceptable_type,longstr}");
        check(DEDUPLICATION_HEADER, FieldValue::LongInt(1), "{unacceptable_type,signedint}");
        check(CACHE_SIZE, FieldValue::LongInt(0), "{value_zero,0}");
        check(CACHE_SIZE, string_value("5"), "\"expected integer, got longstr\"");
        check(CACHE_TTL, FieldValue::LongInt(-1), "{value_negative,-1}");
        check(DEDUPLICATION, FieldValue::Boolean(true), "");
        check(DEDUPLICATION_HEADER, string_value("h"), "");
        check(CACHE_SIZE, FieldValue::LongInt(1), "");
        check(CACHE_TTL, FieldValue::LongInt(0), "");
        let (on_it, none) = (table(&[(DEDUPLICATION, FieldValue::Boolean(true))]), FieldTable::default());
        assert!(taker.check_equivalent(&on, &none, &none).is_ok());
        assert!(taker.check_equivalent(&on, &on_it, &none).is_err());
    }
}

#[test]
fn a_consumer_refuses_what_it_cannot_use() {
    let on = Resource::queue(&"/".into(), "q");
    let (reader, consumer) = (Subject::Consumer(QueueType::Stream), Subject::Consumer(QueueType::Quorum));
    let head = "invalid arg 'x-priority' for queue 'q' in vhost '/'";
    let text = said(consumer, &on, &[(PRIORITY, string_value("s"))]);
    assert_eq!(text, format!("{head}: \"expected integer, got longstr\""));
    let text = said(reader, &on, &[(PRIORITY, FieldValue::LongInt(1))]);
    assert_eq!(text, format!("{head} of queue type rabbit_stream_queue"));
    let text = said(consumer, &on, &[(CONSUMER_TIMEOUT, FieldValue::LongInt(-1))]);
    assert_eq!(text, "invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/': {value_negative,-1}");
    let text = said(consumer, &on, &[(STREAM_FILTER, string_value("f"))]);
    assert_eq!(
        text,
        "invalid arg 'x-stream-filter' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"
    );
    assert_eq!(said(reader, &on, &[(STREAM_FILTER, FieldValue::Void)]), "");
    assert_eq!(said(reader, &on, &[(OFFSET_TRACKING, string_value("true"))]), "");
    assert_eq!(said(consumer, &on, &[("x-max-length", FieldValue::Void)]), "", "a queue's, and so its own");
}
