//! What is told of each queue, exchange, channel and connection, in RabbitMQ's families of metrics
//! (prometheus_rabbitmq_core_metrics_collector). What RabbitMQ has not begins with `leveret`.

use super::exposition::{Labelled, Metric, MetricKind, Number, Pieces, Table, Total, label};
use crate::broker::clients::{ChannelReport, ClientReport};
use crate::broker::vhost::VHost;
use crate::broker::{Broker, Gauges};
use crate::clock::Now;
use crate::ids::ConnectionId;
use crate::queue::reply::is_reply_queue;
use crate::queue::{Oldest, Queue, QueueStats, history};
use crate::statistics::{EVENTS, Event, QUEUE_EVENTS};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A queue, as it is measured.
pub(super) struct OfQueue {
    stats: QueueStats,
    oldest: Oldest,
    capacity: f64,
    timed_out: u64,
    now_ms: u64,
}

/// An exchange: messages that came, and that went on.
pub(super) struct OfExchange([u64; 2]);

/// A channel: what happened on it, and what its session says of it.
pub(super) struct OfChannel([u64; EVENTS], Option<ChannelReport>);

/// A connection: bytes that came and went, and its channels.
pub(super) struct OfConnection([u64; 2], u64);

/// What is only there or not.
pub(super) struct Present;

/// Which families are wanted; all if none are named.
pub(super) struct Wanted {
    pub(super) families: Vec<String>,
    /// Which vhosts' objects; all if none are named.
    pub(super) vhosts: Vec<String>,
    /// What names begin with.
    pub(super) prefix: &'static str,
}

const fn counter<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<Number>) -> Metric<T> {
    Metric { name, help, kind: MetricKind::Counter, total: Total::Sum, value }
}

const fn gauge<T>(
    name: &'static str,
    help: &'static str,
    total: Total,
    value: fn(&T) -> Option<Number>,
) -> Metric<T> {
    Metric { name, help, kind: MetricKind::Gauge, total, value }
}

fn whole(n: u64) -> Option<Number> {
    Some(Number::Whole(n))
}

impl OfChannel {
    fn count(&self, event: Event) -> Option<Number> {
        whole(self.0[event as usize])
    }
}

