//! Jobs: messages of a queue moved to elsewhere, or back to where they died.
//!
//! A job takes what whoever asks for it would need to do the same by hand: to read from the queue,
//! and to write to each exchange that it publishes to; of a message that goes back into a queue
//! that is the default exchange.

use super::access::{Access, Requirement, Tag};
use super::parked::check_exchange;
use super::refusal::{Refusal, RefusalKind};
use super::selection::{Selection, ShownState};
use super::{Caller, Performed, Row, Told, find, short};
use crate::auth::permission::{Grants, Right};
use crate::auth::user::ADMINISTRATOR;
use crate::broker::Broker;
use crate::broker::jobs::{Destination, Job, JobState, MayPublish, NotBegun, Order, RUNNING_MAX};
use crate::broker::vhost::access::may_use_keys;
use crate::ids::Ticket;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Messages that a job may be given by their numbers.
const IDS_MAX: usize = 10_000;

/// What can be done with jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum JobOperation {
    /// Messages of a queue go where an exchange sends them.
    MoveMessages {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
        /// The exchange; empty for the default exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
        /// Which messages, and how many.
        #[serde(default)]
        which: Which,
    },
    /// Messages of a queue go back to where they died last.
    RedriveMessages {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
        /// To what of that.
        #[serde(default)]
        to: RedriveTarget,
        /// Which messages, and how many.
        #[serde(default)]
        which: Which,
    },
    /// Those that whoever asks sees.
    ListJobs,
    /// One of them.
    GetJob {
        /// Its number.
        job: u64,
    },
    /// One ends after the batch at which it is.
    StopJob {
        /// Its number.
        job: u64,
    },
}

/// Which messages a job is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Which {
    /// These; all if it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u64>>,
    /// Those of them that fit.
    #[serde(skip_serializing_if = "Selection::is_all")]
    pub selection: Selection,
    /// Messages at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Messages of a second, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
}

/// Where a message goes that is redriven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedriveTarget {
    /// Into the queue in which it died.
    #[default]
    Queue,
    /// To the exchange that it had come to that queue by, with the same keys.
    Exchange,
}

/// A job, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// Its number.
    pub id: String,
    /// `move` or `redrive`.
    pub kind: String,
    /// The queue's vhost.
    pub vhost: String,
    /// The queue.
    pub queue: String,
    /// `running`, `done`, `stopped` or `failed`.
    pub state: String,
    /// Messages that are elsewhere.
    pub moved: u64,
    /// Messages that are not; while it runs, those that may still be.
    pub left: u64,
    /// Both.
    pub total: u64,
    /// Why some are left, in words: the first reason.
    pub reason: Option<String>,
    /// Who has asked for it.
    pub by: String,
    /// When it began, milliseconds since 1970 by the wall clock.
    pub started_at: u64,
}

impl JobOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        !matches!(self, Self::ListJobs | Self::GetJob { .. })
    }

    /// What it takes of a user; of one that is redriven, permissions for where it goes count, too.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        let (vhost, queue, publishes) = match self {
            Self::MoveMessages { vhost, queue, exchange, routing_key, .. } => {
                (vhost, queue, Some((exchange.as_str(), routing_key.as_str())))
            }
            Self::RedriveMessages { vhost, queue, .. } => (vhost, queue, None),
            // Its own, unless it sees those of others.
            Self::ListJobs | Self::GetJob { .. } | Self::StopJob { .. } => {
                return Requirement::Tag(Tag::Management);
            }
        };
        Requirement::Queue { vhost, queue, right: Right::Read, publishes }
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(
    broker: &Arc<Broker>,
    operation: JobOperation,
    caller: &Caller,
    access: &Access<'_>,
) -> Result<Performed, Refusal> {
    let row = |job: &Arc<Job>| row(broker, job);
    match operation {
        JobOperation::MoveMessages { vhost, queue, exchange, routing_key, which } => {
            short::check([("exchange", &*exchange), ("routing key", &*routing_key)])?;
            if exchange.is_empty() {
                find::queue(broker, &vhost, &routing_key)?;
            }
            let place = find::vhost(broker, &vhost)?;
            check_exchange(&place, &exchange)?;
            let destination = Destination::Exchange { exchange, routing_key };
            begin(broker, (&vhost, &queue), (destination, which), caller)
        }
        JobOperation::RedriveMessages { vhost, queue, to, which } => {
            let destination = match to {
                RedriveTarget::Queue => Destination::QueueOfDeath,
                RedriveTarget::Exchange => Destination::ExchangeOfDeath,
            };
            begin(broker, (&vhost, &queue), (destination, which), caller)
        }
        JobOperation::ListJobs => {
            let mut jobs = broker.jobs().list();
            jobs.retain(|job| is_seen(job, access));
            let rows: Vec<Row> = jobs.iter().map(|job| Row::Job(row(job))).collect();
            Ok(Performed::rows(rows.into_iter()))
        }
        JobOperation::GetJob { job } => {
            let found = broker.jobs().get(job).filter(|found| is_seen(found, access));
            let found = found.ok_or_else(|| no_job(job))?;
            Ok(Performed::told(Told::Job(row(&found)), Ticket(0)))
        }
        JobOperation::StopJob { job } => {
            let found = broker.jobs().get(job).filter(|found| is_seen(found, access));
            let found = found.ok_or_else(|| no_job(job))?;
            let is_own = |name: &str| found.by == name;
            if access.user().is_some_and(|user| !user.has_tag(ADMINISTRATOR) && !is_own(&user.name)) {
                let why = format!("job {job} is of '{}': only an administrator may stop it", found.by);
                return Err(Refusal::new(RefusalKind::Forbidden, why));
            }
            let state = found.progress().state;
            if state != JobState::Running {
                let why = format!("job {job} has ended already: it is {}", state.name());
                return Err(Refusal::new(RefusalKind::Conflict, why));
            }
            found.stop();
            Ok(Performed::done(Ticket(0)))
        }
    }
}

