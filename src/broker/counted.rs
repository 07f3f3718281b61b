//! What is counted of channels, connections and vhosts, and their histories. What queues count they
//! keep themselves; exchanges, see `routing`.

use crate::statistics::{EVENTS, EventCounters, Recorder};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted of bytes: those that came, and those that went.
pub const TRAFFIC: usize = 2;

/// What a channel counts. Its session alone adds to it.
#[derive(Debug, Default)]
pub struct ChannelEvents {
    /// What happened to messages on it.
    pub counters: EventCounters,
    /// The same over time.
    pub history: Recorder<EVENTS>,
}

/// What is counted of a vhost: what its channels and connections counted that are gone. What those
/// have counted that are there is added when it is looked at.
#[derive(Debug, Default)]
pub struct VHostCounted {
    /// What happened to messages on channels that are gone, or without a channel.
    pub ended: EventCounters,
    ended_traffic: [AtomicU64; TRAFFIC],
    /// What happened to messages, over time.
    pub events: Recorder<EVENTS>,
    /// Messages that wait for a consumer, and those that are unacknowledged, over time.
    pub lengths: Recorder<2>,
    /// Bytes that came and went, over time.
    pub traffic: Recorder<TRAFFIC>,
}

impl VHostCounted {
    /// A channel is gone.
    pub fn end_channel(&self, channel: &ChannelEvents) {
        self.ended.add_all(&channel.counters.counts());
    }

    /// A connection is gone, through which so many bytes went.
    pub fn end_connection(&self, bytes: [u64; TRAFFIC]) {
        for (sum, bytes) in self.ended_traffic.iter().zip(bytes) {
            sum.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Bytes of connections that are gone.
    #[must_use]
    pub fn ended_traffic(&self) -> [u64; TRAFFIC] {
        self.ended_traffic.each_ref().map(|sum| sum.load(Ordering::Relaxed))
    }
}
