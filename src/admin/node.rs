//! The broker as a whole: whether it is there, and how it stands.

use super::access::{Access, Requirement, Tag};
use super::{Answer, Caller, Performed, Refusal, RefusalKind, Told, damage};
use crate::audit::recent::LogLine;
use crate::broker::sampling::{CHURN, USAGE, churn, events};
use crate::broker::{AlarmLimits, Broker};
use crate::config::{Amount, Bytes};
use crate::ids::Ticket;
use crate::machine;
use crate::metrics::IoTally;
use crate::statistics::{EVENTS, Trend};
use crate::store::change::Health;
pub use crate::store::may_hold_copy;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What RabbitMQ calls a limit of free disk space that is a multiple of the machine's memory.
pub const MEM_RELATIVE: &str = "mem_relative";

/// What can be asked about the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NodeOperation {
    /// Whether it answers.
    Ping,
    /// The broker's status.
    Status,
    /// How the nodes of its cluster stand.
    ClusterStatus,
    /// What there is, in numbers, as far as whoever asks sees it.
    Overview,
    /// What the process uses.
    Usage,
    /// The last lines of the log.
    ReadLog {
        /// Lines at most.
        lines: usize,
    },
    /// Which messages are damaged on disk.
    ListDamaged {
        /// With what is left of them.
        records: bool,
    },
    /// A copy of the data file, with everything that is confirmed when it begins.
    Backup,
    /// Another filter of the log, until the next start or reload.
    SetLogLevel {
        /// A level, or levels by module.
        level: String,
    },
    /// Another limit of memory, above which publishers wait, until the next start or reload.
    SetVmMemoryHighWatermark {
        /// Bytes, as in `512MiB`, or a share of the machine's memory, as in `0.6`.
        limit: String,
    },
    /// Another limit of free disk space, below which publishers wait, until the next start or
    /// reload.
    SetDiskFreeLimit {
        /// Bytes, as in `512MiB`, or [`MEM_RELATIVE`] and a multiple of the machine's memory, as in
        /// `mem_relative 1.5`.
        limit: String,
    },
    /// No new connections from now on.
    SuspendListeners,
    /// New connections again.
    ResumeListeners,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogRow {
    /// When it was written, milliseconds since 1970 by the wall clock.
    pub at: u64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// The part of the broker that has written it.
    pub target: &'static str,
    /// What it says.
    pub text: String,
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
    /// Bytes of memory in use, if that is known.
    pub memory_bytes: Option<u64>,
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
    /// Messages that wait for a retry or for their time.
    pub messages_delayed: u64,
    /// Messages that died and have nowhere to go.
    pub messages_parked: u64,
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
    /// Messages that wait for a consumer, and those that are unacknowledged.
    #[serde(skip)]
    pub lengths: [Trend; 2],
    /// What happened to messages since the start, in the order of
    /// [`crate::statistics::EVENT_NAMES`]; none if nothing has, or for who does not see all.
    #[serde(skip)]
    pub events: Option<[Trend; EVENTS]>,
    /// What came and went, in the order of [`crate::broker::sampling::CHURN_NAMES`], for those who
    /// see the whole broker.
    #[serde(skip)]
    pub churn: Option<[Trend; CHURN]>,
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
    /// Reads, writes and syncs of the data file since the start.
    pub io: [IoUsage; 3],
    /// What came and went since the start, in the order of
    /// [`crate::broker::sampling::CHURN_NAMES`].
    #[serde(skip)]
    pub churn: [Trend; CHURN],
    /// What is used, in the order of [`crate::broker::sampling::USAGE_NAMES`].
    #[serde(skip)]
    pub trends: [Trend; USAGE],
}

/// How often something was done to the data file, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoUsage {
    /// How often.
    pub count: u64,
    /// Bytes that were read or written.
    pub bytes: u64,
    /// Microseconds that it took.
    pub us: u64,
}

impl IoUsage {
    fn of(tally: &IoTally) -> Self {
        Self { count: tally.count.get(), bytes: tally.bytes.get(), us: tally.us.get() }
    }
}

