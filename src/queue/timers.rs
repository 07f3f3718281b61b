//! When queues want to be called: for a message that expires, one that comes back, or a lease that
//! ends.
//!
//! One entry a queue at most, ordered by time; nothing else is kept and nothing is scanned. The
//! lock is a leaf. Who runs the broker sleeps until
//! [`Timers::poll_next`] says, and then calls `Broker::tick`.

use super::Queue;
use crate::ids::QueueId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

/// The times at which queues want to be called.
#[derive(Default)]
pub struct Timers {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// (Milliseconds since 1970, queue).
    due: BTreeMap<(u64, QueueId), Weak<Queue>>,
    /// What the sleeper was told last: it is woken when something is due before that.
    told: Option<u64>,
    waker: Option<Waker>,
}

impl Timers {
    /// Calls `queue` at the second time of `times` (milliseconds since 1970), not at the first.
    pub fn set(&self, queue: &Weak<Queue>, times: (Option<u64>, u64), id: QueueId) {
        let (before, at_ms) = times;
        let waker = {
            let mut inner = self.lock();
            if let Some(before) = before {
                inner.due.remove(&(before, id));
            }
            inner.due.insert((at_ms, id), Weak::clone(queue));
            let is_earlier = inner.told.is_none_or(|told| at_ms < told);
            if is_earlier { inner.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Does not call the queue that is to be called at `at_ms`.
    pub fn remove(&self, at_ms: u64, id: QueueId) {
        self.lock().due.remove(&(at_ms, id));
    }

    /// Takes out up to `most` queues whose time has come.
    #[must_use]
    pub fn take_due(&self, now_unix_ms: u64, most: usize) -> Vec<Arc<Queue>> {
        let mut inner = self.lock();
        let mut due = Vec::new();
        while due.len() < most
            && let Some(first) = inner.due.first_entry()
            && first.key().0 <= now_unix_ms
        {
            // A queue that is gone needs no call.
            due.extend(first.remove().upgrade());
        }
        due
    }

    /// When the next queue is due, if it is another time than
    /// `told`; otherwise the task of `context` is woken when something is due earlier.
    pub fn poll_next(&self, context: &Context<'_>, told: Option<u64>) -> Poll<Option<u64>> {
        let mut inner = self.lock();
        let next = inner.due.first_key_value().map(|(&(at_ms, _), _)| at_ms);
        if next != told {
            inner.told = next;
            return Poll::Ready(next);
        }
        inner.told = told;
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timers({} set)", self.lock().due.len())
    }
}
