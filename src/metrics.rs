//! What the broker counts since it was started.
//!
//! Relaxed atomics: each is incremented once for a batch, never once a message, and nothing is
//! decided by their values. What can be counted at any time (queues, messages ready) is not here.
//! The names that RabbitMQ gives these are in `http/prometheus.rs`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; for nothing it does not touch the memory that other threads write.
    pub fn add(&self, n: u64) {
        if n > 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often something was done to a file, for how many bytes, and how long it took in all.
#[derive(Debug, Default)]
pub struct IoTally {
    /// How often it was done.
    pub count: Counter,
    /// Bytes that were read or written.
    pub bytes: Counter,
    /// Microseconds that it took.
    pub us: Counter,
}

/// What was done to the data file since the start.
#[derive(Debug, Default)]
pub struct IoCounters {
    /// Reads that the store's cache did not answer.
    pub reads: IoTally,
    /// Writes.
    pub writes: IoTally,
    /// Writes that were waited for until they were on disk (fdatasync).
    pub syncs: IoTally,
}

impl IoTally {
    /// Something is done to so many bytes, and was begun at `began_us` by the monotonic clock,
    /// whose time is `now_us`.
    pub fn add(&self, bytes: usize, (began_us, now_us): (u64, u64)) {
        self.count.add(1);
        self.bytes.add(bytes as u64);
        self.us.add(now_us.saturating_sub(began_us));
    }
}

/// The sizes of messages that are told apart, each by its upper bound in bytes; what is larger than
/// all is counted as well (RabbitMQ: rabbit_msg_size_metrics).
pub const SIZE_BOUNDS: [usize; 8] =
    [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

/// The sizes of some messages, on their way to [`Sizes`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SizeTally {
    counts: [u64; SIZE_BOUNDS.len() + 1],
    bytes: u64,
}

impl SizeTally {
    /// Bytes of all bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts a message with a body of so many bytes.
    #[inline]
    pub fn add(&mut self, bytes: usize) {
        let bucket = SIZE_BOUNDS.iter().position(|&bound| bytes <= bound).unwrap_or(SIZE_BOUNDS.len());
        self.counts[bucket] += 1;
        self.bytes += bytes as u64;
    }
}

/// How large messages were.
#[derive(Debug, Default)]
pub struct Sizes {
    /// How many there were up to each bound of [`SIZE_BOUNDS`] and above the one before it; the
    /// last one has no bound.
    pub counts: [Counter; SIZE_BOUNDS.len() + 1],
    /// Bytes of all bodies.
    pub bytes: Counter,
}

impl Sizes {
    /// Adds all of `tally`.
    pub fn add(&self, tally: &SizeTally) {
        for (counter, &count) in self.counts.iter().zip(&tally.counts) {
            counter.add(count);
        }
        self.bytes.add(tally.bytes);
    }
}

/// All counters.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Sockets accepted on an AMQP port.
    pub connections_opened: Counter,
    /// Of those, how many are gone.
    pub connections_closed: Counter,
    /// Sockets turned away because there are too many.
    pub connections_refused: Counter,
    /// Channels opened.
    pub channels_opened: Counter,
    /// Channels closed, with their connection or alone.
    pub channels_closed: Counter,
    /// Channels that have published something.
    pub publishers_started: Counter,
    /// Of those, how many are closed.
    pub publishers_ended: Counter,
    /// Successful `queue.declare`s of clients, of new queues and of old ones; the passive ones are
    /// none.
    pub queues_declared: Counter,
    /// Queues that did not exist before, whoever made them. Those of direct reply-to are none.
    pub queues_created: Counter,
    /// Queues deleted, by a client, an operator or by themselves.
    pub queues_deleted: Counter,
    /// Messages published by clients.
    pub received: Counter,
    /// Of those, on channels in confirm mode.
    pub received_confirm: Counter,
    /// Their bodies.
    pub sizes: Sizes,
    /// Queues that published messages reached: a message that goes to three queues counts three
    /// times.
    pub routed: Counter,
    /// Messages confirmed to their publishers.
    pub confirmed: Counter,
    /// Messages that reached no queue and were dropped.
    pub unroutable_dropped: Counter,
    /// Messages that reached no queue and went back to their publishers.
    pub unroutable_returned: Counter,
    /// Messages that were found damaged on disk, and are not delivered.
    pub damaged: Counter,
    /// Duplicates that a queue or an exchange did not take.
    pub deduplicated: Counter,
    /// Messages delivered to consumers that do not acknowledge.
    pub delivered_auto_ack: Counter,
    /// Messages delivered to consumers that acknowledge.
    pub delivered_manual_ack: Counter,
    /// Messages fetched by `basic.get` with no-ack.
    pub get_auto_ack: Counter,
    /// Messages fetched by `basic.get` to be acknowledged.
    pub get_manual_ack: Counter,
    /// `basic.get`s of a queue without messages.
    pub get_empty: Counter,
    /// Deliveries of messages that may have been delivered before.
    pub redelivered: Counter,
    /// Messages acknowledged.
    pub acknowledged: Counter,
    /// Deliveries taken back because they were not acknowledged in time.
    pub deliveries_timed_out: Counter,
    /// Messages dead-lettered because a consumer rejected them.
    pub dead_lettered_rejected: Counter,
    /// Messages dead-lettered because they expired.
    pub dead_lettered_expired: Counter,
    /// Messages dead-lettered because their queue was full.
    pub dead_lettered_maxlen: Counter,
    /// Messages dead-lettered because they were delivered in vain too often.
    pub dead_lettered_delivery_limit: Counter,
    /// Messages that died, have nowhere to go and are parked since.
    pub parked: Counter,
    /// Messages that died, have nowhere to go and were dropped, because their queue drops them or
    /// was full.
    pub dead_letters_dropped: Counter,
    /// Messages that died, have nowhere to go and were dropped, because as many were parked as may
    /// be.
    pub dead_letters_dropped_at_limit: Counter,
    /// Messages dropped because a consumer rejected them, where no dead-letter exchange is set.
    pub dropped_rejected: Counter,
    /// Messages dropped because they expired, where no dead-letter exchange is set.
    pub dropped_expired: Counter,
    /// Messages dropped because their queue was full, where no dead-letter exchange is set.
    pub dropped_maxlen: Counter,
    /// Messages dropped at the delivery limit where no dead-letter exchange is set and none is
    /// parked.
    pub dropped_delivery_limit: Counter,
}
