//! What happens by the clock: a look at the store's health, queues whose time has come, and the
//! alarm of a connection.

use super::Server;
use super::pressure::{self, Pressure};
use crate::broker::Broker;
use crate::broker::sampling::USAGE;
use crate::clock::{self, Clock, Now};
use crate::machine;
use crate::statistics::TICK_MS;
use crate::store::change::Health;
use std::future::{pending, poll_fn};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval, sleep, sleep_until};
use tracing::{error, warn};

/// How often somebody looks whether the store is well and how much memory is in use; queues are
/// called when they want to be. A jump of the machine's clock is noticed that late at most.
const TICK: Duration = Duration::from_millis(100);

/// How long to wait before it is tried again to keep something that could not be written.
const KEEP_AGAIN: Duration = Duration::from_secs(1);

/// A time in which the process should have done something and did not: ten times what it should
/// take.
const PAUSE_MS: u64 = 1000;

/// How long clients are read after that before queues are called.
const HEARING_MS: u64 = 500;

/// Of those times, one in so many is for the disk: what of it is free, and whether the data file is
/// still where it was.
const DISK_TICKS: u32 = 10;

/// Watches the broker's store, memory and the disk of `folder`, and calls queues when they want to
/// be called, until the store has failed for good.
pub async fn run(server: Arc<Server>, folder: PathBuf) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pressure = Pressure::default();
    let clock = server.broker.clock();
    let mut pause = Pause::after(clock.now());
    let (mut due_ms, mut tick) = (None, 0_u32);
    let sampler = sample(Arc::clone(&server.broker));
    tokio::pin!(sampler);
    loop {
        tokio::select! {
            () = &mut sampler => return,
            _ = ticks.tick() => {
                pause.notice(clock.now());
                if let Some(set_ms) = clock.is_set() {
                    warn!(set_ms, "the machine's clock was set: TTLs, delays and timeouts are not affected");
                    tokio::spawn(keep_ahead(Arc::clone(&server.broker)));
                }
                let alarms = server.broker.alarms();
                let mut changed = pressure::look_at_memory(alarms);
                if tick.is_multiple_of(DISK_TICKS) {
                    server.broker.log().check_place();
                    changed |= pressure::look_at_disk(alarms, &folder);
                }
                tick = tick.wrapping_add(1);
                let health = server.broker.health();
                if health == Health::Failed && server.broker.is_of_cluster() {
                    // Another node's broker goes on, and whoever drives this one ends it.
                    return;
                }
                changed |= pressure.changes(health);
                // A disk that is full again after a moment has not changed for who looks now and
                // then, but in that moment somebody may have begun to wait who is to consume.
                changed |= health == Health::Full && tick.is_multiple_of(DISK_TICKS);
                if alarms.has_somebody_to_wake(alarms.shortage(health)) || changed {
                    server.wake_all();
                }
                if health == Health::Failed {
                    return;
                }
            }
            next_ms = poll_fn(|context| server.broker.timers().poll_next(context, due_ms)) => due_ms = next_ms,
            () = until(due_ms, pause.over_ms, clock) => {
                let now = clock.now();
                pause.notice(now);
                if now.mono_ms >= pause.over_ms {
                    server.broker.tick(now);
                }
            }
        }
    }
}

/// Takes a sample of what is counted at each multiple of 5 s, on a thread on which nobody waits.
async fn sample(broker: Arc<Broker>) {
    loop {
        let now = broker.clock().now();
        sleep(Duration::from_millis(TICK_MS - now.unix_ms % TICK_MS)).await;
        let of = Arc::clone(&broker);
        if let Err(fault) = spawn_blocking(move || of.sample(usage(&of), of.clock().now())).await {
            error!(%fault, "taking samples of the statistics failed");
        }
    }
}

/// What the process uses, in the order of the samples.
fn usage(broker: &Broker) -> [u64; USAGE] {
    let used = [
        machine::resident_bytes(),
        machine::descriptors_open(),
        Some(broker.clients().list().len() as u64),
        broker.alarms().disk_free_bytes(),
    ];
    used.map(Option::unwrap_or_default)
}