impl OfQueue {
    fn count(&self, event: Event) -> Option<Number> {
        whole(self.stats.counts.map_or(0, |counts: [u64; QUEUE_EVENTS]| counts[event as usize]))
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody reads 53 bits of a measure")]
    fn waited_s(&self) -> Option<Number> {
        Some(Number::Real(self.stats.waits.ms as f64 / 1000.0))
    }

    fn messages(&self) -> u64 {
        self.stats.ready + self.stats.unacked
    }

    fn all(&self) -> u64 {
        self.messages() + self.stats.delayed + self.stats.parked
    }

    fn capacity(&self) -> Option<Number> {
        Some(Number::Real(if self.stats.consumers > 0 { self.capacity } else { 0.0 }))
    }
}

/// Told of all queues together elsewhere.
static COARSE: [Metric<OfQueue>; 3] = [
    gauge("queue_messages_ready", "Messages ready to be delivered to a consumer", Total::None, |q| {
        whole(q.stats.ready)
    }),
    gauge("queue_messages_unacked", "Messages delivered and not acknowledged yet", Total::None, |q| {
        whole(q.stats.unacked)
    }),
    gauge("queue_messages", "Messages, ready and unacknowledged", Total::None, |q| whole(q.messages())),
];

static CONSUMER_COUNT: [Metric<OfQueue>; 1] =
    [gauge("queue_consumers", "Consumers of a queue", Total::Sum, |q| whole(q.stats.consumers.into()))];

static QUEUES: [Metric<OfQueue>; 11] = [
    gauge(
        "queue_consumer_capacity",
        "Fraction of the time in which consumers could take messages",
        Total::None,
        |q| q.capacity(),
    ),
    gauge(
        "queue_consumer_utilisation",
        "Fraction of the time in which consumers could take messages",
        Total::None,
        |q| q.capacity(),
    ),
    gauge("queue_process_memory_bytes", "Memory used by the messages of a queue", Total::Sum, |q| {
        whole(q.stats.resident as u64)
    }),
    gauge("queue_messages_ram", "Messages in memory", Total::Sum, |q| {
        whole(q.all().saturating_sub(q.stats.bodies.on_disk))
    }),
    gauge("queue_messages_ram_bytes", "Bytes of the bodies of messages in memory", Total::Sum, |q| {
        whole(q.stats.bodies.memory)
    }),
    gauge("queue_messages_bytes", "Bytes of the bodies of messages", Total::Sum, |q| {
        whole(q.stats.bodies.all)
    }),
    gauge("queue_messages_ready_bytes", "Bytes of the bodies of ready messages", Total::Sum, |q| {
        whole(q.stats.bodies.ready)
    }),
    gauge(
        "queue_messages_unacked_bytes",
        "Bytes of the bodies of unacknowledged messages",
        Total::Sum,
        |q| whole(if q.stats.unacked == 0 { 0 } else { q.stats.bodies.all - q.stats.bodies.ready }),
    ),
    gauge("queue_messages_paged_out", "Messages that are on disk only", Total::Sum, |q| {
        whole(q.stats.bodies.on_disk)
    }),
    gauge(
        "queue_messages_paged_out_bytes",
        "Bytes of the bodies of messages on disk only",
        Total::Sum,
        |q| whole(q.stats.bodies.all.saturating_sub(q.stats.bodies.memory)),
    ),
    gauge(
        "queue_head_message_timestamp",
        "Timestamp of the next message, seconds since 1970",
        Total::None,
        |q| q.oldest.head_timestamp.map(Number::Whole),
    ),
];

static DELIVERIES: [Metric<OfQueue>; 8] = [
    counter("queue_messages_published_total", "Messages that came into a queue", |q| q.count(Event::Publish)),
    counter("queue_get_ack_total", "Messages fetched, to be acknowledged", |q| q.count(Event::Get)),
    counter("queue_get_total", "Messages fetched with no-ack", |q| q.count(Event::GetNoAck)),
    counter("queue_messages_delivered_ack_total", "Messages consumed, to be acknowledged", |q| {
        q.count(Event::Deliver)
    }),
    counter("queue_messages_delivered_total", "Messages consumed with no-ack", |q| {
        q.count(Event::DeliverNoAck)
    }),
    counter("queue_messages_redelivered_total", "Deliveries that may not be a message's first", |q| {
        q.count(Event::Redeliver)
    }),
    counter("queue_messages_acked_total", "Messages acknowledged", |q| q.count(Event::Ack)),
    counter("queue_get_empty_total", "Fetches that found nothing", |q| q.count(Event::GetEmpty)),
];

static OWN: [Metric<OfQueue>; 6] = [
    gauge("leveret_queue_messages_parked", "Dead letters that have nowhere to go", Total::None, |q| {
        whole(q.stats.parked)
    }),
    gauge(
        "leveret_queue_messages_delayed",
        "Delayed messages, and messages waiting for a retry",
        Total::Sum,
        |q| whole(q.stats.delayed),
    ),
    gauge("leveret_queue_oldest_message_age_seconds", "Age of the oldest message", Total::Max, |q| {
        let age_ms = q.now_ms.saturating_sub(q.oldest.arrived_at_ms?);
        Some(Number::Whole(age_ms / 1000))
    }),
    counter("leveret_queue_deliveries_timed_out_total", "Deliveries not acknowledged in time", |q| {
        whole(q.timed_out)
    }),
    counter("leveret_queue_message_wait_seconds_total", "Time that consumed messages were in a queue", |q| {
        q.waited_s()
    }),
    counter("leveret_queue_messages_waited_total", "Consumed messages whose time in a queue is known", |q| {
        whole(q.stats.waits.count)
    }),
];

static EXCHANGES: [Metric<OfExchange>; 2] = [
    counter("exchange_messages_published_total", "Messages published to an exchange", |e| whole(e.0[0])),
    counter(
        "leveret_exchange_messages_routed_total",
        "Messages routed from an exchange to queues, once for each queue",
        |e| whole(e.0[1]),
    ),
];

static CHANNEL_PUBLISHES: [Metric<OfChannel>; 4] = [
    counter("channel_messages_published_total", "Messages published on a channel", |c| {
        c.count(Event::Publish)
    }),
    counter("channel_messages_confirmed_total", "Messages confirmed", |c| c.count(Event::Confirm)),
    counter(
        "channel_messages_unroutable_returned_total",
        "Messages returned to the publisher because no queue was bound for them",
        |c| c.count(Event::ReturnUnroutable),
    ),
    counter(
        "channel_messages_unroutable_dropped_total",
        "Messages dropped because no queue was bound for them",
        |c| c.count(Event::DropUnroutable),
    ),
];

static CHANNEL_DELIVERIES: [Metric<OfChannel>; 7] = [
    counter("channel_get_ack_total", "Messages fetched, to be acknowledged", |c| c.count(Event::Get)),
    counter("channel_get_total", "Messages fetched with no-ack", |c| c.count(Event::GetNoAck)),
    counter("channel_messages_delivered_ack_total", "Messages consumed, to be acknowledged", |c| {
        c.count(Event::Deliver)
    }),
    counter("channel_messages_delivered_total", "Messages consumed with no-ack", |c| {
        c.count(Event::DeliverNoAck)
    }),
    counter("channel_messages_redelivered_total", "Deliveries that may not be a message's first", |c| {
        c.count(Event::Redeliver)
    }),
    counter("channel_messages_acked_total", "Messages acknowledged", |c| c.count(Event::Ack)),
    counter("channel_get_empty_total", "Fetches that found nothing", |c| c.count(Event::GetEmpty)),
];

/// What only the session knows.
static CHANNELS: [Metric<OfChannel>; 7] = [
    gauge("channel_consumers", "Consumers on a channel", Total::Sum, |c| whole(c.1?.consumers)),
    gauge("channel_messages_unacked", "Messages delivered and not acknowledged yet", Total::Sum, |c| {
        whole(c.1?.unacked)
    }),
    gauge("channel_messages_unconfirmed", "Messages published and not confirmed yet", Total::Sum, |c| {
        whole(c.1?.unconfirmed)
    }),
    gauge(
        "channel_messages_uncommitted",
        "Messages published in a transaction and not committed yet",
        Total::Sum,
        |c| whole(c.1?.uncommitted),
    ),
    gauge(
        "channel_acks_uncommitted",
        "Acknowledgements in a transaction and not committed yet",
        Total::Sum,
        |c| whole(c.1?.acks_uncommitted),
    ),
    gauge("consumer_prefetch", "Unacknowledged messages a consumer may have", Total::Sum, |c| {
        whole(c.1?.prefetch.into())
    }),
    gauge("channel_prefetch", "Unacknowledged messages a channel may have", Total::Sum, |c| {
        whole(c.1?.shared_prefetch.into())
    }),
];

static TRAFFIC: [Metric<OfConnection>; 2] = [
    counter("connection_incoming_bytes_total", "Bytes received on a connection", |c| whole(c.0[0])),
    counter("connection_outgoing_bytes_total", "Bytes sent on a connection", |c| whole(c.0[1])),
];

static CONNECTIONS: [Metric<OfConnection>; 1] =
    [gauge("connection_channels", "Channels of a connection", Total::Sum, |c| whole(c.1))];

static VHOSTS: [Metric<Present>; 1] =
    [gauge("vhost_status", "1 while the virtual host runs", Total::None, |_| whole(1))];

static EXCHANGE_NAMES: [Metric<Present>; 1] =
    [gauge("exchange_name", "1 for an exchange that exists", Total::None, |_| whole(1))];

impl Wanted {
    /// Whether a family is wanted by one of its names.
    fn family(&self, names: &[&str]) -> bool {
        self.families.is_empty() || self.families.iter().any(|family| names.contains(&family.as_str()))
    }

