//! The log as openraft uses it: entries can be read as soon as they are appended, and count once
//! they are on disk.
//!
//! A thread of its own syncs: whatever was appended while it did so is on disk with the next sync.
//! Without that thread each append syncs before it returns, which a simulation needs.

use super::types::{
    Members, RaftEntry, RaftId, RaftVote, TypeConfig, decode_members, encode_members, of_raft_entry,
    of_raft_id, of_raft_vote, to_raft_entry, to_raft_id, to_raft_vote,
};
use crate::blocking;
use crate::store::StoreError;
use crate::store::replica::log::RaftLog;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The last entry with members that was applied is noted under this.
const NOTE_MEMBERS: u8 = 1;

/// What a node keeps of itself is noted under this, before there is a [`LogStore`].
pub(super) const NOTE_SELF: u8 = 2;

/// So many bytes of entries are read at a time, or one entry.
const READ_BYTES_MAX: usize = 4 << 20;

/// A log; clones share it.
#[derive(Clone)]
pub(super) struct LogStore {
    log: Arc<Mutex<RaftLog>>,
    /// What waits for the thread that syncs; none if there is no such thread.
    syncs: Option<Sender<IOFlushed<TypeConfig>>>,
}

impl LogStore {
    /// `log`, synced by a thread of its own or not.
    ///
    /// # Errors
    /// There can be no thread.
    pub(super) fn new(log: RaftLog, has_thread: bool) -> io::Result<Self> {
        let log = Arc::new(Mutex::new(log));
        let syncs = if has_thread {
            let (sender, receiver) = mpsc::channel();
            let of_thread = Arc::clone(&log);
            let work = move || sync_for_all(&of_thread, &receiver);
            thread::Builder::new().name("raft log".to_owned()).spawn(work)?;
            Some(sender)
        } else {
            None
        };
        Ok(Self { log, syncs })
    }

    /// The members as they were noted last.
    pub(super) fn members(&self) -> io::Result<Members> {
        self.log().note(NOTE_MEMBERS).map_or_else(|| Ok(Members::default()), decode_members)
    }

    /// Notes on disk who the members are.
    pub(super) fn note_members(&self, members: &Members) -> io::Result<()> {
        self.write_now(|log| log.set_note(NOTE_MEMBERS, encode_members(members)))
    }

    fn log(&self) -> MutexGuard<'_, RaftLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has something written, and on disk when it returns.
    fn write_now(&self, write: impl FnOnce(&mut RaftLog) -> Result<u64, StoreError>) -> io::Result<()> {
        blocking::run(|| {
            let mut log = self.log();
            write(&mut log).and_then(|_number| log.sync()).map_err(io::Error::other)
        })
    }
}

/// Syncs for all who wait, over and over, until nobody can come any more.
fn sync_for_all(log: &Mutex<RaftLog>, waiting: &Receiver<IOFlushed<TypeConfig>>) {
    while let Ok(first) = waiting.recv() {
        let all: Vec<_> = [first].into_iter().chain(waiting.try_iter()).collect();
        // What these wait for was written before they came.
        let syncer = log.lock().unwrap_or_else(PoisonError::into_inner).syncer();
        let done = syncer.sync();
        log.lock().unwrap_or_else(PoisonError::into_inner).synced(&done);
        for waiter in all {
            let error = done.as_ref().err().map(|error| io::Error::new(error.kind(), error.to_string()));
            waiter.io_completed(error.map_or(Ok(()), Err));
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<RaftEntry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        let entries = self.log().entries(start..end, usize::MAX).map_err(io::Error::other)?;
        entries.into_iter().map(to_raft_entry).collect()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        let entries = self.log().entries(start..end, READ_BYTES_MAX).map_err(io::Error::other)?;
        entries.into_iter().map(to_raft_entry).collect()
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, io::Error> {
        Ok(self.log().vote().map(to_raft_vote))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let log = self.log();
        let (last_purged_log_id, last_log_id) = (log.purged().map(to_raft_id), log.last().map(to_raft_id));
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), io::Error> {
        self.write_now(|log| log.save_vote(of_raft_vote(vote)))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut entries = entries.into_iter().map(|entry| of_raft_entry(&entry));
        let Some(syncs) = &self.syncs else {
            let done = self.write_now(|log| log.append(entries.by_ref()));
            callback.io_completed(done);
            return Ok(());
        };
        self.log().append(entries).map_err(io::Error::other)?;
        syncs.send(callback).map_err(|_ended| io::Error::other("the thread that syncs the log has ended"))
    }

    async fn truncate_after(&mut self, last_log_id: Option<RaftId>) -> Result<(), io::Error> {
        self.write_now(|log| log.truncate(last_log_id.map_or(0, |last| last.index + 1)))
    }

    async fn purge(&mut self, log_id: RaftId) -> Result<(), io::Error> {
        self.write_now(|log| log.purge(of_raft_id(&log_id)))
    }
}
