//! The metrics page: Prometheus text, with RabbitMQ's names and labels so that its dashboards work.
//!
//! One line of the table per metric; RabbitMQ: prometheus_rabbitmq_global_metrics_collector and
//! prometheus_rabbitmq_core_metrics_collector. What RabbitMQ splits by queue type has one type
//! here, and what it has not begins with `leveret`.

use super::exposition::label;
use crate::broker::attempts::{Attempts, LoginBy};
use crate::broker::{Alarms, Gauges, Shortage};
use crate::cluster_status::{ClusterStatus, NodeStatus};
use crate::metrics::{IoCounters, Metrics, SIZE_BOUNDS, Sizes};
use std::fmt::{Display, Write};

const PROTOCOL: &str = "{protocol=\"amqp091\"}";
const QUEUE: &str = "{protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"}";
const DEAD_LETTER: &str = "{queue_type=\"rabbit_classic_queue\",dead_letter_strategy=\"at_least_once\"}";
const NO_DEAD_LETTER: &str = "{queue_type=\"rabbit_classic_queue\",dead_letter_strategy=\"disabled\"}";

/// The page of the broker as a whole.
pub(super) const AGGREGATED: &str = "aggregated";

/// How the process, the store and the machine fare: a plain record, made for each page.
pub(super) struct Node<'a> {
    /// Its name, and that of its cluster.
    pub(super) names: Names<'a>,
    /// Which page it is: [`AGGREGATED`] or `per-object`.
    pub(super) endpoint: &'a str,
    /// Seconds since it was started.
    pub(super) up_s: u64,
    /// What is watched.
    pub(super) alarms: &'a Alarms,
    /// What came of it.
    pub(super) shortage: Shortage,
    /// Memory of this process that is in RAM.
    pub(super) resident_bytes: Option<u64>,
    /// How many files this process has open, and may have.
    pub(super) descriptors: (Option<u64>, Option<u64>),
    /// Connections there may be.
    pub(super) connections_max: u32,
    /// Logins that failed, and that succeeded.
    pub(super) attempts: &'a Attempts,
    /// Bytes that samples of statistics take.
    pub(super) sample_bytes: usize,
    /// What was done to the data file.
    pub(super) io: Option<&'a IoCounters>,
}

/// What a broker is called: by these, dashboards choose it.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    /// The node's name.
    pub(super) node: &'a str,
    /// The cluster's.
    pub(super) cluster: &'a str,
}

/// The page.
pub(super) fn exposition(metrics: &Metrics, gauges: &Gauges, node: &Node<'_>) -> String {
    let mut page = Page(String::with_capacity(8 * 1024));
    page.who(node.names, node.endpoint);
    page.messages(metrics);
    page.sizes(&metrics.sizes);
    page.dead_letters(metrics);
    page.churn(metrics);
    page.gauges(gauges);
    if node.endpoint == AGGREGATED {
        page.queues(gauges);
    }
    page.node(node);
    node.io.into_iter().for_each(|io| page.io(io));
    page.0
}

/// Who tells: the series by which others are joined.
pub(super) fn identity(names: Names<'_>, endpoint: &str, text: &mut String) {
    let mut page = Page(std::mem::take(text));
    page.who(names, endpoint);
    *text = page.0;
}

/// How the nodes of a cluster stand.
pub(super) fn of_cluster(status: &ClusterStatus) -> String {
    let mut page = Page(String::new());
    let leads = status.leader.as_ref() == Some(&status.node);
    page.gauge("leveret_cluster_leads", "Whether this node leads its cluster", "", u64::from(leads));
    let labels = |node: &NodeStatus| {
        let mut labels = String::new();
        label(&mut labels, "node", &node.name);
        label(&mut labels, "role", node.role.name());
        format!("{{{labels}}}")
    };
    page.head("leveret_cluster_node_running", "Whether the leader hears of a node", "gauge");
    for (node, running) in status.nodes.iter().filter_map(|node| Some((node, node.running?))) {
        page.sample("leveret_cluster_node_running", &labels(node), u64::from(running));
    }
    page.head("leveret_cluster_node_lag", "Entries of the leader's log that a node does not have", "gauge");
    for (node, lag) in status.nodes.iter().filter_map(|node| Some((node, node.lag?))) {
        page.sample("leveret_cluster_node_lag", &labels(node), lag);
    }
    page.0
}

