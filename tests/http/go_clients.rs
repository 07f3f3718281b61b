//! Clients written in Go: Terraform's provider, KEDA, the operator of Kubernetes. They decode an
//! answer into structs, and one field of another type fails all of it.
//!
//! `go_clients.txt` has what they ask, `go_structs.txt` into what they decode the answers. Neither
//! Terraform's provider nor the others can be run here; both files are from their sources.

use super::client::{Api, login};
use amq_protocol::types::FieldTable;
use conformance::api::http::Answer;
use conformance::client::{Client, method};
use flate2::read::GzDecoder;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;

const STRUCTS: &str = include_str!("go_structs.txt");
const RECORD: &str = include_str!("go_clients.txt");

/// What url.PathEscape escapes.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The types of fields, by their structs and names.
struct Structs(BTreeMap<&'static str, BTreeMap<&'static str, &'static str>>);

impl Structs {
    fn read() -> Self {
        let (mut structs, mut last) = (BTreeMap::<_, BTreeMap<_, _>>::new(), "");
        for line in STRUCTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let Some(fields) = line.strip_prefix("  ") else {
                last = line;
                continue;
            };
            let (kind, names) = fields.split_once(' ').expect("a type has fields");
            structs.entry(last).or_default().extend(names.split(' ').map(|name| (name, kind)));
        }
        Self(structs)
    }

    /// Whether encoding/json can make such a type of a value.
    ///
    /// # Errors
    /// What it cannot, and where.
    fn decode(&self, kind: &str, value: &Value, at: &str) -> Result<(), String> {
        if value.is_null() && !matches!(kind, "port" | "autodelete") {
            return Ok(());
        }
        if let Some(kind) = kind.strip_prefix("[]") {
            let list = value.as_array().ok_or_else(|| format!("{at} is no list: {value}"))?;
            return (0..).zip(list).try_for_each(|(i, value)| self.decode(kind, value, &format!("{at}/{i}")));
        }
        let fields = self.0.get(kind);
        let each = kind.strip_prefix("map[string]");
        if each.is_some() || fields.is_some() {
            let object = value.as_object().ok_or_else(|| format!("{at} is no object: {value}"))?;
            return object.iter().try_for_each(|(name, value)| {
                let kind = each.or_else(|| fields.and_then(|fields| fields.get(name.as_str()).copied()));
                kind.map_or(Ok(()), |kind| self.decode(kind, value, &format!("{at}/{name}")))
            });
        }
        let is_it = match kind {
            "any" => true,
            "bool" => value.is_boolean(),
            "string" => value.is_string(),
            "int" => value.is_i64(),
            "uint" => value.is_u64(),
            "float" => value.is_number(),
            "object" => value.is_object(),
            "autodelete" => value.is_boolean() || value == "undefined",
            "port" => value.is_i64() || value.as_str().is_some_and(|text| text.parse::<i32>().is_ok()),
            "tags" if value.is_string() => true,
            "tags" => return self.decode("[]string", value, at),
            "channel" if *value == json!([]) => true,
            "channel" => return self.decode("ChannelDetails", value, at),
            _ => panic!("{kind} is no type"),
        };
        if is_it { Ok(()) } else { Err(format!("{at} is no {kind}: {value}")) }
    }
}

