//! The broker as a whole: whether it is there, and how it stands.

use super::access::{Requirement, Tag};
use super::{Caller, Performed, Refusal, Told, damage};
use crate::broker::Broker;
use crate::ids::Ticket;
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

impl NodeOperation {
    /// What it takes of a user.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        Requirement::Tag(match self {
            Self::Ping => Tag::Management,
            Self::Status | Self::ListDamaged { records: false } => Tag::Monitoring,
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
) -> Result<Performed, Refusal> {
    let told = match operation {
        NodeOperation::Ping => Told::Done,
        NodeOperation::Status => Told::Status(status(broker, caller)),
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
