//! What a queue has counted and how many messages it had, over time.

use super::{Queue, QueueStats};
use crate::statistics::{Event, Moment, QUEUE_EVENTS, SamplesWanted, Trend};

/// What is sampled of a queue: what happened to its messages, how many wait, how many are
/// unacknowledged, and how long consumers had no room for them.
pub(super) const SERIES: usize = QUEUE_EVENTS + 3;

/// The place of the unacknowledged among them.
const UNACKED: usize = QUEUE_EVENTS + 1;

/// The place of the time in which consumers had no room.
const BLOCKED: usize = QUEUE_EVENTS + 2;

/// How a queue stands, and how that changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueTrends {
    /// What happened to its messages, in the order of [`crate::statistics::EVENT_NAMES`]; none if
    /// nothing ever has.
    pub events: Option<[Trend; QUEUE_EVENTS]>,
    /// Messages that wait for a consumer.
    pub ready: Trend,
    /// Messages that were delivered and not settled.
    pub unacked: Trend,
    /// The part of the time between the last two samples in which consumers could take what was
    /// ready, or nothing was.
    pub capacity: f64,
    /// When any of this changed last, as samples know it: milliseconds since 1970.
    pub changed_at_ms: Option<u64>,
}

/// Takes a sample of a queue's counts, which are returned with how many bytes its samples take. A
/// queue to which nothing has ever happened keeps none.
pub fn sample(queue: &Queue, moment: &Moment) -> (QueueStats, usize) {
    let stats = queue.stats();
    let Some(counts) = stats.counts else { return (stats, 0) };
    let values = values(counts, &stats, moment.mono_ms);
    (stats, queue.history.record(moment, values, before(counts, &stats)))
}

/// The part of the time between the last two samples in which the consumers of a queue could take
/// what was ready, or nothing was.
#[must_use]
pub fn capacity(queue: &Queue) -> f64 {
    left(queue.history.rate(BLOCKED))
}

/// How the counts of a queue, which are `stats`, change; `newest` is the tick of the newest sample.
#[must_use]
pub fn trends(queue: &Queue, stats: &QueueStats, newest: u32, wanted: &SamplesWanted) -> QueueTrends {
    let (history, now) = (&queue.history, values(stats.counts.unwrap_or_default(), stats, 0));
    let [.., ready, unacked, blocked] = history.trends(now, newest, wanted.lengths);
    let events = stats.counts.is_some().then(|| {
        let mut of_events = history.trends(now, newest, wanted.events).into_iter();
        std::array::from_fn(|_| of_events.next().unwrap_or_default())
    });
    let (capacity, changed_at_ms) = (left(blocked.rate), history.changed_at_ms());
    QueueTrends { events, ready, unacked, capacity, changed_at_ms }
}

/// What is sampled, at a time of the monotonic clock.
fn values(counts: [u64; QUEUE_EVENTS], stats: &QueueStats, mono_ms: u64) -> [u64; SERIES] {
    let (blocked_ms, since_ms) = stats.blocked;
    let blocked_ms = blocked_ms + since_ms.map_or(0, |since_ms| mono_ms.saturating_sub(since_ms));
    std::array::from_fn(|at| match at {
        at if at < QUEUE_EVENTS => counts[at],
        QUEUE_EVENTS => stats.ready,
        UNACKED => stats.unacked,
        _ => blocked_ms,
    })
}

/// What a queue had before anything happened to it: what it has less what came, and with what went.
fn before(counts: [u64; QUEUE_EVENTS], stats: &QueueStats) -> [u64; SERIES] {
    let of = |event: Event| counts[event as usize];
    let went = of(Event::Ack) + of(Event::DeliverNoAck) + of(Event::GetNoAck);
    let had = (stats.ready + stats.unacked + went).saturating_sub(of(Event::Publish));
    std::array::from_fn(|at| if at == QUEUE_EVENTS { had } else { 0 })
}

/// The part of the time that is left where consumers had no room for so many milliseconds a second.
fn left(blocked_ms_per_s: f64) -> f64 {
    (1.0 - blocked_ms_per_s / 1000.0).clamp(0.0, 1.0)
}
