//! The operator's socket as a socket: who may use it, when it is there, and what it bears.

use super::dialogue::{Client, connect};
use crate::support::process::{Folder, PATIENCE, Process, leveret, outcome};
use conformance::api::http::{self, Answer, send_over};
use leveret::config::control::REQUEST_BYTES_MAX;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};

const PING: &str = r#"{"node":"ping"}"#;

/// A connection to the broker whose data is in that folder.
fn operator(folder: &Folder) -> UnixStream {
    let stream = UnixStream::connect(folder.at("data/control.sock")).expect("the broker is ready");
    stream.set_read_timeout(Some(PATIENCE)).expect("a minute is a timeout");
    stream
}

fn request(operation: &str) -> Vec<u8> {
    http::request(("POST", "/api/operations"), &[("Host", "x")], Some(operation.as_bytes()))
}

fn ask(folder: &Folder, operation: &str) -> Answer {
    send_over(operator(folder), &request(operation)).expect("the broker answers")
}

#[track_caller]
fn is_served(folder: &Folder) {
    let answer = ask(folder, PING);
    assert_eq!((answer.status, answer.text()), (200, "\"done\"".to_owned()));
}

#[test]
fn the_socket_is_for_its_user_alone_and_goes_with_the_broker() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let socket = fs::symlink_metadata(folder.at("data/control.sock")).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.mode() & 0o7777, 0o600);
    assert!(!folder.at("data/.control").exists(), "where it was made is gone");
    is_served(&folder);
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
    is_served(&folder);
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
fn garbage_is_refused() {
    let folder = Folder::new();
    let _broker = Process::start(&folder);
    let deep = "[".repeat(100_000);
    for garbage in ["garbage", "", "\0", r#"{"node":"stop"}"#, "{}", &deep] {
        let answer = ask(&folder, garbage);
        assert!(answer.status == 400 && answer.text().contains("not an operation: "), "{}", answer.text());
    }
    is_served(&folder);
}

#[test]
fn a_refusal_says_its_kind_and_all_that_it_is_for() {
    let folder = Folder::new();
    let _broker = Process::start(&folder);
    let answer = ask(&folder, r#"{"queues":{"purge_queue":{"vhost":"/","queue":"q"}}}"#);
    let told = r#"{"error":"not_found","reason":"there is no queue 'q'"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (404, told));
}

/// Whoever may open the socket does all that a user with all rights does, and needs no password.
#[test]
fn the_whole_api_is_served_to_operators() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    for (method, path, status) in
        [("PUT", "/api/vhosts/v", 201), ("PUT", "/api/queues/v/q", 201), ("GET", "/api/queues/v/q", 200)]
    {
        let request = http::request((method, path), &[("Host", "x")], Some(b"{}"));
        let answer = send_over(operator(&folder), &request).expect("the broker answers");
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    let (_status, log) = broker.stop();
    assert!(log.contains("changed: add_vhost vhost=v") && log.contains("ctl, uid "), "{log}");
}

#[test]
fn a_body_without_end_is_refused() {
    let folder = Folder::new();
    let _broker = Process::start(&folder);
    let length = REQUEST_BYTES_MAX + 1;
    let head = format!(
        "POST /api/operations HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    let answer = send_over(operator(&folder), head.as_bytes()).expect("the broker answers");
    assert!(
        answer.status == 413 && answer.text().contains(&REQUEST_BYTES_MAX.to_string()),
        "{}",
        answer.text()
    );
    is_served(&folder);
}

/// Its answer waits for it, no more of it than some buffers; others are served meanwhile.
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
    let list = request(r#"{"queues":{"list_queues":{"vhost":"/"}}}"#);
    let mut deaf = operator(&folder);
    deaf.write_all(&list).expect("the broker reads");
    // More than are served at a time, all of whom ask again and again.
    for _ in 0..40 {
        is_served(&folder);
    }
    client.say(&["1 queue.declare other"]);
    assert_eq!(client.hear(), "1 queue.declare-ok other 0 0");
    let answer = send_over(deaf, b"").expect("in the end it gets everything");
    let rows = answer.text().lines().count();
    assert!((QUEUES..=QUEUES + 1).contains(&rows), "{rows} rows");
    let (status, log) = broker.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}
