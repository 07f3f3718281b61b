//! How many connections and channels there are, and whether one more may come. A place is given
//! back when it is dropped, so that it cannot be forgotten however a connection ends.

use crate::config::Limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many connections and channels may be open.
#[derive(Debug)]
pub struct Quotas {
    /// For clients that have shaken hands.
    pub connections: Quota,
    /// For the channels of all connections.
    pub channels: Quota,
}

/// A limited number of places.
#[derive(Debug)]
pub struct Quota {
    taken: Arc<AtomicU64>,
    max: AtomicU64,
}

/// One of them.
#[derive(Debug)]
pub struct Permit(Arc<AtomicU64>);

impl Default for Quotas {
    /// Without limits.
    fn default() -> Self {
        Self { connections: Quota::with(u64::MAX), channels: Quota::with(u64::MAX) }
    }
}

impl Quotas {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            connections: Quota::with(limits.connections_max.into()),
            channels: Quota::with(limits.channels_max),
        }
    }

    /// As many as these limits say may come from now on.
    pub fn set(&self, limits: &Limits) {
        self.connections.set_max(limits.connections_max.into());
        self.channels.set_max(limits.channels_max);
    }
}

impl Quota {
    /// Nobody is there yet; `u64::MAX` places are no limit.
    #[must_use]
    pub fn with(max: u64) -> Self {
        Self { taken: Arc::default(), max: AtomicU64::new(max) }
    }

    /// How many places there are, taken or not.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// There are so many places from now on. Who is there stays, even if those are too many.
    pub fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// How many places are taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// A place, unless all are taken.
    ///
    /// # Errors
    /// How many there are.
    pub fn take(&self) -> Result<Permit, u64> {
        let max = self.max();
        // In one step: who is turned away has at no time taken a place that somebody else could
        // have had.
        let one_more = |taken| if taken < max { Some(taken + 1) } else { None };
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_before) => Ok(Permit(Arc::clone(&self.taken))),
            Err(_all) => Err(max),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let room = Quota::with(2);
        let places: Vec<_> = (0..4).map(|_| room.take()).collect();
        assert_eq!(places.iter().flatten().count(), 2);
        assert_eq!(room.taken(), 2);
        drop(places);
        assert_eq!((0..2).map(|_| room.take()).collect::<Vec<_>>().iter().flatten().count(), 2);
    }
}
