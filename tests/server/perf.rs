//! `leveret perf` against a running broker.

use super::ctl::{TestBroker, run};
use crate::support::process::leveret;
use conformance::api::http::ask;

/// guest, as a header of HTTP.
const GUEST: (&str, &str) = ("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=");

fn perf(fixture: &TestBroker, args: &[&str]) -> (i32, String, String) {
    let uri = format!("amqp://guest:guest@{}/%2f", fixture.broker.amqp);
    run(leveret().args(["perf", "--uri", &uri, "--json", "--keep"]).args(args))
}

#[test]
fn what_a_queue_refuses_its_consumers_is_told_before_anything_is_published() {
    let fixture = TestBroker::new();
    let stream = br#"{"durable":true,"arguments":{"x-queue-type":"stream"}}"#;
    let made = ask(fixture.broker.http, ("PUT", "/api/queues/%2F/s"), &[GUEST], Some(stream));
    assert_eq!(made.expect("the broker answers").status, 201);
    let on_stream = |flags: &[&str]| {
        let (status, printed, told) =
            perf(&fixture, &[&["--queue", "s", "--messages", "10"], flags].concat());
        assert!(status != 0 && printed.is_empty(), "{flags:?}: {printed}");
        assert!(told.contains("stream") && told.lines().count() == 1, "{flags:?}: {told}");
    };
    on_stream(&[]);
    on_stream(&["--ack", "1"]);
    on_stream(&["--get"]);
    let listed = run(leveret().args(["ctl", "-s", "--data-dir"]).arg(fixture.folder.at("data")).args([
        "list_queues",
        "name",
        "messages",
    ]));
    assert!(listed.1.contains("s\t0\n"), "{listed:?}");
}

#[test]
fn what_comes_before_the_run_begins_counts() {
    let fixture = TestBroker::new();
    for (flags, count) in [
        (&["--consumers", "0"][..], "\"published\":100,"),
        (&["--producers", "0", "--get"], "\"consumed\":100,"),
    ] {
        let (status, printed, told) =
            perf(&fixture, &[&["--queue", "empty", "--messages", "100"], flags].concat());
        assert_eq!((status, told.as_str()), (0, ""), "{flags:?}: {printed}");
        assert!(printed.contains(count), "{flags:?}: {printed}");
    }
}
