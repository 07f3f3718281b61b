//! How much of everything is tried, and the limits that the broker is given so that all of them are
//! reached.

use std::fmt::Write as _;

/// How many objects each attack makes, and the limits that the broker gets so that all are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Handshakes that are begun and not ended.
    pub half_open: u32,
    /// The broker's `handshake_timeout_s`.
    pub handshake_timeout_s: u16,
    /// The broker's `write_timeout_s`.
    pub write_timeout_s: u16,
    /// The broker's `connections_max`; some more are tried.
    pub connections: u32,
    /// The broker's `channels_max`; some more are tried.
    pub channels: u32,
    /// The broker's `queues_max`; some more are tried, as of everything below.
    pub queues: u32,
    /// The broker's `exchanges_max`.
    pub exchanges: u32,
    /// The broker's `bindings_max`.
    pub bindings: u32,
    /// The broker's `consumers_per_channel_max`.
    pub consumers: u32,
    /// The broker's `unacked_max`.
    pub unacked: u32,
    /// Clients that do not read, of each kind.
    pub deaf: u32,
    /// MiB of bodies that are begun and not ended; the last bytes never come.
    pub unfinished_mib: u32,
    /// Messages that fill the broker's caches before the first attack.
    pub warm_up: u32,
    /// The same, of 64 KiB each.
    pub warm_up_large: u32,
    /// Publishers of the flood.
    pub producers: u32,
    /// So much more may be resident after an attack than before it, in KiB: what an allocator keeps
    /// for the next time.
    pub memory_kib: u64,
    /// A normal client's median may be so much longer afterwards, in microseconds, beside twice
    /// what it was before: what else the machine does comes and goes.
    pub slower_us: u64,
    /// So long a question about the broker's health may take, in microseconds.
    pub health_us: u64,
    /// The longest round trip of a normal client during an attack that would have others wait, in
    /// microseconds.
    pub late_us: u64,
    /// Round trips of a normal client before and after each attack.
    pub round_trips: u32,
}

impl Scale {
    /// What a machine is to stand.
    pub const FULL: Self = Self {
        half_open: 4500,
        handshake_timeout_s: 10,
        write_timeout_s: 10,
        connections: 10_000,
        channels: 20_000,
        queues: 20_000,
        exchanges: 5_000,
        bindings: 50_000,
        consumers: 2_000,
        unacked: 200_000,
        deaf: 50,
        unfinished_mib: 1024,
        warm_up: 1_000_000,
        warm_up_large: 1_000,
        producers: 20,
        memory_kib: 16 * 1024,
        slower_us: 1_000,
        health_us: 100_000,
        late_us: 50_000,
        round_trips: 300,
    };

    /// The same in seconds, for a gate.
    pub const SHORT: Self = Self {
        half_open: 1100,
        handshake_timeout_s: 1,
        write_timeout_s: 1,
        connections: 100,
        channels: 3_000,
        queues: 500,
        exchanges: 200,
        bindings: 1_000,
        consumers: 100,
        unacked: 2_000,
        deaf: 1,
        unfinished_mib: 8,
        warm_up: 10_000,
        warm_up_large: 50,
        producers: 20,
        // A second is not the time to judge an allocator by; what grows without a limit shows
        // nevertheless.
        memory_kib: 64 * 1024,
        slower_us: 100_000,
        health_us: 5_000_000,
        // A debug build beside other tests: this shows what takes seconds. What takes milliseconds
        // is counted in steps elsewhere.
        late_us: 5_000_000,
        round_trips: 10,
    };

    /// The broker's configuration; what is not in it has its default.
    pub(super) fn config(&self) -> String {
        let mut text = String::from("[limits]\n");
        for (key, value) in [
            ("handshake_timeout_s", self.handshake_timeout_s.into()),
            ("write_timeout_s", self.write_timeout_s.into()),
            ("connections_max", self.connections),
            ("channels_max", self.channels),
            ("queues_max", self.queues),
            ("exchanges_max", self.exchanges),
            ("bindings_max", self.bindings),
            ("consumers_per_channel_max", self.consumers),
            ("unacked_max", self.unacked),
        ] {
            writeln!(text, "{key} = {value}").expect("a text takes everything");
        }
        text
    }
}
