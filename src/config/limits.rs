//! `[limits]`: what one client, or all together, may ask for. What each limit is for, and what a
//! client is told that reaches it, is in the table of `docs/configuration.md`.

use serde::Deserialize;
use std::ops::RangeInclusive;

/// The section `[limits]`: the most that clients may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest frame, in bytes with its framing: 4096 (AMQP 0-9-1 section 4.2.3) to 131072
    /// (what every client asks for).
    pub frame_max: u32,
    /// The most channels of a connection; 1 to 65535.
    pub channel_max: u16,
    /// Seconds between heartbeats that are offered; 0 offers none.
    pub heartbeat_s: u16,
    /// The largest body, in bytes; up to 512 MiB, where RabbitMQ ends too.
    pub message_bytes_max: u64,
    /// The most AMQP connections at a time that have shaken hands.
    pub connections_max: u32,
    /// Seconds a handshake may take, with whatever comes before it (RabbitMQ: `handshake_timeout`).
    pub handshake_timeout_s: u16,
    /// The largest frame before the connection is open, in bytes (RabbitMQ: `initial_frame_max`,
    /// 8192): clients send long lists of properties, and 4096 strangers keep no more than 256 MiB.
    pub handshake_frame_max: u32,
    /// The most clients that have not shaken hands yet.
    pub handshakes_max: u32,
    /// Of those, the most from one address of which none has to give way to others.
    pub handshakes_per_address_max: u32,
    /// Seconds a client may leave unread what the broker has for it; 0 means for ever.
    pub write_timeout_s: u16,
    /// Bytes that lie ready for all clients together, beyond which each gets little ahead of what
    /// it takes.
    pub unread_bytes_max: u64,
    /// Seconds in which the body of a message must go on; 0 means for ever.
    pub body_timeout_s: u16,
    /// The most channels of all connections together (RabbitMQ: `channel_max_per_node`).
    pub channels_max: u64,
    /// The most consumers of a channel (RabbitMQ: `consumer_max_per_channel`).
    pub consumers_per_channel_max: u32,
    /// The most unacknowledged messages of a consumer without a prefetch; for `basic.get`, of a
    /// channel.
    pub unacked_max: u32,
    /// The most bytes that a transaction of one channel holds.
    pub transaction_bytes_max: u64,
    /// The most bytes that all channels of a connection hold in bodies whose end has not come, and
    /// in transactions.
    pub unfinished_bytes_max: u64,
    /// The most messages of a queue that have died, have nowhere to go and are kept.
    pub parked_max: u64,
    /// The most bytes of their records.
    pub parked_bytes_max: u64,
    /// The most vhosts (RabbitMQ: `vhost_max`). An empty one is about 8 KB.
    pub vhosts_max: u32,
    /// The most queues of all vhosts together.
    pub queues_max: u32,
    /// The most exchanges of all vhosts together, those that are always there included.
    pub exchanges_max: u32,
    /// The most bindings of all vhosts together.
    pub bindings_max: u32,
    /// The most `#` in a binding key of a topic exchange (RabbitMQ 4.3: 2): each may stand for any
    /// number of words, so a message is held against the rest of the key from every word on.
    pub topic_hashes_max: u32,
    /// The largest arguments of a queue, an exchange, a binding or a consumer, in bytes as they are
    /// sent.
    pub arguments_bytes_max: u32,
}

/// Frames from AMQP's smallest to the largest the session keeps a buffer for.
const FRAME_MAX: RangeInclusive<u64> = 4096..=131_072;
/// The smallest is a client's idea of a tiny message, not a way to switch publishing off.
const MESSAGE_BYTES_MAX: RangeInclusive<u64> = 1024..=512 * 1024 * 1024;
/// A million idle connections would hold 20 GB; as many of anything else is a few GB.
const MILLIONS: RangeInclusive<u64> = 1..=10_000_000;
/// What the connections' own limits come to.
const CHANNELS_MAX: RangeInclusive<u64> = 1..=10_000_000_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_max: 131_072,
            channel_max: 2047,
            heartbeat_s: 60,
            message_bytes_max: 16 * 1024 * 1024,
            connections_max: 16_384,
            handshake_timeout_s: 10,
            handshake_frame_max: 65_536,
            handshakes_max: 4096,
            handshakes_per_address_max: 1024,
            write_timeout_s: 300,
            unread_bytes_max: 256 * 1024 * 1024,
            body_timeout_s: 60,
            channels_max: 500_000,
            consumers_per_channel_max: 65_535,
            unacked_max: 2_000_000,
            transaction_bytes_max: 256 * 1024 * 1024,
            parked_max: 1_000_000,
            parked_bytes_max: 1 << 30,
            vhosts_max: 1000,
            unfinished_bytes_max: 512 * 1024 * 1024,
            queues_max: 200_000,
            exchanges_max: 50_000,
            bindings_max: 1_000_000,
            topic_hashes_max: 2,
            arguments_bytes_max: 16 * 1024,
        }
    }
}

