//! When publishers have to wait: too much memory is in use, or too little of the disk is free.
//! Others measure and say what they saw; here is what follows from it. An alarm ends a sixteenth on
//! the good side of its limit, so that it does not flicker.
//!
//! Between two measurements clients can send more than the limit leaves. What takes memory and
//! neither goes to disk nor to a consumer, unfinished bodies and transactions, is therefore counted
//! as it comes, on top of what was measured last; and what is declared and bound.

use crate::store::change::Health;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where alarms begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlarmLimits {
    /// Resident memory, in bytes; above it publishers wait.
    pub memory_bytes: u64,
    /// Free space of the data folder's file system, in bytes; below it publishers wait.
    pub disk_free_bytes: u64,
}

/// The memory and disk alarms, which block publishers (RabbitMQ: alarms.md).
#[derive(Debug)]
pub struct Alarms {
    /// Of [`AlarmLimits`], which can be others later on.
    memory_limit: AtomicU64,
    disk_free_limit: AtomicU64,
    memory: AtomicBool,
    /// What [`Alarms::observe_memory`] said last.
    memory_seen: AtomicBool,
    disk: AtomicBool,
    /// A publisher was told to wait since [`Alarms::has_somebody_to_wake`] said so last.
    waits: AtomicBool,
    disk_free_bytes: AtomicU64,
    resident_bytes: AtomicU64,
    /// Bytes that clients have begun and not finished.
    unfinished: AtomicU64,
    /// What that was when `resident_bytes` was measured.
    unfinished_then: AtomicU64,
    /// What definitions are expected to have taken since.
    defined: AtomicU64,
}

/// What one connection has begun and not finished; taken out of the sum when this is dropped.
#[derive(Debug)]
pub struct Unfinished {
    alarms: Arc<Alarms>,
    bytes: u64,
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shortage {
    /// Memory.
    pub memory: bool,
    /// Disk: too little is free, or it is full already.
    pub disk: bool,
}

impl Default for AlarmLimits {
    /// None.
    fn default() -> Self {
        Self { memory_bytes: u64::MAX, disk_free_bytes: 0 }
    }
}

impl Alarms {
    /// No alarm yet.
    #[must_use]
    pub fn new(limits: AlarmLimits) -> Self {
        Self {
            memory_limit: AtomicU64::new(limits.memory_bytes),
            disk_free_limit: AtomicU64::new(limits.disk_free_bytes),
            memory: AtomicBool::new(false),
            memory_seen: AtomicBool::new(false),
            disk: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            disk_free_bytes: AtomicU64::new(u64::MAX),
            resident_bytes: AtomicU64::new(0),
            unfinished: AtomicU64::new(0),
            unfinished_then: AtomicU64::new(0),
            defined: AtomicU64::new(0),
        }
    }

    /// Where they begin.
    #[must_use]
    pub fn limits(&self) -> AlarmLimits {
        AlarmLimits {
            memory_bytes: self.memory_limit.load(Ordering::Relaxed),
            disk_free_bytes: self.disk_free_limit.load(Ordering::Relaxed),
        }
    }

    /// They begin elsewhere: that of memory at once if what was measured last is above its limit,
    /// all else with the next measurement.
    pub fn set_limits(&self, limits: AlarmLimits) {
        self.memory_limit.store(limits.memory_bytes, Ordering::Relaxed);
        self.disk_free_limit.store(limits.disk_free_bytes, Ordering::Relaxed);
        self.expect_memory(self.unfinished.load(Ordering::Relaxed));
    }

    /// So much memory is resident; whether the alarm is another than when this was called last, or
    /// ends now.
    pub fn observe_memory(&self, resident_bytes: u64) -> bool {
        let limit = self.limits().memory_bytes;
        self.unfinished_then.store(self.unfinished.load(Ordering::Relaxed), Ordering::Relaxed);
        self.defined.store(0, Ordering::Relaxed);
        self.resident_bytes.store(resident_bytes, Ordering::Relaxed);
        let was = self.memory.load(Ordering::Relaxed);
        let is = resident_bytes > if was { limit - limit / 16 } else { limit };
        self.memory.store(is, Ordering::Relaxed);
        let seen = self.memory_seen.swap(is, Ordering::Relaxed);
        is != was || is != seen
    }

    /// Begins the alarm if what was measured last and what has come since are above the limit.
    fn expect_memory(&self, unfinished: u64) {
        let grown = unfinished.saturating_sub(self.unfinished_then.load(Ordering::Relaxed));
        let grown = grown.saturating_add(self.defined.load(Ordering::Relaxed));
        let expected = self.resident_bytes.load(Ordering::Relaxed).saturating_add(grown);
        if expected > self.limits().memory_bytes {
            self.memory.store(true, Ordering::Relaxed);
        }
    }

    /// Definitions take so much more, as far as can be told; that may begin the alarm.
    pub(super) fn expect_defined(&self, bytes: u64) {
        self.defined.fetch_add(bytes, Ordering::Relaxed);
        self.expect_memory(self.unfinished.load(Ordering::Relaxed));
    }

    /// So much of the disk is free; whether that begins or ends the alarm.
    pub fn observe_disk(&self, free_bytes: u64) -> bool {
        self.disk_free_bytes.store(free_bytes, Ordering::Relaxed);
        let limit = self.limits().disk_free_bytes;
        let was = self.disk.load(Ordering::Relaxed);
        let is = free_bytes < if was { limit.saturating_add(limit / 16) } else { limit };
        self.disk.store(is, Ordering::Relaxed);
        is != was
    }

