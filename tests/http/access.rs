//! Who may: passwords, tags, permissions of vhosts and of what is in them.

use super::client::{Api, json, login};
use crate::support::process::{Folder, PATIENCE, Process, leveret_in};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What a user is answered, request by request.
#[track_caller]
fn check(api: &Api, user: &str, expected: &[(&str, &str, Option<&str>, u16)]) {
    for (method, path, body, status) in expected {
        let answer = api.ask_as(user, (method, path), *body);
        assert_eq!(answer.status, *status, "{method} {path} of {user}: {}", answer.text());
    }
}

#[test]
fn nobody_is_let_in_without_a_password() {
    let api = Api::start();
    let nobody = api.ask_with(("GET", "/api/overview"), &[], None);
    assert_eq!((nobody.status, nobody.text()), (401, String::new()));
    assert_eq!(nobody.header("www-authenticate"), Some("Basic realm=\"RabbitMQ Management\""));
    let refused = json!({"error": "not_authorized", "reason": "Not_Authorized"});
    for given in [
        &*login("guest", "wrong"),
        &*login("nobody", "nobody"),
        "Basic !",
        "Basic",
        "Bearer x",
        "Basic Z3Vlc3Q=",
    ] {
        let answer = api.ask_with(("GET", "/api/whoami"), &[("Authorization", given)], None);
        assert_eq!((answer.status, json(&answer)), (401, refused.clone()), "{given}");
    }
    api.broker.until_logged("login refused: the password is wrong peer=127.0.0.1:");
}

/// Clients such as httplib2 and .NET's with its credentials: they say who they are when they are
/// asked, and send the body before they look whether they are.
#[test]
fn who_is_asked_for_its_name_goes_on_over_the_same_connection() {
    let api = Api::start();
    let mut socket = TcpStream::connect(api.broker.http).expect("the broker is ready");
    let head =
        |more: &str| format!("PUT /api/vhosts/v HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n{more}\r\n");
    socket.write_all(head("").as_bytes()).expect("it is open");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("it is a timeout");
    let early = socket.read(&mut [0]).expect_err("the body is waited for");
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    let known = format!("Authorization: {}\r\nConnection: close\r\n", login("guest", "guest"));
    socket.write_all(format!("{{}}{}{{}}", head(&known)).as_bytes()).expect("it is open");
    socket.set_read_timeout(Some(PATIENCE)).expect("a minute is a timeout");
    let mut answers = String::new();
    socket.read_to_string(&mut answers).expect("the answers are text");
    assert!(answers.starts_with("HTTP/1.1 401 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 201 "), "{answers}");
}

#[test]
fn a_tag_says_which_kinds_of_things_one_may_do() {
    let api = Api::start();
    for (name, tags) in
        [("none", ""), ("own", "management"), ("sees", "monitoring"), ("makes", "policymaker")]
    {
        api.add_user(name, tags);
    }
    let refused = api.ask_as("none", ("GET", "/api/whoami"), None);
    assert_eq!(json(&refused), json!({"error": "not_authorised", "reason": "Not management user"}));
    check(
        &api,
        "own",
        &[
            ("GET", "/api/whoami", None, 200),
            ("GET", "/api/overview", None, 200),
            ("GET", "/api/nodes", None, 401),
            ("GET", "/api/users", None, 401),
            ("GET", "/api/user-limits", None, 401),
            ("GET", "/api/permissions", None, 401),
            ("GET", "/api/definitions", None, 401),
            ("GET", "/api/parameters", None, 401),
            ("PUT", "/api/vhosts/v", Some("{}"), 401),
            ("DELETE", "/api/users/sees", None, 401),
            ("POST", "/api/rebalance/queues", None, 401),
        ],
    );
    check(&api, "sees", &[("GET", "/api/nodes", None, 200), ("GET", "/api/users", None, 401)]);
    check(&api, "makes", &[("GET", "/api/parameters", None, 200), ("GET", "/api/nodes", None, 401)]);
    let overview = |user| json(&api.ask_as(user, ("GET", "/api/overview"), None));
    assert_eq!(overview("own")["message_stats"], json!({}), "the broker's is not shown to everybody");
    let message = r#"{"properties":{},"routing_key":"q","payload":"x","payload_encoding":"string"}"#;
    api.check("POST", "/api/exchanges/%2F/amq.default/publish", Some(message), 200);
    assert_eq!(overview("sees")["message_stats"]["publish"], 1);
    assert_eq!(overview("own")["message_stats"], json!({}), "nor when there is something to show");
}

