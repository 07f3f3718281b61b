//! Takes a sample of everything that is counted, every 5 s, so that rates and charts can be told.
//!
//! One pass looks at each object once, under its own lock for as long as it takes to copy its
//! counts. How long samples are kept depends on how many there are: what they take in memory has a
//! bound.

use super::Broker;
use super::clients::Client;
use super::counted::TRAFFIC;
use super::vhost::VHost;
use crate::clock::Now;
use crate::metrics::{Counter, Metrics};
use crate::queue::reply::is_reply_queue;
use crate::queue::{Queue, QueueStats, history};
use crate::statistics::{EVENTS, MINUTES_KEPT, Moment, Recorder, TICK_MS, TICKS_KEPT};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Bytes that samples may take. Where they take more, the oldest are forgotten earlier, of all
/// objects alike, until half of it is free.
const BYTES_MAX: usize = 96 << 20;

/// Samples of 5 s and of a minute that are kept however many objects there are.
const KEPT_MIN: (u32, u32) = (13, 11);

/// Objects that are looked at before others get the processor.
const SLICE: usize = 1024;

/// Ticks of a minute.
const MINUTE_TICKS: u32 = 12;

/// What came and went, in the order of [`CHURN_NAMES`].
pub const CHURN: usize = 7;

/// What RabbitMQ calls that.
pub const CHURN_NAMES: [&str; CHURN] = [
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
];

/// What the process uses, in the order of [`USAGE_NAMES`].
pub const USAGE: usize = 4;

/// What RabbitMQ calls that.
pub const USAGE_NAMES: [&str; USAGE] = ["mem_used", "fd_used", "sockets_used", "disk_free"];

/// The histories of the broker as a whole, and what is known of all histories.
#[derive(Debug)]
pub struct Sampling {
    /// What happened to messages.
    pub events: Recorder<EVENTS>,
    /// Messages that wait for a consumer, and those that are unacknowledged.
    pub lengths: Recorder<2>,
    /// What came and went.
    pub churn: Recorder<CHURN>,
    /// What the process uses.
    pub usage: Recorder<USAGE>,
    /// The tick of the newest samples, or of the start.
    newest: AtomicU32,
    /// Bytes that all samples take.
    bytes: AtomicUsize,
    pass: Mutex<Pass>,
}

/// Held while samples are taken.
#[derive(Debug)]
struct Pass {
    minute: u32,
    kept: (u32, u32),
}

impl Sampling {
    /// None is taken yet; `now` is when counting began.
    pub(super) fn starting(now: Now) -> Self {
        Self {
            events: Recorder::default(),
            lengths: Recorder::default(),
            churn: Recorder::default(),
            usage: Recorder::default(),
            newest: AtomicU32::new(tick_of(now)),
            bytes: AtomicUsize::new(0),
            pass: Mutex::new(Pass { minute: 0, kept: (TICKS_KEPT, MINUTES_KEPT) }),
        }
    }

    /// The tick of the newest samples, or of the start.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.newest.load(Ordering::Relaxed)
    }

    /// Bytes that all samples took when they were looked at last.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes a sample of everything in `broker`, unless there is one of that time; `usage` is what
    /// the process uses.
    pub(super) fn sample(&self, broker: &Broker, usage: [u64; USAGE], now: Now) {
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        let tick = tick_of(now);
        let newest = self.newest();
        if tick <= newest {
            return;
        }
        let passed = tick - newest;
        let minute = Some(tick / MINUTE_TICKS).filter(|&minute| minute > pass.minute);
        let moment = Moment { tick, mono_ms: now.mono_ms, passed, minute, kept: pass.kept };
        pass.minute = minute.unwrap_or(pass.minute);
        let bytes = self.of_broker(broker, usage, &moment) + of_objects(broker, &moment, &self.lengths);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.newest.store(tick, Ordering::Relaxed);
        if minute.is_some() {
            pass.kept = kept(pass.kept, bytes);
        }
    }

    fn of_broker(&self, broker: &Broker, usage: [u64; USAGE], moment: &Moment) -> usize {
        let metrics = broker.metrics();
        self.events.record(moment, events(metrics), [0; EVENTS])
            + self.churn.record(moment, churn(metrics), [0; CHURN])
            + self.usage.record(moment, usage, [0; USAGE])
    }
}

/// Ticks since 1970.
fn tick_of(now: Now) -> u32 {
    u32::try_from(now.unix_ms / TICK_MS).unwrap_or(u32::MAX)
}

