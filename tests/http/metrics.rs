//! The pages of metrics: everything that dashboards ask for is there, and moves.

use super::client::Api;
use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::FieldTable;
use conformance::client::{Client, method};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What RabbitMQ's dashboards ask for, a name a line, in sections by the file that they are from.
const DASHBOARDS: &str = include_str!("dashboards.txt");

const OWN_DASHBOARD: &str = include_str!("../../deploy/grafana.json");

/// The sums of all samples of each metric.
fn metrics(api: &Api, path: &str) -> BTreeMap<String, f64> {
    let answer = api.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
    assert_eq!(answer.status, 200, "{path}");
    let mut all = BTreeMap::new();
    for line in answer.text().lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        let name = series.split('{').next().unwrap_or_default();
        *all.entry(name.to_owned()).or_insert(0.0) += value.parse::<f64>().expect("it is a number");
    }
    all
}

/// Whether each of these is larger after `act` than before, on each of the two pages that has it.
#[track_caller]
fn check_moves(api: &Api, names: &str, act: impl FnOnce()) {
    let pages = ["/metrics", "/metrics/per-object"];
    let before = pages.map(|path| metrics(api, path));
    act();
    let after = pages.map(|path| metrics(api, path));
    for name in names.split_whitespace() {
        let mut moved = 0;
        for (before, after) in before.iter().zip(&after) {
            if let Some(value) = after.get(name) {
                assert!(*value > before.get(name).copied().unwrap_or(0.0), "{name} stays at {value}");
                moved += 1;
            }
        }
        assert!(moved > 0, "there is no {name}");
    }
}

fn no_ack(mut asked: AMQPClass) -> AMQPClass {
    if let AMQPClass::Basic(basic::AMQPMethod::Consume(consume)) = &mut asked {
        consume.no_ack = true;
    }
    asked
}

/// A broker, and a client of it.
fn connected() -> (Api, Client) {
    let api = Api::start();
    let client = Client::connect(&api.broker.amqp.to_string()).expect("the broker lets clients in");
    (api, client)
}

/// What was sent before has been taken.
fn sync(client: &mut Client) {
    client.call(method::look_for_queue("q")).expect("the broker answers");
}

fn publish(client: &mut Client, queue: &str) {
    client.publish("", queue, b"0123456789").expect("it is sent");
    sync(client);
}

fn fetch(client: &mut Client) {
    client.ask(method::get("q")).expect("the broker answers");
}

fn declare(client: &mut Client, queue: &str) {
    client.call(method::declare_queue(queue, FieldTable::default())).expect("the broker answers");
}

