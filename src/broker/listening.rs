//! Whether new clients are let in: what an operator says, and listeners follow.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Whether new clients are let in. They are, until somebody says otherwise.
#[derive(Debug, Default)]
pub struct Listening {
    is_suspended: AtomicBool,
    /// Of listeners that wait for a change.
    waiting: Mutex<Vec<Waker>>,
}

impl Listening {
    /// From now on they are not, or are again; those that are there stay.
    pub fn suspend(&self, is_suspended: bool) {
        let wakers = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            self.is_suspended.store(is_suspended, Ordering::Relaxed);
            mem::take(&mut *waiting)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether they are not let in.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.is_suspended.load(Ordering::Relaxed)
    }

    /// Ready once [`Self::is_suspended`] says this.
    pub fn poll(&self, is_suspended: bool, context: &Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_suspended() == is_suspended {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}
