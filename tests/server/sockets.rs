//! How AMQP connections behave as sockets. What is said on them is the session's, and tested there.

use super::http::metric;
use crate::support::process::{Folder, PATIENCE, Process, leveret_in};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

const HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the broker is ready");
    socket.set_read_timeout(Some(PATIENCE)).expect("a minute is a timeout");
    socket
}

/// Everything the broker says until it ends the stream; a reset fails the test.
fn heard(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).expect("the stream ends, and is not reset");
    bytes
}

/// Waits until a counter has reached `value`; the page is made anew each time.
fn until(broker: &Process, series: &str, value: u64) {
    while metric(broker.http, series) < value {
        std::thread::yield_now();
    }
}

#[test]
fn another_protocol_is_told_ours_and_the_stream_ends() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    for greeting in [&b"AMQP\x00\x01\x00\x00"[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[0xFF; 100_000]] {
        let mut socket = connect(broker.amqp);
        socket.write_all(greeting).unwrap();
        assert_eq!(heard(&mut socket), HEADER);
    }
}

#[test]
fn a_greeting_in_pieces_is_a_greeting() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let mut socket = connect(broker.amqp);
    socket.set_nodelay(true).unwrap();
    for byte in HEADER {
        socket.write_all(&[*byte]).unwrap();
    }
    let mut frame = [0; 3];
    socket.read_exact(&mut frame).unwrap();
    assert_eq!(frame, [1, 0, 0], "a method frame on channel 0: connection.start");
}

#[test]
fn a_client_that_vanishes_is_noticed() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let mut greeted = connect(broker.amqp);
    greeted.write_all(HEADER).unwrap();
    greeted.read_exact(&mut [0; 3]).unwrap();
    drop((greeted, connect(broker.amqp)));
    until(&broker, "rabbitmq_connections_closed_total", 2);
    assert_eq!(metric(broker.http, "rabbitmq_connections_opened_total"), 2);
}

#[test]
fn connections_over_the_limit_are_turned_away() {
    let folder = Folder::new();
    let file = folder.write("leveret.toml", "[limits]\nconnections_max = 1\n");
    let broker = Process::spawn(leveret_in(&folder).arg("--config").arg(file));
    let mut first = connect(broker.amqp);
    first.write_all(HEADER).unwrap();
    first.read_exact(&mut [0; 3]).unwrap();
    assert_eq!(heard(&mut connect(broker.amqp)), b"", "the second is closed without a word");
    assert_eq!(metric(broker.http, "rabbitmq_connections_refused_total"), 1);
    first.shutdown(Shutdown::Both).unwrap();
    until(&broker, "rabbitmq_connections_closed_total", 1);
    let mut third = connect(broker.amqp);
    third.write_all(HEADER).unwrap();
    third.read_exact(&mut [0; 3]).unwrap();
}

#[test]
fn a_stop_ends_connections_that_say_nothing() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let (mut silent, mut greeted) = (connect(broker.amqp), connect(broker.amqp));
    greeted.write_all(HEADER).unwrap();
    greeted.read_exact(&mut [0; 3]).unwrap();
    until(&broker, "rabbitmq_connections_opened_total", 2);
    let (status, log) = broker.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("are cut"), "{log}");
    heard(&mut silent);
    heard(&mut greeted);
}
