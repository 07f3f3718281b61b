//! Queues and their consumers. An operator may use every queue, exclusive or not; queues of direct
//! reply-to are part of their channels and are not seen.

use super::access::{Access, Requirement, Tag};
use super::exchanges::BindingRow;
use super::policies::arguments_of;
use super::refusal::{Refusal, RefusalKind};
use super::value::{Arguments, arguments, decoded, table_of};
use super::{Caller, DESCRIBED_MAX, Performed, Row, Told, find, short};
use crate::auth::permission::Right;
use crate::broker::Broker;
use crate::broker::clients::Client;
use crate::broker::vhost::access::may_declare_queue;
use crate::broker::vhost::{QueueDeclare, VHost};
use crate::clock::Now;
use crate::error::Resource;
use crate::ids::{ConnectionId, Ticket};
use crate::message::table::FieldTable;
use crate::policy::book::InEffect;
use crate::queue::history::{self, QueueTrends};
use crate::queue::{Queue, Subscribed};
use crate::routing::topology::Target;
use crate::statistics::SamplesWanted;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What can be done with queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum QueueOperation {
    /// All queues of a vhost.
    ListQueues {
        /// The virtual host.
        vhost: String,
    },
    /// All consumers of a vhost.
    ListConsumers {
        /// The virtual host.
        vhost: String,
    },
    /// A queue with its bindings and consumers.
    DescribeQueue {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
    },
    /// A queue, if there is none that differs; as whoever asks could declare it.
    DeclareQueue {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
        /// Survives a restart.
        durable: bool,
        /// Goes with its last consumer.
        auto_delete: bool,
        /// As declared.
        arguments: Arguments,
    },
    /// What is ready in a queue is dropped.
    PurgeQueue {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
    },
    /// A queue goes, with what is in it.
    DeleteQueue {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
        /// Only if nothing is ready or parked in it.
        if_empty: bool,
        /// Only if it has no consumer.
        if_unused: bool,
    },
}

/// A queue, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueRow {
    /// Its name.
    pub name: String,
    /// Its vhost.
    pub vhost: String,
    /// `classic`, `quorum` or `stream`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Survives a restart.
    pub durable: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// For one connection alone.
    pub exclusive: bool,
    /// As declared.
    pub arguments: Arguments,
    /// The name of the policy in effect.
    pub policy: Option<String>,
    /// The name of the operator's policy in effect.
    pub operator_policy: Option<String>,
    /// What both amount to.
    pub effective_policy_definition: Arguments,
    /// `running`.
    pub state: String,
    /// Ready and unacknowledged.
    pub messages: u64,
    /// Messages that wait for a consumer.
    pub messages_ready: u64,
    /// Messages delivered and not settled.
    pub messages_unacknowledged: u64,
    /// Messages that died and have nowhere to go; in none of the other counts.
    pub messages_parked: u64,
    /// Messages that wait for their time; in none of the other counts.
    #[serde(default)]
    pub messages_delayed: u64,
    /// Messages that are in memory.
    #[serde(default)]
    pub messages_ram: u64,
    /// Bytes of the bodies of all messages.
    #[serde(default)]
    pub message_bytes: u64,
    /// Of those that wait for a consumer, or for their time.
    #[serde(default)]
    pub message_bytes_ready: u64,
    /// Of those that are delivered and not settled.
    #[serde(default)]
    pub message_bytes_unacknowledged: u64,
    /// Of those that are in memory.
    #[serde(default)]
    pub message_bytes_ram: u64,
    /// How long ago the oldest message came, in milliseconds; none if there is none, or it is on
    /// disk only.
    #[serde(default)]
    pub oldest_message_age_ms: Option<u64>,
    /// How long consumed messages had been in it on average, in milliseconds; none if none were
    /// consumed since the start.
    #[serde(default)]
    pub average_message_wait_ms: Option<f64>,
    /// The property `timestamp` of what is next in line, seconds since 1970.
    #[serde(default)]
    pub head_message_timestamp: Option<u64>,
    /// When somebody last declared it, consumed from it or asked it for a message, milliseconds
    /// since 1970.
    #[serde(skip)]
    pub used_at_ms: u64,
    /// Consumers.
    pub consumers: u32,
    /// The part of the last seconds in which consumers had room for what was ready.
    #[serde(default)]
    pub consumer_capacity: f64,
    /// The same, under RabbitMQ's older name.
    #[serde(default)]
    pub consumer_utilisation: f64,
    /// Bytes of messages in memory.
    pub memory: u64,
    /// The name of the connection that alone may use it.
    pub owner_pid: Option<String>,
    /// The tag of the consumer that does not share it.
    pub exclusive_consumer_tag: Option<String>,
    /// The tag of the consumer that is served, where that is one at a time.
    #[serde(default)]
    pub single_active_consumer_tag: Option<String>,
    /// How its counts change.
    #[serde(skip)]
    pub trends: QueueTrends,
}

