//! A queue under a policy: what is in effect is swapped under the queue's lock, and everything that
//! comes of it happens at once.
//!
//! Who works with messages reads what is in effect where it holds the lock anyway. What is asked
//! without the lock is kept beside it as well: see [`Unlocked`].

use super::classic::QueueState;
use super::classic::core::sizes::QueueSizes;
use super::{Effects, Queue};
use crate::arguments::Settings;
use crate::clock::Now;
use crate::store::change::PageSource;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is asked of the settings in effect without the lock. Each is read alone, so that any order
/// will do.
#[derive(Debug, Default)]
pub(super) struct Unlocked {
    may_refuse: AtomicBool,
    /// `u64::MAX` for none.
    consumer_timeout_ms: AtomicU64,
}

impl Unlocked {
    pub(super) fn set(&self, settings: &Settings) {
        self.may_refuse.store(settings.may_refuse(), Ordering::Relaxed);
        let timeout_ms = settings.consumer_timeout_ms.unwrap_or(u64::MAX);
        self.consumer_timeout_ms.store(timeout_ms, Ordering::Relaxed);
    }
}

impl Queue {
    /// Whether it may refuse a message.
    #[must_use]
    pub fn may_refuse(&self) -> bool {
        self.unlocked.may_refuse.load(Ordering::Relaxed)
    }

    /// How long a consumer may leave a delivery unacknowledged, milliseconds; none: for ever.
    #[must_use]
    pub fn consumer_timeout_ms(&self) -> Option<u64> {
        Some(self.unlocked.consumer_timeout_ms.load(Ordering::Relaxed)).filter(|&ms| ms != u64::MAX)
    }

    /// What is in effect: as declared, and as policies have it.
    #[must_use]
    pub fn in_effect(&self) -> Arc<Settings> {
        Arc::clone(&self.lock().settings)
    }

    /// Says beforehand that messages may be refused, so that whoever comes from now on is prepared
    /// when the settings are swapped.
    pub(crate) fn announce(&self, next: &Settings) {
        self.unlocked.may_refuse.fetch_or(next.may_refuse(), Ordering::Relaxed);
    }

    /// Puts other settings in effect for a queue that nobody knows of yet, or that has yet to be
    /// weighed.
    pub(crate) fn begin_under(&self, next: Arc<Settings>) {
        if let Some(stream) = &self.stream {
            let _nothing_goes_by_age_yet = stream.retain(next.retention, 0);
        }
        let mut state = self.lock();
        self.unlocked.set(&next);
        state.core.sizes = next.weighs().then(Box::default);
        state.settings = next;
    }

    /// Puts other settings in effect. Messages that are too old or too many by them go at once;
    /// those that wait for a retry wait as long as they were told to; the lease begins anew when it
    /// is another.
    pub(crate) fn apply_policy(&self, next: Arc<Settings>, pages: &dyn PageSource, now: Now) -> Effects {
        if let Some(stream) = &self.stream {
            let effects = stream.retain(next.retention, now.unix_ms);
            self.lock().settings = next;
            return effects;
        }
        let mut guard = self.lock();
        let state: &mut QueueState = &mut guard;
        if state.deleted {
            return Effects::default();
        }
        if !next.weighs() {
            state.core.sizes = None;
        } else if state.core.sizes.is_none() {
            match QueueSizes::read(&state.core, pages) {
                Ok(sizes) => state.core.sizes = Some(Box::new(sizes)),
                Err(fault) => {
                    tracing::error!(queue = %self.name, %fault, "its bytes are not limited: it cannot be read");
                }
            }
        }
        if state.settings.expires_ms != next.expires_ms {
            state.used_at_ms = now.unix_ms;
        }
        self.unlocked.set(&next);
        state.settings = next;
        Self::trim(state, now);
        self.deal_and_finish(guard, now)
    }
}
