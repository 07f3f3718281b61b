//! How a case fails: in which line, for what reason, with what came, and what was said before.

use crate::fake::{Fake, Say, bytes, script, script_of};
use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, basic, channel, connection, queue};
use conformance::run::{Failure, run};
use conformance::script::read;
use conformance::suite::broker::ask;
use conformance::suite::report;
use conformance::suite::result::{Case, Outcome};
use std::path::Path;
use std::time::Duration;

fn declared(queue: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::DeclareOk(queue::DeclareOk {
        queue: queue.into(),
        message_count: 3,
        consumer_count: 0,
    }))
}

fn closing() -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::Close(connection::Close {
        reply_code: 504,
        reply_text: "CHANNEL_ERROR - enough".into(),
        class_id: 0,
        method_id: 0,
    }))
}

/// What the script comes to with a broker that answers every method of class queue so.
fn outcome(body: &str, says: Vec<Say>) -> Result<(), Box<Failure>> {
    let broker = Fake::answering(move |_, method| match method {
        AMQPClass::Queue(_) => says.clone(),
        _ => Vec::new(),
    });
    let outcome = broker.run(body);
    broker.end();
    outcome
}

fn failure(body: &str, says: Vec<Say>) -> Failure {
    *outcome(body, says).expect_err("the script fails")
}

const DECLARE: &str = "open a.1\na.1 > queue.declare queue=\"q\" exclusive\n";

#[test]
fn what_is_as_expected_passes() {
    let body =
        format!("{DECLARE}a.1 < queue.declare-ok queue=\"q\" message-count=3\nsync a.1\nclose a.1\nclose a");
    assert_eq!(outcome(&body, vec![Say::Method(1, declared("q"))]), Ok(()));
}

#[test]
fn words_alone_fail_no_case_of_the_specification() {
    let broker = Fake::answering(|_, method| match method {
        AMQPClass::Queue(_) => vec![Say::Method(0, closing())],
        _ => Vec::new(),
    });
    let outcome = |level: &str, code: u16, compares_words: bool| {
        // In a group as in a step of its own.
        ["{}", "any-order {\n  {}\n}"].map(|form| {
            let wanted = format!("a < connection.close reply-code={code} reply-text=\"not so\"");
            let body = format!("{DECLARE}{}", form.replace("{}", &wanted));
            broker.run_script(&script_of(level, &body), compares_words).is_ok()
        })
    };
    assert_eq!(outcome("specification, class channel", 504, false), [true; 2]);
    assert_eq!(outcome("specification, class channel", 503, false), [false; 2], "the code counts");
    assert_eq!(outcome("specification, class channel", 504, true), [false; 2], "who wants it may");
    assert_eq!(outcome("rabbitmq", 504, false), [false; 2]);
    broker.end();
}

#[test]
fn a_failure_tells_line_expectation_what_came_and_the_transcript() {
    let body =
        format!("{DECLARE}# a comment\na.1 < queue.declare-ok\n      queue=\"hare\" message-count=3\n");
    let failure = failure(&body, vec![Say::Method(1, declared("q"))]);
    assert_eq!(failure.line, 7);
    assert_eq!(failure.text, "a.1 < queue.declare-ok\n      queue=\"hare\" message-count=3");
    assert_eq!(failure.reason, "queue: \"hare\" expected, \"q\" came");
    assert_eq!(failure.came, "queue.declare-ok queue=\"q\" message-count=3 consumer-count=0");
    assert_eq!(failure.bytes, bytes(&AMQPFrame::Method(1, declared("q"))));
    let said: Vec<&str> =
        failure.transcript.iter().map(|line| line.split_once("ms  ").expect("a time").1).collect();
    let last = [
        "a.1 > channel.open",
        "a.1 < channel.open-ok",
        "a.1 > queue.declare queue=\"q\" passive=false durable=false exclusive=true auto-delete=false \
         no-wait=false arguments={}",
        "a.1 < queue.declare-ok queue=\"q\" message-count=3 consumer-count=0",
    ];
    assert_eq!(said[0], "a > protocol-header");
    assert_eq!(said[said.len() - 4..], last);

    let script = script(&body);
    let case = Case {
        script: &script,
        outcome: Outcome::Failed(Box::new(failure.clone())),
        differs: None,
        took: Duration::ZERO,
    };
    let report = report::failure(&case, &failure);
    for part in [
        "FAILED x/y: t\n  rabbitmq\n",
        "scripts/x/y.amqp:7\n      a.1 < queue.declare-ok\n            queue=\"hare\" message-count=3\n",
        "what is wrong:\n      queue: \"hare\" expected, \"q\" came\n",
        "what came:\n      queue.declare-ok queue=\"q\"",
        "in bytes:\n      01000100 00000e00 32000b01 71000000 03000000 00ce\n",
        "a.1 > channel.open\n",
    ] {
        assert!(report.contains(part), "'{part}' is not in\n{report}");
    }
}

