//! Server-sent events.

use super::client::{Api, json, login};
use crate::support::process::PATIENCE;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// A stream of events that is being read.
struct Events(BufReader<TcpStream>);

impl Events {
    fn of(api: &Api, user: &str, query: &str) -> Self {
        let mut socket = TcpStream::connect(api.broker.http).expect("the broker is ready");
        socket.set_read_timeout(Some(PATIENCE)).expect("a minute is a timeout");
        let login = login(user, user);
        let request =
            format!("GET /api/stream?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("the broker reads");
        Self(BufReader::new(socket))
    }

    /// The next update; none at the end.
    fn next(&mut self) -> Option<Value> {
        let (mut line, mut is_update) = (String::new(), false);
        while self.0.read_line(&mut line).expect("something comes") > 0 {
            if let Some(event) = line.strip_prefix("event: ") {
                is_update = event.trim_end() == "update";
            }
            if let Some(data) = line.strip_prefix("data: ").filter(|_| is_update) {
                return Some(serde_json::from_str(data).expect("data is JSON"));
            }
            line.clear();
        }
        None
    }
}

#[test]
fn what_changes_is_told() {
    let api = Api::start();
    let query = "path=/api/queues%3Fcolumns%3Dname&path=/api/vhosts/v&interval=1000";
    let mut events = Events::of(&api, "guest", query);
    let (queues, vhost) = ("/api/queues?columns=name", "/api/vhosts/v");
    let missing = json!({"error": "Object Not Found", "reason": "Not Found"});
    assert_eq!(events.next(), Some(json!({"path": queues, "status": 200, "body": []})));
    assert_eq!(events.next(), Some(json!({"path": vhost, "status": 404, "body": missing})));
    api.check("PUT", "/api/queues/%2F/q", Some("{}"), 201);
    let told = events.next();
    assert_eq!(
        told,
        Some(json!({"path": queues, "status": 200, "body": [{"name": "q"}]})),
        "and nothing else"
    );
}

/// Pages open another stream for each page that is shown, and there are 32 at a time.
#[test]
fn a_stream_ends_with_its_client() {
    let api = Api::start();
    for _page in 0..80 {
        let mut events = Events::of(&api, "guest", "path=/api/whoami&interval=60000");
        assert!(events.next().is_some_and(|event| event["status"] == 200));
    }
}

#[test]
fn a_stream_ends_when_its_user_is_gone() {
    let api = Api::start();
    api.add_user("ann", "administrator");
    let mut events = Events::of(&api, "ann", "path=/api/version&interval=1000");
    assert_eq!(events.next().map(|event| event["status"].clone()), Some(json!(200)));
    api.check("DELETE", "/api/users/ann", None, 204);
    assert_eq!(events.next().map(|event| event["status"].clone()), Some(json!(401)));
    assert_eq!(events.next(), None);
}

/// The pages of a user without the tag for nodes ask for them beside what it may see.
#[test]
fn a_path_that_is_refused_ends_no_stream() {
    let api = Api::start();
    api.add_user("ann", "management");
    let query = "path=/api/nodes&path=/api/vhosts%3Fcolumns%3Dname&interval=1000";
    let mut events = Events::of(&api, "ann", query);
    assert_eq!(events.next().map(|event| event["status"].clone()), Some(json!(401)));
    assert_eq!(events.next().map(|event| event["body"].clone()), Some(json!([])));
    api.check("PUT", "/api/vhosts/v", Some("{}"), 201);
    api.check("PUT", "/api/permissions/v/ann", Some(r#"{"configure":"","write":"","read":""}"#), 201);
    assert_eq!(events.next().map(|event| event["body"].clone()), Some(json!([{"name": "v"}])));
}

#[test]
fn streams_that_there_cannot_be_are_refused() {
    let api = Api::start();
    let nine = ["path=/api/version"; 9].join("&");
    for query in [
        "",
        "path=/metrics",
        "path=/api/stream",
        "path=http://x/api/version",
        "path=/api/version&interval=10",
        "path=/api/version&interval=x",
        &nine,
    ] {
        let answer = api.ask("GET", &format!("/api/stream?{query}"), None);
        assert_eq!((answer.status, &json(&answer)["error"]), (400, &json!("bad_request")), "{query}");
    }
}
