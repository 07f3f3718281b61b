//! What is asked for and changed, as far as the comparison with RabbitMQ does not show it.

use super::client::{Api, json};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::io::Read;

fn publish(key: &str, payload: &str, more: &str) -> String {
    format!(
        r#"{{"properties":{{{more}}},"routing_key":"{key}","payload":"{payload}","payload_encoding":"string"}}"#
    )
}

fn get(count: u32, ackmode: &str) -> String {
    format!(r#"{{"count":{count},"ackmode":"{ackmode}","encoding":"auto"}}"#)
}

/// The payloads of messages that were fetched.
fn payloads(messages: &Value) -> Vec<&str> {
    messages.as_array().into_iter().flatten().filter_map(|message| message["payload"].as_str()).collect()
}

#[test]
fn messages_are_fetched_in_order_and_become_what_was_asked_for() {
    let api = Api::start();
    api.check("PUT", "/api/queues/%2F/dead", Some("{}"), 201);
    let arguments = r#"{"arguments":{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"dead"}}"#;
    api.check("PUT", "/api/queues/%2F/q", Some(arguments), 201);
    for payload in ["a", "b", "c"] {
        let body = publish("q", payload, r#""delivery_mode":2,"headers":{"n":1}"#);
        let routed = api.check("POST", "/api/exchanges/%2F/amq.default/publish", Some(&body), 200);
        assert_eq!(routed, json!({"routed": true}));
    }
    let fetch = |queue: &str, count, ackmode: &str| {
        api.check("POST", &format!("/api/queues/%2F/{queue}/get"), Some(&get(count, ackmode)), 200)
    };
    let again = fetch("q", 2, "ack_requeue_true");
    assert_eq!(payloads(&again), ["a", "b"]);
    assert_eq!(again[0]["properties"], json!({"headers": {"n": 1}, "delivery_mode": 2}));
    assert_eq!((&again[0]["redelivered"], &again[0]["message_count"]), (&json!(false), &json!(2)));
    let first = fetch("q", 1, "ack_requeue_false");
    assert_eq!((payloads(&first), &first[0]["redelivered"]), (vec!["a"], &json!(true)));
    assert_eq!(payloads(&fetch("q", 1, "reject_requeue_false")), ["b"]);
    assert_eq!(payloads(&fetch("dead", 9, "ack_requeue_false")), ["b"]);
    assert_eq!(payloads(&fetch("q", 9, "ack_requeue_false")), ["c"]);
    assert_eq!(fetch("q", 9, "ack_requeue_false"), json!([]));
    let queue = api.check("GET", "/api/queues/%2F/q", None, 200);
    assert_eq!((&queue["messages"], &queue["messages_unacknowledged"]), (&json!(0), &json!(0)));
}

#[test]
fn a_message_goes_to_all_keys_of_its_copies_and_blind_ones_are_not_told() {
    let api = Api::start();
    for queue in ["a", "b", "c"] {
        api.check("PUT", &format!("/api/queues/%2F/{queue}"), Some("{}"), 201);
    }
    let body = publish("a", "x", r#""headers":{"CC":["b"],"BCC":["c"]}"#);
    api.check("POST", "/api/exchanges/%2F/amq.default/publish", Some(&body), 200);
    for queue in ["a", "b", "c"] {
        let path = format!("/api/queues/%2F/{queue}/get");
        let fetched = api.check("POST", &path, Some(&get(1, "ack_requeue_false")), 200);
        assert_eq!(fetched[0]["properties"]["headers"], json!({"CC": ["b"]}), "{queue}");
    }
    let body = publish("a", "x", r#""headers":{"CC":"b"}"#);
    api.check("POST", "/api/exchanges/%2F/amq.default/publish", Some(&body), 400);
}

#[test]
fn what_cannot_be_published_is_refused() {
    let api = Api::start();
    let arguments = r#"{"arguments":{"x-max-length":1,"x-overflow":"reject-publish"}}"#;
    api.check("PUT", "/api/queues/%2F/q", Some(arguments), 201);
    let refused = |body: &str, status: u16| {
        api.check("POST", "/api/exchanges/%2F/amq.default/publish", Some(body), status)
    };
    refused(&publish("q", "x", r#""expiration":"soon""#), 400);
    refused(&publish("q", "x", r#""expiration":"-1""#), 400);
    refused(&publish("q", "x", r#""priority":256"#), 400);
    refused(&publish("q", "x", &format!(r#""headers":{{"h":"{}"}}"#, "h".repeat(150_000))), 400);
    refused(&publish(&"k".repeat(256), "x", ""), 400);
    refused(&publish("q", "x", &format!(r#""message_id":"{}""#, "m".repeat(256))), 400);
    let long = "q".repeat(256);
    api.check("PUT", &format!("/api/queues/%2F/{long}"), Some("{}"), 400);
    api.check("PUT", &format!("/api/exchanges/%2F/{long}"), Some("{}"), 400);
    let bind = format!(r#"{{"routing_key":"{long}"}}"#);
    api.check("POST", "/api/bindings/%2F/e/amq.topic/q/q", Some(&bind), 400);
    refused(&publish("q", "x", ""), 200);
    let full = refused(&publish("q", "x", ""), 400);
    assert_eq!(full["reason"], "a queue has refused the message: it is full, or has had it already");
}

#[test]
fn long_answers_are_compressed_for_those_who_take_that() {
    let api = Api::start();
    let ask = |accepted: &str| {
        let login = super::client::login("guest", "guest");
        api.ask_with(
            ("GET", "/api/feature-flags"),
            &[("Authorization", &login), ("Accept-Encoding", accepted)],
            None,
        )
    };
    let (plain, zipped) = (ask("identity"), ask("deflate, gzip;q=0.5"));
    assert_eq!((plain.header("content-encoding"), ask("gzip;q=0").header("content-encoding")), (None, None));
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.header("vary").is_some_and(|vary| vary.contains("accept-encoding")));
    assert!(zipped.body.len() < plain.body.len() / 2);
    let mut unzipped = String::new();
    GzDecoder::new(zipped.body.as_slice()).read_to_string(&mut unzipped).expect("it is gzip");
    assert_eq!(unzipped, plain.text());
}

#[test]
fn a_form_with_a_file_is_imported() {
    let api = Api::start();
    let body = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d.json\"\r\n\r\n\
                {\"queues\":[{\"name\":\"q\",\"vhost\":\"/\"}]}\r\n--x--\r\n";
    let login = super::client::login("guest", "guest");
    let request = format!(
        "POST /api/definitions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {login}\r\n\
         Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(api.send(request.as_bytes()).status, 204);
    api.check("GET", "/api/queues/%2F/q", None, 200);
}

#[test]
fn every_path_is_described_and_has_its_methods() {
    let api = Api::start();
    let described = api.check("GET", "/api/openapi.json", None, 200);
    let paths = described["paths"].as_object().expect("there are paths");
    assert!(paths.len() > 80, "{} paths", paths.len());
    for (path, methods) in paths {
        let allowed = api.ask("PATCH", &path.replace(['{', '}'], ""), None);
        assert_eq!(allowed.status, 405, "{path}");
        let allowed = allowed.header("allow").expect("it is said what is allowed");
        for method in methods.as_object().expect("there are methods").keys() {
            assert!(allowed.split(", ").any(|name| name.eq_ignore_ascii_case(method)), "{path}: {allowed}");
        }
    }
}

/// A binding of a client has arguments of types that JSON does not tell apart.
#[test]
fn a_binding_is_found_by_its_key_whatever_its_arguments_are() {
    let api = Api::start();
    api.check("PUT", "/api/queues/%2F/q", Some("{}"), 201);
    let binding = r#"{"routing_key":"k","arguments":{"x-match":"all","n":5}}"#;
    let bound = api.ask("POST", "/api/bindings/%2F/e/amq.headers/q/q", Some(binding));
    let location = bound.header("location").expect("it says where it is").to_owned();
    let path = format!("/api/bindings/%2F/e/amq.headers/q/{location}");
    assert_eq!(json(&api.ask("GET", &path, None))["arguments"], json!({"n": 5, "x-match": "all"}));
    api.check("DELETE", &path, None, 204);
    api.check("GET", &path, None, 404);
}

#[test]
fn it_is_told_where_a_message_would_go_and_why() {
    let api = Api::start();
    for (queue, body) in [("q1", "{}"), ("q2", "{}"), ("lost", "{}")] {
        api.check("PUT", &format!("/api/queues/%2F/{queue}"), Some(body), 201);
    }
    let orders = r#"{"type":"topic","arguments":{"alternate-exchange":"alt"}}"#;
    for (exchange, body) in
        [("orders", orders), ("alt", r#"{"type":"fanout"}"#), ("inner", r#"{"type":"headers"}"#)]
    {
        api.check("PUT", &format!("/api/exchanges/%2F/{exchange}"), Some(body), 201);
    }
    for (path, body) in [
        ("orders/q/q1", r#"{"routing_key":"order.*"}"#),
        ("orders/q/q1", r##"{"routing_key":"other.#"}"##),
        ("orders/e/inner", r#"{"routing_key":"order.new"}"#),
        ("inner/q/q2", r#"{"arguments":{"x-match":"all","kind":"big"}}"#),
        ("alt/q/lost", "{}"),
    ] {
        api.check("POST", &format!("/api/bindings/%2F/e/{path}"), Some(body), 201);
    }
    let route = |exchange: &str, body: &str| {
        api.check("POST", &format!("/api/exchanges/%2F/{exchange}/route"), Some(body), 200)
    };
    let step = |exchange, destination, kind, key, arguments: Value, alternate| {
        json!({"exchange": exchange, "destination": destination, "destination_type": kind, "routing_key": key,
               "arguments": arguments, "alternate": alternate})
    };
    let to_q1 = json!({"name": "q1", "path": [step("orders", "q1", "queue", "order.*", json!({}), false)]});
    let to_q2 = json!({"name": "q2", "path": [
        step("orders", "inner", "exchange", "order.new", json!({}), false),
        step("inner", "q2", "queue", "", json!({"kind": "big", "x-match": "all"}), false),
    ]});
    let big = route("orders", r#"{"routing_key":"order.new","headers":{"kind":"big"}}"#);
    assert_eq!(
        big,
        json!({"routed": true, "queues": [to_q1, to_q2], "alternate": null, "why": "2 queues get it, each once"})
    );
    let small = route("orders", r#"{"routing_key":"order.new"}"#);
    assert_eq!(small["queues"], json!([to_q1]));
    let other = route("orders", r#"{"routing_key":"nothing"}"#);
    let alternate = step("orders", "alt", "exchange", "nothing", json!({}), true);
    assert_eq!((&other["alternate"], &other["queues"][0]["name"]), (&json!("alt"), &json!("lost")));
    assert_eq!(other["queues"][0]["path"][0], alternate);
    let nowhere = route("inner", r#"{"routing_key":"x"}"#);
    assert_eq!((&nowhere["routed"], &nowhere["queues"]), (&json!(false), &json!([])));
    assert!(
        nowhere["why"]
            .as_str()
            .is_some_and(|why| why.starts_with("no binding of the headers exchange 'inner'"))
    );
    assert_eq!(route("amq.default", r#"{"routing_key":"q1"}"#)["routed"], true);
    assert_eq!(route("amq.default", r#"{"routing_key":"q"}"#)["routed"], false);
    api.check("POST", "/api/exchanges/%2F/none/route", Some("{}"), 404);
}

#[test]
fn it_is_told_what_a_policy_would_change() {
    let api = Api::start();
    for queue in ["a1", "a2", "b1"] {
        api.check("PUT", &format!("/api/queues/%2F/{queue}"), Some("{}"), 201);
    }
    let old = Some(r#"{"pattern":"^a1","definition":{"max-length":5},"priority":1}"#);
    api.check("PUT", "/api/policies/%2F/old", old, 201);
    let preview = |body: &str, status| api.check("POST", "/api/policies/%2F/new/preview", Some(body), status);
    let told =
        preview(r#"{"pattern":"^a","definition":{"max-length":9},"priority":2,"apply-to":"queues"}"#, 200);
    let queue = |name, before: Value, policy: Value| json!({"name": name, "before": before, "after": {"max-length": 9}, "policy_before": policy, "policy_after": "new"});
    let a1 = queue("a1", json!({"max-length": 5}), json!("old"));
    let a2 = queue("a2", json!({}), Value::Null);
    assert_eq!((&told["exchanges"], &told["total"]), (&json!([]), &json!(2)));
    let mut queues = told["queues"].as_array().expect("there are queues").clone();
    queues.sort_by_key(|queue| queue["name"].to_string());
    assert_eq!(queues, [a1, a2]);
    assert_eq!(preview(r#"{"pattern":"^c","definition":{"max-length":9}}"#, 200)["total"], 0);
    preview(r#"{"pattern":"(","definition":{"max-length":9}}"#, 400);
    preview(r#"{"pattern":"^a"}"#, 400);
    api.check("GET", "/api/policies/%2F/new", None, 404);
}

/// The tests of RabbitMQ's own client in Rust look for it.
#[test]
fn refusals_of_policies_begin_as_rabbitmqs() {
    let api = Api::start();
    let policy = Some(r#"{"pattern":"^a","definition":{"foo":"bar"}}"#);
    let why = "Validation failed\n\n[{<<\"foo\">>,<<\"bar\">>}] are not recognised policy settings\n";
    for path in ["/api/policies/%2F/p", "/api/operator-policies/%2F/p"] {
        let told = api.check("PUT", path, policy, 400)["reason"].clone();
        assert!(told.as_str().is_some_and(|told| told.starts_with(&why[..60])), "{told}");
    }
    assert_eq!(api.check("PUT", "/api/policies/%2F/p", policy, 400)["reason"], why);
}

#[test]
fn a_hash_of_a_password_is_known_by_its_length() {
    let api = Api::start();
    let user = format!(r#"{{"password_hash":"{}=","tags":"management"}}"#, "A".repeat(91));
    api.check("PUT", "/api/users/ann", Some(&user), 201);
    let told = api.check("GET", "/api/users/ann", None, 200);
    assert_eq!(told["hashing_algorithm"], "rabbit_password_hashing_sha512");
    api.check("PUT", "/api/users/bob", Some(r#"{"password_hash":"AAAA","tags":""}"#), 400);
}

#[test]
fn the_flag_of_the_newest_version_is_stable_as_rabbitmqs() {
    let api = Api::start();
    let flags = api.check("GET", "/api/feature-flags", None, 200);
    let stability = |name: &str| {
        let mut all = flags.as_array().expect("it is a list").iter();
        all.find(|flag| flag["name"] == name).map(|flag| flag["stability"].clone())
    };
    assert_eq!(stability("rabbitmq_4.3.0"), Some(json!("stable")));
    assert_eq!(stability("rabbitmq_4.2.0"), Some(json!("required")));
}

#[test]
fn the_node_is_found_as_rabbitmqs_too() {
    let api = Api::start();
    let nodes = api.check("GET", "/api/nodes", None, 200);
    let name = nodes[0]["name"].as_str().expect("it has a name");
    let rabbit = name.replacen("leveret@", "rabbit@", 1);
    assert_ne!(rabbit, name);
    assert_eq!(api.check("GET", &format!("/api/nodes/{rabbit}"), None, 200)["name"], name);
    api.check("GET", &format!("/api/nodes/{rabbit}x"), None, 404);
}

#[test]
fn messages_are_looked_at_where_they_are_deleted_and_made_ready() {
    let api = Api::start();
    api.check("PUT", "/api/queues/%2F/q", Some(r#"{"arguments":{"x-dead-letter-exchange":"gone"}}"#), 201);
    for payload in ["a", "b", "c"] {
        let body = publish("q", payload, r#""delivery_mode":2,"headers":{"n":1}"#);
        api.check("POST", "/api/exchanges/%2F/amq.default/publish", Some(&body), 200);
    }
    let path = "/api/queues/%2F/q/messages";
    api.check("POST", "/api/queues/%2F/q/get", Some(&get(1, "reject_requeue_false")), 200);
    let page = api.check("GET", &format!("{path}?count=2&header=n:1"), None, 200);
    assert_eq!(payloads(&page["messages"]), ["a", "b"]);
    assert_eq!((&page["next"], &page["looked_at"]), (&json!("2"), &json!(2)));
    assert_eq!(page["messages"][0]["parked_because"], "it was rejected, and the exchange does not exist");
    let some = api.check("GET", &format!("{path}?columns=id,payload"), None, 200);
    assert_eq!(some["messages"][0], json!({"id": "0", "payload": "a"}), "the columns are those of messages");
    assert_eq!((&some["next"], &some["looked_at"]), (&json!(null), &json!(3)));
    let parked = api.check("GET", &format!("{path}?state=parked&from=tail"), None, 200);
    assert_eq!((payloads(&parked["messages"]), &parked["next"]), (vec!["a"], &json!(null)));
    assert_eq!(api.check("GET", &format!("{path}/1"), None, 200)["payload"], "b");
    api.check("DELETE", &format!("{path}/1"), None, 204);
    api.check("DELETE", &format!("{path}/1"), None, 404);
    api.check("GET", &format!("{path}/one"), None, 404);
    api.check("GET", &format!("{path}?from=middle"), None, 400);
    api.check("GET", &format!("{path}?state=lost"), None, 400);
    let ready = api.check("POST", &format!("{path}/2/requeue"), None, 409);
    assert_eq!(ready["reason"], "message 2 of queue 'q' is ready, and neither delayed nor parked");
    api.check("POST", &format!("{path}/0/requeue"), None, 204);
    let queue = api.check("GET", "/api/queues/%2F/q", None, 200);
    assert_eq!((&queue["messages_ready"], &queue["messages_parked"]), (&json!(2), &json!(0)));
    assert_eq!(api.check("GET", "/api/queues/%2F/q/delayed", None, 200)["messages"], json!([]));
    api.check("GET", "/api/queues/%2F/none/messages", None, 404);
    api.add_user("eve", "management");
    api.check("PUT", "/api/permissions/%2F/eve", Some(r#"{"configure":"","write":".*","read":"x"}"#), 201);
    for (method, path) in [("GET", path.to_owned()), ("DELETE", format!("{path}/2"))] {
        assert_eq!(api.ask_as("eve", (method, &path), None).status, 401, "{method}");
    }
}

impl Api {
    /// Begins a job as a user whose password is its name, and comes back when it has ended.
    #[track_caller]
    fn job(&self, user: &str, path: &str, body: &str) -> Value {
        let begun = self.ask_as(user, ("POST", &format!("/api/queues/%2F/{path}")), Some(body));
        assert_eq!(begun.status, 202, "{}", begun.text());
        let path = format!("/api/jobs/{}", json(&begun)["id"].as_str().expect("it has a number"));
        loop {
            let job = json(&self.ask_as(user, ("GET", &path), None));
            if job["state"] != "running" {
                return job;
            }
        }
    }

    /// How many messages are ready.
    fn ready(&self, queue: &str) -> Value {
        let page = self.check("GET", &format!("/api/queues/%2F/{queue}/messages?state=ready"), None, 200);
        json!(page["messages"].as_array().map(Vec::len))
    }
}

/// How a job has ended.
fn outcome(job: &Value) -> Value {
    json!([job["state"], job["moved"], job["left"]])
}

#[test]
fn messages_are_moved_and_redriven_by_who_may() {
    let api = Api::start();
    let arguments = r#"{"arguments":{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"dead"}}"#;
    api.check("PUT", "/api/queues/%2F/work", Some(arguments), 201);
    for queue in ["dead", "other"] {
        api.check("PUT", &format!("/api/queues/%2F/{queue}"), Some("{}"), 201);
    }
    for number in 0..5 {
        let more = format!(r#""delivery_mode":2,"headers":{{"n":{number}}}"#);
        let body = publish("work", &format!("m{number}"), &more);
        api.check("POST", "/api/exchanges/%2F/amq.default/publish", Some(&body), 200);
    }
    api.check("POST", "/api/queues/%2F/work/get", Some(&get(5, "reject_requeue_false")), 200);
    assert_eq!((api.ready("work"), api.ready("dead")), (json!(0), json!(5)));
    let done = api.job("guest", "dead/redrive", r#"{"header":"n:3","reason":"rejected"}"#);
    assert_eq!(
        done,
        json!({
            "id": "1", "kind": "redrive", "vhost": "/", "queue": "dead", "state": "done", "moved": 1,
            "left": 0, "total": 1, "reason": null, "by": "guest", "started_at": done["started_at"],
        })
    );
    let back = api.check("GET", "/api/queues/%2F/work/messages", None, 200);
    assert_eq!(payloads(&back["messages"]), ["m3"]);
    assert_eq!(
        (&back["messages"][0]["exchange"], &back["messages"][0]["routing_key"]),
        (&json!(""), &json!("work"))
    );
    let done = api.job("guest", "dead/redrive", r#"{"to":"exchange","limit":1}"#);
    assert_eq!((&done["moved"], &done["left"], api.ready("work")), (&json!(1), &json!(0), json!(2)));
    let done = api.job("guest", "dead/move", r#"{"exchange":"","routing_key":"other","ids":["1"]}"#);
    assert_eq!((&done["kind"], &done["moved"], api.ready("other")), (&json!("move"), &json!(1), json!(1)));
    let left = api.job("guest", "other/redrive", r#"{"ids":[0,9]}"#);
    assert_eq!((&left["moved"], &left["state"], &left["left"]), (&json!(1), &json!("failed"), &json!(1)));
    assert_eq!(left["reason"], "message 9 is no longer in the queue");
    let nowhere = api.job("guest", "dead/move", r#"{"exchange":"amq.direct","routing_key":"k"}"#);
    assert_eq!(outcome(&nowhere), json!(["failed", 0, 2]));
    let why = nowhere["reason"].as_str().expect("it says why");
    assert!(why.ends_with("no queue takes it from the exchange 'amq.direct' with the key 'k'"), "{why}");
    assert_eq!(api.ready("dead"), json!(2), "in their places");

    for (path, body, status) in [
        ("dead/move", r#"{"exchange":"gone","routing_key":"k"}"#, 404),
        ("dead/move", r#"{"exchange":"","routing_key":"gone"}"#, 404),
        ("gone/redrive", "{}", 404),
        ("dead/move", "{}", 400),
        ("dead/redrive", r#"{"to":"heaven"}"#, 400),
        ("dead/redrive", r#"{"state":"unacknowledged"}"#, 400),
        ("dead/redrive", r#"{"rate":0}"#, 400),
    ] {
        api.check("POST", &format!("/api/queues/%2F/{path}"), Some(body), status);
    }
    api.add_user("eve", "management");
    let only_reads = r#"{"configure":"","write":"^$","read":".*"}"#;
    api.check("PUT", "/api/permissions/%2F/eve", Some(only_reads), 201);
    let refused = api.ask_as(
        "eve",
        ("POST", "/api/queues/%2F/dead/move"),
        Some(r#"{"exchange":"","routing_key":"other"}"#),
    );
    assert_eq!(refused.status, 401);
    let refused = api.job("eve", "dead/redrive", "{}");
    assert_eq!(outcome(&refused), json!(["failed", 0, 2]));
    let why = refused["reason"].as_str().expect("it says why");
    assert!(why.contains("access to exchange 'amq.default' in vhost '/' refused for user 'eve'"), "{why}");
    let seen = |user: &str| json(&api.ask_as(user, ("GET", "/api/jobs"), None)).as_array().map(Vec::len);
    assert_eq!((seen("eve"), seen("guest")), (Some(1), Some(6)), "everybody sees its own");
    assert_eq!(api.ask_as("eve", ("GET", "/api/jobs/1"), None).status, 404);
    api.check("DELETE", "/api/jobs/99", None, 404);
}

#[test]
fn a_slip_in_a_body_or_a_query_is_refused() {
    let api = Api::start();
    api.check("PUT", "/api/queues/%2F/dead", Some("{}"), 201);
    let reasons = "the reasons are rejected, delivery_limit, expired, maxlen, delayed";
    for (method, path, body, why) in [
        (
            "POST",
            "queues/%2F/dead/redrive",
            r#"{"reasn":"rejected"}"#,
            "there is no field 'reasn'; did you mean 'reason'?".to_owned(),
        ),
        (
            "POST",
            "queues/%2F/dead/move",
            r#"{"exchange":"","routing_key":"other","rat":1}"#,
            "there is no field 'rat'; did you mean 'rate'?".to_owned(),
        ),
        (
            "POST",
            "policies/%2F/p/preview",
            r#"{"pattern":"","definition":{"max-length":1},"priorty":1}"#,
            "there is no field 'priorty'; did you mean 'priority'?".to_owned(),
        ),
        (
            "POST",
            "exchanges/%2F/amq.direct/route",
            r#"{"routing-key":"k"}"#,
            "there is no field 'routing-key'; did you mean 'routing_key'?".to_owned(),
        ),
        (
            "POST",
            "queues/%2F/dead/redrive",
            r#"{"reason":"expird"}"#,
            format!("there is no reason 'expird'; {reasons}; did you mean 'expired'?"),
        ),
        ("GET", "queues/%2F/dead/messages?reason=foo", "", format!("there is no reason 'foo'; {reasons}")),
        (
            "GET",
            "queues/%2F/dead/messages?stat=parked",
            "",
            "there is no parameter 'stat'; did you mean 'state'?".to_owned(),
        ),
        ("GET", "queues/%2F/dead/delayed?state=parked", "", "there is no parameter 'state'".to_owned()),
        ("GET", "queues/%2F/dead/messages?count=501", "", "count is 500 at most, not 501".to_owned()),
        ("GET", "queues/%2F/dead/delayed?count=501", "", "count is 500 at most, not 501".to_owned()),
    ] {
        let body = Some(body).filter(|body| !body.is_empty());
        let refused = api.check(method, &format!("/api/{path}"), body, 400);
        assert_eq!(refused["reason"], why, "{path}");
    }
}
