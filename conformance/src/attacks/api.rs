//! Attacks by requests of the HTTP API that take long: definitions with as many bindings as there
//! may be, large messages that are fetched, patterns that take many steps.
//!
//! They are made with every permission there is: what counts is that nobody else waits.

use super::frames;
use super::site::Site;
use super::tally::Tally;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

/// Requests that are sent at the same time.
const AT_ONCE: usize = 12;
/// Bytes of a message that is fetched, and how many there are: what one request answers with.
const MESSAGE: usize = 4 << 20;
const MESSAGES: u32 = 8;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The queue of an attack.
const QUEUE: &str = "stall-api";

/// Sends a request as guest; its answer.
fn ask(site: &Site, method: &str, path: &str, body: &str) -> Result<Vec<u8>, String> {
    let asked = || {
        let mut socket = site.http_socket()?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes())?;
        socket.write_all(body.as_bytes())?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(answer)
    };
    asked().map_err(|error: std::io::Error| format!("{method} {path}: {error}"))
}

/// As [`ask`], if the answer is to be one of these.
fn expect(site: &Site, (method, path): (&str, &str), body: &str, statuses: &[&str]) -> Result<(), String> {
    let answer = ask(site, method, path, body)?;
    let head = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
    let status = head.split(' ').nth(1).unwrap_or_default();
    if statuses.contains(&status) { Ok(()) } else { Err(format!("{method} {path}: {head}")) }
}

/// Definitions of as many bindings as there may be, again and again.
pub(crate) fn import(site: &Site, tally: &Tally) -> Result<(), String> {
    let count = site.scale.bindings / 10 * 8;
    let binding = |n: u32| {
        format!(
            r#"{{"source":"amq.topic","vhost":"/","destination":"{QUEUE}","destination_type":"queue","routing_key":"{n}.*","arguments":{{}}}}"#
        )
    };
    let bindings: Vec<String> = (0..count).map(binding).collect();
    let document =
        format!(r#"{{"queues":[{{"name":"{QUEUE}","vhost":"/"}}],"bindings":[{}]}}"#, bindings.join(","));
    while !site.is_over() {
        tally.tried("bindings", count.into());
        expect(site, ("POST", "/api/definitions"), &document, &["204"])?;
        expect(site, ("DELETE", &format!("/api/queues/%2F/{QUEUE}")), "", &["204"])?;
    }
    Ok(())
}

/// Requests for as much as one may fetch, a dozen at a time.
pub(crate) fn fetch(site: &Site, tally: &Tally) -> Result<(), String> {
    let path = format!("/api/queues/%2F/{QUEUE}");
    expect(site, ("PUT", &path), "{}", &["201"])?;
    let body = format!(
        r#"{{"properties":{{}},"routing_key":"{QUEUE}","payload":"{}","payload_encoding":"string"}}"#,
        "x".repeat(MESSAGE)
    );
    for _message in 0..MESSAGES {
        expect(site, ("POST", "/api/exchanges/%2F/amq.default/publish"), &body, &["200"])?;
    }
    let get = r#"{"count":100,"ackmode":"ack_requeue_true","encoding":"auto"}"#;
    while !site.is_over() {
        tally.tried("fetches", AT_ONCE as u64);
        thread::scope(|scope| {
            let fetch = || expect(site, ("POST", &format!("{path}/get")), get, &["200", "503"]);
            let fetching: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(fetch)).collect();
            fetching
                .into_iter()
                .try_for_each(|one| one.join().map_err(|_panic| "a thread failed".to_owned())?)
        })?;
    }
    expect(site, ("DELETE", &path), "", &["204"])
}

/// Patterns that take many steps for every name.
pub(crate) fn filters(site: &Site, tally: &Tally) -> Result<(), String> {
    let mut wire = site.enter(0)?;
    let queues = site.scale.queues / 2;
    let name = |n: u32| format!("{QUEUE}.{}{n}", "a".repeat(200));
    for n in 0..queues {
        wire.call(&frames::declare_exclusive(&name(n)), (50, 11))?;
    }
    while !site.is_over() {
        for pattern in ["(.*)*%5C1b", "(?=(.)(?!.*b))a%2Bc%5C1", "%5Ba-z%5D%7B1,200%7D%5B0-9%5D%7B9%7D"] {
            tally.tried("filters", 1);
            let path = format!("/api/queues?page=1&use_regex=true&columns=name&name={pattern}");
            expect(site, ("GET", &path), "", &["200", "400"])?;
        }
    }
    Ok(wire.close()?)
}