impl NodeOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        match self {
            Self::Ping
            | Self::Status
            | Self::ClusterStatus
            | Self::Overview
            | Self::Usage
            | Self::ReadLog { .. }
            | Self::ListDamaged { .. }
            // Whoever sends it logs how it ends.
            | Self::Backup => false,
            Self::SetLogLevel { .. }
            | Self::SetVmMemoryHighWatermark { .. }
            | Self::SetDiskFreeLimit { .. }
            | Self::SuspendListeners
            | Self::ResumeListeners => true,
        }
    }

    /// What it takes of a user.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        Requirement::Tag(match self {
            Self::Ping | Self::Overview => Tag::Management,
            Self::Status
            | Self::ClusterStatus
            | Self::Usage
            | Self::ReadLog { .. }
            | Self::ListDamaged { records: false } => Tag::Monitoring,
            // It shows what is in messages of all vhosts.
            Self::ListDamaged { records: true }
            | Self::Backup
            | Self::SetLogLevel { .. }
            | Self::SetVmMemoryHighWatermark { .. }
            | Self::SetDiskFreeLimit { .. }
            | Self::SuspendListeners
            | Self::ResumeListeners => Tag::Administrator,
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
        NodeOperation::ClusterStatus => Told::ClusterStatus(broker.cluster_status()),
        NodeOperation::Overview => Told::Overview(Box::new(overview(broker, caller, access))),
        NodeOperation::Usage => Told::Usage(Box::new(usage(broker, caller))),
        NodeOperation::ReadLog { lines } => Told::Log(log(broker, *lines)),
        NodeOperation::ListDamaged { records } => return damage::list(broker, *records, caller),
        NodeOperation::Backup => {
            return Ok(Performed { answer: Answer::Copy(broker.log().backup()), ticket: Ticket(0) });
        }
        NodeOperation::SetLogLevel { level } => {
            let unavailable = || Refusal::new(RefusalKind::Unavailable, "the log has no filter here");
            let set = broker.log_filter().get().ok_or_else(unavailable)?;
            set(level).map_err(invalid)?;
            Told::Done
        }
        NodeOperation::SetVmMemoryHighWatermark { limit } => {
            let amount: Amount = limit.parse().map_err(invalid)?;
            let bytes = amount.bytes_of(machine::memory_bytes());
            let memory_bytes = bytes.ok_or_else(|| invalid(UNKNOWN_MEMORY.to_owned()))?;
            broker.alarms().set_limits(AlarmLimits { memory_bytes, ..broker.alarms().limits() });
            Told::Done
        }
        NodeOperation::SetDiskFreeLimit { limit } => {
            let disk_free_bytes = disk_free_limit(limit, machine::memory_bytes()).map_err(invalid)?;
            broker.alarms().set_limits(AlarmLimits { disk_free_bytes, ..broker.alarms().limits() });
            Told::Done
        }
        NodeOperation::SuspendListeners | NodeOperation::ResumeListeners => {
            broker.listening().suspend(*operation == NodeOperation::SuspendListeners);
            Told::Done
        }
    };
    Ok(Performed::told(told, Ticket(0)))
}

const UNKNOWN_MEMORY: &str = "it is not known how much memory there is";

/// Bytes of the disk that must be free, with so much memory.
fn disk_free_limit(limit: &str, memory_bytes: Option<u64>) -> Result<u64, String> {
    let Some(multiple) = limit.strip_prefix(MEM_RELATIVE) else {
        return limit.parse().map(|Bytes(bytes)| bytes);
    };
    let multiple = multiple.trim();
    let Some(factor) = multiple.parse::<f64>().ok().filter(|factor| (0.0..=1000.0).contains(factor)) else {
        return Err(format!("'{multiple}' is not a multiple of the memory, as in 1.5"));
    };
    let memory_bytes = memory_bytes.ok_or(UNKNOWN_MEMORY)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the factor is positive, and what is too large becomes the largest number"
    )]
    Ok((memory_bytes as f64 * factor) as u64)
}

fn log(broker: &Broker, lines: usize) -> Vec<LogRow> {
    let row = |LogLine { at_ms, level, target, text }| LogRow { at: at_ms, level, target, text };
    broker.recent_log(lines).into_iter().map(row).collect()
}

fn invalid(why: String) -> Refusal {
    Refusal::new(RefusalKind::Invalid, why)
}

fn status(broker: &Broker, caller: &Caller) -> Status {
    let mut delayed = 0;
    let gauges = broker.gauges_with(|_queue, stats| delayed += stats.delayed);
    let health = broker.health();
    let (alarms, limits) = (broker.alarms().shortage(health), broker.alarms().limits());
    let alarms = [(alarms.memory, "memory"), (alarms.disk, "disk")];
    let store = match health {
        Health::Good => "running",
        Health::Full => "full",
        Health::Failed => "failed",
    };
    Status {
        product: broker.product().to_owned(),
        version: broker.version().to_owned(),
        pid: std::process::id(),
        uptime_s: caller.now.mono_ms.saturating_sub(broker.started_at().mono_ms) / 1000,
        store: store.to_owned(),
        alarms: alarms.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| (*name).to_owned()).collect(),
        memory_bytes: machine::resident_bytes(),
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
        messages_delayed: delayed,
        messages_parked: gauges.messages_parked,
        users: broker.users().list().len() as u64,
    }
}

