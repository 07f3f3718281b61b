//! Operations from the question to the answer that is on disk: what every way in calls, whatever it
//! speaks.
//!
//! What is asked of the broker is done on a thread on which nobody else waits: a policy may make it
//! read a queue's backlog.

use super::definitions::DefinitionsOperation;
use super::vhosts::VHostOperation;
use super::{
    Answer, Caller, Operation, Performed, Refusal, RefusalKind, Requester, RowFilter, inquiry_for, perform,
};
use crate::broker::Broker;
use crate::clock;
use crate::ids::Ticket;
use crate::statistics::SamplesWanted;
use crate::store::change::{Health, Waiter};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::error;

/// How long the sessions may take to say how they stand. Those that have not by then are shown
/// without it.
const INQUIRY_WAIT: Duration = Duration::from_secs(2);

/// How long a change may take to get to the disk.
const DISK_WAIT: Duration = Duration::from_secs(30);

/// How often it is looked whether the store has failed, which it does not say by itself.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether a deleted virtual host is gone.
const LEAVING_EVERY: Duration = Duration::from_millis(20);

/// Waits until nothing is left of deleted virtual hosts whose names an operation may want, or for
/// half a minute: it would wait for that itself, and keep one of the places for operations.
pub async fn wait_for_leaving_vhosts(broker: &Broker, operation: &Operation) {
    let is_taken = || match operation {
        Operation::VHosts(VHostOperation::AddVhost { vhost, .. }) => broker.vhosts().is_leaving(Some(vhost)),
        Operation::Definitions(DefinitionsOperation::ImportDefinitions { .. }) => {
            broker.vhosts().is_leaving(None)
        }
        _ => false,
    };
    let gone = async {
        while is_taken() {
            sleep(LEAVING_EVERY).await;
        }
    };
    let _in_time = timeout(DISK_WAIT, gone).await;
}

/// Performs an operation and waits until what it changes is on disk. It is performed even if nobody
/// waits for it any more.
///
/// # Errors
/// Why it is refused; or it is in effect, and why it is not on disk.
pub async fn perform_durably(
    broker: &Arc<Broker>,
    operation: Operation,
    who: Requester,
) -> Result<Answer, Refusal> {
    perform_wanted(broker, operation, who, (SamplesWanted::default(), None)).await
}

/// As [`perform_durably`], with samples in what is told of objects, and of a list some rows only.
///
/// # Errors
/// As [`perform_durably`].
pub async fn perform_wanted(
    broker: &Arc<Broker>,
    operation: Operation,
    who: Requester,
    (samples, rows): (SamplesWanted, Option<RowFilter>),
) -> Result<Answer, Refusal> {
    let inquiry = inquiry_for(broker, &operation, &who);
    if let Some(inquiry) = &inquiry {
        // What has come by then is shown.
        let _all = timeout(INQUIRY_WAIT, poll_fn(|context| inquiry.poll(context))).await;
    }
    let caller = Caller { who, now: broker.clock().now(), inquiry, samples, rows };
    let of = Arc::clone(broker);
    let performed = spawn_blocking(move || perform(&of, operation, &caller)).await;
    let Performed { answer, ticket } = performed.map_err(|fault| {
        error!(%fault, "an operation panicked");
        Refusal::new(RefusalKind::Unavailable, "the operation failed by a fault of the broker: see its log")
    })??;
    wait_for(broker, ticket).await?;
    Ok(answer)
}

/// Learns that a group is on disk.
#[derive(Default)]
struct Alert(Notify);

impl Waiter for Alert {
    fn durable(&self, _up_to: Ticket) {
        self.0.notify_one();
    }
}

/// Comes back when `ticket` is durable.
async fn wait_for(broker: &Broker, ticket: Ticket) -> Result<(), Refusal> {
    let log = broker.log();
    if ticket <= log.durable() {
        return Ok(());
    }
    let alert = Arc::new(Alert::default());
    let waiter: Arc<dyn Waiter> = Arc::clone(&alert) as Arc<dyn Waiter>;
    log.notify(ticket, &waiter);
    let until_ms = clock::mono_ms() + u64::try_from(DISK_WAIT.as_millis()).unwrap_or(u64::MAX);
    loop {
        if ticket <= log.durable() {
            return Ok(());
        }
        let why = match log.health() {
            Health::Failed => "the store has failed",
            Health::Full if clock::mono_ms() >= until_ms => "the disk is full",
            Health::Good if clock::mono_ms() >= until_ms => "the disk does not keep up",
            Health::Full | Health::Good => {
                let _either = timeout(HEALTH_EVERY, alert.0.notified()).await;
                continue;
            }
        };
        let why = format!("applied, but not persisted: a restart will lose it: {why}");
        return Err(Refusal::new(RefusalKind::Unavailable, why));
    }
}
