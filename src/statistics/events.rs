//! What happens to messages, as it is counted for each queue, channel and vhost (RabbitMQ's
//! `message_stats`).

use super::recorder::Recorder;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something that happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It comes: to a channel, or into a queue.
    Publish,
    /// It goes to a consumer, who acknowledges it.
    Deliver,
    /// It goes to a consumer, who does not.
    DeliverNoAck,
    /// It is fetched, and to be acknowledged.
    Get,
    /// It is fetched, and gone.
    GetNoAck,
    /// Nothing was there to be fetched.
    GetEmpty,
    /// It goes to somebody, perhaps not for the first time.
    Redeliver,
    /// It is acknowledged.
    Ack,
    /// Its publisher is told that it is safe.
    Confirm,
    /// It went to no queue, and comes back.
    ReturnUnroutable,
    /// It went to no queue, and is gone.
    DropUnroutable,
}

/// How many kinds of them there are.
pub const EVENTS: usize = 11;

/// How many of these, the first, a queue counts.
pub const QUEUE_EVENTS: usize = 8;

/// What RabbitMQ calls them, in their order.
pub const EVENT_NAMES: [&str; EVENTS] = [
    "publish",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "get_empty",
    "redeliver",
    "ack",
    "confirm",
    "return_unroutable",
    "drop_unroutable",
];

/// Those that make up `deliver_get`, by their place.
pub const DELIVER_GET: [Event; 4] = [Event::Deliver, Event::DeliverNoAck, Event::Get, Event::GetNoAck];

/// How long messages had been in their queue when they were consumed for good.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// Of how many messages that is known.
    pub count: u64,
    /// How long they waited in all, in milliseconds.
    pub ms: u64,
}

impl Waits {
    /// `n` messages, the first and the last of which arrived at these times, go at `now_ms`. Those
    /// between them count as if they had come at equal distances.
    #[inline]
    pub fn add(&mut self, n: u64, (first_ms, last_ms): (u64, u64), now_ms: u64) {
        let both = now_ms.saturating_sub(first_ms).saturating_add(now_ms.saturating_sub(last_ms));
        self.count += n;
        self.ms = self.ms.saturating_add(n.saturating_mul(both) / 2);
    }

    /// The time that one waited on average, in milliseconds; none if none is known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nobody reads 53 bits of a mean")]
    pub fn average_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| self.ms as f64 / self.count as f64)
    }
}

/// What a queue counts under its lock; it takes memory only once something was counted.
#[derive(Debug, Default)]
pub struct QueueTally(Option<Box<QueueCounts>>);

/// What was counted.
#[derive(Debug, Default)]
struct QueueCounts {
    events: [u64; QUEUE_EVENTS],
    waits: Waits,
}

impl QueueTally {
    /// Counts `n` of these; those that queues do not count are none.
    #[inline]
    pub fn add(&mut self, event: Event, n: u64) {
        if n > 0
            && let Some(count) = self.0.get_or_insert_default().events.get_mut(event as usize)
        {
            *count += n;
        }
    }

    /// All counts; none if nothing has ever happened.
    #[must_use]
    pub fn counts(&self) -> Option<[u64; QUEUE_EVENTS]> {
        self.0.as_deref().map(|counts| counts.events)
    }

    /// Adds how long some messages waited.
    #[inline]
    pub fn add_waits(&mut self, waits: Waits) {
        if waits.count > 0 {
            let all = &mut self.0.get_or_insert_default().waits;
            all.count += waits.count;
            all.ms = all.ms.saturating_add(waits.ms);
        }
    }

    /// How long all messages waited that were consumed.
    #[must_use]
    pub fn waits(&self) -> Waits {
        self.0.as_deref().map_or_else(Waits::default, |counts| counts.waits)
    }
}

/// What others may look at while it is counted.
#[derive(Debug, Default)]
pub struct EventCounters([AtomicU64; EVENTS]);

impl EventCounters {
    /// Counts `n` of these, where nobody else counts here.
    #[inline(always)]
    pub fn add_alone(&self, event: Event, n: u64) {
        let counter = &self.0[event as usize];
        counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// Counts `n` of these.
    pub fn add(&self, event: Event, n: u64) {
        if n > 0 {
            self.0[event as usize].fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add_all(&self, counts: &[u64; EVENTS]) {
        for (counter, &n) in self.0.iter().zip(counts) {
            if n > 0 {
                counter.fetch_add(n, Ordering::Relaxed);
            }
        }
    }

    /// All counts.
    #[must_use]
    pub fn counts(&self) -> [u64; EVENTS] {
        std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed))
    }
}

/// What goes through an exchange.
#[derive(Debug, Default)]
pub struct ExchangeFlow {
    /// The counts over time.
    pub history: Recorder<2>,
    published_in: AtomicU64,
    published_out: AtomicU64,
}

impl ExchangeFlow {
    /// So many messages came, and went to so many queues: one that goes to three counts three
    /// times.
    pub fn add(&self, published_in: u64, published_out: u64) {
        self.published_in.fetch_add(published_in, Ordering::Relaxed);
        if published_out > 0 {
            self.published_out.fetch_add(published_out, Ordering::Relaxed);
        }
    }

    /// Messages that came, and those that went on.
    #[must_use]
    pub fn counts(&self) -> [u64; 2] {
        [&self.published_in, &self.published_out].map(|counter| counter.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_has_seen_nothing_takes_no_memory() {
        let mut tally = QueueTally::default();
        tally.add(Event::Ack, 0);
        assert_eq!(tally.counts(), None);
        tally.add(Event::Redeliver, 2);
        tally.add(Event::Confirm, 9);
        assert_eq!(tally.counts(), Some([0, 0, 0, 0, 0, 0, 2, 0]));
        assert_eq!(EVENT_NAMES[Event::DropUnroutable as usize], "drop_unroutable");
        assert_eq!(EVENT_NAMES[Event::Ack as usize], "ack");
    }

    #[test]
    fn waits_are_those_of_the_first_and_the_last() {
        let (mut tally, mut waits) = (QueueTally::default(), Waits::default());
        tally.add_waits(waits);
        assert_eq!((tally.counts(), tally.waits().average_ms()), (None, None));
        waits.add(3, (1_000, 2_000), 5_000);
        waits.add(1, (9_000, 9_000), 5_000);
        tally.add_waits(waits);
        tally.add_waits(waits);
        assert_eq!(tally.waits(), Waits { count: 8, ms: 21_000 });
        assert_eq!(tally.waits().average_ms(), Some(2_625.0));
        waits.add(u64::MAX / 4, (0, 0), u64::MAX);
        assert_eq!(waits.ms, 10_500 + u64::MAX / 2, "a sum beyond all numbers is cut off");
    }

    #[test]
    fn counters_are_summed() {
        let (one, sum) = (EventCounters::default(), EventCounters::default());
        one.add_alone(Event::Publish, 2);
        one.add(Event::Publish, 1);
        sum.add_all(&one.counts());
        sum.add_all(&one.counts());
        assert_eq!(sum.counts()[0], 6);
    }
}
