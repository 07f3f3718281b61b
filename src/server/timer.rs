//! What happens by the clock: a look at the store's health, and the alarm of a connection.

use super::Server;
use super::pressure::Pressure;
use crate::clock::{self, Now};
use crate::store::change::Health;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval, sleep_until};

/// How often the broker looks for what is due: expiry is that late at most, and ten looks a second cost nothing.
const TICK: Duration = Duration::from_millis(100);

/// Watches the broker's store until the store has failed for good.
pub async fn run(server: &Server) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pressure = Pressure::default();
    loop {
        ticks.tick().await;
        let health = server.broker.health();
        if pressure.changes(health) {
            server.wake_all();
        }
        if health == Health::Failed {
            return;
        }
    }
}

/// Wakes a connection's task at its deadline.
///
/// Deadlines move on with every read, so the timer is left as it is while it rings too early, and is set again when it
/// has rung: a busy connection touches it once in a while, not once a turn. It belongs to one task for life.
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
