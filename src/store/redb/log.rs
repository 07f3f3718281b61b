//! The log as the broker holds it: the pending group, and the thread behind it.

use super::backup::{Backup, Signals};
use super::checked::{Totals, Transaction};
use super::file::FileIdentity;
use super::page::Shared;
use super::table::{META_AHEAD, write_meta};
use crate::ids::Ticket;
use crate::metrics::IoCounters;
use crate::store::change::{AtomicBatch, Change, CopyParts, Health, Log, Waiter};
use crate::store::commit::committer::Committer;
use crate::store::commit::pending::{Pending, Stop};
use crate::store::commit::storage::Storage;
use crate::store::error::StoreError;
use crate::store::guard::guarded;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// A log over redb. Dropping it without [`Log::close`] leaves what is pending unwritten.
#[derive(Debug)]
pub(super) struct RedbLog {
    pending: Arc<Pending>,
    thread: Mutex<Option<JoinHandle<()>>>,
    database: Shared,
    /// The data file, if it is one.
    file: Option<FileIdentity>,
    signals: Signals,
    io: Arc<IoCounters>,
}

/// What a log takes of the storage at its end, which may be behind another one.
#[derive(Debug)]
pub(in crate::store) struct LogParts {
    pub(super) database: Shared,
    pub(super) file: Option<FileIdentity>,
    pub(super) signals: Signals,
    pub(super) io: Arc<IoCounters>,
    /// Whether the disk is full.
    pub(super) is_full: bool,
}

impl RedbLog {
    /// Starts the commit thread.
    pub(super) fn start<S: Storage + Send + 'static>(
        committer: Committer<S>,
        pending: Arc<Pending>,
        parts: LogParts,
    ) -> Result<Self, StoreError> {
        let LogParts { database, file, signals, io, .. } = parts;
        let of_thread = Arc::clone(&pending);
        let work = move || {
            if let Err(error) = guarded(|| committer.run()) {
                of_thread.fail(error);
            }
            of_thread.close();
        };
        let thread = thread::Builder::new().name("commit".to_owned()).spawn(work)?;
        Ok(Self { pending, database, thread: Mutex::new(Some(thread)), file, signals, io })
    }

    fn end(&self, stop: Stop) -> Result<(), StoreError> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        self.pending.stop(stop);
        let ended = thread.join().map_err(|_panicked| StoreError::Stopped);
        self.pending.take_fault().map_or(ended, Err)
    }
}

impl Log for RedbLog {
    fn append(&self, changes: &mut Vec<Change>) -> Ticket {
        self.pending.append(changes)
    }

    fn atomic_batch(&self) -> AtomicBatch<'_> {
        AtomicBatch::new(self, self.pending.atomic_batch())
    }

    fn wait_for_room(&self) {
        self.pending.wait_for_room();
    }

    fn wait_for_turn(&self) {
        self.pending.wait_for_turn();
    }

    fn has_spare(&self) -> bool {
        self.pending.has_spare()
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

    fn pending_changes(&self) -> usize {
        self.pending.changes()
    }

    fn health(&self) -> Health {
        self.pending.health()
    }

    fn io(&self) -> Option<&IoCounters> {
        Some(&self.io)
    }

    fn fail(&self, fault: StoreError) {
        self.pending.fail(fault);
    }

    fn check_place(&self) {
        if let Some(Err(gone)) = self.file.as_ref().map(FileIdentity::check) {
            self.pending.fail(gone.into());
        }
    }

    /// Waits for the commit thread's transaction, should there be one, and is part of none of its
    /// groups: nothing depends on it.
    fn keep_ahead(&self, ahead_ms: i64) -> Result<(), StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(StoreError::Stopped)?;
        let kept = guarded(|| {
            let tx = Transaction::begin(database)?;
            write_meta(&tx, &[(META_AHEAD, ahead_ms.cast_unsigned())], Totals::default())?;
            tx.commit()
        });
        // A full disk passes: the commit thread finds that this database is of no use any more, and
        // opens it anew.
        kept.map_err(|error| if error.passes() { error } else { self.pending.give_up(error) })
    }

    fn backup(&self) -> CopyParts {
        let (database, pending) = (Arc::clone(&self.database), Arc::clone(&self.pending));
        Box::new(Backup::new(database, pending, self.signals.clone()))
    }

    fn close(&self) -> Result<(), StoreError> {
        self.end(Stop::Clean)
    }
}

impl Drop for RedbLog {
    fn drop(&mut self) {
        if let Err(error) = self.end(Stop::Abandon) {
            tracing::warn!(%error, "the store was dropped with an error");
        }
    }
}
