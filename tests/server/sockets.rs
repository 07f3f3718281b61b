//! How AMQP connections behave as sockets. What is said on them is the session's, and tested there.

use super::http::metric;
use crate::support::process::{Folder, PATIENCE, Process, leveret_in};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

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

/// They say nothing, and after a second they are gone; meanwhile, and afterwards, a client that speaks is served.
#[test]
fn strangers_that_say_nothing_are_few_and_do_not_stay() {
    const STRANGERS: usize = 300;
    let folder = Folder::new();
    let limits = "[limits]\nhandshake_timeout_s = 1\nhandshakes_per_address_max = 100\n";
    let file = folder.write("leveret.toml", limits);
    let broker = Process::spawn(leveret_in(&folder).arg("--config").arg(file));
    let before = metric(broker.http, "rabbitmq_process_resident_memory_bytes");
    let mut strangers: Vec<_> = (0..STRANGERS).map(|_| connect(broker.amqp)).collect();
    for stranger in &mut strangers {
        // Whoever was turned away may know it by now.
        let _reset = stranger.write_all(b"AMQP");
    }
    for stranger in &mut strangers {
        let mut bytes = Vec::new();
        let _reset = stranger.read_to_end(&mut bytes);
        assert_eq!(bytes, b"", "nothing was said to them");
    }
    let refused = metric(broker.http, "rabbitmq_connections_refused_total");
    assert!((1..=STRANGERS as u64 - 100).contains(&refused), "{refused} were turned away");
    until(&broker, "rabbitmq_connections_closed_total", STRANGERS as u64 - refused);
    let mut client = connect(broker.amqp);
    client.write_all(HEADER).unwrap();
    client.read_exact(&mut [0; 3]).unwrap();
    let after = metric(broker.http, "rabbitmq_process_resident_memory_bytes");
    assert!(after < before + 16 * 1024 * 1024, "{before} bytes before, {after} after");
}

/// However many come, the log keeps the first thousand lines of a kind, and how many more there were.
#[test]
fn an_attack_does_not_fill_the_log() {
    const REFUSED: &str = "refused: does not speak AMQP 0-9-1";
    let folder = Folder::new();
    let broker = Process::start(&folder);
    for _stranger in 0..1300 {
        let mut socket = connect(broker.amqp);
        socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(heard(&mut socket), HEADER);
    }
    let (status, log) = broker.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    let told = log.lines().filter(|line| line.contains(REFUSED) && !line.contains("left out")).count();
    assert!((1000..1300).contains(&told), "{told} lines");
    let left_out: usize = log
        .lines()
        .filter(|line| line.contains("left out") && line.contains(REFUSED))
        .filter_map(|line| line.split("left_out=").nth(1)?.trim().parse::<usize>().ok())
        .sum();
    assert_eq!(told + left_out, 1300, "{log}");
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