struct Page(String);

impl Page {
    /// The series by whose labels RabbitMQ's dashboards choose a cluster and name its nodes. This
    /// broker is a cluster of one.
    fn who(&mut self, names: Names<'_>, endpoint: &str) {
        let version = env!("CARGO_PKG_VERSION");
        let mut labels = String::new();
        for (name, value) in [
            ("rabbitmq_version", version),
            ("prometheus_plugin_version", version),
            ("prometheus_client_version", version),
            ("erlang_version", "none"),
            ("product_name", "Leveret"),
            ("product_version", version),
        ] {
            label(&mut labels, name, value);
        }
        self.gauge("rabbitmq_build_info", "Version of this broker", &format!("{{{labels}}}"), 1);
        let mut labels = String::new();
        for (name, value) in [
            ("rabbitmq_node", names.node),
            ("rabbitmq_cluster", names.cluster),
            ("rabbitmq_cluster_permanent_id", names.node),
            ("rabbitmq_endpoint", endpoint),
        ] {
            label(&mut labels, name, value);
        }
        self.gauge("rabbitmq_identity_info", "Name of this broker", &format!("{{{labels}}}"), 1);
    }

    /// How large published messages were, as a histogram: each bucket counts those before it as
    /// well.
    fn sizes(&mut self, sizes: &Sizes) {
        let name = "rabbitmq_message_size_bytes";
        self.head(name, "Bodies of messages published by clients", "histogram");
        let bounds = SIZE_BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        let mut count = 0;
        for (bound, counter) in bounds.zip(&sizes.counts) {
            count += counter.get();
            let labels = format!("{{protocol=\"amqp091\",le=\"{bound}\"}}");
            self.sample(&format!("{name}_bucket"), &labels, count);
        }
        self.sample(&format!("{name}_count"), PROTOCOL, count);
        self.sample(&format!("{name}_sum"), PROTOCOL, sizes.bytes.get());
    }

    /// What became of messages.
    fn messages(&mut self, m: &Metrics) {
        for (name, help, value) in [
            ("received", "Messages published by clients", &m.received),
            (
                "received_confirm",
                "Messages published on channels with publisher confirms",
                &m.received_confirm,
            ),
            ("routed", "Messages routed to queues, once for each queue", &m.routed),
            ("confirmed", "Messages confirmed to publishers", &m.confirmed),
            (
                "unroutable_dropped",
                "Messages dropped because no queue was bound for them",
                &m.unroutable_dropped,
            ),
            (
                "unroutable_returned",
                "Messages returned to the publisher because no queue was bound for them",
                &m.unroutable_returned,
            ),
        ] {
            self.counter(&format!("rabbitmq_global_messages_{name}_total"), help, PROTOCOL, value.get());
        }
        let duplicates = m.deduplicated.get();
        self.counter(
            "leveret_messages_deduplicated_total",
            "Messages dropped as duplicates of earlier ones",
            PROTOCOL,
            duplicates,
        );
        self.counter(
            "leveret_deliveries_timed_out_total",
            "Deliveries taken back because they were not acknowledged in time",
            "",
            m.deliveries_timed_out.get(),
        );
        let damaged = m.damaged.get();
        self.counter(
            "leveret_messages_damaged_total",
            "Messages damaged on disk, not delivered",
            "",
            damaged,
        );
        for (name, help, value) in [
            ("delivered_consume_auto_ack", "Messages consumed with no-ack", &m.delivered_auto_ack),
            (
                "delivered_consume_manual_ack",
                "Messages consumed, to be acknowledged",
                &m.delivered_manual_ack,
            ),
            ("delivered_get_auto_ack", "Messages fetched with no-ack", &m.get_auto_ack),
            ("delivered_get_manual_ack", "Messages fetched, to be acknowledged", &m.get_manual_ack),
            ("get_empty", "Fetches from a queue without messages", &m.get_empty),
            ("redelivered", "Deliveries that are not a message's first", &m.redelivered),
            ("acknowledged", "Messages acknowledged", &m.acknowledged),
        ] {
            self.counter(&format!("rabbitmq_global_messages_{name}_total"), help, QUEUE, value.get());
        }
        let delivered = [&m.delivered_auto_ack, &m.delivered_manual_ack, &m.get_auto_ack, &m.get_manual_ack];
        let delivered = delivered.iter().map(|counter| counter.get()).sum();
        self.counter(
            "rabbitmq_global_messages_delivered_total",
            "Messages delivered in any way",
            QUEUE,
            delivered,
        );
    }