fn overview(broker: &Broker, caller: &Caller, access: &Access<'_>) -> Overview {
    let only = access.sees_only();
    let clients = broker.clients().list().into_iter();
    let connections = clients.filter(|client| only.is_none_or(|only| only == client.facts.user)).count();
    let mut overview = Overview {
        product: broker.product().to_owned(),
        version: broker.version().to_owned(),
        connections: connections as u64,
        ..Overview::default()
    };
    let (sampling, samples) = (broker.sampling(), caller.samples);
    let newest = sampling.newest();
    let mut lengths: Vec<[Trend; 2]> = Vec::new();
    for vhost in broker.vhosts().all().iter().filter(|vhost| access.sees_vhost(&vhost.name)) {
        overview.exchanges += vhost.list_exchanges().len() as u64 + 1;
        for queue in vhost.list_queues() {
            let stats = queue.stats();
            overview.queues += 1;
            overview.consumers += u64::from(stats.consumers);
            overview.messages_ready += stats.ready;
            overview.messages_unacknowledged += stats.unacked;
        }
        lengths.extend(vhost.counted.lengths.sampled(newest, samples.lengths));
    }
    let now = [overview.messages_ready, overview.messages_unacknowledged];
    overview.lengths = if only.is_none() {
        overview.channels = broker.gauges_without_queues().channels;
        let (events, churn) = (events(broker.metrics()), churn(broker.metrics()));
        overview.events =
            (events != [0; EVENTS]).then(|| sampling.events.trends(events, newest, samples.events));
        overview.churn = Some(sampling.churn.trends(churn, newest, samples.events));
        sampling.lengths.trends(now, newest, samples.lengths)
    } else {
        std::array::from_fn(|at| Trend {
            value: now[at],
            ..Trend::sum(lengths.iter().map(|of_vhost| &of_vhost[at]))
        })
    };
    overview
}

fn usage(broker: &Broker, caller: &Caller) -> Usage {
    let (health, limits) = (broker.health(), broker.alarms().limits());
    let shortage = broker.alarms().shortage(health);
    let (memory, descriptors) = (machine::resident_bytes(), machine::descriptors_open());
    let (disk_free, connections) = (broker.alarms().disk_free_bytes(), broker.clients().list().len() as u64);
    let (sampling, samples) = (broker.sampling(), caller.samples);
    let now = [memory, descriptors, Some(connections), disk_free].map(Option::unwrap_or_default);
    Usage {
        pid: std::process::id(),
        uptime_ms: caller.now.mono_ms.saturating_sub(broker.started_at().mono_ms),
        memory_bytes: memory,
        memory_limit_bytes: Some(limits.memory_bytes).filter(|&bytes| bytes != u64::MAX),
        memory_alarm: shortage.memory,
        disk_free_bytes: disk_free,
        disk_free_limit_bytes: limits.disk_free_bytes,
        disk_alarm: shortage.disk,
        descriptors,
        descriptors_max: machine::descriptors_max(),
        processors: machine::processors() as u64,
        connections_max: broker.limits().get().connections_max,
        connections,
        message_memory_bytes: broker.gauges().resident,
        store_works: health != Health::Failed,
        io: broker
            .io()
            .map_or([IoUsage::default(); 3], |io| [&io.reads, &io.writes, &io.syncs].map(IoUsage::of)),
        churn: sampling.churn.trends(churn(broker.metrics()), sampling.newest(), samples.events),
        trends: sampling.usage.trends(now, sampling.newest(), samples.node),
    }
}

#[cfg(test)]
mod tests {
    use super::disk_free_limit;

    #[test]
    fn free_disk_space_is_bytes_or_a_multiple_of_the_memory() {
        assert_eq!(disk_free_limit("5MB", None), Ok(5_000_000));
        assert_eq!(disk_free_limit("mem_relative 1.5", Some(1000)), Ok(1500));
        assert_eq!(disk_free_limit("mem_relative 1", Some(u64::MAX)), Ok(u64::MAX));
        for wrong in ["mem_relative", "mem_relative -1", "mem_relative NaN", "mem_relative 1e9", "1.5"] {
            assert!(disk_free_limit(wrong, Some(1000)).is_err(), "{wrong}");
        }
        assert!(disk_free_limit("mem_relative 1", None).is_err());
    }
}
