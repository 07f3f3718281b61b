//! The metrics page of a process that did all that is counted: every series moves, so that none is
//! shown that nobody counts.

use super::dialogue::{Client, connect};
use super::http::{ask, exchange};
use crate::support::process::{Folder, PATIENCE, Process, leveret_in};
use leveret::clock;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Series that stay what they are, or move only when the machine has little of something.
const STILL: &[&str] = &[
    "rabbitmq_build_info",
    "rabbitmq_identity_info",
    // tests/server/alarms.rs moves these.
    "rabbitmq_alarms_memory_used_watermark",
    "rabbitmq_alarms_free_disk_space_watermark",
    // What the operator or the system allows.
    "rabbitmq_resident_memory_limit_bytes",
    "rabbitmq_disk_space_available_limit_bytes",
    "rabbitmq_process_max_fds",
    "rabbitmq_process_max_tcp_sockets",
    // What the store's cache has is not read; src/store/redb/counted.rs counts a read.
    "rabbitmq_io_read_ops_total",
    "rabbitmq_io_read_bytes_total",
    "rabbitmq_io_read_time_seconds_total",
    // Messages are on disk alone when memory is short.
    "rabbitmq_queue_messages_paged_out",
    "rabbitmq_queue_messages_paged_out_bytes",
    // tests/server/damage.rs moves it.
    "leveret_messages_damaged_total",
    // Whole blocks, and pages: a small test may leave them as they were.
    "rabbitmq_disk_space_available_bytes",
    "rabbitmq_process_resident_memory_bytes",
];

/// What one says, and how each answer begins. The consumer on `dead` is told of each message that
/// dies.
const STEPS: &[(&[&str], &[&str])] = &[
    (&["1 queue.declare dead"], &["1 queue.declare-ok"]),
    (&["1 basic.consume dead t no-ack"], &["1 basic.consume-ok"]),
    (
        &[
            "1 queue.declare work x-dead-letter-exchange= x-dead-letter-routing-key=dead x-max-length=1 x-delivery-limit=0",
        ],
        &["1 queue.declare-ok"],
    ),
    // maxlen
    (&["1 basic.publish '' work a", "1 basic.publish '' work b"], &["1 basic.deliver"]),
    // rejected
    (&["1 basic.get work"], &["1 basic.get-ok"]),
    (&["1 basic.reject 2"], &["1 basic.deliver"]),
    // delivery_limit
    (&["1 basic.publish '' work c", "1 basic.get work"], &["1 basic.get-ok"]),
    (&["1 basic.reject 4 requeue"], &["1 basic.deliver"]),
    // expired
    (&["1 basic.publish '' work d expiration=1"], &["1 basic.deliver"]),
    // The limit without a dead-letter exchange, and a redelivery on the way.
    (&["1 queue.declare plain x-delivery-limit=1"], &["1 queue.declare-ok"]),
    (&["1 basic.publish '' plain e", "1 basic.get plain"], &["1 basic.get-ok"]),
    (&["1 basic.reject 7 requeue", "1 basic.get plain"], &["1 basic.get-ok"]),
    (&["1 basic.reject 8 requeue", "1 basic.get plain"], &["1 basic.get-empty"]),
    (&["1 basic.publish '' plain f", "1 basic.get plain no-ack"], &["1 basic.get-ok"]),
    // Not yet.
    (&["1 exchange.declare later x-delayed-message x-delayed-type=direct"], &["1 exchange.declare-ok"]),
    (&["1 basic.publish later k i x-delay=1000000"], &[]),
    // Nowhere to go.
    (&["1 basic.publish '' nowhere g", "1 basic.publish '' nowhere h mandatory"], &["1 basic.return"]),
    // Twice the same.
    (&["1 queue.declare once x-message-deduplication=true"], &["1 queue.declare-ok"]),
    (
        &[
            "1 basic.publish '' once i x-deduplication-header=1",
            "1 basic.publish '' once j x-deduplication-header=1",
        ],
        &[],
    ),
    (&["1 queue.delete once"], &["1 queue.delete-ok"]),
    (&["2 channel.open"], &["2 channel.open-ok"]),
    (&["2 channel.close"], &["2 channel.close-ok"]),
    // One that stays unacknowledged, one that stays ready, and one that is acknowledged.
    (&["1 confirm.select"], &["1 confirm.select-ok"]),
    (&["1 basic.publish '' plain k"], &["1 basic.ack"]),
    (&["1 basic.publish '' plain l"], &["1 basic.ack"]),
    (&["1 basic.qos 1"], &["1 basic.qos-ok"]),
    (&["1 basic.consume plain u"], &["1 basic.consume-ok", "1 basic.deliver"]),
    (&["1 basic.ack 10"], &["1 basic.deliver"]),
    (&["1 basic.publish '' work m"], &["1 basic.ack"]),
    // The limit where RabbitMQ's way was asked for: dropped.
    (
        &["1 queue.declare dropping x-delivery-limit=0 x-dead-letter-strategy=at-most-once"],
        &["1 queue.declare-ok"],
    ),
    (&["1 basic.publish '' dropping n"], &["1 basic.ack"]),
    (&["1 basic.get dropping"], &["1 basic.get-ok"]),
    (&["1 basic.reject 12 requeue", "1 basic.get dropping"], &["1 basic.get-empty"]),
    // The same of a dead letter whose exchange is missing.
    (
        &["1 queue.declare astray x-dead-letter-exchange=missing x-dead-letter-strategy=at-most-once"],
        &["1 queue.declare-ok"],
    ),
    (&["1 basic.publish '' astray o"], &["1 basic.ack"]),
    (&["1 basic.get astray"], &["1 basic.get-ok"]),
    (&["1 basic.reject 13", "1 basic.get astray"], &["1 basic.get-empty"]),
    // One is parked, and that is all that may be.
    (&["1 queue.declare full x-delivery-limit=0"], &["1 queue.declare-ok"]),
    (&["1 basic.publish '' full p"], &["1 basic.ack"]),
    (&["1 basic.publish '' full q"], &["1 basic.ack"]),
    (&["1 basic.get full"], &["1 basic.get-ok"]),
    (&["1 basic.reject 14 requeue", "1 basic.get full"], &["1 basic.get-ok"]),
    (&["1 basic.reject 15 requeue", "1 basic.get full"], &["1 basic.get-empty"]),
    // Nobody wants what dies in these.
    (&["1 queue.declare short x-max-length=1"], &["1 queue.declare-ok"]),
    (&["1 basic.publish '' short s"], &["1 basic.ack"]),
    (&["1 basic.publish '' short t"], &["1 basic.ack"]),
    (&["1 basic.get short"], &["1 basic.get-ok"]),
    (&["1 basic.reject 16", "1 basic.get short"], &["1 basic.get-empty"]),
    (&["1 queue.declare brief x-message-ttl=1"], &["1 queue.declare-ok"]),
    (&["1 basic.publish '' brief u"], &["1 basic.ack"]),
    // Not acknowledged in time.
    (&["3 channel.open"], &["3 channel.open-ok"]),
    (&["3 queue.declare slow x-consumer-timeout=1"], &["3 queue.declare-ok"]),
    (&["3 basic.publish '' slow r", "3 basic.get slow"], &["3 basic.get-ok", "3 channel.close 406"]),
    (&["3 channel.close-ok"], &[]),
];

