//! Every refusal of an argument, and what arguments amount to.

use super::*;
use crate::message::table::FieldValue;

const DURABLE: QueueFlags = QueueFlags { durable: true, auto_delete: false, exclusive: false };

fn on() -> Resource {
    Resource::queue(&"/".into(), "q")
}

fn string(text: &str) -> FieldValue {
    FieldValue::LongString(text.into())
}

fn int(number: i64) -> FieldValue {
    FieldValue::LongLongInt(number)
}

fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

/// `expected` is what follows `invalid arg 'KEY' for queue 'q' in vhost '/'`, or nothing for a good
/// declaration.
#[track_caller]
fn check(key: &str, value: FieldValue, expected: &str) {
    check_beside(key, value, &[], expected);
}

#[track_caller]
fn check_quorum(key: &str, value: FieldValue, expected: &str) {
    check_beside(key, value, &[(QUEUE_TYPE, string("quorum"))], expected);
}

#[track_caller]
fn check_stream(key: &str, value: FieldValue, expected: &str) {
    check_beside(key, value, &[(QUEUE_TYPE, string("stream"))], expected);
}

#[track_caller]
fn check_beside(key: &str, value: FieldValue, others: &[(&str, FieldValue)], expected: &str) {
    let arguments = table(&[others, &[(key, value)]].concat());
    let said = Settings::declare(&on(), DURABLE, arguments).err().map(|fault| fault.to_string());
    let head = format!("invalid arg '{key}' for queue 'q' in vhost '/'");
    let said = said.unwrap_or_default();
    assert_eq!(said.strip_prefix(&head).unwrap_or(&said), expected, "{key}");
}

#[test]
fn values_out_of_range_are_refused_in_rabbitmqs_words() {
    check("x-expires", int(0), ": {value_zero,0}");
    check("x-expires", int(-1), ": {value_negative,-1}");
    check("x-expires", int(315_360_000_001), ": {value_too_large,315360000001}");
    check("x-expires", int(315_360_000_000), "");
    check("x-message-ttl", int(0), "");
    check("x-message-ttl", string("s"), ": \"expected integer, got longstr\"");
    check("x-message-ttl", FieldValue::Void, ": \"expected integer, got void\"");
    check("x-max-length", FieldValue::Boolean(true), ": \"expected integer, got bool\"");
    check("x-max-length-bytes", int(i64::MAX), "");
    let delays = |items: Vec<FieldValue>| FieldValue::FieldArray(items);
    let expected = "expected 1 to 100 delays in ms, as in [1000,60000]\"";
    for (value, why) in [
        (int(1000), "long 1000 is not a list"),
        (string("1s"), "longstr <<1s>> is not a list"),
        (delays(vec![]), "the list is empty"),
        (delays(vec![int(1); 101]), "the list has 101 times"),
        (delays(vec![int(1), string("a\"b")]), "longstr <<ab>> is not a number"),
        (delays(vec![int(1), int(-1)]), "-1 is negative"),
        (delays(vec![int(315_360_000_001)]), "315360000001 is more than 315360000000"),
    ] {
        check("x-retry-delays", value, &format!(": \"{why}; {expected}"));
    }
    check("x-retry-delays", delays(vec![int(0); 100]), "");
    check("x-max-priority", int(256), ": {max_value_exceeded,256}");
    check("x-max-priority", int(255), "");
    check("x-queue-version", int(1), ": \"unsupported queue version '1'\"");
    check("x-queue-version", int(2), "");
    check("x-overflow", string("zz"), ": invalid_overflow");
    check("x-overflow", int(1), ": {unacceptable_type,long}");
    check("x-queue-leader-locator", string(""), ": invalid_queue_locator_arg");
    check("x-queue-leader-locator", string("Random"), ": invalid_queue_locator_arg");
    for locator in ["client-local", "balanced", "random", "least-leaders", "min-masters"] {
        check("x-queue-leader-locator", string(locator), "");
        check_quorum("x-queue-leader-locator", string(locator), "");
        check_stream("x-queue-leader-locator", string(locator), "");
    }
    check("x-single-active-consumer", string("true"), ": {unacceptable_type,longstr}");
    check("x-queue-type", string("zz"), ": \"unsupported queue type 'zz'\"");
    check("x-queue-type", string("stream"), "");
    check("x-queue-type", FieldValue::LongInt(1), ": {unacceptable_type,signedint}");
    check("x-queue-mode", int(1), "");
    check("x-something-of-the-clients", int(1), "");
}

#[test]
fn dead_letter_arguments_are_checked() {
    let no_exchange = ": routing_key_but_no_dlx_defined";
    check(DEAD_LETTER_ROUTING_KEY, string("k"), no_exchange);
    check_beside(DEAD_LETTER_ROUTING_KEY, string("k"), &[(DEAD_LETTER_EXCHANGE, string(""))], "");
    check(DEAD_LETTER_ROUTING_KEY, FieldValue::LongInt(1), ": {unacceptable_type,signedint}");
    let type_text = "invalid type 'signedint' for arg 'x-dead-letter-exchange' \
                     in queue 'q' in vhost '/'";
    check(DEAD_LETTER_EXCHANGE, FieldValue::LongInt(1), type_text);
    check_quorum("x-dead-letter-strategy", string("zz"), ": invalid_dlx_strategy");
}

