//! Logins that failed: how many, and how long whoever fails again and again has to wait for the
//! answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Addresses that are remembered; of more, the one that failed longest ago is forgotten.
const ADDRESSES_MAX: usize = 1024;

/// Failures that are answered at once: anybody mistypes a password.
const FREE: u32 = 3;

/// What the next failure waits; each further one twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// After so long without a failure, an address begins anew.
const FORGOTTEN_MS: u64 = 60_000;

/// Logins by HTTP.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failures: Mutex<HashMap<IpAddr, Failures>>,
    failed: AtomicU64,
    succeeded: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last_ms: u64,
}

impl Attempts {
    /// One succeeded.
    pub(super) fn succeed(&self) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
    }

    /// One from `address` failed: how long it waits for its answer.
    pub(super) fn fail(&self, address: IpAddr, now_ms: u64) -> Duration {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES_MAX
            && !failures.contains_key(&address)
            && let Some(oldest) =
                failures.iter().min_by_key(|(_, own)| own.last_ms).map(|(&address, _)| address)
        {
            failures.remove(&oldest);
        }
        let own = failures.entry(address).or_insert(Failures { count: 0, last_ms: now_ms });
        if now_ms.saturating_sub(own.last_ms) > FORGOTTEN_MS {
            own.count = 0;
        }
        *own = Failures { count: own.count.saturating_add(1), last_ms: now_ms };
        match own.count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(further) => FIRST_WAIT.saturating_mul(1 << further.min(8)).min(WAIT_MAX),
        }
    }

    /// How many there were: those that failed, and those that succeeded.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.failed.load(Ordering::Relaxed), self.succeeded.load(Ordering::Relaxed))
    }

    /// Counts begin anew.
    pub(super) fn reset(&self) {
        self.failed.store(0, Ordering::Relaxed);
        self.succeeded.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn whoever_fails_again_and_again_waits_longer() {
        let attempts = Attempts::default();
        let waits: Vec<_> = (0..7).map(|_| attempts.fail(address(1), 0).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 400, 800]);
        assert_eq!((0..100).map(|_| attempts.fail(address(1), 0)).max(), Some(WAIT_MAX));
        assert_eq!(attempts.fail(address(2), 0), Duration::ZERO, "somebody else");
        assert_eq!(attempts.fail(address(1), FORGOTTEN_MS + 1), Duration::ZERO, "a minute later");
        assert_eq!(attempts.counts(), (109, 0));
    }

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let attempts = Attempts::default();
        for number in 0..5000 {
            attempts.fail(address(number), number.into());
        }
        assert_eq!(attempts.failures.lock().unwrap().len(), ADDRESSES_MAX);
    }
}