/// Every series of the page.
fn series(address: SocketAddr) -> BTreeMap<String, String> {
    let (_head, page) = ask(address, "GET", "/metrics");
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let split = |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
    samples.map(|line| split(line).expect("a sample has a value")).collect()
}

#[test]
fn every_series_moves() {
    let folder = Folder::new();
    let config = folder.write("leveret.toml", "[limits]\nhandshakes_per_address_max = 2\nparked_max = 1\n");
    let broker = Process::spawn(leveret_in(&folder).arg("--config").arg(config));
    let before = series(broker.http);
    let mut client = Client::over(connect(broker.amqp));
    client.log_in("PLAIN guest guest");
    let mut stranger = Client::over(connect(broker.amqp));
    stranger.greet();
    stranger.say(&["0 connection.start-ok PLAIN guest wrong authentication_failure_close"]);
    assert!(stranger.hear().starts_with("0 connection.close 403"));
    stranger.say(&["0 connection.close-ok"]);
    for (said, answers) in STEPS {
        client.say(said);
        for answer in *answers {
            let heard = client.hear();
            assert!(heard.starts_with(answer), "{said:?} is answered by {heard}, not {answer}");
        }
    }
    for login in ["Z3Vlc3Q6Z3Vlc3Q=", "Z3Vlc3Q6d3Jvbmc="] {
        let asked = format!("GET /api/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\n");
        exchange(broker.http, &format!("{asked}Connection: close\r\n\r\n"));
    }
    // Two may be silent; the third is turned away, and one that leaves is closed.
    let _silent = [connect(broker.amqp), connect(broker.amqp)];
    let _refused = connect(broker.amqp);
    let until_ms = clock::mono_ms() + u64::try_from(PATIENCE.as_millis()).expect("a minute is short");
    loop {
        // Waits for as long as the page is made: each other message may have been taken within the
        // millisecond in which it came.
        client.say(&["1 basic.publish '' plain v"]);
        assert!(client.hear().starts_with("1 basic.ack"));
        let after = series(broker.http);
        client.say(&["1 basic.get plain no-ack"]);
        assert!(client.hear().starts_with("1 basic.get-ok"));
        let moved = |name: &str| after.get(name) != before.get(name);
        let still: Vec<_> = after.keys().filter(|name| !moved(name)).collect();
        let is_known = |name: &str| STILL.iter().any(|known| name.split('{').next() == Some(known));
        let stuck: Vec<_> = still.into_iter().filter(|name| !is_known(name)).collect();
        if stuck.is_empty() {
            break;
        }
        assert!(clock::mono_ms() < until_ms, "nothing moves these: {stuck:#?}");
        // One that has gone, for who is counted when it ends.
        drop(connect(broker.amqp));
    }
}