#[test]
fn metrics_move_as_clients_publish() {
    let (api, mut client) = connected();
    let declared = "rabbitmq_queues rabbitmq_queues_declared_total rabbitmq_queues_created_total";
    check_moves(&api, declared, || declare(&mut client, "q"));
    let stored = "rabbitmq_io_write_ops_total rabbitmq_io_write_bytes_total rabbitmq_io_write_time_seconds_total \
                  rabbitmq_io_sync_ops_total rabbitmq_io_sync_time_seconds_total";
    check_moves(&api, stored, || {
        api.check("PUT", "/api/queues/%2F/kept", Some(r#"{"durable":true}"#), 201);
    });
    let published = "rabbitmq_global_messages_received_total rabbitmq_global_messages_routed_total \
                     rabbitmq_global_publishers rabbitmq_message_size_bytes_bucket rabbitmq_message_size_bytes_count \
                     rabbitmq_message_size_bytes_sum rabbitmq_queue_messages rabbitmq_queue_messages_ready \
                     rabbitmq_queue_messages_bytes rabbitmq_queue_messages_ready_bytes rabbitmq_queue_messages_ram \
                     rabbitmq_queue_messages_ram_bytes rabbitmq_queue_process_memory_bytes \
                     rabbitmq_queue_messages_published_total rabbitmq_channel_messages_published_total \
                     rabbitmq_exchange_messages_published_total leveret_exchange_messages_routed_total";
    check_moves(&api, published, || publish(&mut client, "q"));
    client.call(method::select_confirms()).expect("the broker answers");
    let confirmed = "rabbitmq_global_messages_received_confirm_total rabbitmq_global_messages_confirmed_total \
                     rabbitmq_channel_messages_confirmed_total";
    check_moves(&api, confirmed, || {
        publish(&mut client, "q");
        client.poll(Duration::from_secs(60)).expect("the broker answers").expect("it confirms");
    });
    let dropped = "rabbitmq_global_messages_unroutable_dropped_total \
                   rabbitmq_channel_messages_unroutable_dropped_total";
    check_moves(&api, dropped, || publish(&mut client, "nowhere"));
    check_moves(&api, "rabbitmq_global_messages_unroutable_returned_total", || {
        let body = r#"{"properties":{},"routing_key":"nowhere","payload":"x","payload_encoding":"string"}"#;
        api.check("POST", "/api/exchanges/%2F/amq.default/publish", Some(body), 200);
    });
}

#[test]
fn metrics_move_as_clients_are_delivered_to() {
    let (api, mut client) = connected();
    declare(&mut client, "q");
    publish(&mut client, "q");
    publish(&mut client, "q");
    let fetched = "rabbitmq_global_messages_delivered_get_manual_ack_total rabbitmq_global_messages_delivered_total \
                   rabbitmq_queue_messages_unacked rabbitmq_queue_messages_unacked_bytes rabbitmq_queue_get_ack_total \
                   rabbitmq_channel_get_ack_total rabbitmq_channel_messages_unacked";
    check_moves(&api, fetched, || fetch(&mut client));
    let redelivered = "rabbitmq_global_messages_redelivered_total rabbitmq_queue_messages_redelivered_total \
                       rabbitmq_channel_messages_redelivered_total";
    check_moves(&api, redelivered, || {
        client.cast([method::nack(1, true)]).expect("it is sent");
        fetch(&mut client);
    });
    let acknowledged = "rabbitmq_global_messages_acknowledged_total rabbitmq_queue_messages_acked_total \
                        rabbitmq_channel_messages_acked_total leveret_queue_message_wait_seconds_total \
                        leveret_queue_messages_waited_total";
    // It has been there for a while, by a clock of milliseconds.
    while api.check("GET", "/api/queues/%2F/q", None, 200)["oldest_message_age_ms"] == 0 {}
    check_moves(&api, acknowledged, || {
        client.cast([method::ack(2, false)]).expect("it is sent");
        sync(&mut client);
    });
    let one = r#"{"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}"#;
    check_moves(
        &api,
        "rabbitmq_global_messages_delivered_get_auto_ack_total rabbitmq_queue_get_total",
        || {
            api.check("POST", "/api/queues/%2F/q/get", Some(one), 200);
        },
    );
    let nothing = "rabbitmq_global_messages_get_empty_total rabbitmq_queue_get_empty_total \
                   rabbitmq_channel_get_empty_total";
    check_moves(&api, nothing, || fetch(&mut client));
    let consumed = "rabbitmq_consumers rabbitmq_global_consumers rabbitmq_queue_consumers rabbitmq_channel_consumers \
                    rabbitmq_global_messages_delivered_consume_manual_ack_total \
                    rabbitmq_queue_messages_delivered_ack_total rabbitmq_channel_messages_delivered_ack_total";
    check_moves(&api, consumed, || {
        client.call(method::consume("q")).expect("the broker answers");
        publish(&mut client, "q");
        sync(&mut client);
    });
    declare(&mut client, "other");
    let unheard = "rabbitmq_global_messages_delivered_consume_auto_ack_total \
                   rabbitmq_queue_messages_delivered_total rabbitmq_channel_messages_delivered_total";
    check_moves(&api, unheard, || {
        client.call(no_ack(method::consume("other"))).expect("the broker answers");
        publish(&mut client, "other");
        sync(&mut client);
    });
}

#[test]
fn metrics_move_as_clients_do_not_acknowledge_in_time() {
    let (api, mut client) = connected();
    declare(&mut client, "q");
    let slow = r#"{"durable":true,"arguments":{"x-consumer-timeout":1}}"#;
    api.check("PUT", "/api/queues/%2F/slow", Some(slow), 201);
    publish(&mut client, "slow");
    let path = "/metrics/detailed?family=leveret_queue_metrics";
    let of_queue = "leveret_queue_deliveries_timed_out_total";
    assert_eq!(metrics(&api, path).get(of_queue), Some(&0.0));
    check_moves(&api, "leveret_deliveries_timed_out_total leveret_queue_deliveries_timed_out_total", || {
        client.ask(method::get("slow")).expect("the broker answers");
        while metrics(&api, "/metrics")["leveret_deliveries_timed_out_total"] < 1.0 {}
    });
    assert_eq!(metrics(&api, path).get(of_queue), Some(&1.0));
}

#[test]
fn metrics_move_as_clients_come_and_go() {
    let api = Api::start();
    let (address, mut connected) = (api.broker.amqp.to_string(), None);
    let opened = "rabbitmq_connections rabbitmq_connections_opened_total rabbitmq_channels \
                  rabbitmq_channels_opened_total rabbitmq_connection_channels \
                  rabbitmq_connection_incoming_bytes_total rabbitmq_connection_outgoing_bytes_total";
    check_moves(&api, opened, || connected = Client::connect(&address).ok());
    let mut client = connected.expect("the broker lets clients in");
    declare(&mut client, "q");
    check_moves(&api, "rabbitmq_queues_deleted_total", || {
        client.call(method::delete_queue("q")).expect("the broker answers");
    });
    check_moves(&api, "rabbitmq_connections_closed_total rabbitmq_channels_closed_total", || {
        client.close().expect("the broker answers");
        drop(client);
        while metrics(&api, "/metrics")["rabbitmq_connections"] > 0.0 {}
    });
    check_moves(&api, "rabbitmq_auth_attempts_total rabbitmq_auth_attempts_succeeded_total", || {
        api.check("GET", "/api/whoami", None, 200);
    });
}

/// The names of metrics in an expression.
fn names_in(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| {
        let is_label =
            ["rabbitmq_cluster", "rabbitmq_node", "rabbitmq_endpoint", "rabbitmq_version"].contains(word);
        (word.starts_with("rabbitmq_") || word.starts_with("leveret_")) && !is_label
    })
}

fn expressions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::String(text) if name == "expr" || name == "query" || name == "definition" => {
                        found.push(text);
                    }
                    value => expressions(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn no_dashboard_asks_for_what_is_not_there() {
    let api = Api::start();
    api.check("PUT", "/api/queues/%2F/q", Some("{}"), 201);
    let (all, each) = (metrics(&api, "/metrics"), metrics(&api, "/metrics/per-object"));
    let wanted = DASHBOARDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let missing: Vec<&str> = wanted.filter(|name| !all.contains_key(*name)).collect();
    assert_eq!(missing, [""; 0], "RabbitMQ's dashboards");
    let dashboard: Value = serde_json::from_str(OWN_DASHBOARD).expect("it is JSON");
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let names: BTreeSet<&str> = found.iter().flat_map(|expression| names_in(expression)).collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<_> =
        names.into_iter().filter(|name| !all.contains_key(*name) && !each.contains_key(*name)).collect();
    assert_eq!(missing, [""; 0], "our own dashboard");
}

#[test]
fn families_are_told_of_the_vhosts_that_are_asked_for() {
    let api = Api::start();
    api.check("PUT", "/api/vhosts/other", Some("{}"), 201);
    api.check("PUT", "/api/queues/%2F/a%22b%5Cc", Some("{}"), 201);
    api.check("PUT", "/api/queues/other/o", Some("{}"), 201);
    let page = |query: &str| {
        let request =
            format!("GET /metrics/detailed{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        api.send(request.as_bytes()).text()
    };
    let both = page("?family=queue_coarse_metrics&family=queue_consumer_count");
    let line = r#"rabbitmq_detailed_queue_messages_ready{vhost="/",queue="a\"b\\c"} 0"#;
    assert!(both.lines().any(|have| have == line), "{both}");
    assert!(both.contains(r#"rabbitmq_detailed_queue_consumers{vhost="other",queue="o"} 0"#), "{both}");
    assert!(both.contains("rabbitmq_identity_info{") && both.contains(r#"rabbitmq_endpoint="detailed""#));
    assert!(!both.contains("queue_messages_ram"), "that is another family");
    let one = page("?family=queue_coarse_metrics&vhost=other&family=vhost_status");
    assert!(one.contains(r#"queue="o""#) && !one.contains(r#"vhost="/""#), "{one}");
    assert!(one.contains(r#"rabbitmq_cluster_vhost_status{vhost="other"} 1"#), "{one}");
    assert!(!page("").contains("rabbitmq_detailed_"), "what is not asked for is not told");
    for path in ["/metrics", "/metrics/per-object", "/metrics/detailed?family=queue_metrics"] {
        let answer =
            api.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        let text = answer.text();
        let mut announced = BTreeSet::new();
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            assert!(announced.insert(line), "{path}: {line} comes twice");
        }
    }
    for path in ["/livez", "/readyz", "/healthz"] {
        let answer =
            api.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        assert_eq!((answer.status, &*answer.text()), (200, "ok"), "{path}");
    }
}