#[test]
fn a_vhost_is_there_only_for_those_who_may_enter_it() {
    let api = Api::start();
    api.add_user("own", "management");
    api.add_user("makes", "policymaker");
    api.check("PUT", "/api/vhosts/v", Some("{}"), 201);
    api.check("PUT", "/api/queues/v/q", Some("{}"), 201);
    let nothing = json!({"error": "not_found", "reason": "Not Found"});
    assert_eq!(json(&api.ask_as("own", ("GET", "/api/queues/v"), None)), nothing);
    let policy = Some(r#"{"pattern":"q","definition":{"max-length":1}}"#);
    check(&api, "makes", &[("PUT", "/api/policies/v/p", policy, 404)]);
    assert_eq!(json(&api.ask_as("own", ("GET", "/api/queues"), None)), json!([]));
    let permission = Some(r#"{"configure":"^own","write":"^own","read":"^own"}"#);
    api.check("PUT", "/api/permissions/v/own", permission, 201);
    api.check("PUT", "/api/permissions/v/makes", permission, 201);
    let names = json(&api.ask_as("own", ("GET", "/api/queues?columns=name,vhost"), None));
    assert_eq!(names, json!([{"name": "q", "vhost": "v"}]));
    let publish = Some(r#"{"properties":{},"routing_key":"own","payload":"x","payload_encoding":"string"}"#);
    let get = Some(r#"{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#);
    check(
        &api,
        "own",
        &[
            ("PUT", "/api/queues/v/own", Some("{}"), 201),
            ("PUT", "/api/queues/v/other", Some("{}"), 401),
            ("DELETE", "/api/queues/v/q", None, 401),
            ("DELETE", "/api/queues/v/q/contents", None, 401),
            ("POST", "/api/queues/v/q/get", get, 401),
            ("POST", "/api/queues/v/own/get", get, 200),
            ("POST", "/api/exchanges/v/amq.topic/publish", publish, 401),
            ("PUT", "/api/exchanges/v/own", Some(r#"{"type":"fanout"}"#), 201),
            ("POST", "/api/bindings/v/e/own/q/own", Some("{}"), 201),
            ("POST", "/api/bindings/v/e/amq.topic/q/own", Some("{}"), 401),
            ("POST", "/api/exchanges/v/own/publish", publish, 200),
            ("PUT", "/api/policies/v/p", policy, 401),
            ("DELETE", "/api/exchanges/v/own", None, 204),
        ],
    );
    check(
        &api,
        "makes",
        &[("PUT", "/api/policies/v/p", policy, 201), ("DELETE", "/api/policies/v/p", None, 204)],
    );
}

#[test]
fn only_pages_of_named_origins_are_let_read() {
    let folder = Folder::new();
    let config =
        folder.write("leveret.toml", "[management]\ncors_allow_origins = ['https://tools.example']\n");
    let api = Api::of(Process::spawn(leveret_in(&folder).arg("--config").arg(config)), folder);
    let allowed = |method: &str, origin: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Headers", "authorization")];
        let answer = api.ask_with((method, "/api/queues"), &headers, None);
        ["origin", "methods", "headers"]
            .map(|of| answer.header(&format!("access-control-allow-{of}")).map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    let methods = some("HEAD, GET, PUT, DELETE, POST, OPTIONS");
    let preflight = [some("https://tools.example"), methods, some("authorization")];
    assert_eq!(allowed("OPTIONS", "https://tools.example"), preflight);
    assert_eq!(allowed("GET", "https://tools.example"), [some("https://tools.example"), None, None]);
    assert_eq!(allowed("OPTIONS", "https://other.example"), [None, None, None]);
}
