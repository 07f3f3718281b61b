//! Clients that have not shaken hands yet: how many there may be, together and from one address, so that whoever only opens sockets
//! leaves room for others.

use crate::config::Limits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The part of an IPv6 address that names a network; one client has all of the rest.
const IPV6_NETWORK: u128 = u128::MAX << 64;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Newcomers {
    max: u32,
    per_address_max: u32,
    count: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    all: u32,
    /// Addresses that have any.
    by_address: HashMap<IpAddr, u32>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Newcomer {
    among: Arc<Newcomers>,
    address: IpAddr,
}

impl Newcomers {
    /// Nobody has come yet.
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let (max, per_address_max) = (limits.handshakes_max, limits.handshakes_per_address_max);
        Arc::new(Self { max, per_address_max, count: Mutex::default() })
    }

    /// One more, unless there are too many.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Newcomer> {
        let address = network(address);
        let mut count = self.count();
        let here = count.by_address.get(&address).copied().unwrap_or_default();
        if count.all >= self.max || here >= self.per_address_max {
            return None;
        }
        count.all += 1;
        count.by_address.insert(address, here + 1);
        Some(Newcomer { among: Arc::clone(self), address })
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let mut count = self.among.count();
        count.all -= 1;
        if let Some(here) = count.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                count.by_address.remove(&self.address);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_room_for_others_and_nothing_stays_behind() {
        let limits = Limits { handshakes_max: 3, handshakes_per_address_max: 2, ..Limits::default() };
        let newcomers = Newcomers::new(&limits);
        let admit = |address: &str| newcomers.admit(address.parse().unwrap());
        let (one, two) = (admit("192.0.2.1"), admit("192.0.2.1"));
        assert!(one.is_some() && two.is_some() && admit("192.0.2.1").is_none());
        let other = admit("2001:db8::1");
        assert!(other.is_some() && admit("192.0.2.3").is_none(), "three are all there may be");
        drop((one, two));
        let same = admit("2001:db8::ffff:2");
        assert!(same.is_some() && admit("2001:db8::3").is_none(), "a network counts as one address");
        drop((other, same));
        assert!(newcomers.count().by_address.is_empty() && newcomers.count().all == 0);
    }
}