    /// Whether sessions have to be asked.
    pub(super) fn asks_sessions(&self) -> bool {
        self.family(&["channel_metrics"])
    }

    fn vhost(&self, name: &str) -> bool {
        self.vhosts.is_empty() || self.vhosts.iter().any(|vhost| vhost == name)
    }

    /// The metrics of some families, each once.
    fn metrics<T>(&self, families: &[(&[&str], &'static [Metric<T>])]) -> Vec<&'static Metric<T>> {
        let mut metrics: Vec<&'static Metric<T>> = Vec::new();
        for (names, of_family) in families {
            if self.family(names) {
                metrics.extend(*of_family);
            }
        }
        metrics
    }

    fn queues(&self) -> Vec<&'static Metric<OfQueue>> {
        self.metrics(&[
            (&["queue_coarse_metrics"], &COARSE),
            (&["queue_metrics", "queue_consumer_count"], &CONSUMER_COUNT),
            (&["queue_metrics"], &QUEUES),
            (
                &["queue_delivery_metrics", "queue_exchange_metrics", "channel_queue_exchange_metrics"],
                &DELIVERIES,
            ),
            (&["leveret_queue_metrics"], &OWN),
        ])
    }

    fn exchanges(&self) -> Vec<&'static Metric<OfExchange>> {
        self.metrics(&[(&["exchange_metrics"], &EXCHANGES)])
    }

    fn channels(&self) -> Vec<&'static Metric<OfChannel>> {
        self.metrics(&[
            (&["channel_metrics"], &CHANNELS),
            (&["channel_exchange_metrics"], &CHANNEL_PUBLISHES),
            (&["channel_queue_metrics"], &CHANNEL_DELIVERIES),
        ])
    }