/// A consumer, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsumerRow {
    /// Its queue.
    pub queue_name: String,
    /// Its vhost.
    #[serde(default)]
    pub vhost: String,
    /// Its user.
    #[serde(default)]
    pub user: String,
    /// The name of its channel.
    pub channel_pid: String,
    /// Its tag.
    pub consumer_tag: String,
    /// It has to acknowledge.
    pub ack_required: bool,
    /// Unacknowledged messages at most; 0 for no limit.
    pub prefetch_count: u16,
    /// It may be dealt messages.
    pub active: bool,
    /// `up`; where one is served at a time `single_active` or `waiting`.
    pub activity_status: String,
    /// It does not share the queue.
    pub exclusive: bool,
    /// As given.
    pub arguments: Arguments,
}

/// A queue and all that belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueDescription {
    /// The queue.
    pub queue: QueueRow,
    /// What leads to it.
    pub bindings: Vec<BindingRow>,
    /// Who is served.
    pub consumers: Vec<ConsumerRow>,
}

impl QueueOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        matches!(self, Self::DeclareQueue { .. } | Self::PurgeQueue { .. } | Self::DeleteQueue { .. })
    }

    /// What it takes of a user.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        let (vhost, queue, right) = match self {
            // For a new one permissions of its name count, too.
            Self::ListQueues { vhost }
            | Self::DescribeQueue { vhost, .. }
            | Self::DeclareQueue { vhost, .. } => {
                return Requirement::VHost(Tag::Management, vhost);
            }
            // Those of its own connections, unless it sees all.
            Self::ListConsumers { vhost } => return Requirement::VisibleVHost(vhost),
            Self::PurgeQueue { vhost, queue } => (vhost, queue, Right::Read),
            Self::DeleteQueue { vhost, queue, .. } => (vhost, queue, Right::Configure),
        };
        Requirement::Queue { vhost, queue, right, publishes: None }
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(
    broker: &Arc<Broker>,
    operation: QueueOperation,
    caller: &Caller,
    access: &Access<'_>,
) -> Result<Performed, Refusal> {
    match operation {
        QueueOperation::ListQueues { vhost } => {
            let place = find::vhost(broker, &vhost)?;
            let (broker, now, samples) = (Arc::clone(broker), caller.now, caller.samples);
            let wanted = caller.rows.clone();
            let is_wanted = move |queue: &Arc<Queue>| wanted.as_ref().is_none_or(|only| only.0(&queue.name));
            let queues = place.list_queues().into_iter().filter(is_wanted);
            let shown = move |queue: Arc<Queue>| row((&broker, &place), &queue, (now, &samples));
            Ok(Performed::rows(queues.map(move |queue| Row::Queue(Box::new(shown(queue))))))
        }
        QueueOperation::ListConsumers { vhost } => {
            let queues = find::vhost(broker, &vhost)?.list_queues();
            let (broker, only) = (Arc::clone(broker), access.sees_only().map(str::to_owned));
            let seen = move |queue: Arc<Queue>| consumers(&broker, &queue, only.as_deref());
            Ok(Performed::rows(queues.into_iter().flat_map(seen).map(Row::Consumer)))
        }
        QueueOperation::DescribeQueue { vhost, queue } => {
            describe(broker, (&vhost, &queue), (caller.now, &caller.samples))
        }
        QueueOperation::DeclareQueue { vhost, queue, durable, auto_delete, arguments } => {
            short::check_names([("name of the queue", &*queue)])?;
            let place = find::vhost(broker, &vhost)?;
            let arguments = table_of(&arguments).map_err(|why| Refusal::new(RefusalKind::Invalid, why))?;
            let grants = access.grants_in(&vhost);
            let may = |on: &Resource, new: Option<&FieldTable>| {
                grants.as_ref().map_or(Ok(()), |grants| may_declare_queue(grants, on, new))
            };
            let is_new = place.find_queue(&queue).is_none();
            let declare = QueueDeclare {
                name: queue,
                passive: false,
                durable,
                exclusive: false,
                auto_delete,
                arguments,
                connection: ConnectionId(0),
                now: caller.now,
            };
            let (_queue, ticket) = place.declare_queue_if(&may, declare)?;
            Ok(Performed::put(is_new, ticket))
        }
        QueueOperation::PurgeQueue { vhost, queue } => {
            let queue = find::queue(broker, &vhost, &queue)?;
            if queue.is_stream() {
                let why = format!("queue '{}' is a stream, which cannot be purged", queue.name);
                return Err(Refusal::new(RefusalKind::Invalid, why));
            }
            let (purged, ticket) = broker.purge(&queue, caller.now);
            Ok(Performed::told(Told::Messages(purged), ticket))
        }
        QueueOperation::DeleteQueue { vhost, queue, if_empty, if_unused } => {
            let queue = find::queue(broker, &vhost, &queue)?;
            // On behalf of its owner, if it has one.
            let owner = queue.owner().unwrap_or(ConnectionId(0));
            let vhost = find::vhost(broker, &vhost)?;
            broker.send_letters(&queue, caller.now);
            let (deleted, ticket) = vhost.delete_queue(&queue.name, owner, if_unused, if_empty)?;
            Ok(Performed::told(Told::Messages(deleted), ticket))
        }
    }
}

