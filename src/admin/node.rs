//! The broker as a whole: whether it is there, and how it stands.

use super::access::{Access, Requirement, Tag};
use super::{Caller, Performed, Refusal, Told, damage};
use crate::broker::Broker;
use crate::ids::Ticket;
use crate::machine;
use crate::store::change::Health;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What can be asked about the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NodeOperation {
    /// Whether it answers.
    Ping,
    /// The broker's status.
    Status,
    /// What there is, in numbers, as far as whoever asks sees it.
    Overview,
    /// What the process uses.
    Usage,
    /// Which messages are damaged on disk.
    ListDamaged {
        /// With what is left of them.
        records: bool,
    },
}

/// How the broker stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What it is.
    pub product: String,
    /// Its version.
    pub version: String,
    /// The id of its process.
    pub pid: u32,
    /// Seconds since it was started.
    pub uptime_s: u64,
    /// The store: `running`, `full` or `failed`.
    pub store: String,
    /// What publishers wait for: `memory`, `disk`.
    pub alarms: Vec<String>,
    /// Bytes of memory in use from which on publishers wait; none for no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Bytes of the disk that must be free.
    pub disk_free_limit_bytes: u64,
    /// Bytes of the disk that were free when it was last looked at.
    pub disk_free_bytes: Option<u64>,
    /// Bytes of messages in memory.
    pub message_memory_bytes: u64,
    /// Clients that have shaken hands.
    pub connections: u64,
    /// Their channels.
    pub channels: u64,
    /// Queues.
    pub queues: u64,
    /// Exchanges, the default exchange included.
    pub exchanges: u64,
    /// Consumers.
    pub consumers: u64,
    /// Messages that wait for a consumer.
    pub messages_ready: u64,
    /// Messages delivered and not settled.
    pub messages_unacknowledged: u64,
    /// Users.
    pub users: u64,
}

/// What there is, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// What the broker is.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Clients that have shaken hands.
    pub connections: u64,
    /// Their channels.
    pub channels: u64,
    /// Queues.
    pub queues: u64,
    /// Exchanges, the default exchange included.
    pub exchanges: u64,
    /// Consumers.
    pub consumers: u64,
    /// Messages that wait for a consumer.
    pub messages_ready: u64,
    /// Messages delivered and not settled.
    pub messages_unacknowledged: u64,
    /// What happened since the start, for those who see the whole broker.
    pub counters: Option<Counters>,
}

/// What happened since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they have RabbitMQ's names")]
pub struct Counters {
    pub publish: u64,
    pub confirm: u64,
    pub return_unroutable: u64,
    pub drop_unroutable: u64,
    pub deliver: u64,
    pub deliver_no_ack: u64,
    pub get: u64,
    pub get_no_ack: u64,
    pub get_empty: u64,
    pub redeliver: u64,
    pub ack: u64,
    pub connection_created: u64,
    pub connection_closed: u64,
    pub channel_created: u64,
    pub channel_closed: u64,
    pub queue_declared: u64,
    pub queue_created: u64,
    pub queue_deleted: u64,
}

/// What the process uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The id of its process.
    pub pid: u32,
    /// Milliseconds since it was started.
    pub uptime_ms: u64,
    /// Bytes of memory in use.
    pub memory_bytes: Option<u64>,
    /// Bytes of memory in use from which on publishers wait; none for no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Publishers wait because of it.
    pub memory_alarm: bool,
    /// Bytes of the disk that are free.
    pub disk_free_bytes: Option<u64>,
    /// Bytes of the disk that must be free.
    pub disk_free_limit_bytes: u64,
    /// Publishers wait because of it.
    pub disk_alarm: bool,
    /// Open files.
    pub descriptors: Option<u64>,
    /// Open files at most.
    pub descriptors_max: Option<u64>,
    /// Processors.
    pub processors: u64,
    /// Connections at most.
    pub connections_max: u32,
    /// Clients that have shaken hands.
    pub connections: u64,
    /// Bytes of messages in memory.
    pub message_memory_bytes: u64,
    /// Whether the store still commits.
    pub store_works: bool,
    /// What happened since the start.
    pub counters: Counters,
}

impl NodeOperation {
    /// What it takes of a user.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        Requirement::Tag(match self {
            Self::Ping | Self::Overview => Tag::Management,
            Self::Status | Self::Usage | Self::ListDamaged { records: false } => Tag::Monitoring,
            // It shows what is in messages of all vhosts.
            Self::ListDamaged { records: true } => Tag::Administrator,
        })
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(
    broker: &Arc<Broker>,
    operation: &NodeOperation,
    caller: &Caller,
    access: &Access<'_>,
) -> Result<Performed, Refusal> {
    let told = match operation {
        NodeOperation::Ping => Told::Done,
        NodeOperation::Status => Told::Status(status(broker, caller)),
        NodeOperation::Overview => Told::Overview(Box::new(overview(broker, access))),
        NodeOperation::Usage => Told::Usage(Box::new(usage(broker, caller))),
        NodeOperation::ListDamaged { records } => return damage::list(broker, *records, caller),
    };
    Ok(Performed::told(told, Ticket(0)))
}