    fn connections(&self) -> Vec<&'static Metric<OfConnection>> {
        self.metrics(&[(&["connection_coarse_metrics"], &TRAFFIC), (&["connection_metrics"], &CONNECTIONS)])
    }

    /// Each object with its metrics. Locks each queue twice.
    pub(super) fn collect(
        &self,
        broker: &Broker,
        reports: &BTreeMap<ConnectionId, ClientReport>,
        now: Now,
    ) -> Vec<Box<dyn Pieces>> {
        let mut tables: Vec<Box<dyn Pieces>> = Vec::new();
        let vhosts = broker.vhosts().all();
        let vhosts: Vec<_> = vhosts.iter().filter(|vhost| self.vhost(&vhost.name)).collect();
        let metrics = self.queues();
        if !metrics.is_empty() {
            let rows = vhosts.iter().flat_map(|vhost| queues(vhost, now));
            tables.push(Box::new(Table::new(rows.collect(), metrics, self.prefix)));
        }
        let metrics = self.exchanges();
        if !metrics.is_empty() {
            let rows = vhosts.iter().flat_map(|vhost| exchanges(vhost));
            tables.push(Box::new(Table::new(rows.collect(), metrics, self.prefix)));
        }
        let clients = || broker.clients().list().into_iter().filter(|client| self.vhost(&client.facts.vhost));
        let metrics = self.channels();
        if !metrics.is_empty() {
            let mut rows = Vec::new();
            for client in clients() {
                let reported = reports.get(&client.id).map_or(&[][..], |report| &report.channels);
                let name = client.facts.name();
                rows.extend(client.channels().into_iter().map(|(number, events)| {
                    let mut labels = String::new();
                    label(&mut labels, "vhost", &client.facts.vhost);
                    label(&mut labels, "channel", &format!("{name} ({number})"));
                    let report = reported.iter().find(|report| report.number == number).copied();
                    Labelled { labels, of: OfChannel(events.counters.counts(), report) }
                }));
            }
            tables.push(Box::new(Table::new(rows, metrics, self.prefix)));
        }
        let metrics = self.connections();
        if !metrics.is_empty() {
            let rows = clients().map(|client| {
                let mut labels = String::new();
                label(&mut labels, "vhost", &client.facts.vhost);
                label(&mut labels, "connection", &client.facts.name());
                Labelled { labels, of: OfConnection(client.traffic(), client.channels().len() as u64) }
            });
            tables.push(Box::new(Table::new(rows.collect(), metrics, self.prefix)));
        }
        self.collect_names(&vhosts, &mut tables);
        tables
    }

