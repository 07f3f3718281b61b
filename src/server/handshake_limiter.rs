//! Clients that have not shaken hands yet: how many there may be together, and who goes when others
//! wait.
//!
//! Nobody is turned away for coming at a bad time: who comes when there are too many waits, in the
//! listener's queue. So that nobody waits for somebody who only opened a socket, a client that has
//! not gone on with its handshake for a second gives way: to others of its address when there are
//! many of that, and to anybody, of the address that has most, when there are too many in all. A
//! client goes on when the broker has said something to it, which it does once a step; single bytes
//! do not count.

use crate::broker::attempts::network;
use crate::clock;
use crate::config::Limits;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tracing::warn;

/// How long a step of the handshake may take when others wait: a few round trips around the world.
pub(super) const STEP_MS: u64 = 1000;

/// All that have not shaken hands.
#[derive(Debug)]
pub(super) struct HandshakeLimiter {
    max: AtomicU32,
    per_address_max: AtomicU32,
    count: Mutex<Count>,
    /// One of them has gone.
    gone: Notify,
}

#[derive(Debug, Default)]
struct Count {
    all: u32,
    /// Somebody has waited, and nobody has left more than a little room since.
    is_full: bool,
    next: u64,
    /// Addresses that have any; none of those of whom a proxy has not told the address yet.
    by_address: HashMap<Option<IpAddr>, Here>,
}

/// Those of one address, who went on longest ago first: since when, and a number. Whoever was told
/// to give way has nothing left to be told with.
type Here = BTreeMap<(u64, u64), Option<oneshot::Sender<()>>>;

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct HandshakePermit {
    among: Arc<HandshakeLimiter>,
    address: Option<IpAddr>,
    key: (u64, u64),
    /// How far the output was when it went on last.
    progress: u64,
    gives_way: oneshot::Receiver<()>,
}

impl HandshakeLimiter {
    /// Nobody has come yet. There is room for `sockets_max` of all kinds, of which no more than
    /// half are for handshakes.
    pub(super) fn new(limits: &Limits, sockets_max: u32) -> Arc<Self> {
        let (max, per_address_max) = (AtomicU32::new(0), AtomicU32::new(0));
        let limiter = Self { max, per_address_max, count: Mutex::default(), gone: Notify::new() };
        limiter.set_limits(limits, sockets_max);
        Arc::new(limiter)
    }

    /// Other limits hold from now on. Who is there stays.
    pub(super) fn set_limits(&self, limits: &Limits, sockets_max: u32) {
        self.max.store(limits.handshakes_max.min((sockets_max / 2).max(1)), Ordering::Relaxed);
        self.per_address_max.store(limits.handshakes_per_address_max, Ordering::Relaxed);
        // Who waits looks again.
        self.gone.notify_waiters();
    }

    fn max(&self) -> u32 {
        self.max.load(Ordering::Relaxed)
    }

    /// One more, as soon as there is room. Its address is not known if a proxy will tell it.
    pub(super) async fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> HandshakePermit {
        loop {
            // Before the look, so that who goes meanwhile is noticed.
            let gone = self.gone.notified();
            let wait_ms = match self.try_admit(address, clock::mono_ms()) {
                Ok(permit) => return permit,
                Err(wait_ms) => wait_ms,
            };
            if !std::mem::replace(&mut self.count().is_full, true) {
                warn!("limits.handshakes_max is reached: new clients wait to be accepted");
            }
            let _gone_or_stale = timeout(Duration::from_millis(wait_ms), gone).await;
        }
    }

