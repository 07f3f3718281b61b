//! Refusals, choice and merge, against what RabbitMQ 4.3 was seen to do.

use super::book::Book;
use super::*;

fn definition(entries: &[(&str, Value)]) -> Definition {
    entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn policy(name: &str, priority: i64, entries: &[(&str, Value)]) -> Policy {
    let (vhost, name, pattern) = ("/".to_owned(), name.to_owned(), String::new());
    Policy { vhost, name, pattern, apply_to: ApplyTo::All, priority, definition: definition(entries) }
}

/// What is said of a definition.
#[track_caller]
fn check(rank: Rank, entries: &[(&str, Value)], expected: &str) {
    let said = policy("p", 0, entries).check(rank).err().unwrap_or_default();
    assert_eq!(said, expected, "{entries:?}");
}

#[test]
fn values_are_refused_in_rabbitmqs_words() {
    let int = Value::Integer;
    let check = |key: &str, value: Value, expected: &str| check(Rank::User, &[(key, value)], expected);
    check("message-ttl", int(-1), "-1 is not a valid message TTL");
    check("message-ttl", text("zz"), "<<\"zz\">> is not a valid message TTL");
    check("message-ttl", text(""), "<<>> is not a valid message TTL");
    check("message-ttl", Value::Other("1.5".to_owned()), "1.5 is not a valid message TTL");
    check("message-ttl", Value::Integers(vec![1]), "[1] is not a valid message TTL");
    check("message-ttl", int(0), "");
    check("expires", int(0), "0 is not a valid queue expiry");
    check("max-length", int(-1), "-1 is not a valid maximum length");
    check("max-length-bytes", int(-1), "-1 is not a valid maximum length in bytes");
    check("max-in-memory-length", int(-1), "-1 is not a valid maximum memory in bytes");
    check("overflow", text("zz"), "<<\"zz\">> is not a valid overflow value");
    check("delivery-limit", int(-1), "");
    check("delivery-limit", text("zz"), "<<\"zz\">> is not a valid delivery limit");
    check("alternate-exchange", int(1), "1 is not a valid alternate exchange name");
    check("dead-letter-exchange", text(""), "");
    check("dead-letter-exchange", int(1), "1 is not a valid dead letter exchange name");
    check("dead-letter-routing-key", int(1), "1 is not a valid dead letter routing key");
    check("dead-letter-strategy", text("zz"), "<<\"zz\">> is not a valid dead letter strategy");
    check("consumer-timeout", int(-1), "-1 is not a valid consumer timeout");
    check("max-age", text("7d"), "<<\"7d\">> is not a valid max age");
    check("max-age", text("7D"), "");
    check("stream-max-segment-size-bytes", int(3_000_000_001), "3000000001 is not a valid segment size");
    let said = "15 is not a valid filter size. Valid range is 16-255";
    check("stream-filter-size-bytes", int(15), said);
    check("queue-version", int(3), "3 is not a valid queue-version value");
    check("queue-leader-locator", text("zz"), "<<\"zz\">> is not a valid queue leader locator value");
    check("target-group-size", int(0), "0 is not a valid qq target count value");
    let said = "0 is not a valid delayed retry minimum delay. Must be a positive integer";
    check("delayed-retry-min", int(0), said);
    let said = "delayed-retry-min is required when delayed-retry-type is all";
    check("delayed-retry-type", text("all"), said);
    check("delayed-retry-type", text("disabled"), "");
    let delays =
        "is not a valid value of retry-delays. Must be 1 to 100 times in milliseconds, as in [1000,60000]";
    check("retry-delays", Value::Integers(vec![]), &format!("[] {delays}"));
    check("retry-delays", Value::Integers(vec![1, -1]), &format!("[1,-1] {delays}"));
    check("retry-delays", text("1s"), &format!("<<\"1s\">> {delays}"));
    check("retry-delays", Value::Integers(vec![1, 0]), "");
    check("retry-jitter", int(101), "101 is not a valid retry jitter. Valid range is 0-100");
    let said = "use of deprecated queue-master-locator argument is not permitted";
    check("queue-master-locator", text("min-masters"), said);
    check("foo", int(1), "[{<<\"foo\">>,1}] are not recognised policy settings");
    check(
        "dead-letter-routing-key",
        text(&"k".repeat(256)),
        "the value of dead-letter-routing-key has more than 255 bytes",
    );
}

#[test]
fn definitions_are_refused_as_a_whole() {
    let int = Value::Integer;
    check(Rank::User, &[], "no policy provided");
    let said = "[{<<\"bar\">>,<<\"x\">>},{<<\"foo\">>,1}] are not recognised policy settings";
    check(Rank::User, &[("max-length", int(1)), ("foo", int(1)), ("bar", text("x"))], said);
    check(Rank::User, &[("max-length", int(-1)), ("foo", int(1))], "-1 is not a valid maximum length");
    check(Rank::User, &[("max-length", int(-1)), ("expires", int(0))], "0 is not a valid queue expiry");
    let said = "delayed-retry-max (1) must not be smaller than delayed-retry-min (2)";
    check(Rank::User, &[("delayed-retry-min", int(2)), ("delayed-retry-max", int(1))], said);
}

#[test]
fn operators_have_the_keys_that_can_be_merged() {
    let of = |rank: Rank| -> Vec<&str> {
        KEYS.iter().filter(|key| key.is_for(rank)).map(|key| key.name).collect()
    };
    let operators: Vec<&str> = of(Rank::Operator);
    assert_eq!(
        operators,
        [
            "message-ttl",
            "expires",
            "max-length",
            "max-length-bytes",
            "max-in-memory-length",
            "max-in-memory-bytes",
            "overflow",
            "delivery-limit",
            "delayed-retry-type",
            "delayed-retry-min",
            "delayed-retry-max",
            "queue-version",
            "target-group-size",
            "queue-master-locator",
        ]
    );
    assert_eq!(of(Rank::User).len(), KEYS.len());
    let said = "[{<<\"alternate-exchange\">>,<<\"zz\">>}] are not recognised policy settings; operator policies \
                may set: message-ttl, expires, max-length, max-length-bytes, max-in-memory-length, \
                max-in-memory-bytes, overflow, delivery-limit, delayed-retry-type, delayed-retry-min, \
                delayed-retry-max, queue-version, target-group-size";
    check(Rank::Operator, &[("max-length", Value::Integer(1)), ("alternate-exchange", text("zz"))], said);
    let said = "[{<<\"foo\">>,<<\"zz\">>}] are not recognised policy settings";
    check(Rank::Operator, &[("max-length", Value::Integer(1)), ("foo", text("zz"))], said);
}

#[test]
fn patterns_and_objects_are_checked() {
    let with = |pattern: &str| Policy {
        pattern: pattern.to_owned(),
        ..policy("p", 0, &[("expires", Value::Integer(1))])
    };
    for good in ["", ".*", "^q$", "^(a|b)"] {
        assert_eq!(with(good).check(Rank::User), Ok(()), "{good}");
    }
    for bad in ["(", "[", "*"] {
        let why = with(bad).check(Rank::User).unwrap_err();
        assert!(why.starts_with("pattern should be regular expression but is invalid: "), "{why}");
    }
    assert!(policy("", 0, &[("expires", Value::Integer(1))]).check(Rank::User).is_err());
    let said = "apply-to 'foo' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', \
                'exchanges', or 'all'";
    assert_eq!(ApplyTo::named("foo"), Err(said.to_owned()));
    for (apply_to, name) in ApplyTo::NAMES {
        assert_eq!((ApplyTo::named(name), apply_to.name()), (Ok(apply_to), name));
    }
}

#[test]
fn a_policy_is_for_what_all_of_its_keys_make_sense_for() {
    let objects = [Object::ClassicQueue, Object::QuorumQueue, Object::Stream, Object::Exchange];
    let of = |apply_to, key: &str| -> String {
        let policy = Policy {
            apply_to,
            ..policy("p", 0, &[(key, Value::Integer(1)), ("max-length-bytes", Value::Integer(1))])
        };
        objects
            .iter()
            .zip("cqsx".chars())
            .filter(|(object, _)| policy.is_for(**object))
            .map(|(_, name)| name)
            .collect()
    };
    for (apply_to, expected) in [
        (ApplyTo::All, "cqsx"),
        (ApplyTo::Queues, "cqs"),
        (ApplyTo::ClassicQueues, "c"),
        (ApplyTo::QuorumQueues, "q"),
        (ApplyTo::Streams, "s"),
        (ApplyTo::Exchanges, "x"),
    ] {
        assert_eq!(of(apply_to, "queue-leader-locator"), expected);
    }
    for (key, expected) in [
        ("message-ttl", "cqx"),
        ("dead-letter-exchange", "cqx"),
        ("max-length", "cqx"),
        ("delivery-limit", "cqx"),
        ("dead-letter-strategy", "cqx"),
        ("target-group-size", "qx"),
        ("max-age", "sx"),
        ("queue-mode", "cx"),
        ("retry-delays", "cqx"),
        ("consumer-timeout", "cqsx"),
    ] {
        assert_eq!(of(ApplyTo::All, key), expected, "{key}");
    }
}

fn put(book: &mut Book, rank: Rank, policy: Policy) {
    book.apply(PolicyChange::Put(rank, policy));
}

/// What a user's and an operator's value of a key amount to.
#[track_caller]
fn check_merge(key: &str, user: Value, operator: Value, expected: &Value) {
    let mut book = Book::default();
    put(&mut book, Rank::User, policy("u", 0, &[(key, user)]));
    put(&mut book, Rank::Operator, policy("o", 0, &[(key, operator)]));
    let found = book.in_effect("/", Object::QuorumQueue, "q");
    assert_eq!((found.policy.as_deref(), found.operator.as_deref()), (Some("u"), Some("o")));
    assert_eq!(found.definition.get(key), Some(expected), "{key}");
}

#[test]
fn an_operators_value_and_a_users_are_one() {
    let numbers = |key: &str, user, operator, expected| {
        check_merge(key, Value::Integer(user), Value::Integer(operator), &Value::Integer(expected));
    };
    for key in [
        "message-ttl",
        "expires",
        "max-length",
        "max-length-bytes",
        "delayed-retry-max",
        "max-in-memory-bytes",
    ] {
        numbers(key, 5, 3, 3);
        numbers(key, 3, 5, 3);
    }
    numbers("delayed-retry-min", 5, 7, 7);
    numbers("target-group-size", 5, 3, 5);
    numbers("queue-version", 1, 2, 2);
    numbers("queue-version", 2, 1, 1);
    numbers("delivery-limit", 7, 5, 5);
    numbers("delivery-limit", -1, 5, 5);
    numbers("delivery-limit", 5, -1, 5);
    numbers("delivery-limit", -3, -1, -1);
    check_merge("overflow", text("drop-head"), text("reject-publish"), &text("reject-publish"));
    check_merge("delayed-retry-type", text("all"), text("failed"), &text("failed"));
}

#[test]
fn what_only_one_of_them_says_counts() {
    let mut book = Book::default();
    put(&mut book, Rank::User, policy("u", 0, &[("message-ttl", Value::Integer(1))]));
    put(&mut book, Rank::Operator, policy("o", 0, &[("max-length", Value::Integer(2))]));
    let both = definition(&[("message-ttl", Value::Integer(1)), ("max-length", Value::Integer(2))]);
    assert_eq!(book.in_effect("/", Object::ClassicQueue, "q").definition, both);
}

#[test]
fn the_highest_priority_is_in_effect_and_of_equals_the_first_name() {
    let mut book = Book::default();
    let length = |number| [("max-length", Value::Integer(number))];
    let chosen = |book: &Book, name: &str| book.in_effect("/", Object::ClassicQueue, name).policy;
    assert_eq!(chosen(&book, "q"), None);
    put(&mut book, Rank::User, policy("b", 0, &length(1)));
    put(&mut book, Rank::User, policy("a", 0, &length(2)));
    assert_eq!(chosen(&book, "q").as_deref(), Some("a"));
    let only_jobs = Policy { pattern: "^job".to_owned(), ..policy("z", 9, &length(3)) };
    put(&mut book, Rank::User, only_jobs);
    assert_eq!((chosen(&book, "jobs").as_deref(), chosen(&book, "q").as_deref()), (Some("z"), Some("a")));
    put(&mut book, Rank::User, policy("b", 1, &length(1)));
    assert_eq!((chosen(&book, "q").as_deref(), book.len()), (Some("b"), 3));
    put(&mut book, Rank::User, Policy { vhost: "v".to_owned(), ..policy("a", 99, &length(2)) });
    assert_eq!(chosen(&book, "q").as_deref(), Some("b"), "another vhost's");
    let names: Vec<_> = book.policies(Rank::User).map(|policy| &*policy.name).collect();
    assert_eq!(names, ["z", "b", "a", "a"]);
    for name in ["b", "z"] {
        let (rank, vhost, name) = (Rank::User, "/".to_owned(), name.to_owned());
        book.apply(PolicyChange::Delete { rank, vhost, name });
    }
    assert_eq!(chosen(&book, "jobs").as_deref(), Some("a"));
    assert!(chosen(&book, "").is_some(), "an empty pattern is found everywhere");
}