/// Asks as rabbit-hole does with Go's client: a request without a body is said to be JSON all the
/// same, and has a length only where its method has a body as a rule; answers may be compressed.
fn ask(api: &Api, method: &str, path: &str, body: Option<&str>) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: Go-http-client/1.1\r\n");
    let body = body.unwrap_or_default();
    if !body.is_empty() || matches!(method, "POST" | "PUT") {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str(&format!("Authorization: {}\r\n", login("guest", "guest")));
    if method != "GET" {
        request.push_str("Content-Type: application/json\r\n");
    }
    request.push_str("Accept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    let mut answer = api.send(&[request.as_bytes(), body.as_bytes()].concat());
    if answer.header("content-encoding") == Some("gzip") {
        let mut unzipped = Vec::new();
        GzDecoder::new(answer.body.as_slice()).read_to_end(&mut unzipped).expect("it is gzip");
        answer.body = unzipped;
    }
    answer
}

/// Asks, gets this status and, if a type is named, an answer that decodes into it.
#[track_caller]
fn asked(api: &Api, structs: &Structs, request: &str, expected: &str) -> (Answer, Value) {
    let mut parts = request.splitn(3, ' ');
    let (Some(method), Some(path), body) = (parts.next(), parts.next(), parts.next()) else {
        panic!("a request has a method and a path: {request}");
    };
    let answer = ask(api, method, path, body);
    let (status, kind) = expected.split_once(' ').map_or((expected, None), |(of, kind)| (of, Some(kind)));
    assert_eq!(answer.status.to_string(), status, "{request}: {}", answer.text());
    let value = super::client::json(&answer);
    if let Some(kind) = kind {
        assert!(!value.is_null(), "{request}: there is no JSON in {}", answer.text());
        structs.decode(kind, &value, "").unwrap_or_else(|why| panic!("{request}: {kind}: {why}"));
    }
    (answer, value)
}

#[test]
fn whatever_clients_in_go_ask_is_answered_so_that_they_can_decode_it() {
    let (api, structs) = (Api::start(), Structs::read());
    let (mut request, mut answered, mut checks) = ("", None, [0, 0]);
    for line in RECORD.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(found) = line.strip_prefix("    ") {
            let (at, expected) = found.split_once(" = ").expect("it has a value");
            let (answer, value): &(Answer, Value) = answered.as_ref().expect("something was asked");
            if at == "location" {
                assert_eq!(answer.header(at), Some(expected), "{request}");
            } else {
                let expected: Value = serde_json::from_str(expected).expect("it is JSON");
                assert_eq!(value.pointer(at), Some(&expected), "{request}: {at} of {value}");
            }
            checks[1] += 1;
            continue;
        }
        let expected;
        (request, expected) = line.rsplit_once(" -> ").expect("a request has a status");
        answered = Some(asked(&api, &structs, request, expected));
        checks[0] += 1;
    }
    assert!(checks[0] > 150 && checks[1] > 80, "the record has {checks:?}");
}

