//! A real process that is short of memory, or of disk, from the start.

use super::http::{ask, metric};
use crate::session::wire::encode;
use crate::support::process::{Folder, PATIENCE, Process, leveret_in};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What the broker says until `end` is among it.
fn until(socket: &mut TcpStream, end: &str) -> String {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&heard);
        if text.contains(end) {
            return text.into_owned();
        }
        let count = socket.read(&mut buffer).expect("the broker answers");
        assert!(count > 0, "the broker ended the stream after {text}");
        heard.extend_from_slice(&buffer[..count]);
    }
}

fn say(socket: &mut TcpStream, sentences: &[&str]) {
    let bytes: Vec<u8> = sentences.iter().flat_map(|sentence| encode(sentence)).collect();
    socket.write_all(&bytes).expect("the broker reads");
}

fn connect(broker: &Process) -> TcpStream {
    let mut socket = TcpStream::connect(broker.amqp).expect("the broker is ready");
    socket.set_read_timeout(Some(PATIENCE)).expect("a minute is a timeout");
    say(
        &mut socket,
        &[
            "header",
            "0 connection.start-ok PLAIN guest guest connection.blocked",
            "0 connection.tune-ok 2047 131072 0",
            "0 connection.open /",
            "1 channel.open",
            "1 queue.declare tasks",
        ],
    );
    until(&mut socket, "tasks");
    socket
}

#[track_caller]
fn check(flags: [&str; 2], resource: &str, reason: &str) {
    let folder = Folder::new();
    let broker = Process::spawn(leveret_in(&folder).args(flags));
    let alarm = format!("rabbitmq_alarms_{resource}_watermark");
    while metric(broker.http, &alarm) == 0 {
        std::thread::yield_now();
    }
    let (mut publisher, mut consumer) = (connect(&broker), connect(&broker));
    say(&mut publisher, &["1 basic.publish '' tasks payload"]);
    until(&mut publisher, reason);
    say(&mut consumer, &["1 basic.consume tasks c no-ack"]);
    until(&mut consumer, "payload");
    let (head, body) = ask(broker.http, "GET", "/healthz");
    assert!(head.starts_with("HTTP/1.1 503 ") && body.starts_with(reason), "{head} {body}");
    let (status, log) = broker.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains(&format!("{reason}: publishers are blocked")), "{log}");
}

#[test]
fn a_process_short_of_memory_lets_consumers_go_on() {
    check(["--memory-limit", "1MiB"], "memory_used", "low on memory");
}

#[test]
fn a_process_short_of_disk_lets_consumers_go_on() {
    check(["--disk-free-limit", "16777215TiB"], "free_disk_space", "low on disk");
}

/// It asked for no heartbeats, and nobody reads what it sent: that its socket is closed is all
/// there is to notice.
#[test]
fn a_publisher_that_vanishes_while_memory_is_short_is_noticed() {
    let folder = Folder::new();
    let broker = Process::spawn(leveret_in(&folder).args(["--memory-limit", "1MiB"]));
    while metric(broker.http, "rabbitmq_alarms_memory_used_watermark") == 0 {
        std::thread::yield_now();
    }
    let mut holder = connect(&broker);
    say(&mut holder, &["1 basic.publish '' tasks payload"]);
    until(&mut holder, "low on memory");
    // More than is read, so that the end of the stream is not next in the socket.
    say(&mut holder, &["1 basic.publish '' tasks *100000"]);
    assert_eq!(metric(broker.http, "rabbitmq_connections_closed_total"), 0);
    drop(holder);
    let asked =
        (0..).take_while(|_| metric(broker.http, "rabbitmq_connections_closed_total") == 0).map(|_| {
            // An answer that does not come is a clock: the socket is silent.
            let mut silent = TcpStream::connect(broker.http).expect("the broker is ready");
            silent.set_read_timeout(Some(Duration::from_millis(100))).expect("it is a timeout");
            silent.read(&mut [0]).expect_err("nothing was asked")
        });
    assert!(asked.take(100).count() < 100, "it was not noticed within ten seconds");
}
