//! Notices when the store fills up, recovers or fails, when memory or disk get short, and says so
//! in the log.
//!
//! What follows from it is the session's: it reads the broker's health itself and blocks its
//! client. Here is only the question whether sessions must be woken to look.

use crate::broker::Alarms;
use crate::machine;
use crate::store::change::Health;
use std::path::Path;
use tracing::{error, info, warn};

/// The store's health as it was last seen.
pub(super) struct Pressure {
    seen: Health,
}

impl Default for Pressure {
    fn default() -> Self {
        Self { seen: Health::Good }
    }
}

impl Pressure {
    /// Whether `health` is not what was last seen.
    pub(super) fn changes(&mut self, health: Health) -> bool {
        if health == self.seen {
            return false;
        }
        self.seen = health;
        match health {
            Health::Good => info!("the disk has room again: publishers are unblocked"),
            Health::Full => warn!("the disk is full: publishers are blocked, consumers go on"),
            Health::Failed => {
                error!("the store has failed: nothing is confirmed any more and the broker stops")
            }
        }
        true
    }
}

/// Measures memory; whether an alarm began or ended.
pub(super) fn look_at_memory(alarms: &Alarms) -> bool {
    let Some(resident) = machine::resident_bytes().filter(|&resident| alarms.observe_memory(resident)) else {
        return false;
    };
    let limit = alarms.limits().memory_bytes;
    if alarms.memory_is_short() {
        warn!(resident, limit, "low on memory: publishers are blocked, consumers go on");
    } else {
        info!(resident, limit, "memory is below its limit again: publishers are unblocked");
    }
    true
}

/// Measures the disk of `folder`; whether an alarm began or ended.
pub(super) fn look_at_disk(alarms: &Alarms, folder: &Path) -> bool {
    let Some(free) = machine::disk_free_bytes(folder).filter(|&free| alarms.observe_disk(free)) else {
        return false;
    };
    let limit = alarms.limits().disk_free_bytes;
    if alarms.shortage(Health::Good).disk {
        warn!(free, limit, "low on disk: publishers are blocked, consumers go on");
    } else {
        info!(free, limit, "the disk has enough room again: publishers are unblocked");
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_woken_once_a_change() {
        let mut pressure = Pressure::default();
        let seen = [Health::Good, Health::Full, Health::Full, Health::Good, Health::Failed, Health::Failed];
        assert_eq!(seen.map(|health| pressure.changes(health)), [false, true, false, true, true, false]);
    }
}