#[test]
fn each_type_of_queue_has_its_arguments() {
    check("x-consumer-timeout", int(-1), ": {value_negative,-1}");
    check_quorum("x-consumer-timeout", int(-1), ": {value_negative,-1}");
    check("x-max-age", string("1D"), " of queue type rabbit_classic_queue");
    check_quorum("x-max-age", string("1D"), " of queue type rabbit_quorum_queue");
    check_quorum("x-max-priority", int(1), " of queue type rabbit_quorum_queue");
    check_quorum("x-quorum-initial-group-size", int(0), ": {value_zero,0}");
    check(DELIVERY_LIMIT, int(3), "");
    check(DELIVERY_LIMIT, string("s"), ": \"expected integer, got longstr\"");
}

#[test]
fn a_stream_has_arguments_of_its_own() {
    check_stream("x-max-age", string("7D"), "");
    check_stream("x-max-age", string("7d"), ": invalid_max_age");
    check_stream("x-max-age", int(7), ": {unacceptable_type,long}");
    check_stream("x-max-length-bytes", int(0), "");
    check_stream("x-max-length-bytes", int(-1), ": {value_negative,-1}");
    check_stream("x-stream-max-segment-size-bytes", int(3_000_000_000), "");
    let text = "Exceeded max value for x-stream-max-segment-size-bytes";
    check_stream("x-stream-max-segment-size-bytes", int(3_000_000_001), text);
    check_stream("x-stream-filter-size-bytes", int(16), "");
    let text = "Invalid value for x-stream-filter-size-bytes";
    check_stream("x-stream-filter-size-bytes", int(15), text);
    check_stream("x-stream-filter-size-bytes", int(256), text);
    check_stream("x-initial-cluster-size", int(0), ": {value_zero,0}");
    check_stream("x-max-length", int(1), " of queue type rabbit_stream_queue");
    check_stream("x-dead-letter-exchange", string(""), " of queue type rabbit_stream_queue");
    check_stream("x-single-active-consumer", FieldValue::Boolean(true), " of queue type rabbit_stream_queue");
    check("x-max-age", string("7D"), " of queue type rabbit_classic_queue");
}

#[test]
fn ages_are_compared_by_their_length() {
    let stream = |age: Option<&str>| {
        let kind = (QUEUE_TYPE, string("stream"));
        age.map(|age| ("x-max-age", string(age))).into_iter().chain([kind]).collect::<Vec<_>>()
    };
    check_redeclare(&stream(Some("1h")), &stream(Some("60m")), DURABLE, "");
    let text = "'x-max-age' for queue 'q' in vhost '/': received '7200000' but current is '3600000'";
    check_redeclare(&stream(Some("1h")), &stream(Some("2h")), DURABLE, text);
    let text = "'x-max-age' for queue 'q' in vhost '/': received none but current is the value '3600000' of type 'longstr'";
    check_redeclare(&stream(Some("1h")), &stream(None), DURABLE, text);
    let text = "'x-queue-type' for queue 'q' in vhost '/': received 'classic' but current is 'stream'";
    check_redeclare(&stream(Some("1h")), &[], DURABLE, text);
}

#[test]
fn a_quorum_queue_is_durable_and_for_everyone() {
    let quorum = || table(&[(QUEUE_TYPE, string("quorum"))]);
    let said = |flags| Settings::declare(&on(), flags, quorum()).err().map(|fault| fault.to_string());
    let refused = |property: &str| Some(format!("invalid property '{property}' for queue 'q' in vhost '/'"));
    assert_eq!(said(DURABLE), None);
    assert_eq!(said(QueueFlags { durable: false, ..DURABLE }), refused("non-durable"));
    assert_eq!(said(QueueFlags { exclusive: true, ..DURABLE }), refused("exclusive-owner"));
    assert_eq!(
        said(QueueFlags { exclusive: true, auto_delete: true, durable: false }),
        refused("auto-delete")
    );
    let named = check_server_named(&quorum()).err().map(|fault| fault.to_string());
    let text = "Cannot declare a server-named queue for type rabbit_quorum_queue";
    assert_eq!(named.as_deref(), Some(text));
}

#[test]
fn the_delivery_limit_depends_on_the_type() {
    let limit = |entries: &[(&str, FieldValue)]| Settings::new(DURABLE, table(entries)).delivery_limit;
    let quorum = (QUEUE_TYPE, string("quorum"));
    assert_eq!(limit(&[]), None);
    assert_eq!(limit(std::slice::from_ref(&quorum)), Some(20));
    assert_eq!(limit(&[quorum.clone(), (DELIVERY_LIMIT, int(-1))]), None);
    assert_eq!(limit(&[quorum, (DELIVERY_LIMIT, int(0))]), Some(0));
    assert_eq!(limit(&[(DELIVERY_LIMIT, int(5_000_000_000))]), Some(u32::MAX));
}