/// Whether whoever asks sees a job: its own, or all.
fn is_seen(job: &Job, access: &Access<'_>) -> bool {
    access.sees_only().is_none_or(|name| name == job.by)
}

fn no_job(job: u64) -> Refusal {
    Refusal::new(RefusalKind::NotFound, format!("there is no job {job}"))
}

fn begin(
    broker: &Arc<Broker>,
    (vhost, queue): (&str, &str),
    (destination, which): (Destination, Which),
    caller: &Caller,
) -> Result<Performed, Refusal> {
    let queue = find::queue(broker, vhost, queue)?;
    let invalid = |why: String| Err(Refusal::new(RefusalKind::Invalid, why));
    if queue.is_stream() {
        return invalid(format!("queue '{}' is a stream, whose messages stay", queue.name));
    }
    if queue.settings.delays && !matches!(destination, Destination::Exchange { .. }) {
        return invalid(format!(
            "messages of queue '{}' have not died: they wait for their time",
            queue.name
        ));
    }
    let Which { ids, selection, limit, rate } = which;
    if ids.as_ref().is_some_and(|ids| ids.len() > IDS_MAX) {
        return invalid(format!("a job takes {IDS_MAX} messages by their numbers, at most"));
    }
    if matches!(selection.state, Some(ShownState::Unacknowledged | ShownState::Leaving)) {
        return invalid("what a consumer has, or is on its way, cannot be moved".to_owned());
    }
    if let Some((name, _)) = [("rate", rate), ("limit", limit)].iter().find(|(_, value)| *value == Some(0)) {
        return invalid(format!("{name} must be at least 1"));
    }
    let (by, may) = (caller.who.name().to_owned(), may_publish(broker, caller));
    let wanted = selection.clone();
    let order = Order {
        queue,
        destination,
        ids,
        wants: Box::new(move |state| wanted.wants(state)),
        fits: Box::new(move |found| selection.fits(found)),
        limit,
        rate,
        may,
        by,
    };
    let job = broker.begin_job(order).map_err(|why| match why {
        NotBegun::TooMany => {
            let why = format!("{RUNNING_MAX} jobs run already: wait for one of them, or stop it");
            Refusal::new(RefusalKind::Conflict, why)
        }
        NotBegun::NoThread(error) => {
            Refusal::new(RefusalKind::Unavailable, format!("there is no thread for a job: {error}"))
        }
    })?;
    Ok(Performed::told(Told::Job(row(broker, &job)), Ticket(0)))
}

/// Whether whoever asks may publish somewhere, asked anew each time: a job may take long.
fn may_publish(broker: &Arc<Broker>, caller: &Caller) -> MayPublish {
    let Some(user) = caller.who.user().map(str::to_owned) else { return Box::new(|_, _, _| Ok(())) };
    let broker = Arc::downgrade(broker);
    Box::new(move |place, exchange, keys| {
        let broker = broker.upgrade().ok_or("the broker has ended")?;
        let grants = broker.accounts().grants_of(&user, &place.name);
        let grants = grants.unwrap_or_else(|| Arc::new(Grants::nothing(&user)));
        grants.check(Right::Write, &place.on_exchange(exchange)).map_err(|error| error.to_string())?;
        may_use_keys(&grants, place, Right::Write, exchange.as_bytes(), keys)
            .map_err(|error| error.to_string())
    })
}

fn row(broker: &Broker, job: &Job) -> JobRow {
    let progress = job.progress();
    JobRow {
        id: job.id.to_string(),
        kind: if job.redrives { "redrive" } else { "move" }.to_owned(),
        vhost: job.vhost.to_string(),
        queue: job.queue.to_string(),
        state: progress.state.name().to_owned(),
        moved: progress.moved,
        left: progress.left,
        total: progress.moved + progress.left,
        reason: progress.reason.filter(|_| progress.state != JobState::Done),
        by: job.by.clone(),
        started_at: broker.clock().wall_ms(job.started_ms),
    }
}
