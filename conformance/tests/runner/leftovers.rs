//! What may be left when a case is over: nothing that was not asked for, and nothing on the broker.

use crate::fake::{Fake, Peer, Say, bytes};
use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, basic, channel, connection, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use conformance::run::Failure;
use std::io::Write;
use std::sync::{Condvar, Mutex};

/// What the client is and can do, as it said on its connections, the first of which asks who the
/// broker is.
fn said_of_itself(heard: &[AMQPClass]) -> Vec<FieldTable> {
    let tables = heard.iter().filter_map(|method| match method {
        AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)) => {
            Some(start_ok.client_properties.clone())
        }
        _ => None,
    });
    tables.skip(1).collect()
}

/// The names of queues and exchanges that were deleted, in order.
fn deleted(heard: &[AMQPClass]) -> Vec<String> {
    let names = heard.iter().filter_map(|method| match method {
        AMQPClass::Queue(queue::AMQPMethod::Delete(delete)) => Some(delete.queue.to_string()),
        AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)) => Some(delete.exchange.to_string()),
        _ => None,
    });
    names.collect()
}

/// Answers declares and deletes; refuses to delete what is called `kept...`.
fn answer(channel: u16, method: &AMQPClass) -> Vec<Say> {
    let say = match method {
        AMQPClass::Queue(queue::AMQPMethod::Declare(declare)) => {
            let name =
                if declare.queue.as_str().is_empty() { "amq.gen-1".into() } else { declare.queue.clone() };
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(queue::DeclareOk {
                queue: name,
                message_count: 0,
                consumer_count: 0,
            }))
        }
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(_)) => {
            AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}))
        }
        AMQPClass::Queue(queue::AMQPMethod::Delete(delete)) if delete.queue.as_str().starts_with("kept") => {
            AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close {
                reply_code: 403,
                reply_text: "ACCESS_REFUSED".into(),
                class_id: 50,
                method_id: 40,
            }))
        }
        AMQPClass::Queue(queue::AMQPMethod::Delete(_)) => {
            AMQPClass::Queue(queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count: 0 }))
        }
        AMQPClass::Exchange(exchange::AMQPMethod::Delete(_)) => {
            AMQPClass::Exchange(exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {}))
        }
        _ => return Vec::new(),
    };
    vec![Say::Method(channel, say)]
}

/// Runs a script with a broker that declares and deletes.
fn run(body: &str) -> (Result<(), Box<Failure>>, Vec<AMQPClass>) {
    let broker = Fake::answering(answer);
    let outcome = broker.run(body);
    (outcome, broker.end())
}

const DECLARES: &str = "open a.1\n\
    unique q kept x\n\
    a.1 > queue.declare queue=$kept\n\
    a.1 < queue.declare-ok\n\
    a.1 > queue.declare queue=$q durable\n\
    a.1 < queue.declare-ok\n\
    a.1 > queue.declare queue=\"\"\n\
    a.1 < queue.declare-ok queue=$made\n\
    a.1 > queue.declare queue=\"mine\" exclusive\n\
    a.1 < queue.declare-ok\n\
    a.1 > queue.declare queue=\"looked-at\" passive\n\
    a.1 < queue.declare-ok\n\
    a.1 > exchange.declare exchange=$x type=\"fanout\"\n\
    a.1 < exchange.declare-ok\n\
    a.1 > exchange.declare exchange=\"amq.topic\" type=\"topic\"\n\
    a.1 < exchange.declare-ok\n";

#[test]
fn what_was_declared_is_deleted_though_one_refuses_to_be() {
    let (outcome, heard) = run(DECLARES);
    assert_eq!(outcome, Ok(()));
    assert_eq!(deleted(&heard), ["amq.gen-1", "kept-mark", "q-mark", "x-mark"]);
}

#[test]
fn what_was_declared_is_deleted_after_a_failure_too() {
    let (outcome, heard) = run(&format!("{DECLARES}within 30ms a.1 < queue.purge-ok\n"));
    assert_eq!(outcome.expect_err("it fails").line, 20);
    assert_eq!(deleted(&heard), ["amq.gen-1", "kept-mark", "q-mark", "x-mark"]);
}