    fn dead_letters(&mut self, m: &Metrics) {
        for (reason, sent, dropped) in [
            ("rejected", &m.dead_lettered_rejected, &m.dropped_rejected),
            ("expired", &m.dead_lettered_expired, &m.dropped_expired),
            ("maxlen", &m.dead_lettered_maxlen, &m.dropped_maxlen),
            ("delivery_limit", &m.dead_lettered_delivery_limit, &m.dropped_delivery_limit),
        ] {
            let name = format!("rabbitmq_global_messages_dead_lettered_{reason}_total");
            let help =
                format!("Messages dead-lettered, or dropped where no dead-letter exchange is set: {reason}");
            self.counter(&name, &help, DEAD_LETTER, sent.get());
            self.sample(&name, NO_DEAD_LETTER, dropped.get());
        }
        let (name, help) =
            ("leveret_dead_letters_parked_total", "Dead letters that had nowhere to go and were kept");
        self.counter(name, help, "", m.parked.get());
        let (name, help) =
            ("leveret_dead_letters_dropped_total", "Dead letters that had nowhere to go and were dropped");
        self.counter(name, help, "{reason=\"not_kept\"}", m.dead_letters_dropped.get());
        self.sample(name, "{reason=\"too_many_parked\"}", m.dead_letters_dropped_at_limit.get());
    }

    /// What came and went.
    fn churn(&mut self, m: &Metrics) {
        for (name, help, value) in [
            ("connections_opened", "Connections accepted", &m.connections_opened),
            ("connections_closed", "Connections that ended", &m.connections_closed),
            ("connections_refused", "Connections over the limit", &m.connections_refused),
            ("channels_opened", "Channels opened", &m.channels_opened),
            ("channels_closed", "Channels closed", &m.channels_closed),
            ("queues_declared", "Queues declared, new or not", &m.queues_declared),
            ("queues_created", "Queues created", &m.queues_created),
            ("queues_deleted", "Queues deleted", &m.queues_deleted),
        ] {
            self.counter(&format!("rabbitmq_{name}_total"), help, "", value.get());
        }
    }

    /// What is there now.
    fn gauges(&mut self, gauges: &Gauges) {
        for (name, help, value) in [
            ("connections", "Open connections", gauges.connections),
            ("process_open_tcp_sockets", "Open connections", gauges.connections),
            ("channels", "Open channels", gauges.channels),
            ("consumers", "Consumers", gauges.consumers),
            ("queues", "Queues", gauges.queues),
        ] {
            self.gauge(&format!("rabbitmq_{name}"), help, "", value);
        }
        self.gauge("rabbitmq_global_consumers", "Consumers", PROTOCOL, gauges.consumers);
        let help = "Channels that have published something";
        self.gauge("rabbitmq_global_publishers", help, PROTOCOL, gauges.publishers);
    }

    /// What is in all queues together, where it is not told of each.
    fn queues(&mut self, gauges: &Gauges) {
        let messages = gauges.messages_ready + gauges.messages_unacked;
        for (name, help, value) in [
            ("rabbitmq_queue_messages", "Messages, ready and unacknowledged", messages),
            (
                "rabbitmq_queue_messages_ready",
                "Messages ready to be delivered to a consumer",
                gauges.messages_ready,
            ),
            (
                "rabbitmq_queue_messages_unacked",
                "Messages delivered and not acknowledged yet",
                gauges.messages_unacked,
            ),
            ("leveret_queue_messages_parked", "Dead letters that have nowhere to go", gauges.messages_parked),
        ] {
            self.gauge(name, help, "", value);
        }
    }

