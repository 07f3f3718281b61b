//! What the broker counts since it was started.
//!
//! Relaxed atomics: each is incremented once for a batch, never once a message, and nothing is decided by their
//! values. What can be counted at any time (queues, messages ready) is not here. The names that RabbitMQ gives these
//! are in `http/prometheus.rs`.

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
    /// Successful `queue.declare`s, of new queues and of old ones.
    pub queues_declared: Counter,
    /// Queues that did not exist before.
    pub queues_created: Counter,
    /// Queues deleted, by a client or by themselves.
    pub queues_deleted: Counter,
    /// Messages published by clients.
    pub received: Counter,
    /// Of those, on channels in confirm mode.
    pub received_confirm: Counter,
    /// Published messages that reached at least one queue.
    pub routed: Counter,
    /// Messages confirmed to their publishers.
    pub confirmed: Counter,
    /// Messages that reached no queue and were dropped.
    pub unroutable_dropped: Counter,
    /// Messages that reached no queue and went back to their publishers.
    pub unroutable_returned: Counter,
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
    /// Messages that died, have nowhere to go and were dropped, because their queue drops them or was full.
    pub dead_letters_dropped: Counter,
    /// Messages that died, have nowhere to go and were dropped, because as many were parked as may be.
    pub dead_letters_dropped_at_limit: Counter,
    /// Messages dropped at the delivery limit where no dead-letter exchange is set and none is parked.
    pub dropped_delivery_limit: Counter,
}
