//! How many connections and channels there are, and whether one more may come. A place is given back when it is dropped, so that
//! it cannot be forgotten however a connection ends.

use crate::config::Limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the head of this file.
#[derive(Debug)]
pub struct Places {
    /// For clients that have shaken hands.
    pub connections: Room,
    /// For the channels of all connections.
    pub channels: Room,
}

/// A limited number of places.
#[derive(Debug)]
pub struct Room {
    taken: Arc<AtomicU64>,
    max: u64,
}

/// One of them.
#[derive(Debug)]
pub struct Place(Arc<AtomicU64>);

impl Places {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            connections: Room::with(limits.connections_max.into()),
            channels: Room::with(limits.channels_max),
        }
    }
}

impl Room {
    fn with(max: u64) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// How many places there are, taken or not.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// A place, unless all are taken.
    #[must_use]
    pub fn take(&self) -> Option<Place> {
        // Made first, so that a place too many is given back in the same way.
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.taken));
        (before < self.max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let room = Room::with(2);
        let places: Vec<_> = (0..4).map(|_| room.take()).collect();
        assert_eq!(places.iter().flatten().count(), 2);
        drop(places);
        assert_eq!((0..2).map(|_| room.take()).collect::<Vec<_>>().iter().flatten().count(), 2);
    }
}
