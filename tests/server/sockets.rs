//! How AMQP connections behave as sockets. What is said on them is the session's, and tested there.

use super::dialogue::Client;
use super::http::metric;
use crate::support::process::{Folder, PATIENCE, Process, leveret_in};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

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

/// A client whose threads share a connection may report a failure when the stream ends before it
/// has dealt with the answer, as Go's does. So the end is the client's, as with RabbitMQ.
#[test]
fn who_closes_the_connection_ends_the_stream() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let mut socket = connect(broker.amqp);
    let mut client = Client::over(socket.try_clone().expect("it is open"));
    client.log_in("PLAIN guest guest");
    client.say(&["0 connection.close 200 bye"]);
    assert_eq!(client.hear(), "0 connection.close-ok");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("it is a timeout");
    let early = socket.read(&mut [0]).expect_err("nothing comes, not even the end");
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    socket.set_read_timeout(Some(PATIENCE)).expect("a minute is a timeout");
    socket.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(heard(&mut socket), b"");
}

/// A broker with these limits.
fn limited(folder: &Folder, limits: &str) -> Process {
    let file = folder.write("leveret.toml", format!("[limits]\n{limits}"));
    Process::spawn(leveret_in(folder).arg("--config").arg(file))
}

/// They say nothing, and after a second they are gone; meanwhile, and afterwards, a client that
/// speaks is served.
#[test]
fn strangers_that_say_nothing_do_not_stay() {
    const STRANGERS: usize = 300;
    let folder = Folder::new();
    let broker = limited(&folder, "handshake_timeout_s = 1\nhandshakes_per_address_max = 100\n");
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
    until(&broker, "rabbitmq_connections_closed_total", STRANGERS as u64);
    Client::over(connect(broker.amqp)).log_in("PLAIN guest guest");
    let after = metric(broker.http, "rabbitmq_process_resident_memory_bytes");
    assert!(after < before + 16 * 1024 * 1024, "{before} bytes before, {after} after");
}

/// More of one address than may shake hands at a time, and more than all may.
#[test]
fn clients_that_come_at_once_are_all_served() {
    const CLIENTS: usize = 200;
    let folder = Folder::new();
    let broker = limited(&folder, "handshakes_max = 30\nhandshakes_per_address_max = 20\n");
    let sockets: Vec<_> = (0..CLIENTS).map(|_| connect(broker.amqp)).collect();
    let mut clients: Vec<_> = sockets.into_iter().map(Client::over).collect();
    for client in &mut clients {
        client.say(&["header"]);
    }
    for client in &mut clients {
        assert!(client.hear().starts_with("0 connection.start "));
        client.say(&["0 connection.start-ok PLAIN guest guest", "0 connection.tune-ok 2047 131072 0"]);
        client.say(&["0 connection.open /"]);
        assert_eq!(client.hear(), "0 connection.tune 2047 131072 60");
        assert_eq!(client.hear(), "0 connection.open-ok");
    }
    assert_eq!(metric(broker.http, "rabbitmq_connections_refused_total"), 0);
}

/// The strangers have all the time that there is for a handshake, but not while they keep others
/// out.
#[test]
fn strangers_give_way_to_clients_of_their_own_address() {
    const STRANGERS: usize = 40;
    let folder = Folder::new();
    let limits = "handshakes_max = 30\nhandshakes_per_address_max = 20\nhandshake_timeout_s = 600\n";
    let broker = limited(&folder, limits);
    let strangers: Vec<_> = (0..STRANGERS).map(|_| connect(broker.amqp)).collect();
    for _client in 0..50 {
        Client::over(connect(broker.amqp)).log_in("PLAIN guest guest");
    }
    assert!(metric(broker.http, "rabbitmq_connections_refused_total") >= 10);
    let (_status, log) = broker.stop();
    assert!(log.contains("closed: the handshake made no progress and others were waiting"), "{log}");
    drop(strangers);
}

/// The bytes of all clients lay in their sockets while the process stood still for longer than any
/// of its time-outs.
#[test]
fn who_spoke_while_the_process_stood_still_is_heard() {
    const CLIENTS: usize = 40;
    let folder = Folder::new();
    let broker = limited(&folder, "handshake_timeout_s = 2\nheartbeat_s = 1\n");
    let log_in = |heartbeat_s| {
        let mut client = Client::over(connect(broker.amqp));
        client.greet();
        let tune_ok = format!("0 connection.tune-ok 2047 131072 {heartbeat_s}");
        client.say(&["0 connection.start-ok PLAIN guest guest", &tune_ok, "0 connection.open /"]);
        assert_eq!(client.hear(), "0 connection.tune 2047 131072 1");
        assert_eq!(client.hear(), "0 connection.open-ok");
        client
    };
    let mut open: Vec<_> = (0..CLIENTS).map(|_| log_in(1)).collect();
    let mut late = Client::over(connect(broker.amqp));
    late.greet();
    let (mut user, mut slow) = (log_in(0), log_in(0));
    user.say(&["1 channel.open", "1 queue.declare used x-expires=2000", "1 basic.publish '' used once"]);
    slow.say(&[
        "1 channel.open",
        "1 queue.declare slow x-consumer-timeout=2000",
        "1 basic.publish '' slow job",
    ]);
    slow.say(&["1 basic.consume slow c"]);
    for answer in ["1 channel.open-ok", "1 queue.declare-ok slow 0 0", "1 basic.consume-ok c"] {
        assert_eq!(slow.hear(), answer);
    }
    assert!(slow.hear().starts_with("1 basic.deliver c 1 "));
    for answer in ["1 channel.open-ok", "1 queue.declare-ok used 0 0"] {
        assert_eq!(user.hear(), answer);
    }
    broker.signal("STOP");
    user.say(&["1 basic.get used no-ack"]);
    slow.say(&["1 basic.ack 1", "1 queue.declare slow passive"]);
    for client in &mut open {
        client.say(&["1 channel.open"]);
    }
    late.say(&["0 connection.start-ok PLAIN guest guest"]);
    stand_still(&broker, Duration::from_secs(3));
    broker.signal("CONT");
    assert_eq!(late.hear(), "0 connection.tune 2047 131072 1");
    assert!(user.hear().starts_with("1 basic.get-ok "), "the queue is used");
    assert_eq!(slow.hear(), "1 queue.declare-ok slow 0 1");
    for client in &mut open {
        let heard = std::iter::repeat_with(|| client.hear()).find(|said| said != "0 heartbeat");
        assert_eq!(heard.as_deref(), Some("1 channel.open-ok"));
    }
}

/// Waits for an answer from a process that does not give any.
fn stand_still(broker: &Process, time: Duration) {
    let mut socket = connect(broker.http);
    socket.set_read_timeout(Some(time)).expect("it is a timeout");
    socket.read_exact(&mut [0]).expect_err("the process has stopped");
}

/// However many come, the log keeps the first thousand lines of a kind, and how many more there
/// were.
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
    let told = log.lines().filter(|line| line.contains(REFUSED) && !line.contains("omitted")).count();
    assert!((1000..1300).contains(&told), "{told} lines");
    let omitted: usize = log
        .lines()
        .filter(|line| line.contains("omitted") && line.contains(REFUSED))
        .filter_map(|line| line.split("omitted=").nth(1)?.trim().parse::<usize>().ok())
        .sum();
    assert_eq!(told + omitted, 1300, "{log}");
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
    assert!(!log.contains("did not end in time"), "{log}");
    heard(&mut silent);
    heard(&mut greeted);
}
