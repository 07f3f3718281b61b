//! The log as the broker holds it: the pending group, and the thread behind it.

use super::change::{Change, Gate, Health, Log, Waiter};
use super::commit::Committer;
use super::error::StoreError;
use super::pending::{Pending, Stop};
use crate::ids::Ticket;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// A log over redb. Dropping it without [`Log::close`] leaves what is pending unwritten.
#[derive(Debug)]
pub(super) struct RedbLog {
    pending: Arc<Pending>,
    thread: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
}

impl RedbLog {
    /// Starts the commit thread.
    pub(super) fn start(committer: Committer) -> Result<Self, StoreError> {
        let pending = Arc::clone(&committer.pending);
        let watch = PanicWatch(Arc::clone(&pending));
        let work = move || {
            let _watch = watch;
            committer.run()
        };
        let thread = thread::Builder::new().name("commit".to_owned()).spawn(work)?;
        Ok(Self { pending, thread: Mutex::new(Some(thread)) })
    }

    fn end(&self, stop: Stop) -> Result<(), StoreError> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        self.pending.stop(stop);
        thread.join().unwrap_or(Err(StoreError::Stopped))
    }
}

/// On the commit thread: lets nobody believe in a thread that panicked.
struct PanicWatch(Arc<Pending>);

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.set_health(Health::Failed);
            self.0.close();
        }
    }
}

impl Log for RedbLog {
    fn append(&self, changes: &mut Vec<Change>) -> Ticket {
        self.pending.append(changes)
    }

    fn gate(&self) -> Gate<'_> {
        self.pending.gate()
    }

    fn durable(&self) -> Ticket {
        self.pending.durable()
    }

    fn stored(&self) -> Ticket {
        self.pending.stored()
    }

    fn notify(&self, ticket: Ticket, waiter: &Arc<dyn Waiter>) {
        self.pending.notify(ticket, waiter);
    }

    fn pending_bytes(&self) -> usize {
        self.pending.bytes()
    }

    fn health(&self) -> Health {
        self.pending.health()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.end(Stop::Clean)
    }
}

impl Drop for RedbLog {
    fn drop(&mut self) {
        if let Err(error) = self.end(Stop::Abandon) {
            tracing::warn!(%error, "the store was abandoned with a fault");
        }
    }
}