    /// Vhosts and exchanges that are there, which are told only where they are asked for.
    fn collect_names(&self, vhosts: &[&Arc<VHost>], tables: &mut Vec<Box<dyn Pieces>>) {
        const PREFIX: &str = "rabbitmq_cluster_";
        let is_asked_for = |name: &str| !self.families.is_empty() && self.family(&[name]);
        if is_asked_for("vhost_status") {
            let rows = vhosts.iter().map(|vhost| {
                let mut labels = String::new();
                label(&mut labels, "vhost", &vhost.name);
                Labelled { labels, of: Present }
            });
            tables.push(Box::new(Table::new(rows.collect(), &VHOSTS, PREFIX)));
        }
        if is_asked_for("exchange_names") {
            let rows = vhosts.iter().flat_map(|vhost| {
                vhost.list_exchanges().into_iter().map(|declared| {
                    let mut labels = String::new();
                    label(&mut labels, "vhost", &vhost.name);
                    label(&mut labels, "exchange", &declared.name);
                    label(&mut labels, "type", declared.type_name());
                    Labelled { labels, of: Present }
                })
            });
            tables.push(Box::new(Table::new(rows.collect(), &EXCHANGE_NAMES, PREFIX)));
        }
    }
}

/// What there is, and what is told of all objects together.
pub(super) fn totals(broker: &Broker, now: Now) -> (Gauges, String) {
    let all = Wanted { families: Vec::new(), vhosts: Vec::new(), prefix: "rabbitmq_" };
    let (mut rows, mut text) = (Vec::new(), String::new());
    let gauges = broker.gauges_with(|queue, stats| {
        rows.push(Labelled { labels: String::new(), of: OfQueue::new(queue, stats, now) });
    });
    Table::new(rows, all.queues(), all.prefix).write_totals(&mut text);
    let (mut channels, mut connections) = (Vec::new(), Vec::new());
    for client in broker.clients().list() {
        let of_client = client.channels();
        let of = OfConnection(client.traffic(), of_client.len() as u64);
        connections.push(Labelled { labels: String::new(), of });
        channels.extend(of_client.into_iter().map(|(_, events)| Labelled {
            labels: String::new(),
            of: OfChannel(events.counters.counts(), None),
        }));
    }
    let counted = CHANNEL_PUBLISHES.iter().chain(&CHANNEL_DELIVERIES);
    Table::new(channels, counted, all.prefix).write_totals(&mut text);
    Table::new(connections, all.connections(), all.prefix).write_totals(&mut text);
    (gauges, text)
}

impl OfQueue {
    fn new(queue: &Queue, stats: QueueStats, now: Now) -> Self {
        let (oldest, capacity) = (queue.oldest(), history::capacity(queue));
        Self { stats, oldest, capacity, timed_out: queue.deliveries_timed_out.get(), now_ms: now.unix_ms }
    }
}

fn queues(vhost: &VHost, now: Now) -> impl Iterator<Item = Labelled<OfQueue>> {
    let mut rows = Vec::new();
    vhost.each_queue(|queue: &Arc<Queue>| {
        if !is_reply_queue(&queue.name) {
            let mut labels = String::with_capacity(vhost.name.len() + queue.name.len() + 18);
            label(&mut labels, "vhost", &vhost.name);
            label(&mut labels, "queue", &queue.name);
            rows.push(Labelled { labels, of: OfQueue::new(queue, queue.stats(), now) });
        }
    });
    rows.into_iter()
}

fn exchanges(vhost: &VHost) -> impl Iterator<Item = Labelled<OfExchange>> {
    vhost.list_flows().into_iter().map(|(name, flow)| {
        let mut labels = String::new();
        label(&mut labels, "vhost", &vhost.name);
        label(&mut labels, "exchange", &name);
        Labelled { labels, of: OfExchange(flow.counts()) }
    })
}