fn status(broker: &Broker, caller: &Caller) -> Status {
    let (settings, gauges, health) = (broker.settings(), broker.gauges(), broker.health());
    let (alarms, limits) = (broker.alarms().shortage(health), broker.alarms().limits());
    let alarms = [(alarms.memory, "memory"), (alarms.disk, "disk")];
    let store = match health {
        Health::Good => "running",
        Health::Full => "full",
        Health::Failed => "failed",
    };
    Status {
        product: settings.product.clone(),
        version: settings.version.clone(),
        pid: std::process::id(),
        uptime_s: caller.now.mono_ms.saturating_sub(broker.started_at().mono_ms) / 1000,
        store: store.to_owned(),
        alarms: alarms.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| (*name).to_owned()).collect(),
        memory_limit_bytes: Some(limits.memory_bytes).filter(|&bytes| bytes != u64::MAX),
        disk_free_limit_bytes: limits.disk_free_bytes,
        disk_free_bytes: broker.alarms().disk_free_bytes(),
        message_memory_bytes: gauges.resident,
        connections: broker.clients().list().len() as u64,
        channels: gauges.channels,
        queues: gauges.queues,
        exchanges: broker.vhosts().all().iter().map(|vhost| vhost.list_exchanges().len() as u64 + 1).sum(),
        consumers: gauges.consumers,
        messages_ready: gauges.messages_ready,
        messages_unacknowledged: gauges.messages_unacked,
        users: broker.users().list().len() as u64,
    }
}

fn overview(broker: &Broker, access: &Access<'_>) -> Overview {
    let settings = broker.settings();
    let only = access.sees_only();
    let clients = broker.clients().list().into_iter();
    let connections = clients.filter(|client| only.is_none_or(|only| only == client.facts.user)).count();
    let mut overview = Overview {
        product: settings.product.clone(),
        version: settings.version.clone(),
        connections: connections as u64,
        ..Overview::default()
    };
    for vhost in broker.vhosts().all().iter().filter(|vhost| access.sees_vhost(&vhost.name)) {
        overview.exchanges += vhost.list_exchanges().len() as u64 + 1;
        for queue in vhost.list_queues() {
            let stats = queue.stats();
            overview.queues += 1;
            overview.consumers += u64::from(stats.consumers);
            overview.messages_ready += stats.ready;
            overview.messages_unacknowledged += stats.unacked;
        }
    }
    if only.is_none() {
        let counters = counters(broker);
        overview.channels = counters.channel_created.saturating_sub(counters.channel_closed);
        overview.counters = Some(counters);
    }
    overview
}

fn counters(broker: &Broker) -> Counters {
    let metrics = broker.metrics();
    Counters {
        publish: metrics.received.get(),
        confirm: metrics.confirmed.get(),
        return_unroutable: metrics.unroutable_returned.get(),
        drop_unroutable: metrics.unroutable_dropped.get(),
        deliver: metrics.delivered_manual_ack.get(),
        deliver_no_ack: metrics.delivered_auto_ack.get(),
        get: metrics.get_manual_ack.get(),
        get_no_ack: metrics.get_auto_ack.get(),
        get_empty: metrics.get_empty.get(),
        redeliver: metrics.redelivered.get(),
        ack: metrics.acknowledged.get(),
        connection_created: metrics.connections_opened.get(),
        connection_closed: metrics.connections_closed.get(),
        channel_created: metrics.channels_opened.get(),
        channel_closed: metrics.channels_closed.get(),
        queue_declared: metrics.queues_declared.get(),
        queue_created: metrics.queues_created.get(),
        queue_deleted: metrics.queues_deleted.get(),
    }
}

fn usage(broker: &Broker, caller: &Caller) -> Usage {
    let (health, limits) = (broker.health(), broker.alarms().limits());
    let shortage = broker.alarms().shortage(health);
    Usage {
        pid: std::process::id(),
        uptime_ms: caller.now.mono_ms.saturating_sub(broker.started_at().mono_ms),
        memory_bytes: machine::resident_bytes(),
        memory_limit_bytes: Some(limits.memory_bytes).filter(|&bytes| bytes != u64::MAX),
        memory_alarm: shortage.memory,
        disk_free_bytes: broker.alarms().disk_free_bytes(),
        disk_free_limit_bytes: limits.disk_free_bytes,
        disk_alarm: shortage.disk,
        descriptors: machine::descriptors_open(),
        descriptors_max: machine::descriptors_max(),
        processors: machine::processors() as u64,
        connections_max: broker.settings().limits.connections_max,
        connections: broker.clients().list().len() as u64,
        message_memory_bytes: broker.gauges().resident,
        store_works: health != Health::Failed,
        counters: counters(broker),
    }
}