impl Limits {
    /// Whether each is in its range; if not, the key and what is wrong with it.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        for (key, value, range) in self.ranges() {
            if !range.contains(&value) {
                let why = format!("is {value}; it may be from {} to {}", range.start(), range.end());
                return Err((key, why));
            }
        }
        Ok(())
    }

    /// The keys that have another value in `other`, each with that value: `heartbeat_s=30`.
    #[must_use]
    pub fn changes(&self, other: &Self) -> Vec<String> {
        let pairs = self.ranges().into_iter().zip(other.ranges());
        let changed = pairs.filter(|((_, before, _), (_, after, _))| before != after);
        changed.map(|(_, (key, after, _))| format!("{key}={after}")).collect()
    }

    /// All keys.
    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<&'static str> {
        self.ranges().into_iter().map(|(key, ..)| key).collect()
    }

    /// Each key, its value, and what it may be.
    fn ranges(&self) -> [(&'static str, u64, RangeInclusive<u64>); 25] {
        let seconds = 0..=u64::from(u16::MAX);
        [
            ("frame_max", self.frame_max.into(), FRAME_MAX),
            ("channel_max", self.channel_max.into(), 1..=u16::MAX.into()),
            ("heartbeat_s", self.heartbeat_s.into(), seconds.clone()),
            ("message_bytes_max", self.message_bytes_max, MESSAGE_BYTES_MAX),
            ("connections_max", self.connections_max.into(), 1..=1_000_000),
            ("handshake_timeout_s", self.handshake_timeout_s.into(), 1..=u16::MAX.into()),
            ("handshake_frame_max", self.handshake_frame_max.into(), FRAME_MAX),
            ("handshakes_max", self.handshakes_max.into(), MILLIONS),
            ("handshakes_per_address_max", self.handshakes_per_address_max.into(), MILLIONS),
            ("write_timeout_s", self.write_timeout_s.into(), seconds.clone()),
            ("unread_bytes_max", self.unread_bytes_max, 1024 * 1024..=1 << 40),
            ("body_timeout_s", self.body_timeout_s.into(), seconds),
            ("channels_max", self.channels_max, CHANNELS_MAX),
            ("consumers_per_channel_max", self.consumers_per_channel_max.into(), MILLIONS),
            ("unacked_max", self.unacked_max.into(), MILLIONS),
            ("transaction_bytes_max", self.transaction_bytes_max, 1024..=u64::from(u32::MAX)),
            // Less than one message would refuse messages that are allowed.
            ("unfinished_bytes_max", self.unfinished_bytes_max, self.message_bytes_max..=1 << 40),
            ("parked_max", self.parked_max, 0..=100_000_000),
            ("parked_bytes_max", self.parked_bytes_max, 0..=1 << 50),
            ("vhosts_max", self.vhosts_max.into(), MILLIONS),
            ("queues_max", self.queues_max.into(), MILLIONS),
            ("exchanges_max", self.exchanges_max.into(), MILLIONS),
            ("bindings_max", self.bindings_max.into(), MILLIONS),
            ("topic_hashes_max", self.topic_hashes_max.into(), MILLIONS),
            ("arguments_bytes_max", self.arguments_bytes_max.into(), 256..=131_072),
        ]
    }
}

/// What the limit of this key may be, where that does not hang on others.
pub(super) fn range_of(key: &str) -> Option<RangeInclusive<u64>> {
    let (_, _, range) = Limits::default().ranges().into_iter().find(|(name, ..)| *name == key)?;
    Some(range)
}