    /// What of the disk was free when it was last looked at, in bytes.
    #[must_use]
    pub fn disk_free_bytes(&self) -> Option<u64> {
        Some(self.disk_free_bytes.load(Ordering::Relaxed)).filter(|&free| free != u64::MAX)
    }

    /// A publisher waits, having seen a shortage, and will not look again by itself.
    pub fn wait(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    /// Whether a publisher waits although there is no `shortage`, which may have ended before
    /// anybody but that publisher had seen it. Said once: whoever is woken and still has to wait
    /// says so again.
    #[must_use]
    pub fn has_somebody_to_wake(&self, shortage: Shortage) -> bool {
        shortage.reason().is_none() && self.waits.swap(false, Ordering::Relaxed)
    }

    /// Whether too much memory is in use.
    #[must_use]
    #[inline]
    pub fn memory_is_short(&self) -> bool {
        self.memory.load(Ordering::Relaxed)
    }

    /// What there is too little of, the store being in this state.
    #[must_use]
    #[inline]
    pub fn shortage(&self, health: Health) -> Shortage {
        Shortage {
            memory: self.memory.load(Ordering::Relaxed),
            disk: health != Health::Good || self.disk.load(Ordering::Relaxed),
        }
    }
}

impl Unfinished {
    /// Without any alarm.
    #[must_use]
    pub fn of(alarms: &Arc<Alarms>) -> Self {
        Self { alarms: Arc::clone(alarms), bytes: 0 }
    }

    /// Its bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// It has so many bytes now; more of them may begin the alarm.
    pub fn set(&mut self, bytes: u64) {
        // A wrapping sum is right in the end, whatever order others come in.
        let more = bytes.wrapping_sub(self.bytes);
        let sum = self.alarms.unfinished.fetch_add(more, Ordering::Relaxed).wrapping_add(more);
        if bytes > self.bytes {
            self.alarms.expect_memory(sum);
        }
        self.bytes = bytes;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Shortage {
    /// What publishers are told; nothing when they need not wait (RabbitMQ: connection-blocked.md).
    #[must_use]
    #[inline]
    pub fn reason(self) -> Option<&'static str> {
        match (self.memory, self.disk) {
            (false, false) => None,
            (true, false) => Some("low on memory"),
            (false, true) => Some("low on disk"),
            (true, true) => Some("low on memory & disk"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_begin_at_their_limits_and_end_with_some_room() {
        let alarms = Alarms::new(AlarmLimits { memory_bytes: 160, disk_free_bytes: 160 });
        assert_eq!(
            [160, 161, 159, 151, 150, 151].map(|used| alarms.observe_memory(used)),
            [false, true, false, false, true, false]
        );
        assert_eq!(
            [160, 159, 160, 169, 170, 169].map(|free| alarms.observe_disk(free)),
            [false, true, false, false, true, false]
        );
        assert_eq!(alarms.disk_free_bytes(), Some(169));
    }

    #[test]
    fn what_is_unfinished_counts_before_it_is_measured() {
        let alarms = Arc::new(Alarms::new(AlarmLimits { memory_bytes: 160, disk_free_bytes: 0 }));
        let mut connections = [Unfinished::of(&alarms), Unfinished::of(&alarms)];
        assert!(!alarms.observe_memory(100));
        connections[0].set(30);
        connections[1].set(30);
        assert!(!alarms.memory_is_short(), "just as much as there may be");
        connections[0].set(0);
        connections[1].set(60);
        assert!(!alarms.memory_is_short());
        connections[1].set(61);
        assert!(alarms.memory_is_short());
        assert!(alarms.observe_memory(155), "it is told once it was measured");
        assert!(!alarms.observe_memory(155));
        drop(connections);
        assert!(alarms.memory_is_short(), "until it was measured again");
        assert!(alarms.observe_memory(100) && !alarms.memory_is_short());
        let mut connection = Unfinished::of(&alarms);
        connection.set(61);
        assert!(alarms.observe_memory(100), "whoever was told to wait is told to go on");
        connection.set(120);
        assert!(!alarms.memory_is_short(), "what was there when it was measured does not count twice");
    }

    #[test]
    fn a_limit_below_what_was_measured_last_begins_the_alarm() {
        let alarms = Alarms::new(AlarmLimits { memory_bytes: 160, disk_free_bytes: 0 });
        assert!(!alarms.observe_memory(100));
        alarms.set_limits(AlarmLimits { memory_bytes: 99, disk_free_bytes: 0 });
        assert!(alarms.memory_is_short());
        assert!(alarms.observe_memory(100), "it is told once it was measured");
        alarms.set_limits(AlarmLimits { memory_bytes: 160, disk_free_bytes: 0 });
        assert!(alarms.observe_memory(100) && !alarms.memory_is_short());
    }

    #[test]
    fn reasons_are_rabbitmqs() {
        let alarms = Alarms::new(AlarmLimits { memory_bytes: 10, disk_free_bytes: 10 });
        assert_eq!(alarms.shortage(Health::Good).reason(), None);
        assert_eq!(alarms.shortage(Health::Full).reason(), Some("low on disk"));
        alarms.observe_memory(11);
        assert_eq!(alarms.shortage(Health::Good).reason(), Some("low on memory"));
        alarms.observe_disk(9);
        assert_eq!(alarms.shortage(Health::Good).reason(), Some("low on memory & disk"));
    }

    #[test]
    fn without_limits_nothing_is_too_much() {
        let alarms = Alarms::new(AlarmLimits::default());
        assert!(!alarms.observe_memory(u64::MAX) && !alarms.observe_disk(0));
    }
}