#[test]
fn what_nobody_asked_for_fails_the_case() {
    let unasked =
        AMQPClass::Basic(basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag: "c".into(), nowait: true }));
    let broker = |method: AMQPClass| {
        Fake::answering(move |channel, asked| {
            let mut says = answer(channel, asked);
            if matches!(asked, AMQPClass::Queue(_)) {
                says.push(Say::Method(channel, method.clone()));
            }
            says
        })
    };
    let body = "open a.1\nopen a.2\na.1 > queue.declare queue=\"q\" exclusive\na.1 < queue.declare-ok\n";
    let faked = broker(unasked.clone());
    let failure = faked.run(body).expect_err("something is left");
    faked.end();
    assert_eq!(failure.line, 7);
    assert_eq!(failure.text, "a.1 < queue.declare-ok   (after the last step)");
    assert_eq!(failure.reason, "nothing expected but the answer to a round trip");
    assert!(failure.came.starts_with("basic.cancel consumer-tag=\"c\""), "{}", failure.came);

    let faked = broker(unasked.clone());
    let failure = faked.run(&format!("{body}nothing a.1 20ms\n")).expect_err("something is there");
    faked.end();
    assert_eq!((failure.line, failure.reason.as_str()), (8, "nothing expected"));

    let faked = broker(unasked);
    assert_eq!(faked.run(&format!("{body}ignore a.1\n")), Ok(()));
    faked.end();
}

#[test]
fn a_client_says_what_it_can_do_as_the_script_wants() {
    let (outcome, heard) = run(
        "open a\nopen b capabilities={\"basic.nack\": true}\nopen c client-properties={product: \"p\"}\n",
    );
    assert_eq!(outcome, Ok(()));
    let tables = said_of_itself(&heard);
    let capabilities = |table: &FieldTable| match table.inner().get("capabilities") {
        Some(AMQPValue::FieldTable(table)) => {
            table.inner().keys().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        _ => "none".to_owned(),
    };
    let all = "authentication_failure_close basic.nack connection.blocked consumer_cancel_notify publisher_confirms";
    assert_eq!(tables.iter().map(capabilities).collect::<Vec<_>>(), [all, "basic.nack", "none"]);
    assert_eq!(tables[2].inner().len(), 1);
}

#[test]
fn a_connection_that_is_paused_takes_nothing_from_its_socket() {
    /// More than any two sockets hold between them, bytes.
    const MUCH: usize = 64 << 20;
    static BLOCKED: (Mutex<Option<bool>>, Condvar) = (Mutex::new(None), Condvar::new());
    let frame = bytes(&AMQPFrame::Body(2, vec![0; 100_000]));
    let broker = Fake::playing(move |peer| {
        while let Some((channel, method)) = peer.hear()? {
            match (Peer::politeness(&method), &method) {
                (Some(polite), _) => peer.say(channel, polite)?,
                (None, AMQPClass::Queue(queue::AMQPMethod::Purge(_))) => {
                    // Writes until the socket is full, and says so to the other connection.
                    peer.socket.set_nonblocking(true)?;
                    let mut written = 0;
                    while written < MUCH {
                        let from = written % frame.len();
                        match peer.socket.write(&frame[from..]) {
                            Ok(len) => written += len,
                            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => break,
                            Err(why) => return Err(why),
                        }
                    }
                    *BLOCKED.0.lock().expect("no play failed") = Some(written < MUCH);
                    BLOCKED.1.notify_all();
                    peer.socket.set_nonblocking(false)?;
                    let rest = written.next_multiple_of(frame.len()) - written;
                    peer.socket.write_all(&frame[frame.len() - rest..])?;
                    let purged = queue::PurgeOk { message_count: 0 };
                    peer.say(channel, AMQPClass::Queue(queue::AMQPMethod::PurgeOk(purged)))?;
                }
                (None, AMQPClass::Queue(_)) => {
                    let blocked = BLOCKED.0.lock().expect("no play failed");
                    let blocked = BLOCKED.1.wait_while(blocked, |blocked| blocked.is_none());
                    let blocked = blocked.expect("no play failed").unwrap_or_default();
                    let count = queue::DeleteOk { message_count: u32::from(blocked) };
                    peer.say(channel, AMQPClass::Queue(queue::AMQPMethod::DeleteOk(count)))?;
                }
                _ => {}
            }
        }
        Ok(())
    });
    let body = "open a.1\nopen a.2\nignore a.2\nopen b.1\npause a\na.1 > queue.purge\nb.1 > queue.delete\n\
                b.1 < queue.delete-ok message-count=1\nresume a\na.1 < queue.purge-ok\n";
    assert_eq!(broker.run(body), Ok(()));
    broker.end();
    let broker = Fake::answering(answer);
    let failure = broker.run("open a.1\npause a\na.1 < queue.purge-ok\n").expect_err("nothing can come");
    broker.end();
    assert_eq!((failure.line, failure.reason.as_str()), (6, "nothing can come: this side does not read"));
}
