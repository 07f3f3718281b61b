//! What a node of a cluster keeps: the log of the cluster's entries, and the tables that come of
//! them.
//!
//! An entry is a commit group, or says that a broker begins. [`Replica`] applies entries to the
//! data file in the order of the log: the same entries make the same of every file, and how far a
//! file has come is in the same transaction as the rows, so that each is applied exactly once. On
//! the node that leads, a broker runs on these tables by [`Replica::serve`]: its commit thread cuts
//! and merges groups as ever, and `storage` has them proposed and waits until they are applied
//! here. `log` has entries and vote on disk. What decides on the entries is behind [`Propose`] and
//! none of this room's business; it names no library for it.
//!
//! ```text
//! 1 group    u64 tag of the proposal | u64 number | changes, as `group` draws them
//! 2 begin    u64 tag of the proposal
//! ```
//!
//! # Exactly once, and nothing between
//!
//! A group was merged against all groups before it, so it is of use behind these alone. It names
//! them by its number: one that does not follow the last one is refused, by every node alike, and
//! the broker that proposed it has to end. So it does no harm if a proposal outlives the broker, or
//! the term, that made it.
//!
//! # A broker begins
//!
//! Before a broker starts, every node does with its tables what a start does: transient messages
//! go, rows that nobody reads, bodies that were still to be removed, spilled records. Otherwise the
//! new broker would give numbers again that some other node has in use for what is gone on this
//! one. A last difference stays: records lie in rows as each node has cut them, so that one may
//! have a row that goes on, with settled messages, where another one's ends. The new broker's
//! numbers therefore begin a row's length further on; in streams, of which nothing is settled at
//! the end, right there.
//!
//! What is not there yet: a group is proposed once the one before is applied; snapshots; a full
//! disk, which here is the end of the node's part in the cluster.

pub mod log;
mod storage;
#[cfg(test)]
mod tests;

use self::log::EntryId;
use self::storage::ReplicatedStorage;
use super::change::{Recovered, RecoveredQueue};
use super::commit::group::Group;
use super::commit::storage::Storage;
use super::error::StoreError;
use super::guard::guarded;
use super::redb::{FileIdentity, ROW_RECORDS_MAX, RedbStorage, Replicated, open_replica, start_over};
use super::{FORMAT, Opened, Options};
use crate::ids::Ticket;
use crate::machine::random_bytes;
use bytes::{BufMut, Bytes, BytesMut};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const GROUP: u8 = 1;
const BEGIN: u8 = 2;

/// Kind and tag.
const HEAD: usize = 9;

/// How a broker's groups become entries.
pub trait Propose: Send + Sync {
    /// Proposes an entry for the term in which the broker began, and waits until it is applied on
    /// this node. What is unknown counts as not applied.
    ///
    /// # Errors
    /// It is not, or nobody knows, and the broker has to end.
    fn propose(&self, entry: Bytes) -> Result<(), NotApplied>;
}

/// An entry was not applied here, or nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotApplied;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Applied,
    /// It does not follow what was applied before, and had no effect.
    Refused,
}

/// The tables of a node; clones share them.
#[derive(Debug, Clone)]
pub struct Replica(Arc<Mutex<Tables>>);

#[derive(Debug)]
struct Tables {
    storage: RedbStorage,
    file: Option<FileIdentity>,
    /// The broker that is at work, counted: what an earlier one still does is refused.
    broker: u64,
    /// The last tag that was given.
    tag: u64,
    /// What the broker here has proposed, until it is applied.
    proposed: Option<Proposed>,
    /// A broker is to begin here with the entry that has this tag.
    awaited: Option<u64>,
    /// What it begins with, once that entry is applied.
    begun: Option<Recovered>,
}

/// A group on its way through the log and back.
#[derive(Debug)]
struct Proposed {
    tag: u64,
    /// As it was merged, with what of it is local.
    group: Group,
    ticket: Ticket,
}