    /// How the process, the store and the machine fare.
    fn node(&mut self, node: &Node<'_>) {
        let &Node { up_s, alarms, shortage, resident_bytes, descriptors, .. } = node;
        for (name, help, count) in [
            ("", "Logins", (|(failed, succeeded)| failed + succeeded) as fn((u64, u64)) -> u64),
            ("_failed", "Logins that failed", |(failed, _)| failed),
            ("_succeeded", "Logins that succeeded", |(_, succeeded)| succeeded),
        ] {
            let name = format!("rabbitmq_auth_attempts{name}_total");
            self.head(&name, help, "counter");
            for by in LoginBy::ALL {
                let labels = format!("{{protocol=\"{}\"}}", by.protocol());
                self.sample(&name, &labels, count(node.attempts.counts(by)));
            }
        }
        let help = "Memory used by the samples of the statistics";
        self.gauge("leveret_statistics_bytes", help, "", node.sample_bytes as u64);
        self.gauge("rabbitmq_erlang_uptime_seconds", "Seconds since the start", "", up_s);
        for (resource, help, is_short) in [
            ("memory_used", "1 while publishers are blocked because memory is short", shortage.memory),
            (
                "free_disk_space",
                "1 while publishers are blocked because the disk is (nearly) full",
                shortage.disk,
            ),
        ] {
            self.gauge(&format!("rabbitmq_alarms_{resource}_watermark"), help, "", is_short.into());
        }
        let limits = alarms.limits();
        let memory_limit = Some(limits.memory_bytes).filter(|&limit| limit != u64::MAX);
        for (name, help, value) in [
            ("rabbitmq_process_resident_memory_bytes", "Memory in use", resident_bytes),
            ("rabbitmq_resident_memory_limit_bytes", "Memory in use that blocks publishers", memory_limit),
            ("rabbitmq_disk_space_available_bytes", "Free disk space", alarms.disk_free_bytes()),
            (
                "rabbitmq_disk_space_available_limit_bytes",
                "Free disk space that blocks publishers",
                Some(limits.disk_free_bytes),
            ),
            ("rabbitmq_process_open_fds", "Open file descriptors", descriptors.0),
            ("rabbitmq_process_max_fds", "Open file descriptors limit", descriptors.1),
            ("rabbitmq_process_max_tcp_sockets", "Connections limit", Some(node.connections_max.into())),
        ] {
            if let Some(value) = value {
                self.gauge(name, help, "", value);
            }
        }
    }

    /// What is done to the data file.
    fn io(&mut self, io: &IoCounters) {
        for (what, help, tally, has_bytes) in [
            ("read", "Reads of the data file", &io.reads, true),
            ("write", "Writes to the data file", &io.writes, true),
            ("sync", "Waits until what was written is on disk", &io.syncs, false),
        ] {
            let name = format!("rabbitmq_io_{what}");
            self.counter(&format!("{name}_ops_total"), help, "", tally.count.get());
            if has_bytes {
                self.counter(
                    &format!("{name}_bytes_total"),
                    &format!("{help}, bytes"),
                    "",
                    tally.bytes.get(),
                );
            }
            let (name, us) = (format!("{name}_time_seconds_total"), tally.us.get());
            self.head(&name, &format!("{help}, seconds"), "counter");
            self.sample(&name, "", format_args!("{}.{:06}", us / 1_000_000, us % 1_000_000));
        }
    }

    fn counter(&mut self, name: &str, help: &str, labels: &str, value: u64) {
        self.head(name, help, "counter");
        self.sample(name, labels, value);
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &str, value: u64) {
        self.head(name, help, "gauge");
        self.sample(name, labels, value);
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String does not fail.
        let _always = write!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}\n");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _always = writeln!(self.0, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::AlarmLimits;
    use crate::metrics::SizeTally;
    use crate::store::change::Health;
    use std::collections::HashSet;