fn describe(
    broker: &Broker,
    (vhost, name): (&str, &str),
    sampled: (Now, &SamplesWanted),
) -> Result<Performed, Refusal> {
    let queue = find::queue(broker, vhost, name)?;
    let place = find::vhost(broker, vhost)?;
    let bindings = place.list_bindings().into_iter();
    let own = bindings.filter(|bound| matches!(&bound.target, Target::Queue(to) if to.id == queue.id));
    let mut consumers: Vec<_> = consumers(broker, &queue, None);
    consumers.truncate(DESCRIBED_MAX);
    let description = QueueDescription {
        queue: row((broker, &place), &queue, sampled),
        bindings: own.take(DESCRIBED_MAX).map(|bound| BindingRow::of(&bound)).collect(),
        consumers,
    };
    Ok(Performed::told(Told::Queue(Box::new(description)), Ticket(0)))
}

fn row((broker, place): (&Broker, &VHost), queue: &Queue, (now, samples): (Now, &SamplesWanted)) -> QueueRow {
    let (stats, oldest, settings) = (queue.stats(), queue.oldest(), &queue.settings);
    let is_one_served = settings.single_active && stats.consumers > 0;
    let consumers = if is_one_served || stats.consumers == 1 { queue.consumers() } else { Vec::new() };
    let tag_of = |is_meant: fn(&Subscribed) -> bool| {
        consumers.iter().find(|consumer| is_meant(consumer)).map(|consumer| text(&consumer.label.tag))
    };
    let InEffect { policy, operator: operator_policy, definition } = place.policies().of_queue(queue);
    let trends = history::trends(queue, &stats, broker.sampling().newest(), samples);
    let consumer_capacity = if stats.consumers > 0 { trends.capacity } else { 0.0 };
    QueueRow {
        name: queue.name.to_string(),
        vhost: place.name.to_string(),
        kind: settings.kind.name().to_owned(),
        durable: settings.durable,
        auto_delete: settings.auto_delete,
        exclusive: settings.exclusive,
        arguments: arguments(&settings.arguments),
        policy,
        operator_policy,
        effective_policy_definition: arguments_of(&definition),
        state: "running".to_owned(),
        messages: stats.ready + stats.unacked,
        messages_ready: stats.ready,
        messages_unacknowledged: stats.unacked,
        messages_parked: stats.parked,
        messages_delayed: stats.delayed,
        messages_ram: (stats.ready + stats.unacked + stats.delayed + stats.parked)
            .saturating_sub(stats.bodies.on_disk),
        message_bytes: stats.bodies.all,
        message_bytes_ready: stats.bodies.ready,
        message_bytes_unacknowledged: if stats.unacked == 0 {
            0
        } else {
            stats.bodies.all - stats.bodies.ready
        },
        message_bytes_ram: stats.bodies.memory,
        oldest_message_age_ms: oldest.arrived_at_ms.map(|at_ms| now.unix_ms.saturating_sub(at_ms)),
        average_message_wait_ms: stats.waits.average_ms(),
        head_message_timestamp: oldest.head_timestamp,
        used_at_ms: stats.used_at_ms,
        consumers: stats.consumers,
        consumer_capacity,
        consumer_utilisation: consumer_capacity,
        memory: stats.resident as u64,
        owner_pid: queue.owner().map(|owner| connection_name(broker, owner)),
        exclusive_consumer_tag: tag_of(|consumer| consumer.exclusive),
        single_active_consumer_tag: if is_one_served { tag_of(|consumer| consumer.active) } else { None },
        trends,
    }
}

/// The consumers of a queue, or those on connections of one user only.
fn consumers(broker: &Broker, queue: &Queue, only: Option<&str>) -> Vec<ConsumerRow> {
    let shown = |consumer: Subscribed| {
        let connection = connection_name(broker, consumer.label.connection);
        let activity = match (queue.settings.single_active, consumer.active) {
            (false, _) => "up",
            (true, true) => "single_active",
            (true, false) => "waiting",
        };
        let client = broker.clients().get(consumer.label.connection);
        ConsumerRow {
            queue_name: queue.name.to_string(),
            vhost: queue.on().vhost.to_string(),
            user: client.map(|client| client.facts.user.clone()).unwrap_or_default(),
            channel_pid: format!("{connection} ({})", consumer.label.channel),
            consumer_tag: text(&consumer.label.tag),
            ack_required: consumer.ack_required,
            prefetch_count: consumer.label.prefetch,
            active: consumer.active,
            activity_status: activity.to_owned(),
            exclusive: consumer.exclusive,
            arguments: consumer.label.arguments.map(|kept| decoded(kept.table())).unwrap_or_default(),
        }
    };
    let is_seen = |consumer: &Subscribed| {
        let user = |client: Arc<Client>| only == Some(client.facts.user.as_str());
        only.is_none() || broker.clients().get(consumer.label.connection).is_some_and(user)
    };
    queue.consumers().into_iter().filter(is_seen).map(shown).collect()
}

/// The name of a connection; its number when it is on its way out.
fn connection_name(broker: &Broker, id: ConnectionId) -> String {
    broker.clients().get(id).map_or_else(|| id.to_string(), |client| client.facts.name())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