/// Terraform keeps the last part of the Location, unescaped, and looks for it as the key of a
/// binding; the operator writes the key of a binding without arguments by itself.
#[test]
fn a_binding_is_found_by_its_location_and_deleted_by_its_key() {
    let (api, structs) = (Api::start(), Structs::read());
    let escaped = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
    api.check("PUT", "/api/exchanges/%2F/from%20%2F", Some(r#"{"type":"headers"}"#), 201);
    for (kind, long, name) in [("q", "queue", "to q+~"), ("e", "exchange", "to e/%")] {
        let declared = format!("/api/{long}s/%2F/{}", escaped(name));
        api.check("PUT", &declared, Some(r#"{"type":"fanout","durable":true}"#), 201);
        let between = format!("/api/bindings/%2F/e/from%20%2F/{kind}/{}", escaped(name));
        let keys =
            ["", "k", "a/b", "a b", "x~y", "~", "100%", "a.*.#", "k+1", "\u{fc}", "?a=b&c;d,e:f@g", "%2F"];
        let plain = keys.map(|key| (key, json!({})));
        let with_arguments =
            [("", json!({"x-match": "all", "n": 5})), ("k/ ~", json!({"x-match": "any", "n": "5"}))];
        for (key, arguments) in plain.into_iter().chain(with_arguments) {
            let body = json!({"source": "from /", "vhost": "/", "destination": name,
                "destination_type": long, "routing_key": key, "arguments": arguments});
            let bind = format!("POST {between} {body}");
            let (bound, _nothing) = asked(&api, &structs, &bind, "201");
            let location = bound.header("location").expect("it says where it is");
            let last = location.rsplit('/').next().expect("it has a last part");
            let wanted = percent_decode_str(last).decode_utf8().expect("it is text").into_owned();
            // A slash in it would part the name that Terraform gives the binding.
            assert!(!wanted.contains('/'), "{bind}: {location}");
            let (_answer, list) = asked(&api, &structs, &format!("GET {between}"), "200 []BindingInfo");
            let found =
                list.as_array().and_then(|list| list.iter().find(|of| of["properties_key"] == wanted));
            let found = found.unwrap_or_else(|| panic!("{bind}: no {wanted} in {list}"));
            assert_eq!((&found["routing_key"], &found["arguments"]), (&json!(key), &arguments), "{bind}");
            let path = format!("DELETE {between}/{}", escaped(&wanted));
            asked(&api, &structs, &path, "204");
            if arguments == json!({}) {
                asked(&api, &structs, &bind, "201");
                let own = if key.is_empty() { "~".to_owned() } else { key.replace('~', "%7E") };
                asked(&api, &structs, &format!("DELETE {between}/{}", escaped(&own)), "204");
            }
        }
        assert_eq!(api.check("GET", &between, None, 200), json!([]));
    }
}

/// What is read of queues and exchanges that are used has more fields.
#[test]
fn what_clients_use_is_decoded_as_well() {
    let (api, structs) = (Api::start(), Structs::read());
    let mut client = Client::connect(&api.broker.amqp.to_string()).expect("the broker lets clients in");
    client.call(method::declare_queue("orders-1", FieldTable::default())).expect("the broker answers");
    api.check("PUT", "/api/queues/%2F/orders-2", Some("{}"), 201);
    api.check("POST", "/api/bindings/%2F/e/amq.fanout/q/orders-2", Some("{}"), 201);
    let empty = "GET /api/queues/%2F?page=1&use_regex=true&pagination=false&name=none&page_size=100";
    let (_answer, none) = asked(&api, &structs, empty, "200 KedaPage");
    assert_eq!((&none["items"], &none["page_count"]), (&json!([]), &json!(0)));
    asked(&api, &structs, "GET /api/queues/%2F/orders-2", "200 KedaQueue");

    client.call(method::consume("orders-1")).expect("the broker answers");
    for exchange in ["", "amq.fanout", "amq.fanout"] {
        client.publish(exchange, "orders-1", b"0123456789").expect("it is sent");
    }
    client.call(method::look_for_queue("orders-1")).expect("the broker answers");
    let (_answer, waiting) = asked(&api, &structs, "GET /api/queues/%2F/orders-2", "200 KedaQueue");
    assert_eq!((&waiting["messages"], &waiting["messages_ready"]), (&json!(2), &json!(2)));
    let matching =
        "GET /api/queues/%2F?page=1&use_regex=true&pagination=false&name=%5Eorders-%5Cd%24&page_size=100";
    let (_answer, page) = asked(&api, &structs, matching, "200 KedaPage");
    assert_eq!((page["items"].as_array().map(Vec::len), &page["page_count"]), (Some(2), &json!(1)));
    assert!(page["items"][1]["message_stats"]["publish_details"]["rate"].is_number(), "{page}");

    let (_answer, consumed) = asked(&api, &structs, "GET /api/queues/%2F/orders-1", "200 QueueInfo");
    assert_eq!(consumed["consumer_details"].as_array().map(Vec::len), Some(1), "{consumed}");
    assert_eq!(consumed["messages_unacknowledged"], json!(1));
    for (request, expected) in [
        ("GET /api/exchanges/%2F/amq.fanout", "200 DetailedExchangeInfo"),
        ("GET /api/exchanges/%2F/amq.default", "200 DetailedExchangeInfo"),
        ("GET /api/exchanges", "200 []ExchangeInfo"),
        ("GET /api/queues", "200 []QueueInfo"),
        ("GET /api/queues?page=1&page_size=1&sort=name", "200 PagedQueueInfo"),
        ("GET /api/queues/%2F/orders-2?msg_rates_age=60&msg_rates_incr=5", "200 QueueInfo"),
        ("GET /api/connections", "200 []ConnectionInfo"),
        ("GET /api/channels", "200 []ChannelInfo"),
        ("GET /api/vhosts/%2F/channels", "200 []ChannelInfo"),
        ("GET /api/consumers", "200 []ConsumerInfo"),
        ("GET /api/consumers/%2F", "200 []ConsumerInfo"),
        ("GET /api/vhosts/%2F", "200 VhostInfo"),
        ("GET /api/overview?msg_rates_age=60&msg_rates_incr=5", "200 Overview"),
        ("GET /api/nodes", "200 []NodeInfo"),
    ] {
        let (_answer, value) = asked(&api, &structs, request, expected);
        assert_ne!(value, json!([]), "{request}");
    }
}
