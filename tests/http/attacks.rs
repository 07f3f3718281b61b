//! Bad requests, on purpose or not: refused, in nobody's way.

use super::client::{Api, login};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Health is answered within so long, whatever others do.
const AT_ONCE: Duration = Duration::from_secs(5);

fn head(method: &str, path: &str, more: &str) -> String {
    let login = login("guest", "guest");
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {login}\r\n{more}\r\n"
    )
}

#[track_caller]
fn check_health(api: &Api) {
    let mut socket = TcpStream::connect(api.broker.http).expect("the broker is ready");
    socket.set_read_timeout(Some(AT_ONCE)).expect("it is a timeout");
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("health is answered at once");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[test]
fn bodies_that_are_too_large_are_refused() {
    let api = Api::start();
    let announced = head("PUT", "/api/queues/%2F/q", "Content-Length: 40000000\r\n");
    assert_eq!(api.send(announced.as_bytes()).status, 413);
    let login = "POST /api/session HTTP/1.1\r\nHost: x\r\nX-Requested-With: leveret\r\nConnection: close\r\n\
                 Content-Length: 9000\r\n\r\n";
    assert_eq!(api.send(login.as_bytes()).status, 413, "nobody has logged in there");
    let mut socket = TcpStream::connect(api.broker.http).expect("the broker is ready");
    let endless = head("POST", "/api/definitions", "Transfer-Encoding: chunked\r\n");
    socket.write_all(endless.as_bytes()).expect("it reads");
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    // The broker answers and ends the connection, which this may notice as an error.
    let sent = (0..2000).take_while(|_| socket.write_all(&chunk).is_ok()).count();
    assert!(sent < 2000, "{sent} chunks were read");
    check_health(&api);
}

#[test]
fn bodies_that_do_not_come_are_in_nobodys_way() {
    let api = Api::start();
    let begun = head("PUT", "/api/vhosts/v", "Content-Length: 100\r\n");
    let slow: Vec<_> = (0..80)
        .map(|_| {
            let mut socket = TcpStream::connect(api.broker.http).expect("the broker is ready");
            socket.write_all(begun.as_bytes()).expect("it reads");
            socket
        })
        .collect();
    check_health(&api);
    api.check("GET", "/api/overview", None, 200);
    drop(slow);
}

#[test]
fn paths_mean_one_thing() {
    let api = Api::start();
    api.check("PUT", "/api/queues/%2F/a%2Fb", Some("{}"), 201);
    for (path, status) in [
        ("/api/queues/%2F/a%2Fb", 200),
        ("/api/queues/%2f/a%2fb", 200),
        ("/api/queues/%2F/a%252Fb", 404),
        ("/api/queues/%2F/a/b", 404),
        ("/api/queues/%2F/../%2F/a%2Fb", 404),
        ("/api/queues/%2F/%2E%2E", 404),
        ("/api/queues/%2F/a%00", 400),
        ("/api/queues/%2F/%FF", 400),
        ("/api/queues/%FF/a", 400),
        ("/api/../api/overview", 404),
        ("//api/overview", 404),
        ("/api/overview/", 200),
        ("/api/queues/%2F/%ZZ", 404),
        ("/API/overview", 404),
    ] {
        let answer = api.ask("GET", path, None);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
}

#[test]
fn requests_that_could_be_two_are_refused() {
    let api = Api::start();
    for more in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Content-Length : 5\r\n",
    ] {
        let request = format!("{}hello", head("PUT", "/api/vhosts/v", more));
        assert_eq!(api.send(request.as_bytes()).status, 400, "{more}");
    }
    api.check("GET", "/api/vhosts/v", None, 404);
    check_health(&api);
}

/// As `nc -N` does, and scripts that end their side once they have asked.
#[test]
fn who_has_nothing_more_to_say_is_answered() {
    let api = Api::start();
    let mut socket = TcpStream::connect(api.broker.http).expect("the broker is ready");
    socket.set_read_timeout(Some(AT_ONCE)).expect("it is a timeout");
    let request = head("PUT", "/api/vhosts/v", "").replace("Connection: close\r\n", "");
    socket.write_all(request.as_bytes()).expect("it reads");
    socket.shutdown(Shutdown::Write).expect("it is open");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it ends after the answer");
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

/// What RFC 9112 has servers refuse (sections 3.2, 6.1, 6.3, 7.1).
#[test]
fn heads_that_mean_nothing_are_refused() {
    let api = Api::start();
    let put = |host: &str, more: &str| head("PUT", "/api/vhosts/v", more).replace("Host: x\r\n", host);
    let chunk =
        |size: &str| format!("{}{size}\r\nhello", put("Host: x\r\n", "Transfer-Encoding: chunked\r\n"));
    for request in [
        put("", ""),
        put("Host: x\r\nHost: x\r\n", ""),
        put("Host: x y\r\n", ""),
        put("Host: me@x\r\n", ""),
        put("Host: x\r\nHost: y\r\n", "").replace("HTTP/1.1", "HTTP/1.0"),
        put("Host: x\r\n", "Transfer-Encoding: gzip, chunked\r\n"),
        put("Host: x\r\n", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
        put("Host: x\r\n", "Transfer-Encoding: chunked, chunked\r\n"),
        put("Host: x\r\n", "Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0"),
        chunk("10000000000000000"),
        chunk("-1"),
        chunk("0x5"),
    ] {
        assert_eq!(api.send(request.as_bytes()).status, 400, "{request}");
    }
    api.check("GET", "/api/vhosts/v", None, 404);
    let old = put("", "").replace("HTTP/1.1", "HTTP/1.0").replace("PUT", "GET");
    assert_eq!(api.send(old.as_bytes()).status, 404, "HTTP/1.0 needs no host");
}

/// Two lengths could be read as two requests: only one is, and nothing after it.
#[test]
fn nothing_comes_after_a_request_with_two_lengths() {
    let api = Api::start();
    for more in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let first = head("GET", "/api/whoami", more).replace("Connection: close\r\n", "");
        let request = format!("{first}0\r\n\r\n{}", head("PUT", "/api/vhosts/v", ""));
        let answer = api.send(request.as_bytes());
        assert_eq!(answer.header("connection"), Some("close"), "{more}");
        assert_eq!(answer.text().matches("HTTP/1.1").count(), 0, "{more}");
    }
    api.check("GET", "/api/vhosts/v", None, 404);
}

/// Line ends are taken out of names that AMQP clients say.
#[test]
fn what_is_made_is_found_by_its_name() {
    let api = Api::start();
    api.check("PUT", "/api/queues/%2F/ab", Some("{}"), 201);
    for name in ["%0A", "%0D%0A", "a%0Ab", "a%0D"] {
        let queue = format!("/api/queues/%2F/{name}");
        api.check("PUT", &queue, Some("{}"), 400);
        api.check("GET", &queue, None, 404);
        let exchange = format!("/api/exchanges/%2F/{name}");
        api.check("PUT", &exchange, Some(r#"{"type":"direct"}"#), 400);
        api.check("GET", &exchange, None, 404);
        api.check("POST", &format!("/api/bindings/%2F/e/amq.direct/q/{name}"), Some("{}"), 400);
        api.check("POST", &format!("/api/bindings/%2F/e/{name}/q/ab"), Some("{}"), 400);
    }
    assert_eq!(api.check("GET", "/api/queues?columns=name", None, 200), serde_json::json!([{"name": "ab"}]));
    for path in ["/api/vhosts/", "/api/users/"] {
        let path = format!("{path}a%0Ab");
        api.check("PUT", &path, Some(r#"{"tags":"", "password":"p"}"#), 201);
        api.check("GET", &path, None, 200);
        api.check("DELETE", &path, None, 204);
    }
}

/// Bodies that fit, with more in them than a client of AMQP could send: they would take a hundred
/// bytes for each value.
#[test]
fn more_values_than_amqp_has_room_for_are_refused_before_they_are_read() {
    let api = Api::start();
    let resident = || {
        let text = api.ask("GET", "/metrics", None).text();
        let line = text.lines().find_map(|line| line.strip_prefix("rabbitmq_process_resident_memory_bytes "));
        line.and_then(|bytes| bytes.parse::<u64>().ok()).expect("it is told")
    };
    let before = resident();
    let arguments: Vec<String> = (0..1_000_000).map(|n| format!("\"a{n}\":1")).collect();
    let arguments = format!("{{\"arguments\":{{{}}}}}", arguments.join(","));
    let list = |len: usize| format!("{{\"queues\":[{}0]}}", "0,".repeat(len));
    for (method, path, body) in [
        ("PUT", "/api/queues/%2F/q", &*arguments),
        ("PUT", "/api/exchanges/%2F/x", &*arguments),
        ("POST", "/api/exchanges/%2F/amq.direct/publish", &*arguments),
        ("POST", "/api/bindings/%2F/e/amq.direct/q/q", &*arguments),
        ("PUT", "/api/policies/%2F/p", &*list(200_000)),
        ("POST", "/api/definitions", &*list(8_000_000)),
    ] {
        let answer = api.ask(method, path, Some(body));
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert!(answer.text().contains(" values"), "{path}: {}", answer.text());
    }
    let more = resident().saturating_sub(before);
    assert!(more < 150 << 20, "{more} bytes more");
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    let api = Api::start();
    let (first, last) =
        (head("GET", "/api/whoami", "").replace("close", "keep-alive"), head("GET", "/api/version", ""));
    let mut socket = TcpStream::connect(api.broker.http).expect("the broker is ready");
    socket.set_read_timeout(Some(AT_ONCE)).expect("it is a timeout");
    socket.write_all([first, last].concat().as_bytes()).expect("it reads");
    let mut answers = String::new();
    socket.read_to_string(&mut answers).expect("both are answered");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
    let (whoami, version) = (answers.find("\"guest\""), answers.find("\"4.3.0\""));
    assert!(whoami.is_some() && whoami < version, "{answers}");
}

/// A pattern that a backtracking engine would try for years.
#[test]
fn patterns_that_explode_are_found_in_time() {
    let api = Api::start();
    api.check("PUT", &format!("/api/queues/%2F/{}", "a".repeat(250)), Some("{}"), 201);
    let ask = |pattern, status| {
        api.check("GET", &format!("/api/queues?page=1&use_regex=true&name={pattern}"), None, status)
    };
    for pattern in ["(a+)+b", "(a%7Caa)+b", "(?=(a+)+b)a"] {
        assert_eq!(ask(pattern, 200)["filtered_count"], 0, "{pattern}");
    }
    let why = "the pattern takes too many steps to match these names: simplify it";
    assert_eq!(ask("(.*)*%5C1b", 400)["reason"], why);
}

#[test]
fn those_who_try_passwords_are_in_nobodys_way() {
    let api = Api::start();
    let request = format!(
        "GET /api/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {}\r\n\r\n",
        login("guest", "wrong")
    );
    let tried: Vec<_> = (0..100)
        .map(|_| {
            let mut socket = TcpStream::connect(api.broker.http).expect("the broker is ready");
            socket.write_all(request.as_bytes()).expect("it reads");
            socket
        })
        .collect();
    check_health(&api);
    api.check("GET", "/api/whoami", None, 200);
    drop(tried);
}

#[test]
fn bodies_that_are_no_json_are_refused() {
    let api = Api::start();
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for body in ["", "null", "[]", "{\"a\":", "\u{0}", "1e999", &*deep] {
        let answer = api.ask("POST", "/api/exchanges/%2F/amq.default/publish", Some(body));
        assert_eq!(answer.status, 400, "{body:.20}: {}", answer.text());
    }
    check_health(&api);
}