/// How many samples are kept, where as many as `before` take so many bytes.
fn kept(before: (u32, u32), bytes: usize) -> (u32, u32) {
    let (ticks, minutes) = before;
    if bytes > BYTES_MAX {
        ((ticks / 2).max(KEPT_MIN.0), (minutes / 2).max(KEPT_MIN.1))
    } else if bytes < BYTES_MAX / 4 {
        ((ticks * 2).min(TICKS_KEPT), (minutes * 2).min(MINUTES_KEPT))
    } else {
        before
    }
}

/// What happened to messages since the start, in the order of [`crate::statistics::EVENT_NAMES`].
#[must_use]
pub fn events(metrics: &Metrics) -> [u64; EVENTS] {
    [
        &metrics.received,
        &metrics.delivered_manual_ack,
        &metrics.delivered_auto_ack,
        &metrics.get_manual_ack,
        &metrics.get_auto_ack,
        &metrics.get_empty,
        &metrics.redelivered,
        &metrics.acknowledged,
        &metrics.confirmed,
        &metrics.unroutable_returned,
        &metrics.unroutable_dropped,
    ]
    .map(Counter::get)
}

/// What came and went since the start, in the order of [`CHURN_NAMES`].
#[must_use]
pub fn churn(metrics: &Metrics) -> [u64; CHURN] {
    [
        &metrics.connections_opened,
        &metrics.connections_closed,
        &metrics.channels_opened,
        &metrics.channels_closed,
        &metrics.queues_declared,
        &metrics.queues_created,
        &metrics.queues_deleted,
    ]
    .map(Counter::get)
}

/// What the open channels and connections of a vhost have counted.
#[derive(Default)]
struct Open {
    events: [u64; EVENTS],
    traffic: [u64; TRAFFIC],
}

/// Lets others have the processor now and then.
#[derive(Default)]
struct Slices(usize);

impl Slices {
    fn next(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(SLICE) {
            thread::yield_now();
        }
    }
}

fn of_objects(broker: &Broker, moment: &Moment, lengths: &Recorder<2>) -> usize {
    let (mut slices, mut bytes, mut all) = (Slices::default(), 0, [0; 2]);
    let mut open = HashMap::<String, Open>::new();
    for client in broker.clients().list() {
        bytes += of_client(&client, moment, open.entry(client.facts.vhost.clone()).or_default());
        slices.next();
    }
    for vhost in broker.registry.all() {
        let open = open.remove(&*vhost.name).unwrap_or_default();
        let (of_vhost, took) = of_vhost(&vhost, moment, &open, &mut slices);
        bytes += took;
        all = [all[0] + of_vhost[0], all[1] + of_vhost[1]];
    }
    bytes + lengths.record(moment, all, [0; 2])
}

fn of_client(client: &Client, moment: &Moment, open: &mut Open) -> usize {
    let traffic = client.traffic();
    add(&mut open.traffic, traffic);
    let mut bytes = client.traffic_history.record(moment, traffic, [0; TRAFFIC]);
    for (_number, channel) in client.channels() {
        let counts = channel.counters.counts();
        add(&mut open.events, counts);
        bytes += channel.history.record(moment, counts, [0; EVENTS]);
    }
    bytes
}

/// How many messages are ready and unacknowledged in a vhost, and the bytes of its samples.
fn of_vhost(vhost: &VHost, moment: &Moment, open: &Open, slices: &mut Slices) -> ([u64; 2], usize) {
    let (mut bytes, mut lengths) = (0, [0; 2]);
    vhost.each_queue(&mut |queue: &Arc<Queue>| {
        let (QueueStats { ready, unacked, .. }, took) = history::sample(queue, moment);
        bytes += took;
        if !is_reply_queue(&queue.name) {
            add(&mut lengths, [ready, unacked]);
        }
        slices.next();
    });
    for (_name, flow) in vhost.list_flows() {
        bytes += flow.history.record(moment, flow.counts(), [0; 2]);
        slices.next();
    }
    let counted = &vhost.counted;
    let (mut events, mut traffic) = (counted.ended.counts(), counted.ended_traffic());
    add(&mut events, open.events);
    add(&mut traffic, open.traffic);
    bytes += counted.events.record(moment, events, [0; EVENTS]);
    bytes += counted.traffic.record(moment, traffic, [0; TRAFFIC]);
    (lengths, bytes + counted.lengths.record(moment, lengths, [0; 2]))
}

fn add<const N: usize>(sums: &mut [u64; N], more: [u64; N]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_kept_where_samples_take_much() {
        let all = (TICKS_KEPT, MINUTES_KEPT);
        let mut now = all;
        for _ in 0..20 {
            now = kept(now, BYTES_MAX + 1);
        }
        assert_eq!(now, KEPT_MIN);
        assert_eq!(kept(now, BYTES_MAX), now, "it takes as much as it may");
        for _ in 0..20 {
            now = kept(now, 0);
        }
        assert_eq!(now, all);
    }
}
