//! Vhosts: what an operator says of them, and what there may be in them.

use super::access::{Access, Requirement, Tag};
use super::limits::limit;
use super::refusal::{Refusal, RefusalKind};
use super::{Caller, Performed, Row};
use crate::auth::vhost::{VHostLimits, VHostRecord};
use crate::broker::Broker;
use crate::broker::vhost::VHost;
use crate::broker::vhosts::{VHostError, VHostMetadata};
use crate::ids::Ticket;
use crate::statistics::{EVENTS, SamplesWanted, Trend};
use serde::{Deserialize, Serialize};

/// What can be done with vhosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum VHostOperation {
    /// A new vhost, in which nobody may do anything yet; one that is there stays as it is.
    AddVhost {
        /// Its name.
        vhost: String,
        /// What it is for.
        description: String,
        /// Its tags.
        tags: Vec<String>,
        /// The type of queues whose declaration names none.
        default_queue_type: Option<String>,
    },
    /// Something else is said of a vhost; what is none stays.
    UpdateVhostMetadata {
        /// The virtual host.
        vhost: String,
        /// What it is for.
        description: Option<String>,
        /// Its tags.
        tags: Option<Vec<String>>,
        /// The type of queues whose declaration names none.
        default_queue_type: Option<String>,
    },
    /// The vhost goes with all that is in it; its connections are closed.
    DeleteVhost {
        /// The virtual host.
        vhost: String,
    },
    /// The vhost cannot be deleted from now on, or can.
    ProtectVhost {
        /// The virtual host.
        vhost: String,
        /// Whether it cannot.
        protected: bool,
    },
    /// What clients publish and are delivered is copied to `amq.rabbitmq.trace`, until the broker
    /// stops.
    TraceOn {
        /// The virtual host.
        vhost: String,
    },
    /// It is copied no longer.
    TraceOff {
        /// The virtual host.
        vhost: String,
    },
    /// All vhosts.
    ListVhosts,
    /// Limits; those that are not named stay.
    SetVhostLimits {
        /// Which vhost's.
        vhost: String,
        /// The limits to change.
        limits: VHostLimitsChange,
    },
    /// No limits any more.
    ClearVhostLimits {
        /// Which vhost's.
        vhost: String,
    },
    /// The limits of a vhost, or of all that have any.
    ListVhostLimits {
        /// Which vhost's.
        vhost: Option<String>,
    },
}

/// What limits become; a negative number lifts one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct VHostLimitsChange {
    /// Connections at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Queues at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queues: Option<i64>,
}

/// A vhost, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VHostRow {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The type of queues whose declaration names none.
    pub default_queue_type: String,
    /// Whether what clients publish and are delivered is copied to `amq.rabbitmq.trace`.
    #[serde(default)]
    pub tracing: bool,
    /// Whether it cannot be deleted.
    #[serde(default)]
    pub protected_from_deletion: bool,
    /// How its messages and connections do, as the newest sample has it.
    #[serde(skip)]
    pub trends: VHostTrends,
}

/// How the messages and connections of a vhost do; each is none if nothing has ever happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VHostTrends {
    /// What happened to messages on its channels, in the order of
    /// [`crate::statistics::EVENT_NAMES`].
    pub events: Option<[Trend; EVENTS]>,
    /// Messages that wait for a consumer, and those that are unacknowledged.
    pub lengths: Option<[Trend; 2]>,
    /// Bytes that came, and that went.
    pub traffic: Option<[Trend; 2]>,
}

/// The limits of a vhost, as they are listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VHostLimitsRow {
    /// Which vhost's.
    pub vhost: String,
    /// Connections at a time, if they are limited.
    #[serde(rename = "max-connections")]
    pub max_connections: Option<u32>,
    /// Queues at a time, if they are limited.
    #[serde(rename = "max-queues")]
    pub max_queues: Option<u32>,
}

