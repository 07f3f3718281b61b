//! `leveret perf` against a running broker.

use super::ctl::{TestBroker, run};
use super::http::metric;
use crate::support::process::{Folder, Process, leveret, leveret_in};
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
    let uri = format!("amqp://guest:guest@{}/%2f", fixture.broker.amqp);
    let quietly = run(leveret().args(["perf", "--uri", &uri, "--messages", "1"]));
    assert_eq!((quietly.0, quietly.2.as_str()), (0, ""));
    for (flags, count) in [
        (&["--consumers", "0"][..], "\"published\":100,"),
        (&["--producers", "0", "--get"], "\"consumed\":100,"),
    ] {
        let (status, printed, told) =
            perf(&fixture, &[&["--queue", "empty", "--messages", "100"], flags].concat());
        assert_eq!((status, told.as_str()), (0, ""), "{flags:?}: {printed}");
        assert!(printed.contains(count), "{flags:?}: {printed}");
    }
    let (_status, log) = fixture.broker.stop();
    assert!(!log.contains("no queue 'leveret-perf'") && !log.contains("no queue 'empty'"), "{log}");
}

#[test]
fn a_queue_that_the_broker_refuses_ends_the_run_before_anything_is_published() {
    let fixture = TestBroker::new();
    let limit = ["ctl", "set_vhost_limits", r#"{"max-queues":0}"#, "--data-dir"];
    assert_eq!(run(leveret().args(limit).arg(fixture.folder.at("data"))).0, 0);
    let (status, printed, told) = perf(&fixture, &["--consumers", "0", "--messages", "10"]);
    assert!(status != 0 && printed.is_empty(), "{printed}");
    assert!(told.contains("406") && told.contains("limit") && told.lines().count() == 1, "{told}");
    // One that exists is used as it is.
    let (status, printed, told) =
        perf(&fixture, &["--queue", "empty", "--consumers", "0", "--messages", "10"]);
    assert_eq!((status, told.as_str()), (0, ""), "{printed}");
}

#[test]
fn a_port_that_speaks_something_else_is_told() {
    let fixture = TestBroker::new();
    let uri = format!("amqp://guest:guest@{}", fixture.broker.http);
    let (status, printed, told) = run(leveret().args(["perf", "--uri", &uri]));
    assert!(status != 0 && printed.is_empty(), "{printed}");
    assert!(told.contains("the port speaks HTTP, not AMQP"), "{told}");
}

#[test]
fn a_run_whose_publishers_are_blocked_says_so_and_fails() {
    let folder = Folder::new();
    let broker = Process::spawn(leveret_in(&folder).args(["--disk-free-limit", "16777215TiB"]));
    while metric(broker.http, "rabbitmq_alarms_free_disk_space_watermark") == 0 {
        std::thread::yield_now();
    }
    let uri = format!("amqp://guest:guest@{}/%2f", broker.amqp);
    for flags in [&["--time", "1"][..], &["--messages", "9", "--confirm", "1"]] {
        let (status, printed, told) = run(leveret().args(["perf", "--uri", &uri]).args(flags));
        assert!(status != 0 && printed.is_empty(), "{flags:?}: {printed}");
        assert!(told.contains("blocking publishers: low on disk"), "{flags:?}: {told}");
    }
}