#[test]
fn nothing_comes_in_time() {
    let late = format!("{DECLARE}within 30ms a.1 < queue.declare-ok");
    let silent = failure(&late, vec![]);
    assert_eq!((silent.line, silent.reason.as_str(), silent.came.as_str()), (6, "nothing came in time", ""));
    // Something else did before, where nobody looks.
    let body = format!("{DECLARE}a.1 < queue.declare-ok\nwithin 30ms a.1 < queue.declare-ok");
    let elsewhere = failure(&body, vec![Say::Method(2, declared("q")), Say::Method(1, declared("q"))]);
    assert_eq!(elsewhere.reason, "nothing came in time");
    assert!(elsewhere.came.starts_with("nothing at a.1; on channel 2: queue.declare-ok"), "{elsewhere:?}");
}

#[test]
fn a_broker_that_closes_instead_is_quoted() {
    let body = format!("{DECLARE}a.1 < queue.declare-ok");
    let closed = failure(&body, vec![Say::Method(0, closing()), Say::End]);
    assert_eq!((closed.line, closed.reason.as_str()), (6, "the broker closed the connection instead"));
    assert!(closed.came.contains("reply-code=504 reply-text=\"CHANNEL_ERROR - enough\""), "{}", closed.came);
    let gone = failure(&body, vec![Say::End]);
    assert!(gone.reason.starts_with("nothing can come any more: "), "{}", gone.reason);
    let group = format!("{DECLARE}any-order {{\n  a.1 < queue.declare-ok\n  a.1 < acks 1..2\n}}");
    let group = failure(&group, vec![Say::Method(1, declared("q")), Say::End]);
    assert_eq!(group.line, 6);
    assert!(group.reason.contains("still expected:\nline 8: a.1 < acks 1..2"), "{}", group.reason);
}

#[test]
fn what_is_not_amqp_is_shown_as_bytes() {
    let body = format!("{DECLARE}a.1 < queue.declare-ok");
    let noise = failure(&body, vec![Say::Bytes(b"\x01\0\x01\0\0\0\x01xHTTP".to_vec())]);
    assert_eq!(noise.reason, "what came is not AMQP");
    assert!(noise.bytes.starts_with(b"\x01\0\x01\0\0\0\x01xH"), "{:?}", noise.bytes);
    // A frame that is sound around a method that is not.
    let unknown = failure(&body, vec![Say::Bytes(b"\x01\0\x01\0\0\0\x04\0\x32\x03\xe7\xce".to_vec())]);
    assert!(unknown.reason.contains("malformed method"), "{}", unknown.reason);
    assert_eq!(unknown.bytes, b"\x01\0\x01\0\0\0\x04\0\x32\x03\xe7\xce");
}

#[test]
fn the_end_of_the_stream_is_an_expectation() {
    let body = format!("{DECLARE}a < eof");
    assert_eq!(outcome(&body, vec![Say::End]), Ok(()));
    let late = failure(&body, vec![Say::Method(1, declared("q")), Say::End]);
    assert_eq!(late.reason, "the end of the stream expected");
    assert!(late.came.contains("queue.declare-ok"), "{}", late.came);
    let heard = format!("{DECLARE}a.1 < queue.declare-ok\na < eof");
    assert_eq!(outcome(&heard, vec![Say::Method(1, declared("q")), Say::End]), Ok(()));
    let open = failure(&format!("{DECLARE}within 30ms a < eof"), vec![]);
    assert_eq!(open.reason, "nothing came in time");
}

#[test]
fn acks_are_for_the_tags_that_are_named() {
    let ack = |delivery_tag, multiple| {
        Say::Method(1, AMQPClass::Basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple })))
    };
    let body = format!("{DECLARE}a.1 < acks 1..4");
    assert_eq!(outcome(&body, vec![ack(2, false), ack(3, true), ack(4, false)]), Ok(()));
    let twice = failure(&body, vec![ack(2, true), ack(1, false)]);
    assert_eq!(twice.reason, "acks expected for 3, 4, this is for 1");
    assert!(
        failure(&body, vec![Say::Method(1, declared("q"))]).reason.contains("acks expected for 1, 2, 3, 4")
    );
}

/// What answers the publish itself comes before the answer to the round trip, and is there for the
/// script's next step.
#[test]
fn a_second_turn_has_a_round_trip_after_each_publish() {
    let acked = AMQPClass::Basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag: 1, multiple: false }));
    let broker = Fake::answering(move |_, method| match method {
        AMQPClass::Basic(basic::AMQPMethod::Publish(_)) => vec![Say::Method(1, acked.clone())],
        _ => Vec::new(),
    });
    let text = "title: t\nsource: s\nlevel: rabbitmq\nalso: one-by-one\nopen a.1\nrepeat 2 {\n  a.1 > basic.publish body=\"x\"\n}\n\
                repeat 2 {\n  a.1 < acks 1\n}\n";
    let script = read(Path::new("x/y.amqp"), "x/y", text).expect("a sound script");
    let target = ask(&broker.uri()).expect("it answers");
    assert_eq!(run(&script, &target, "mark"), Ok(()));
    let flows = |method: &&AMQPClass| matches!(method, AMQPClass::Channel(channel::AMQPMethod::Flow(_)));
    // One at the end of each turn, and in the second one after each of two publishes.
    assert_eq!(broker.end().iter().filter(flows).count(), 4);
}