    /// One more; or, when there are too many, after how long to try again at the latest.
    fn try_admit(self: &Arc<Self>, address: Option<IpAddr>, now_ms: u64) -> Result<HandshakePermit, u64> {
        let address = address.map(network);
        let mut count = self.count();
        if count.all >= self.max() {
            return Err(count.make_room(now_ms));
        }
        count.all += 1;
        let (key, gives_way) = count.add(address, now_ms);
        if let Some(here) = count.by_address.get_mut(&address)
            && address.is_some()
            && here.len() > self.per_address_max.load(Ordering::Relaxed) as usize
        {
            give_way(here, now_ms);
        }
        drop(count);
        Ok(HandshakePermit { among: Arc::clone(self), address, key, progress: 0, gives_way })
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn add(&mut self, address: Option<IpAddr>, now_ms: u64) -> ((u64, u64), oneshot::Receiver<()>) {
        let (tell, gives_way) = oneshot::channel();
        self.next += 1;
        let key = (now_ms, self.next);
        self.by_address.entry(address).or_default().insert(key, Some(tell));
        (key, gives_way)
    }

    fn remove(&mut self, address: Option<IpAddr>, key: (u64, u64)) {
        if let Some(here) = self.by_address.get_mut(&address) {
            here.remove(&key);
            if here.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }

    /// Tells somebody to give way, of the address that has most among those where that is possible;
    /// after how long to try again at the latest.
    fn make_room(&mut self, now_ms: u64) -> u64 {
        let mut wait_ms = STEP_MS;
        let mut most: Option<&mut Here> = None;
        for here in self.by_address.values_mut() {
            let Some(stale_ms) = stale_ms(here) else { continue };
            if stale_ms > now_ms {
                wait_ms = wait_ms.min(stale_ms - now_ms);
            } else if most.as_ref().is_none_or(|most| most.len() < here.len()) {
                most = Some(here);
            }
        }
        if let Some(here) = most {
            give_way(here, now_ms);
        }
        wait_ms
    }
}

/// When the next of them may be told to give way.
fn stale_ms(here: &Here) -> Option<u64> {
    let mut rest = here.iter().filter(|(_, tell)| tell.is_some());
    rest.next().map(|(&(since_ms, _), _)| since_ms.saturating_add(STEP_MS))
}

/// Tells the one that went on longest ago to give way, if that is long enough ago.
fn give_way(here: &mut Here, now_ms: u64) {
    let next = here.iter_mut().find(|(_, tell)| tell.is_some());
    if let Some((&(since_ms, _), tell)) = next
        && since_ms.saturating_add(STEP_MS) <= now_ms
    {
        // Dropping it tells.
        *tell = None;
    }
}

impl HandshakePermit {
    /// Its output is so far: whether it has gone on with its handshake.
    pub(super) fn look_at(&mut self, progress: u64, now_ms: u64) {
        if progress != self.progress {
            self.progress = progress;
            self.renew(self.address, now_ms);
        }
    }

    /// A proxy has told where it comes from.
    pub(super) fn comes_from(&mut self, address: IpAddr, now_ms: u64) {
        self.renew(Some(network(address)), now_ms);
    }

    fn renew(&mut self, address: Option<IpAddr>, now_ms: u64) {
        let mut count = self.among.count();
        count.remove(self.address, self.key);
        (self.key, self.gives_way) = count.add(address, now_ms);
        self.address = address;
    }

    /// Ready when it has to give way to others.
    pub(super) fn poll_gives_way(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Nothing is ever sent.
        Pin::new(&mut self.gives_way).poll(context).map(|_dropped| ())
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        let mut count = self.among.count();
        count.all -= 1;
        // That others wait is logged once, not each time.
        count.is_full &= count.all > self.among.max() / 2;
        count.remove(self.address, self.key);
        drop(count);
        self.among.gone.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn limiter(handshakes_max: u32, handshakes_per_address_max: u32) -> Arc<HandshakeLimiter> {
        HandshakeLimiter::new(
            &Limits { handshakes_max, handshakes_per_address_max, ..Limits::default() },
            1000,
        )
    }

    fn come(limiter: &Arc<HandshakeLimiter>, address: &str, ms: u64) -> Result<HandshakePermit, u64> {
        limiter.try_admit(Some(address.parse().unwrap()), ms)
    }

    fn gives_way(permit: &mut HandshakePermit) -> bool {
        permit.poll_gives_way(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_does_not_go_on_gives_way_to_others_of_its_address() {
        let limiter = limiter(100, 2);
        let mut silent = come(&limiter, "192.0.2.1", 0).unwrap();
        let mut goes_on = come(&limiter, "192.0.2.1", 1).unwrap();
        let mut other = come(&limiter, "192.0.2.2", 0).unwrap();
        let mut third = come(&limiter, "192.0.2.1", 999).unwrap();
        assert!(!gives_way(&mut silent), "it has a second");
        goes_on.look_at(10, 500);
        goes_on.look_at(10, 1000);
        let _fourth = come(&limiter, "192.0.2.1", 1000).unwrap();
        assert!(gives_way(&mut silent) && !gives_way(&mut goes_on) && !gives_way(&mut third));
        let _fifth = come(&limiter, "192.0.2.1", 1500).unwrap();
        assert!(gives_way(&mut goes_on), "it went on once only");
        assert!(!gives_way(&mut other), "of this address there are few");
    }

    #[test]
    fn who_was_told_to_give_way_and_goes_on_all_the_same_stays() {
        let limiter = limiter(100, 1);
        let mut slow = come(&limiter, "192.0.2.1", 0).unwrap();
        let _next = come(&limiter, "192.0.2.1", 1000).unwrap();
        assert!(gives_way(&mut slow));
        slow.look_at(10, 1001);
        assert!(!gives_way(&mut slow));
    }

    #[test]
    fn when_there_are_too_many_the_address_that_has_most_makes_room() {
        let limiter = limiter(3, 2);
        let mut other = come(&limiter, "2001:db8::1", 0).unwrap();
        let mut one = come(&limiter, "192.0.2.1", 100).unwrap();
        let two = come(&limiter, "192.0.2.1", 100).unwrap();
        assert_eq!(come(&limiter, "192.0.2.3", 400).unwrap_err(), 600, "nobody is slow before that");
        assert!(come(&limiter, "192.0.2.3", 1100).is_err());
        assert!(gives_way(&mut one) && !gives_way(&mut other));
        drop(one);
        let same = come(&limiter, "2001:db8::ffff:2", 1100).unwrap();
        assert!(come(&limiter, "192.0.2.4", 1200).is_err());
        assert!(gives_way(&mut other), "a network counts as one address");
        drop((other, two, same));
        assert!(limiter.count().by_address.is_empty() && limiter.count().all == 0);
    }

    #[test]
    fn other_limits_hold_for_who_comes_next() {
        let limiter = limiter(1, 10);
        let one = come(&limiter, "192.0.2.1", 0).unwrap();
        assert!(come(&limiter, "192.0.2.2", 0).is_err());
        let limits = Limits { handshakes_max: 3, handshakes_per_address_max: 1, ..Limits::default() };
        limiter.set_limits(&limits, 1000);
        let mut two = come(&limiter, "192.0.2.2", 0).unwrap();
        let _three = come(&limiter, "192.0.2.2", 2000).unwrap();
        assert!(gives_way(&mut two), "one of an address need not");
        drop(one);
        limiter.set_limits(&limits, 2);
        assert!(come(&limiter, "192.0.2.1", 3000).is_err(), "two are there, and half of the sockets is one");
    }

    #[test]
    fn who_comes_through_a_proxy_counts_where_it_comes_from() {
        let limiter = limiter(100, 1);
        let mut untold: Vec<_> = (0..3).map(|_| limiter.try_admit(None, 0).unwrap()).collect();
        let _late = limiter.try_admit(None, 5000).unwrap();
        assert!(!untold.iter_mut().any(gives_way), "a proxy is no client");
        let address = |text: &str| text.parse().unwrap();
        untold[0].comes_from(address("192.0.2.1"), 10);
        untold[1].comes_from(address("192.0.2.2"), 10);
        let _next = come(&limiter, "192.0.2.1", 1010).unwrap();
        assert_eq!([0, 1, 2].map(|at| gives_way(&mut untold[at])), [true, false, false]);
        drop(untold);
        assert_eq!(limiter.count().all, 2);
    }
}
