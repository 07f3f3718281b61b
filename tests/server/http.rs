//! The HTTP port over real sockets.

use super::dialogue::{Tls, connect};
use crate::support::certificates::Authority;
use crate::support::process::{Folder, PATIENCE, Process, leveret_in};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Sends `request` as it is and reads until the server ends the connection.
pub(super) fn exchange(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("the broker is ready");
    socket.set_read_timeout(Some(PATIENCE)).expect("a minute is a timeout");
    socket.write_all(request.as_bytes()).expect("the broker reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the stream ends, and is not reset");
    answer
}

/// One request for `path`: status line and headers, and body.
pub(super) fn ask(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let answer =
        exchange(address, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").expect("there is a head");
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (head.to_owned(), if is_chunked { joined(body) } else { body.to_owned() })
}

/// What is in chunks (RFC 9112, 7.1).
fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    loop {
        let (len, rest) = chunks.split_once("\r\n").expect("each chunk says how long it is");
        let (chunk, rest) = rest.split_at(usize::from_str_radix(len, 16).expect("a number"));
        if chunk.is_empty() {
            return body;
        }
        body.push_str(chunk);
        chunks = rest.strip_prefix("\r\n").expect("each chunk has an end");
    }
}

/// The value of one series of the metrics page.
pub(super) fn metric(address: SocketAddr, series: &str) -> u64 {
    let (_head, page) = ask(address, "GET", "/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.expect("the series is on the page").parse().expect("it is a whole number")
}

#[test]
fn health_and_metrics_are_served() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let (head, body) = ask(broker.http, "GET", "/healthz");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "ok");
    let (head, body) = ask(broker.http, "GET", "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("\nrabbitmq_global_messages_received_total{protocol=\"amqp091\"} 0\n"), "{body}");
    assert!(metric(broker.http, "rabbitmq_process_resident_memory_bytes") > 1_000_000);
    assert!(metric(broker.http, "rabbitmq_process_open_fds") > 5);
}

#[test]
fn errors_are_rabbitmqs_json() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let (head, body) = ask(broker.http, "GET", "/api/none");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(body, r#"{"error":"Object Not Found","reason":"Not Found"}"#);
    let (head, body) = ask(broker.http, "DELETE", "/healthz");
    assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET,HEAD"), "{head}");
    assert_eq!(body, r#"{"error":"method_not_allowed","reason":"Method Not Allowed"}"#);
    let (head, body) = ask(broker.http, "HEAD", "/healthz");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "");
}

#[test]
fn what_is_not_http_ends_the_connection_only() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    exchange(broker.http, "AMQP\0\0\u{9}\u{1}\r\n\r\n");
    let long = exchange(broker.http, &format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000)));
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
    assert_eq!(ask(broker.http, "GET", "/healthz").1, "ok");
}

/// Whoever opens all the connections there may be, and says nothing or half of something, is in
/// nobody's way.
#[test]
fn idle_connections_give_way() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let connect = || TcpStream::connect(broker.http).expect("the broker is ready");
    let begin = |start: &str| {
        let mut socket = connect();
        socket.write_all(start.as_bytes()).expect("the broker reads");
        socket
    };
    let silent: Vec<_> = (0..70).map(|_| connect()).collect();
    let half: Vec<_> = (0..70).map(|_| begin("GET /healthz HTTP/1.1\r\n")).collect();
    // These have an answer, which they do not read, and could ask again.
    let asked: Vec<_> = (0..70).map(|_| begin("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    let mut socket = begin("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("it is a timeout");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("health is answered at once");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let mut first = &silent[0];
    assert_eq!(first.read(&mut [0]).expect("it is ended"), 0, "the one that was idle for longest");
    drop((half, asked));
}

/// What AMQPS asks clients for, a certificate, browsers have not.
#[test]
fn the_api_is_served_over_tls_too() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let files = authority.sign("localhost", &["localhost"]).write(&folder, "server");
    let ca = folder.write("ca.pem", authority.pem());
    let ca = format!("ca = '{}'\nverify = 'required'\n", ca.display());
    let config = folder.write("leveret.toml", format!("[tls]\n{files}{ca}"));
    let broker = Process::spawn(leveret_in(&folder).args(["--https", "127.0.0.1:0", "--config"]).arg(config));
    let https = broker.ready.split_whitespace().find_map(|word| word.strip_prefix("https="));
    let https: SocketAddr = https.expect("it is in the ready line").parse().expect("it is an address");
    let mut socket = Tls::trusting(&authority).connect(connect(https)).expect("the handshake succeeds");
    let request = "GET /api/overview HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
                   Connection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).expect("the broker reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the stream ends");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("\"protocol\":\"https\""), "{answer}");
    let mut socket = Tls::trusting(&authority).connect(connect(https)).expect("the handshake succeeds");
    let credentials = r#"{"username":"guest","password":"guest"}"#;
    let request = format!(
        "POST /api/session HTTP/1.1\r\nHost: x\r\nX-Requested-With: leveret\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{credentials}",
        credentials.len()
    );
    socket.write_all(request.as_bytes()).expect("the broker reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the stream ends");
    let cookie = answer.lines().find(|line| line.starts_with("set-cookie: ")).expect("there is a cookie");
    assert!(cookie.contains("; Secure"), "it must not be sent without TLS: {cookie}");
    // What is not TLS is in nobody's way.
    let mut plain = TcpStream::connect(https).expect("the broker is ready");
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("the broker reads");
    let _ended = plain.read_to_end(&mut Vec::new());
    assert_eq!(ask(broker.http, "GET", "/healthz").1, "ok");
}
