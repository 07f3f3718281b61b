//! The limits that are in effect while the broker runs.

use super::limits::Limits;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// The limits in effect, which a reload of the settings changes.
#[derive(Debug)]
pub struct CurrentLimits {
    limits: RwLock<Limits>,
    /// On its own: it is read for each message.
    message_bytes_max: AtomicU64,
}

impl CurrentLimits {
    /// These are in effect first.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let message_bytes_max = AtomicU64::new(limits.message_bytes_max);
        Self { limits: RwLock::new(limits), message_bytes_max }
    }

    /// All of them. Not for what is done for each message.
    #[must_use]
    pub fn get(&self) -> Limits {
        self.limits.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// [`Limits::message_bytes_max`].
    #[must_use]
    #[inline]
    pub fn message_bytes_max(&self) -> u64 {
        self.message_bytes_max.load(Ordering::Relaxed)
    }

    /// Others are in effect from now on.
    pub fn set(&self, limits: Limits) {
        self.message_bytes_max.store(limits.message_bytes_max, Ordering::Relaxed);
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_at_once() {
        let current = CurrentLimits::new(Limits::default());
        assert_eq!((current.get(), current.message_bytes_max()), (Limits::default(), 16_777_216));
        let other = Limits { message_bytes_max: 2048, heartbeat_s: 7, ..Limits::default() };
        current.set(other.clone());
        assert_eq!((current.get(), current.message_bytes_max()), (other, 2048));
    }
}