impl Replica {
    /// Opens the data file of the folder `dir`, or makes both.
    ///
    /// # Errors
    /// As [`super::open`]; or it was a broker's without a cluster.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        Self::of(open_replica(dir, Options { journal_bytes: 0, ..options })?)
    }

    /// What a storage holds that is open.
    pub(super) fn of((mut storage, file): Replicated) -> Result<Self, StoreError> {
        if storage.applied() > 0 && storage.entry().is_none() {
            return Err(StoreError::NotOfCluster);
        }
        storage.replicate()?;
        let tag = u64::from_be_bytes(random_bytes()?);
        let tables = Tables { storage, file, broker: 0, tag, proposed: None, awaited: None, begun: None };
        Ok(Self(Arc::new(Mutex::new(tables))))
    }

    /// The last entry that was applied.
    #[must_use]
    pub fn applied(&self) -> Option<EntryId> {
        self.tables().storage.entry()
    }

    /// Applies an entry, which is the next one of those that this is called for.
    ///
    /// # Errors
    /// It could not be applied, and the node cannot go on.
    pub fn apply(&self, id: EntryId, entry: &[u8]) -> Result<Outcome, StoreError> {
        let mut tables = self.tables();
        guarded(|| tables.apply(id, entry))
    }

    /// Notes that an entry was applied which is nothing to the tables.
    pub fn pass_over(&self, id: EntryId) {
        self.tables().storage.apply_entry(id);
    }

    /// Puts into the tables, on disk, what was applied: up to which entry that is.
    ///
    /// # Errors
    /// It could not be written.
    pub fn flush(&self) -> Result<Option<EntryId>, StoreError> {
        let mut tables = self.tables();
        guarded(|| tables.storage.flush())?;
        Ok(tables.storage.entry())
    }

    /// An entry to propose with which a broker begins on this node: [`Replica::serve`] starts it
    /// once it is applied.
    #[must_use]
    pub fn begin(&self) -> Bytes {
        let mut tables = self.tables();
        let tag = tables.next_tag();
        (tables.awaited, tables.begun) = (Some(tag), None);
        let mut entry = BytesMut::with_capacity(HEAD);
        entry.put_u8(BEGIN);
        entry.put_u64(tag);
        entry.freeze()
    }

    /// Starts the commit thread of the broker that begins with what [`Replica::begin`] gave last,
    /// and whose groups go to `propose`. Until the next one begins; this one must be closed or
    /// dropped.
    ///
    /// # Errors
    /// That entry is not applied, or others were after it.
    pub fn serve(&self, propose: Arc<dyn Propose>) -> Result<Opened, StoreError> {
        let mut tables = self.tables();
        let mut recovered = tables.begun.take().ok_or(StoreError::NotLeading)?;
        recovered.queues.iter_mut().for_each(go_further_on);
        let parts = tables.storage.parts(tables.file.clone());
        let storage = ReplicatedStorage::new(self.clone(), tables.broker, propose);
        drop(tables);
        start_over(storage, parts, recovered)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn apply(&mut self, id: EntryId, entry: &[u8]) -> Result<Outcome, StoreError> {
        let (head, rest) = entry.split_first_chunk::<HEAD>().ok_or_else(malformed)?;
        let [kind, tag @ ..] = *head;
        match (kind, u64::from_be_bytes(tag)) {
            (GROUP, tag) => self.apply_group(id, tag, rest),
            (BEGIN, tag) => self.apply_begin(id, tag),
            _ => Err(malformed()),
        }
    }

    fn apply_group(&mut self, id: EntryId, tag: u64, rest: &[u8]) -> Result<Outcome, StoreError> {
        let (number, changes) = rest.split_first_chunk().ok_or_else(malformed)?;
        let (mut group, ticket) = match self.proposed.take_if(|proposed| proposed.tag == tag) {
            Some(Proposed { group, ticket, .. }) => (group, ticket),
            None => (Group::decode(u64::from_be_bytes(*number), changes, FORMAT)?, Ticket(0)),
        };
        let is_ours = ticket > Ticket(0);
        let applied = self.storage.apply_committed(&mut group, ticket, id)?;
        if !is_ours {
            // Where a broker is at work, its commit thread sees to it.
            self.storage.tidy()?;
        }
        Ok(if applied { Outcome::Applied } else { Outcome::Refused })
    }

    fn apply_begin(&mut self, id: EntryId, tag: u64) -> Result<Outcome, StoreError> {
        self.broker += 1;
        (self.proposed, self.begun) = (None, None);
        self.storage.apply_entry(id);
        let recovered = self.storage.start_anew()?;
        if self.awaited.take_if(|awaited| *awaited == tag).is_some() {
            self.begun = Some(recovered);
        }
        Ok(Outcome::Applied)
    }

    fn next_tag(&mut self) -> u64 {
        self.tag = self.tag.wrapping_add(1);
        self.tag
    }
}

/// Has a queue give numbers that no node has in a row: see the head of this file.
fn go_further_on(queue: &mut RecoveredQueue) {
    if queue.stream.is_none() {
        queue.lanes.iter_mut().for_each(|lane| lane.next += ROW_RECORDS_MAX);
    }
}

fn malformed() -> StoreError {
    StoreError::Damaged("an entry of the log is malformed".to_owned())
}
