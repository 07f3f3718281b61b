//! The storage of a broker that leads a cluster: a group is kept once a majority has it on disk and
//! it is applied here.
//!
//! One group is on its way at a time, and what clients do meanwhile becomes the next one: so the
//! longer the way, the larger the groups.

use super::{GROUP, Propose, Proposed, Replica, Tables};
use crate::ids::{QueueId, Ticket};
use crate::store::commit::group::Group;
use crate::store::commit::merge::{OnDisk, WriteBatch};
use crate::store::commit::pending::WaitTimeout;
use crate::store::commit::storage::Storage;
use crate::store::error::StoreError;
use std::mem;
use std::sync::{Arc, MutexGuard};

/// Between the commit thread of a broker and the tables.
pub(super) struct ReplicatedStorage {
    replica: Replica,
    /// The broker that this is for.
    broker: u64,
    propose: Arc<dyn Propose>,
}

impl ReplicatedStorage {
    pub(super) fn new(replica: Replica, broker: u64, propose: Arc<dyn Propose>) -> Self {
        Self { replica, broker, propose }
    }

    /// The tables, as long as they are this broker's.
    fn tables(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        let tables = self.replica.tables();
        if tables.broker == self.broker { Ok(tables) } else { Err(StoreError::NotLeading) }
    }

    /// Has what of `group` outlives the broker go through the log, and all of it into the tables.
    fn replicate(&self, group: &mut Group, ticket: Ticket) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        tables.storage.admit(group)?;
        let tag = tables.next_tag();
        let mut entry = Vec::with_capacity(group.changes.bytes + 256);
        entry.push(GROUP);
        entry.extend_from_slice(&tag.to_be_bytes());
        entry.extend_from_slice(&group.number.to_be_bytes());
        group.encode(&mut entry);
        let sent = Group { number: group.number, changes: mem::take(&mut group.changes) };
        tables.proposed = Some(Proposed { tag, group: sent, ticket });
        drop(tables);
        self.propose.propose(entry.into()).map_err(|_unknown| StoreError::NotLeading)
    }
}

impl Storage for ReplicatedStorage {
    fn on_disk(&self, queue: QueueId) -> OnDisk {
        self.replica.tables().storage.on_disk(queue)
    }

    fn applied(&self) -> u64 {
        self.replica.tables().storage.applied()
    }

    fn readable(&self) -> Option<Ticket> {
        self.replica.tables().storage.readable()
    }

    fn apply(&mut self, group: &mut Group, ticket: Ticket) -> Result<(), StoreError> {
        if group.changes.lasts() {
            return self.replicate(group, ticket);
        }
        self.tables()?.storage.apply(group, ticket)
    }

    /// The others are not told of a clean stop: they go on.
    fn finish(&mut self, group: &mut Group) -> Result<(), StoreError> {
        if group.changes.lasts() {
            self.replicate(group, Ticket(0))?;
        }
        group.changes = WriteBatch::default();
        self.tables()?.storage.flush()
    }

    fn recover(&mut self) -> Result<(), StoreError> {
        self.tables()?.storage.recover()
    }

    fn timeout(&self) -> WaitTimeout {
        self.replica.tables().storage.timeout()
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        self.tables()?.storage.tidy()
    }

    fn rest(&mut self) -> Result<(), StoreError> {
        self.tables()?.storage.rest()
    }

    fn shrink(&mut self) -> Result<(), StoreError> {
        self.tables()?.storage.shrink()
    }

    fn has_room(&mut self) -> bool {
        self.replica.tables().storage.has_room()
    }

    fn has_spare(&self) -> bool {
        self.replica.tables().storage.has_spare()
    }

    /// The tables go on without this broker.
    fn close(self) -> Result<(), StoreError> {
        Ok(())
    }
}
