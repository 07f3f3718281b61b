//! The operator's socket as a socket: who may use it, when it is there, and what it bears.

use super::dialogue::{Client, connect};
use crate::support::process::{Folder, PATIENCE, Process, leveret, outcome};
use leveret::config::control::REQUEST_BYTES_MAX;
use serde_json::{Value, from_str};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};

/// As many as are served at a time.
const CLIENTS_MAX: usize = 16;

const PING: &[u8] = b"{\"node\":\"ping\"}\n";

struct Operator(BufReader<UnixStream>);

impl Operator {
    fn of(folder: &Folder) -> Self {
        let stream = UnixStream::connect(folder.at("data/control.sock")).expect("the broker is ready");
        stream.set_read_timeout(Some(PATIENCE)).expect("a minute is a timeout");
        Self(BufReader::new(stream))
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the broker reads");
    }

    /// The next line, or nothing at the end.
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("the broker answers");
        (read > 0).then(|| from_str(&line).expect("it is JSON"))
    }

    #[track_caller]
    fn is_served(&mut self) {
        self.write(PING);
        assert_eq!(self.line().expect("an answer")["answer"], "done");
    }

    #[track_caller]
    fn hears_refusal(&mut self, words: &str) {
        let line = self.line().expect("an answer");
        let message = line["refusal"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{line}");
    }
}

#[test]
fn the_socket_is_for_its_user_alone_and_goes_with_the_broker() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let socket = fs::symlink_metadata(folder.at("data/control.sock")).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.mode() & 0o7777, 0o600);
    assert!(!folder.at("data/.control").exists(), "where it was made is gone");
    Operator::of(&folder).is_served();
    let (status, log) = broker.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!folder.at("data/control.sock").exists());
}

#[test]
fn a_socket_that_a_killed_broker_left_is_replaced() {
    let folder = Folder::new();
    Process::start(&folder).kill();
    assert!(folder.at("data/control.sock").exists(), "nobody removed it");
    // As if it had been killed a moment earlier.
    fs::create_dir(folder.at("data/.control")).unwrap();
    drop(UnixListener::bind(folder.at("data/.control/s")).unwrap());
    let broker = Process::start(&folder);
    Operator::of(&folder).is_served();
    assert!(!folder.at("data/.control").exists());
    drop(broker);
}

/// The broker serves its clients all the same, and says why operators cannot reach it.
#[test]
fn what_is_in_the_way_stays_there() {
    let folder = Folder::new();
    fs::create_dir(folder.at("data")).unwrap();
    fs::write(folder.at("data/control.sock"), "mine").unwrap();
    let (_status, log) = Process::start(&folder).stop();
    assert!(log.contains("leveret ctl cannot reach this broker") && log.contains("is not a socket"), "{log}");
    assert_eq!(fs::read_to_string(folder.at("data/control.sock")).unwrap(), "mine");
    fs::remove_file(folder.at("data/control.sock")).unwrap();
    let other = UnixListener::bind(folder.at("data/control.sock")).unwrap();
    let (_status, log) = Process::start(&folder).stop();
    assert!(log.contains("another process answers on"), "{log}");
    assert!(folder.at("data/control.sock").exists());
    drop(other);
}

#[test]
fn a_path_that_no_socket_can_have_is_told() {
    let folder = Folder::new();
    let far = folder.at(&"x".repeat(110));
    let ports = ["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir"];
    let broker = Process::spawn(leveret().args(ports).arg(&far));
    let asked = outcome(leveret().args(["ctl", "ping", "--data-dir"]).arg(&far));
    assert_eq!(asked.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&asked.stderr).contains("and that of a socket may have 107"));
    let (_status, log) = broker.stop();
    assert!(log.contains("and that of a socket may have 107"), "{log}");
}

#[test]
fn garbage_is_refused_and_the_next_request_is_heard() {
    let folder = Folder::new();
    let _broker = Process::start(&folder);
    let mut operator = Operator::of(&folder);
    for garbage in
        [&b"garbage\n"[..], b"\n", b"\xff\xfe\0\n", b"{\"node\":\"stop\"}\n", b"[[[[[[[[[[\n", b"{}\n"]
    {
        operator.write(garbage);
        operator.hears_refusal("not an operation");
        operator.is_served();
    }
    let deep = [b"[".repeat(100_000), b"\n".to_vec()].concat();
    operator.write(&deep);
    operator.hears_refusal("not an operation");
    operator.write(&[PING, PING].concat());
    assert!(operator.line().is_some() && operator.line().is_some(), "two at once are answered in turn");
}

#[test]
fn a_line_without_end_ends() {
    let folder = Folder::new();
    let _broker = Process::start(&folder);
    let mut operator = Operator::of(&folder);
    // Exactly what is too much, so that nothing is left unread and the refusal is heard.
    operator.write(&vec![b' '; REQUEST_BYTES_MAX + 1]);
    operator.hears_refusal(&format!("a request has at most {REQUEST_BYTES_MAX} bytes"));
    assert_eq!(operator.line(), None, "and the connection ends");
    Operator::of(&folder).is_served();
}

#[test]
fn operators_are_served_at_the_same_time_and_not_too_many() {
    let folder = Folder::new();
    let _broker = Process::start(&folder);
    let mut operators: Vec<_> = (0..CLIENTS_MAX).map(|_| Operator::of(&folder)).collect();
    operators.iter_mut().rev().for_each(Operator::is_served);
    let mut late = Operator::of(&folder);
    late.hears_refusal("16 commands are being served already");
    assert_eq!(late.line(), None);
    drop(operators);
    // Those who are gone are noticed a moment later.
    loop {
        let mut operator = Operator::of(&folder);
        if operator.0.get_mut().write_all(PING).is_ok()
            && operator.line().is_some_and(|line| line["answer"] == "done")
        {
            break;
        }
    }
}

/// Its answer waits for it, no more of it than a buffer; others are served meanwhile.
#[test]
fn an_operator_that_does_not_read_costs_little() {
    const QUEUES: usize = 3000;
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let mut client = Client::over(connect(broker.amqp));
    client.log_in("PLAIN guest guest");
    for number in 0..QUEUES {
        client.say(&[&format!("1 queue.declare queue-{number}-{}", "x".repeat(100))]);
        assert!(client.hear().starts_with("1 queue.declare-ok"));
    }
    let mut deaf = Operator::of(&folder);
    deaf.write(b"{\"queues\":{\"list_queues\":{\"vhost\":\"/\"}}}\n");
    deaf.write(PING);
    Operator::of(&folder).is_served();
    client.say(&["1 queue.declare other"]);
    assert_eq!(client.hear(), "1 queue.declare-ok other 0 0");
    let rows = std::iter::from_fn(|| deaf.line()).take_while(|line| line.get("row").is_some()).count();
    assert!((QUEUES..=QUEUES + 1).contains(&rows), "{rows}: in the end it gets everything");
    assert_eq!(deaf.line().expect("an answer")["answer"], "done", "that of the ping");
    let (status, log) = broker.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    let mut rest = Vec::new();
    let _reset = deaf.0.read_to_end(&mut rest);
    assert_eq!(rest, b"", "the broker is gone");
}