impl VHostOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        !matches!(self, Self::ListVhosts | Self::ListVhostLimits { .. })
    }

    /// What it takes of a user.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        match self {
            // Those that the user sees.
            Self::ListVhosts | Self::ListVhostLimits { vhost: None } => Requirement::Tag(Tag::Management),
            Self::ListVhostLimits { vhost: Some(vhost) } => Requirement::VisibleVHost(vhost),
            Self::AddVhost { .. }
            | Self::UpdateVhostMetadata { .. }
            | Self::DeleteVhost { .. }
            | Self::ProtectVhost { .. }
            | Self::TraceOn { .. }
            | Self::TraceOff { .. }
            | Self::SetVhostLimits { .. }
            | Self::ClearVhostLimits { .. } => Requirement::Tag(Tag::Administrator),
        }
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(
    broker: &Broker,
    operation: VHostOperation,
    caller: &Caller,
    access: &Access<'_>,
) -> Result<Performed, Refusal> {
    let vhosts = broker.vhosts();
    let changed = match operation {
        VHostOperation::AddVhost { vhost, description, tags, default_queue_type } => {
            let record = VHostRecord::named(&vhost);
            vhosts.create(VHostRecord { description, tags, default_queue_type, ..record })
        }
        VHostOperation::UpdateVhostMetadata { vhost, description, tags, default_queue_type } => {
            vhosts.set_metadata(&vhost, VHostMetadata { description, tags, default_queue_type })
        }
        VHostOperation::DeleteVhost { vhost } => vhosts.delete(&vhost),
        VHostOperation::ProtectVhost { vhost, protected } => vhosts.protect(&vhost, protected),
        VHostOperation::SetVhostLimits { vhost, limits } => set_limits(broker, &vhost, limits),
        VHostOperation::ClearVhostLimits { vhost } => {
            let record = vhosts.record(&vhost).ok_or_else(|| Refusal::no_vhost(broker, &vhost))?;
            if record.limits == VHostLimits::default() {
                return Err(Refusal::new(RefusalKind::NotFound, format!("vhost '{vhost}' has no limits")));
            }
            vhosts.set_limits(&vhost, VHostLimits::default())
        }
        VHostOperation::TraceOn { vhost } => set_tracing(broker, vhost, true),
        VHostOperation::TraceOff { vhost } => set_tracing(broker, vhost, false),
        VHostOperation::ListVhosts => {
            let seen = vhosts.list().into_iter().filter(|record| access.sees_vhost(&record.name));
            let listed: Vec<_> = seen.map(|record| (vhosts.get(&record.name), record)).collect();
            let (newest, samples) = (broker.sampling().newest(), caller.samples);
            return Ok(Performed::rows(listed.into_iter().map(move |(vhost, record)| {
                Row::VHost(Box::new(VHostRow {
                    tracing: vhost.as_ref().is_some_and(|vhost| vhost.is_tracing()),
                    trends: vhost.map(|vhost| trends(&vhost, newest, &samples)).unwrap_or_default(),
                    protected_from_deletion: record.protected,
                    name: record.name,
                    description: record.description,
                    tags: record.tags,
                    default_queue_type: record.default_queue_type.unwrap_or_else(|| "classic".to_owned()),
                }))
            })));
        }
        VHostOperation::ListVhostLimits { vhost } => return list_limits(broker, vhost, access),
    };
    changed.map(Performed::done).map_err(|error| match error {
        VHostError::NoSuchVHost(name) => Refusal::no_vhost(broker, &name),
        VHostError::TooMany { .. } | VHostError::Protected(_) => {
            Refusal::new(RefusalKind::Conflict, error.to_string())
        }
        VHostError::Invalid(why) => Refusal::new(RefusalKind::Invalid, why),
    })
}

fn trends(vhost: &VHost, newest: u32, samples: &SamplesWanted) -> VHostTrends {
    let counted = &vhost.counted;
    VHostTrends {
        events: counted.events.sampled(newest, samples.events),
        lengths: counted.lengths.sampled(newest, samples.lengths),
        traffic: counted.traffic.sampled(newest, samples.data),
    }
}

fn set_tracing(broker: &Broker, name: String, on: bool) -> Result<Ticket, VHostError> {
    match broker.vhosts().get(&name) {
        Some(vhost) => vhost.set_tracing(on),
        None => return Err(VHostError::NoSuchVHost(name)),
    }
    // It is not on disk.
    Ok(Ticket(0))
}

fn set_limits(broker: &Broker, name: &str, change: VHostLimitsChange) -> Result<Ticket, VHostError> {
    let whose = format!("vhost '{name}'");
    let limit = |what, given| limit(what, &whose, given).map_err(VHostError::Invalid);
    let connections = limit("max-connections", change.max_connections)?;
    let queues = limit("max-queues", change.max_queues)?;
    broker.vhosts().change_limits(name, |own| {
        own.connections_max = connections.unwrap_or(own.connections_max);
        own.queues_max = queues.unwrap_or(own.queues_max);
    })
}

fn list_limits(broker: &Broker, vhost: Option<String>, access: &Access<'_>) -> Result<Performed, Refusal> {
    let mut records = match vhost {
        None => broker.vhosts().list(),
        Some(name) => vec![broker.vhosts().record(&name).ok_or_else(|| Refusal::no_vhost(broker, &name))?],
    };
    records.retain(|record| record.limits != VHostLimits::default() && access.sees_vhost(&record.name));
    Ok(Performed::rows(records.into_iter().map(|VHostRecord { name, limits, .. }| {
        let VHostLimits { connections_max: max_connections, queues_max: max_queues } = limits;
        Row::VHostLimits(VHostLimitsRow { vhost: name, max_connections, max_queues })
    })))
}
