//! A queue under a policy: what is in effect is swapped under the queue's lock, and everything that
//! comes of it happens at once.
//!
//! Who works with messages reads what is in effect where it holds the lock anyway. What is asked
//! without the lock is kept beside it as well: see [`Unlocked`].

use super::{Body, Effects, Queue};
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
        let body = &*self.lock();
        Arc::clone(match body {
            Body::Classic(classic) => classic.settings(),
            Body::Stream(stream) => stream.settings(),
        })
    }

    /// Says beforehand that messages may be refused, so that whoever comes from now on is prepared
    /// when the settings are swapped.
    pub(crate) fn announce(&self, next: &Settings) {
        self.unlocked.may_refuse.fetch_or(next.may_refuse(), Ordering::Relaxed);
    }

    /// Puts other settings in effect for a queue that nobody knows of yet, or that has yet to be
    /// sizes_read.
    pub(crate) fn begin_under(&self, next: Arc<Settings>) {
        let body = &mut *self.lock();
        self.unlocked.set(&next);
        match body {
            Body::Classic(classic) => classic.begin_under(next),
            Body::Stream(stream) => stream.begin_under(self, next),
        }
    }

    /// Puts other settings in effect. Messages that are too old or too many by them go at once;
    /// those that wait for a retry wait as long as they were told to; the lease begins anew when it
    /// is another.
    pub(crate) fn apply_policy(&self, next: Arc<Settings>, pages: &dyn PageSource, now: Now) -> Effects {
        let body = &mut *self.lock();
        match body {
            Body::Classic(classic) => classic.apply_policy(self, next, pages, now),
            Body::Stream(stream) => stream.apply_policy(self, next, now),
        }
    }
}
