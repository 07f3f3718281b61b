//! A history that begins when something has happened, behind a lock of its own.

use super::history::{History, Moment, SampleRange, Trend, still_trends};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The history of an object, which takes memory only once something has changed. Its lock is a
/// leaf, held for as long as it takes to copy samples.
#[derive(Debug)]
pub struct Recorder<const N: usize>(Mutex<Option<Box<History<N>>>>);

impl<const N: usize> Default for Recorder<N> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<const N: usize> Recorder<N> {
    /// Takes a sample; `before` is what the values were when the object began. How many bytes the
    /// history takes.
    pub fn record(&self, moment: &Moment, values: [u64; N], before: [u64; N]) -> usize {
        let mut history = self.lock();
        if history.is_none() && values == before {
            return 0;
        }
        let history = history.get_or_insert_with(|| Box::new(History::starting(before)));
        history.record(moment, values);
        history.bytes()
    }

    /// The values `now` with their rates, and with samples up to the tick `newest` if a range is
    /// wanted.
    #[must_use]
    pub fn trends(&self, now: [u64; N], newest: u32, range: Option<SampleRange>) -> [Trend; N] {
        match &*self.lock() {
            Some(history) => history.trends(now, newest, range),
            None => still_trends(now, newest, range),
        }
    }

    /// The values of the newest sample, as [`Self::trends`] has them; none if nothing has ever
    /// changed.
    #[must_use]
    pub fn sampled(&self, newest: u32, range: Option<SampleRange>) -> Option<[Trend; N]> {
        let history = self.lock();
        let history = history.as_ref()?;
        Some(history.trends(*history.newest(), newest, range))
    }

    /// The change per second of the value at a place.
    #[must_use]
    pub fn rate(&self, at: usize) -> f64 {
        self.lock().as_ref().map_or(0.0, |history| history.rates()[at])
    }

    /// When a value changed last, milliseconds since 1970; none if none ever has.
    #[must_use]
    pub fn changed_at_ms(&self) -> Option<u64> {
        self.lock().as_ref()?.changed_at_ms()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<History<N>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
