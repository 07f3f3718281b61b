//! Tables, bytes and heartbeats as they come over a socket: what meets an expectation, and how a
//! failure is told.

use crate::fake::{Fake, Say};
use amq_protocol::protocol::{AMQPClass, basic, queue};
use amq_protocol::types::AMQPValue;
use conformance::run::Failure;

/// A heartbeat frame.
const HEARTBEAT: &[u8] = b"\x08\0\0\0\0\0\0\xce";

/// A message whose headers have these bytes behind their length.
fn delivery(headers: &[u8]) -> Vec<Say> {
    let deliver = AMQPClass::Basic(basic::AMQPMethod::Deliver(basic::Deliver {
        consumer_tag: "c".into(),
        delivery_tag: 1,
        redelivered: false,
        exchange: "".into(),
        routing_key: "q".into(),
    }));
    let len = |bytes: usize| u32::try_from(bytes).expect("a test's headers are short").to_be_bytes();
    let mut frame = b"\x02\0\x01".to_vec();
    frame.extend(len(18 + headers.len()));
    // Class basic, weight 0, an empty body, headers alone.
    frame.extend(b"\0\x3c\0\0\0\0\0\0\0\0\0\0\x20\0");
    frame.extend(len(headers.len()));
    frame.extend(headers);
    frame.push(0xce);
    vec![Say::Method(1, deliver), Say::Bytes(frame)]
}

/// What the script comes to with a broker that answers methods of class queue so; what the broker
/// heard.
fn outcome(body: &str, says: Vec<Say>) -> (Result<(), Box<Failure>>, Vec<AMQPClass>) {
    let broker = Fake::answering(move |_, method| match method {
        AMQPClass::Queue(_) => says.clone(),
        _ => Vec::new(),
    });
    let outcome = broker.run(body);
    (outcome, broker.end())
}

/// That a message with `headers` meets `wanted`; or why it does not.
fn headers(wanted: &str, headers: &[u8]) -> Result<(), (usize, String)> {
    let body = format!("open a.1\na.1 > queue.purge queue=\"q\"\na.1 < basic.deliver headers={wanted}");
    outcome(&body, delivery(headers)).0.map_err(|failure| (failure.line, failure.reason))
}

/// `{b: true, a: "x", b: false}`
const TWICE: &[u8] = b"\x01bt\x01\x01aS\0\0\0\x01x\x01bt\0";

#[test]
fn a_key_may_be_forbidden() {
    assert_eq!(headers("{a: \"x\", c: none, ...}", TWICE), Ok(()));
    assert_eq!(headers("{a: \"x\", b: _t, b: _t, c: none}", TWICE), Ok(()));
    let wrong = headers("{b: none, ...}", TWICE);
    assert_eq!(wrong, Err((6, "headers: 'b' was not expected, true came".to_owned())));
}

#[test]
fn a_key_may_come_twice_and_order_may_matter() {
    assert_eq!(headers("{b: true, b: false, a: \"x\"}", TWICE), Ok(()));
    assert_eq!(headers("ordered {b: true, a: \"x\", b: false}", TWICE), Ok(()));
    let (line, once) = headers("{b: true, a: \"x\"}", TWICE).unwrap_err();
    assert!(line == 6 && once.contains("headers: 'b' came more often than expected"), "{once}");
    let (_, order) = headers("ordered {a: \"x\", b: true, b: false}", TWICE).unwrap_err();
    assert!(order.contains("headers: 'a' expected before 'b', it came 1 later; {b: true, a: "), "{order}");
}

#[test]
fn bytes_are_made_of_tables_and_of_what_has_its_length() {
    let declare = "open a.1\nlet t = {x-max-length: 11I}\na.1 > frame payload=bytes(u16(50) u16(10) u16(0) sized8(\"hare\") \
                   00 table({x-max-length: 10I, x-mode: {}, x-max-length: $t}))";
    let (outcome, heard) = outcome(declare, Vec::new());
    assert_eq!(outcome, Ok(()));
    let declared: Vec<_> = heard
        .iter()
        .filter_map(|method| match method {
            AMQPClass::Queue(queue::AMQPMethod::Declare(declare)) => Some(declare),
            _ => None,
        })
        .collect();
    assert_eq!((declared.len(), declared[0].queue.as_str()), (1, "hare"));
    let arguments = declared[0].arguments.inner();
    assert!(matches!(arguments.get("x-max-length"), Some(AMQPValue::FieldTable(_))), "the second of a name");
    assert!(arguments.contains_key("x-mode"));
}

#[test]
fn bytes_that_come_are_held_against_tables_and_lengths() {
    let mut table = b"\0\0\0\x10".to_vec();
    table.extend(TWICE);
    let body = |wanted: &str| format!("open a.1\na.1 > queue.purge queue=\"q\"\na < raw {wanted}");
    let wanted = body("table({b: true, a: \"x\", b: false})");
    assert_eq!(outcome(&wanted, vec![Say::Bytes(table.clone())]).0, Ok(()));
    let wanted = body("sized(sized8(\"b\") 7401 sized8(\"a\") \"S\" sized(\"x\") sized8(\"b\") 7400)");
    assert_eq!(outcome(&wanted, vec![Say::Bytes(table.clone())]).0, Ok(()));
    let wanted = body("table({b: true, a: \"y\", b: false})");
    let failure = outcome(&wanted, vec![Say::Bytes(table)]).0.unwrap_err();
    assert!(failure.line == 6 && failure.reason.starts_with("these bytes expected: "), "{failure:?}");
}

#[test]
fn no_heartbeat_may_come() {
    let quiet = "open a.1\na.1 > queue.purge queue=\"q\"\nno-heartbeat a 30ms";
    assert_eq!(outcome(quiet, Vec::new()).0, Ok(()));
    let failure = outcome(quiet, vec![Say::Bytes(HEARTBEAT.to_vec())]).0.unwrap_err();
    assert_eq!((failure.line, failure.reason.as_str()), (6, "no heartbeat expected"));
    assert_eq!((failure.came.as_str(), failure.bytes.as_slice()), ("heartbeat", HEARTBEAT));
    // One that was asked for is no longer there; one that came before and was not is.
    let asked = "open a.1\na.1 > queue.purge queue=\"q\"\na < heartbeat\nno-heartbeat a 30ms";
    assert_eq!(outcome(asked, vec![Say::Bytes(HEARTBEAT.to_vec())]).0, Ok(()));
    let before = "open a.1\na.1 > queue.purge queue=\"q\"\nsync a.1\nno-heartbeat a 0ms";
    assert!(outcome(before, vec![Say::Bytes(HEARTBEAT.to_vec())]).0.is_err());
    // Where nothing can come, nothing is shown by it.
    let gone = outcome(quiet, vec![Say::End]).0.unwrap_err();
    assert!(gone.reason.starts_with("nothing can come any more"), "{}", gone.reason);
    let paused = outcome("open a.1\npause a\nno-heartbeat a 30ms", Vec::new()).0.unwrap_err();
    assert!(paused.reason.contains("this side does not read"), "{}", paused.reason);
}