/// Keeps with the data how far the calendar is ahead of the machine's clock, so that a restart
/// finds the time of the data again.
async fn keep_ahead(broker: Arc<Broker>) {
    loop {
        let (log, clock) = (Arc::clone(broker.log()), broker.clock().clone());
        // What it is at that time: the clock may be set again and again.
        let kept = spawn_blocking(move || log.keep_ahead(clock.ahead_ms())).await;
        match kept {
            Ok(Ok(())) => return,
            Ok(Err(error)) if broker.health() == Health::Failed => {
                return warn!(%error, "cannot store the clock change: delayed messages will be late or early after the next start");
            }
            Ok(Err(error)) => warn!(%error, "cannot store the clock change; trying again"),
            Err(fault) => {
                return error!(%fault, "cannot store the clock change: delayed messages will be late or early after the next start");
            }
        }
        sleep(KEEP_AGAIN).await;
    }
}

/// Waits until the time has come, milliseconds since 1970, and not before the monotonic time
/// `over_ms`.
async fn until(due_ms: Option<u64>, over_ms: u64, clock: &Clock) {
    let Some(due_ms) = due_ms else { return pending().await };
    let now = clock.now();
    let wait_ms = due_ms.saturating_sub(now.unix_ms).max(over_ms.saturating_sub(now.mono_ms));
    sleep(Duration::from_millis(wait_ms)).await;
}

/// Notices that the process stood still, be it stopped, suspended with its machine, or starved.
/// What clients sent meanwhile lies in their sockets: it is read before a queue is called that goes
/// if nobody has used it for a while.
struct Pause {
    /// When the clock was read last.
    seen_ms: u64,
    /// When queues may be called again.
    over_ms: u64,
}

impl Pause {
    /// None yet.
    fn after(now: Now) -> Self {
        Self { seen_ms: now.mono_ms, over_ms: 0 }
    }

    /// The clock is read, which it is every [`TICK`].
    fn notice(&mut self, now: Now) {
        let passed_ms = now.mono_ms.saturating_sub(self.seen_ms);
        self.seen_ms = now.mono_ms;
        if passed_ms >= PAUSE_MS {
            self.over_ms = now.mono_ms + HEARING_MS;
            warn!(
                passed_ms,
                "the process was suspended: reading from all clients before any of them times out"
            );
        }
    }
}

/// Wakes a connection's task at its deadline.
///
/// Deadlines move on with every read, so the timer is left as it is while it rings too early, and
/// is set again when it has rung: a busy connection touches it once in a while, not once a turn. It
/// belongs to one task for life.
#[derive(Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// For when it is set, in the clock's monotonic milliseconds.
    at_ms: u64,
}

impl Alarm {
    /// Ready when `deadline_ms` has come; else the task is woken then, or earlier.
    pub(super) fn poll(&mut self, deadline_ms: u64, now: Now, context: &mut Context<'_>) -> Poll<()> {
        if deadline_ms <= now.mono_ms {
            return Poll::Ready(());
        }
        let still_to_ring = self.at_ms > now.mono_ms;
        if still_to_ring && self.at_ms <= deadline_ms {
            return Poll::Pending;
        }
        let Some(at) = clock::instant(deadline_ms) else {
            return Poll::Pending;
        };
        self.at_ms = deadline_ms;
        let at = Instant::from_std(at);
        match &mut self.sleep {
            Some(sleep) => {
                sleep.as_mut().reset(at);
                sleep.as_mut().poll(context)
            }
            none => none.insert(Box::pin(sleep_until(at))).as_mut().poll(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_noticed_once() {
        let at = |mono_ms| Now { mono_ms, unix_ms: 0 };
        let mut pause = Pause::after(at(0));
        let mut over = |ms| {
            pause.notice(at(ms));
            pause.over_ms
        };
        assert_eq!([100, 1099, 2099, 2100, 2700].map(&mut over), [0, 0, 2599, 2599, 2599]);
    }
}