#[test]
fn the_consumer_timeout_depends_on_the_type() {
    let timeout = |entries: &[(&str, FieldValue)]| Settings::new(DURABLE, table(entries)).consumer_timeout_ms;
    let quorum = (QUEUE_TYPE, string("quorum"));
    assert_eq!(timeout(&[]), None);
    assert_eq!(timeout(&[(CONSUMER_TIMEOUT, int(0))]), Some(0));
    assert_eq!(timeout(std::slice::from_ref(&quorum)), Some(1_800_000));
    assert_eq!(timeout(&[quorum, (CONSUMER_TIMEOUT, int(7))]), Some(7));
    let asked = table(&[(CONSUMER_TIMEOUT, int(5))]);
    assert_eq!((consumer_timeout(&asked), consumer_timeout(&FieldTable::default())), (Some(5), None));
}

#[test]
fn the_length_is_limited_by_either_argument() {
    let limit = |entries: &[(&str, FieldValue)]| Settings::new(DURABLE, table(entries));
    let length = (MAX_LENGTH, int(3));
    assert_eq!(limit(&[(OVERFLOW, string("reject-publish"))]).length, None);
    let drops = limit(std::slice::from_ref(&length));
    let expected = LengthLimit { messages: 3, bytes: None, overflow: Overflow::DropHead };
    assert_eq!((drops.length, drops.may_refuse()), (Some(expected), false));
    let dead_letters = (DEAD_LETTER_EXCHANGE, string(""));
    assert!(limit(&[length.clone(), dead_letters.clone()]).dead_letters());
    let refuses = limit(&[length, (OVERFLOW, string("reject-publish"))]);
    assert!(refuses.may_refuse() && !refuses.dead_letters());
    let bytes = [(MAX_LENGTH_BYTES, int(9)), (OVERFLOW, string("reject-publish-dlx")), dead_letters];
    let both = limit(&bytes);
    let overflow = Overflow::RejectAndDeadLetter;
    assert_eq!(both.length, Some(LengthLimit { messages: u64::MAX, bytes: Some(9), overflow }));
    assert!(both.may_refuse() && both.dead_letters());
}

#[track_caller]
fn check_redeclare(
    first: &[(&str, FieldValue)],
    again: &[(&str, FieldValue)],
    flags: QueueFlags,
    expected: &str,
) {
    let settings = Settings::declare(&on(), DURABLE, table(first)).unwrap();
    let said = settings.check_equivalent(&on(), flags, &table(again)).err().map(|fault| fault.to_string());
    let said = said.unwrap_or_default();
    let head = "inequivalent arg ";
    assert_eq!(said.strip_prefix(head).unwrap_or(&said), expected);
}

#[test]
fn a_redeclare_must_be_equivalent() {
    let ten = ("x-max-length", FieldValue::LongInt(10));
    check_redeclare(std::slice::from_ref(&ten), &[("x-max-length", int(10))], DURABLE, "");
    check_redeclare(
        std::slice::from_ref(&ten),
        &[],
        DURABLE,
        "'x-max-length' for queue 'q' in vhost '/': \
         received none but current is the value '10' of type 'signedint'",
    );
    check_redeclare(
        &[],
        &[ten.clone(), ("x-expires", FieldValue::LongInt(5))],
        DURABLE,
        "'x-expires' for queue 'q' in vhost '/': \
         received the value '5' of type 'signedint' but current is none",
    );
    let flags = QueueFlags { durable: false, auto_delete: true, exclusive: false };
    let text = "'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'";
    check_redeclare(&[], std::slice::from_ref(&ten), flags, text);
    let text = "'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'";
    check_redeclare(&[], &[ten], QueueFlags { auto_delete: true, ..DURABLE }, text);
}

#[test]
fn what_the_type_does_not_know_is_not_compared() {
    check_redeclare(&[], &[("foo", int(1)), ("x-consumer-timeout", int(1))], DURABLE, "");
    check_redeclare(&[], &[(QUEUE_TYPE, string("classic"))], DURABLE, "");
    let text = "'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'classic'";
    check_redeclare(&[], &[(QUEUE_TYPE, string("quorum"))], DURABLE, text);
    let text = "'x-queue-type' for queue 'q' in vhost '/': received 'classic' but current is 'quorum'";
    check_redeclare(&[(QUEUE_TYPE, string("quorum"))], &[], DURABLE, text);
}

#[test]
fn a_consumers_priority_is_a_whole_number() {
    let priority = |value| consumer_priority(&table(&[(PRIORITY, value)]));
    assert_eq!(consumer_priority(&FieldTable::default()), 0);
    assert_eq!(priority(FieldValue::ShortShortInt(-3)), -3);
    assert_eq!((priority(int(5_000_000_000)), priority(int(-5_000_000_000))), (i32::MAX, i32::MIN));
}