    fn page() -> String {
        let metrics = Metrics::default();
        metrics.received.add(7);
        metrics.delivered_auto_ack.add(2);
        metrics.get_manual_ack.add(3);
        metrics.dropped_delivery_limit.add(1);
        metrics.deduplicated.add(8);
        metrics.deliveries_timed_out.add(12);
        let mut sizes = SizeTally::default();
        [0, 100, 101, 100_000_001].into_iter().for_each(|bytes| sizes.add(bytes));
        metrics.sizes.add(&sizes);
        metrics.parked.add(9);
        metrics.dead_letters_dropped.add(10);
        metrics.dead_letters_dropped_at_limit.add(11);
        let gauges = Gauges {
            queues: 4,
            messages_ready: 5,
            messages_unacked: 6,
            messages_parked: 3,
            ..Gauges::default()
        };
        let alarms = Alarms::new(AlarmLimits { memory_bytes: 1000, disk_free_bytes: 2000 });
        alarms.observe_disk(1500);
        let shortage = alarms.shortage(Health::Good);
        let io = IoCounters::default();
        io.syncs.add(0, (1_000_000, 3_000_500));
        io.writes.add(11, (0, 1));
        let attempts = Attempts::default();
        attempts.succeed(LoginBy::Amqp);
        let node = Node {
            names: Names { node: "leveret@a\"b", cluster: "hares" },
            endpoint: AGGREGATED,
            connections_max: 100,
            attempts: &attempts,
            sample_bytes: 7,
            io: Some(&io),
            up_s: 9,
            alarms: &alarms,
            shortage,
            resident_bytes: Some(4096),
            descriptors: (None, None),
        };
        exposition(&metrics, &gauges, &node)
    }

    #[test]
    fn the_names_are_rabbitmqs() {
        let page = page();
        for line in [
            "rabbitmq_global_messages_received_total{protocol=\"amqp091\"} 7",
            "rabbitmq_global_messages_delivered_total{protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"} 5",
            "rabbitmq_global_messages_dead_lettered_delivery_limit_total\
             {queue_type=\"rabbit_classic_queue\",dead_letter_strategy=\"disabled\"} 1",
            "leveret_messages_deduplicated_total{protocol=\"amqp091\"} 8",
            "leveret_deliveries_timed_out_total 12",
            "rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"100\"} 2",
            "rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"1000\"} 3",
            "rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"100000000\"} 3",
            "rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"+Inf\"} 4",
            "rabbitmq_message_size_bytes_count{protocol=\"amqp091\"} 4",
            "rabbitmq_message_size_bytes_sum{protocol=\"amqp091\"} 100000202",
            "rabbitmq_identity_info{rabbitmq_node=\"leveret@a\\\"b\",rabbitmq_cluster=\"hares\",\
             rabbitmq_cluster_permanent_id=\"leveret@a\\\"b\",rabbitmq_endpoint=\"aggregated\"} 1",
            "rabbitmq_auth_attempts_total{protocol=\"http\"} 0",
            "rabbitmq_auth_attempts_succeeded_total{protocol=\"amqp091\"} 1",
            "leveret_statistics_bytes 7",
            "rabbitmq_erlang_uptime_seconds 9",
            "leveret_dead_letters_parked_total 9",
            "leveret_dead_letters_dropped_total{reason=\"not_kept\"} 10",
            "leveret_dead_letters_dropped_total{reason=\"too_many_parked\"} 11",
            "leveret_queue_messages_parked 3",
            "rabbitmq_queues 4",
            "rabbitmq_queue_messages 11",
            "rabbitmq_connections_opened_total 0",
            "rabbitmq_alarms_free_disk_space_watermark 1",
            "rabbitmq_alarms_memory_used_watermark 0",
            "rabbitmq_disk_space_available_bytes 1500",
            "rabbitmq_resident_memory_limit_bytes 1000",
            "rabbitmq_process_resident_memory_bytes 4096",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("open_fds"), "what is not known is left out");
    }

    /// The exposition format: a metric's type and help come once, before its samples, which stand
    /// together.
    #[test]
    fn the_page_is_prometheus_text() {
        let page = page();
        assert!(page.ends_with('\n'));
        let (mut announced, mut samples) = (HashSet::new(), HashSet::new());
        let (mut current, mut of_current) = ("", "");
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(announced.insert(name), "{name} is announced twice");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                (current, of_current) = (name, kind);
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                assert!(rest.starts_with(current) && rest.len() > current.len() + 1, "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let part = name.strip_prefix(current).unwrap_or(line);
                let parts =
                    if of_current == "histogram" { ["_bucket", "_count", "_sum"].as_slice() } else { &[""] };
                assert!(parts.contains(&part), "{line}");
                assert!(samples.insert(series), "{series} comes twice");
                value.parse::<f64>().unwrap();
            }
        }
        assert!(samples.len() > 30);
        assert!(samples.contains("rabbitmq_io_read_bytes_total"));
        assert!(page.contains("\nrabbitmq_io_sync_time_seconds_total 2.000500\n"));
    }
}
