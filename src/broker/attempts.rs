//! Logins that failed, by whatever protocol: how many, and how long whoever fails again and again
//! has to wait for the answer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
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

/// The part of an IPv6 address that names a network; one client has all of the rest.
const IPV6_NETWORK: u128 = u128::MAX << 64;

/// By what somebody logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginBy {
    /// The management API.
    Http,
    /// AMQP 0-9-1.
    Amqp,
}

/// Logins.
#[derive(Debug, Default)]
pub struct Attempts {
    failures: Mutex<HashMap<IpAddr, Failures>>,
    counts: [Counts; 2],
}

#[derive(Debug, Default)]
struct Counts {
    failed: AtomicU64,
    succeeded: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last_ms: u64,
}

impl LoginBy {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Http, Self::Amqp];

    /// The protocol's name, as RabbitMQ has it.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Amqp => "amqp091",
        }
    }
}

impl Attempts {
    /// One succeeded.
    pub fn succeed(&self, by: LoginBy) {
        self.of(by).succeeded.fetch_add(1, Ordering::Relaxed);
    }

    /// One from `address` failed: how long it waits for its answer.
    pub fn fail(&self, by: LoginBy, address: IpAddr, now_ms: u64) -> Duration {
        self.of(by).failed.fetch_add(1, Ordering::Relaxed);
        let address = network(address);
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
    #[must_use]
    pub fn counts(&self, by: LoginBy) -> (u64, u64) {
        let Counts { failed, succeeded } = self.of(by);
        (failed.load(Ordering::Relaxed), succeeded.load(Ordering::Relaxed))
    }

    /// Counts begin anew.
    pub fn reset(&self) {
        for Counts { failed, succeeded } in &self.counts {
            failed.store(0, Ordering::Relaxed);
            succeeded.store(0, Ordering::Relaxed);
        }
    }

    fn of(&self, by: LoginBy) -> &Counts {
        let [http, amqp] = &self.counts;
        match by {
            LoginBy::Http => http,
            LoginBy::Amqp => amqp,
        }
    }
}

/// What counts as one client: an address, or the network of one of IPv6. A listener for both has
/// those of IPv4 as addresses of IPv6.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
        address @ IpAddr::V4(_) => address,
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
        let fail = |by, number, ms| attempts.fail(by, address(number), ms);
        let by = [LoginBy::Http, LoginBy::Amqp].into_iter().cycle();
        let waits: Vec<_> = by.take(7).map(|by| fail(by, 1, 0).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 400, 800], "whatever the protocol");
        assert_eq!((0..100).map(|_| fail(LoginBy::Http, 1, 0)).max(), Some(WAIT_MAX));
        assert_eq!(fail(LoginBy::Amqp, 2, 0), Duration::ZERO, "somebody else");
        assert_eq!(fail(LoginBy::Amqp, 1, FORGOTTEN_MS + 1), Duration::ZERO, "a minute later");
        attempts.succeed(LoginBy::Amqp);
        assert_eq!(LoginBy::ALL.map(|by| attempts.counts(by)), [(104, 0), (5, 1)]);
        attempts.reset();
        assert_eq!(LoginBy::ALL.map(|by| attempts.counts(by)), [(0, 0); 2]);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8::ffff:2"), network("2001:db8::1"));
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let attempts = Attempts::default();
        for number in 0..5000 {
            attempts.fail(LoginBy::Amqp, address(number), number.into());
        }
        assert_eq!(attempts.failures.lock().unwrap().len(), ADDRESSES_MAX);
    }
}
