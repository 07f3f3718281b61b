//! The commit thread: the only writer of the file. It cuts a group, merges it, writes it, and tells
//! who waits.
//!
//! A small group is written to the journal, and gathers with others until it is worth a
//! transaction: until the journal is full, there is much of it, or nothing has happened for a
//! while. A large group has a transaction of its own. So `journaled` is on disk and `batch` is not,
//! and what is in `journaled` comes before what is in `batch`.
//!
//! A full disk is not the end: the work is kept, later groups are merged into it (what is consumed
//! meanwhile need not be written any more), and it is tried again every second. The same if
//! somebody else has found the disk full, after which redb does no more with this database. Any
//! other fault is: nothing is confirmed from then on.
//!
//! What brings no records is written to a full disk nevertheless, from the reserve; so is what
//! brings some and takes others away, or a record that nobody consumes would keep on the disk what
//! all others do. When nothing happens, the file is made smaller, whether records wait or not. The
//! disk counts as full until the reserve is whole again.
//!
//! redb finds out what is in use by walking the whole file when it is opened after a crash, about
//! 2.5 GB/s, and is then as good as what it finds: one damaged page is a file that it refuses. A
//! commit in two phases that saves that knowledge spares both. It costs a second sync, and 64 KiB
//! for each GiB of the file. So does each transaction but those of large groups, for which
//! publishers wait one after the other; once the store is idle, one more commit does it for them.

use super::checked::Transaction;
use super::disk::Disk;
use super::index::{QueueIndex, QueueIndexes};
use super::journal::Journal;
use super::page::Shared;
use super::recover;
use super::reserve::Reserve;
use super::table;
use super::write::Writer;
use super::{Options, open_database};
use crate::ids::QueueId;
use crate::store::FORMAT;
use crate::store::change::{Change, Health};
use crate::store::commit::entry;
use crate::store::commit::linger::{Linger, Tally};
use crate::store::commit::merge::WriteBatch;
use crate::store::commit::pending::{Group, Next, Pending, Stop, WaitTimeout};
use crate::store::error::StoreError;
use redb::CompactionError;
use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};

/// So many bytes, beside twice the group's own, must be free to write records: a commit also writes
/// trees, and what it replaces is free only after it.
pub(super) const TREES_BYTES: u64 = 4 * 1024 * 1024;

/// A group of more bytes than this is not written twice: a transaction then costs less than the
/// second copy.
const JOURNALED_BYTES_MAX: usize = 128 * 1024;

/// So much gathers in the journal, in bytes of records and [`RUN_BYTES`] for each run, before it is
/// put into the tables: what is held in memory meanwhile.
const GATHERED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// About what a run costs in memory beside its records.
const RUN_BYTES: usize = 128;

/// How a transaction is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phases {
    One,
    Two,
}

/// The commit thread, which is the only writer of the data file.
pub(super) struct Committer {
    pub(super) pending: Arc<Pending>,
    /// Empty when opening it anew failed.
    pub(super) database: Shared,
    pub(super) disk: Disk,
    pub(super) options: Options,
    pub(super) journal: Journal,
    pub(super) indexes: QueueIndexes,
    /// What is in the journal and not in the tables.
    pub(super) journaled: WriteBatch,
    /// What is cut and not on disk.
    pub(super) batch: WriteBatch,
    /// What is cut since a commit failed and not part of `batch`, which may turn out to be on disk.
    pub(super) late: Vec<Change>,
    /// Of the last group that is in the journal or in the tables.
    pub(super) number: u64,
    /// A commit failed: whether `batch` is on disk is unknown, and redb will do no more with this
    /// database.
    pub(super) broken: bool,
    /// Something was committed since the last rest.
    pub(super) restless: bool,
    /// Something was committed since the file was last made smaller.
    pub(super) loose: bool,
    /// The last transaction did not save what is in use.
    pub(super) in_one_phase: bool,
    pub(super) linger: Linger,
}

/// What has to be free for publishers to go on after a full disk.
fn wanted(reserve: Option<&Arc<dyn Reserve>>) -> u64 {
    reserve.map_or(0, |reserve| reserve.missing()) + 2 * TREES_BYTES
}

/// Says that the disk is full, and what ends that.
pub(super) fn tell_of_full(reserve: Option<&Arc<dyn Reserve>>) {
    let wanted_mib = wanted(reserve).div_ceil(1 << 20);
    tracing::warn!("the disk is nearly full: publishers wait until {wanted_mib} MiB are free");
}

impl Committer {
    /// Works until it is told to stop or cannot go on.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        self.work_until_stopped().and_then(|()| self.close_database())
    }

    fn work_until_stopped(&mut self) -> Result<(), StoreError> {
        loop {
            let moment = self.linger.moment();
            let (result, stop) = match self.pending.next(self.timeout(), moment) {
                Next::Rest => (self.rest(), None),
                Next::Commit(Group { stop: Some(Stop::Abandon), .. }) => return Ok(()),
                Next::Commit(group) => {
                    let stop = group.stop;
                    (self.take(group, !moment.is_zero()), stop)
                }
            };
            match result {
                Ok(()) if stop.is_some() => return Ok(()),
                Ok(()) => {}
                Err(error) if error.passes() && stop.is_none() => self.set_room(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn timeout(&self) -> WaitTimeout {
        if self.broken || !self.batch.is_empty() {
            WaitTimeout::Retry
        } else if self.restless || self.pending.health() == Health::Full {
            WaitTimeout::Idle
        } else {
            WaitTimeout::None
        }
    }

    /// Takes a group in, which was waited for or not, and commits all that is there.
    fn take(&mut self, group: Group, waited: bool) -> Result<(), StoreError> {
        if self.late.is_empty() {
            self.late = group.changes;
        } else {
            self.late.extend(group.changes);
        }
        if self.broken {
            self.reopen()?;
        }
        let changes = mem::take(&mut self.late);
        let idle = changes.is_empty();
        let tally = Tally::of(&changes);
        self.batch.absorb(changes);
        let appended = self.batch.bytes;
        let (indexes, journaled) = (&self.indexes, &self.journaled);
        self.batch
            .settle(|id| QueueIndex::on_disk(indexes.get(&id)).in_journal_too(journaled.queues.get(&id)));
        self.pending.give_back(appended - self.batch.bytes);
        self.linger.learn(tally, waited, appended, self.batch.bytes);
        let last = group.stop.is_some();
        if !self.batch.is_empty() || last {
            if idle && !last && !self.has_room() {
                self.shrink()?;
            }
            self.write(last)?;
        }
        self.pending.give_back(self.batch.bytes);
        self.batch = WriteBatch::default();
        self.look_for_room();
        self.pending.announce(group.number);
        if self.journal.is_empty() {
            self.pending.set_stored(group.number);
        }
        Ok(())
    }

    /// Brings the work to disk, this way or that.
    fn write(&mut self, last: bool) -> Result<(), StoreError> {
        let records = self.batch.bytes > 0;
        let is_short = records && !last && !self.has_room();
        if is_short {
            // Records that publishers sent before they were told to wait must not keep on the disk
            // what others consume.
            if !self.batch.takes_away() {
                return Err(io::Error::from(io::ErrorKind::StorageFull).into());
            }
            self.make_sure_it_fits(self.journaled.bytes + self.batch.bytes, true)?;
        }
        if !last && self.batch.bytes <= JOURNALED_BYTES_MAX {
            if self.append()? {
                return Ok(());
            }
            self.empty_journal()?;
            if self.append()? {
                return Ok(());
            }
        }
        self.empty_journal()?;
        let spends = !records || is_short;
        self.make_sure_it_fits(self.batch.bytes, spends)?;
        let number = self.number + 1;
        self.disk.spend_reserve(spends);
        let phases = if last { Phases::Two } else { Phases::One };
        let committed = self.commit(&self.batch, number, last, phases);
        self.disk.spend_reserve(true);
        let changed = committed.inspect_err(|_| self.broken = true)?;
        self.number = number;
        self.in_one_phase = phases == Phases::One;
        self.learn(changed);
        Ok(())
    }

    /// Writes the work to the journal, if there is room for it.
    fn append(&mut self) -> Result<bool, StoreError> {
        let gathered = self.journaled.bytes + self.journaled.runs * RUN_BYTES;
        if gathered > GATHERED_BYTES_MAX {
            return Ok(false);
        }
        let number = self.number + 1;
        let fits = self.journal.append(number, |out| entry::encode(&self.batch, out))?;
        if fits {
            self.number = number;
            self.pending.give_back(self.batch.bytes);
            let mut batch = mem::take(&mut self.batch);
            batch.detach();
            self.journaled.merge(batch);
            self.restless = true;
        }
        Ok(fits)
    }

    /// Puts what is in the journal into the tables.
    fn empty_journal(&mut self) -> Result<(), StoreError> {
        if self.journal.is_empty() {
            return Ok(());
        }
        let indexes = &self.indexes;
        self.journaled.settle(|id| QueueIndex::on_disk(indexes.get(&id)));
        self.make_sure_it_fits(self.journaled.bytes, true)?;
        self.journal.prepare_reset(self.number)?;
        let changed = self
            .commit(&self.journaled, self.number, false, Phases::Two)
            .inspect_err(|_| self.broken = true)?;
        self.in_one_phase = false;
        self.learn(changed);
        self.forget_journal(true);
        Ok(())
    }

    /// The tables hold what is in the journal; what was written before them is on disk if they were
    /// `synced`.
    fn forget_journal(&mut self, synced: bool) {
        self.journaled = WriteBatch::default();
        self.journal.reset(synced);
        self.pending.set_stored(self.pending.durable());
    }

    /// Writes `batch`, which ends with group `number`, as one transaction; returns what the tables
    /// then hold of its queues.
    fn commit(
        &self,
        batch: &WriteBatch,
        number: u64,
        last: bool,
        phases: Phases,
    ) -> Result<Vec<(QueueId, QueueIndex)>, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(StoreError::Stopped)?;
        let tx = match phases {
            Phases::One => Transaction::in_one_phase(database)?,
            Phases::Two => Transaction::begin(database)?,
        };
        let mut writer = Writer::new(&tx);
        writer.write(batch, &self.indexes)?;
        let changed = writer.finish(batch, number, last)?;
        tx.commit()?;
        Ok(changed)
    }

    fn learn(&mut self, changed: Vec<(QueueId, QueueIndex)>) {
        for (id, index) in changed {
            if index.is_empty() {
                self.indexes.remove(&id);
            } else {
                self.indexes.insert(id, index);
            }
        }
        (self.restless, self.loose) = (true, true);
    }

    /// Opens the database anew after a fault, and looks whether what was being written is in the
    /// tables after all.
    fn reopen(&mut self) -> Result<(), StoreError> {
        let mut place = self.database.write().unwrap_or_else(PoisonError::into_inner);
        drop(place.take());
        let database = open_database(&self.disk, &self.options)?;
        self.indexes = recover::recount(&database)?;
        let stored = table::identify(&database, FORMAT, false)?.journal;
        *place = Some(database);
        drop(place);
        self.broken = false;
        if stored > self.number {
            self.number = stored;
            self.pending.give_back(self.batch.bytes);
            self.batch = WriteBatch::default();
        } else if stored == self.number && !self.journal.is_empty() {
            self.forget_journal(false);
        }
        Ok(())
    }

    /// Nothing has happened for a while.
    fn rest(&mut self) -> Result<(), StoreError> {
        self.empty_journal()?;
        self.shrink()?;
        self.look_for_room();
        if self.in_one_phase {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let settled = Transaction::begin(database.as_ref().ok_or(StoreError::Stopped)?)?.commit();
            settled.inspect_err(|_| self.broken = true)?;
            self.in_one_phase = false;
        }
        self.restless = false;
        Ok(())
    }

    /// While the disk is full, gives it back what was consumed: redb keeps it in the file, where
    /// nobody else can see that there is room.
    fn shrink(&mut self) -> Result<(), StoreError> {
        let left = self.disk.reserve().map_or(0, |reserve| reserve.left());
        let fits = self.free_bytes().is_none_or(|free| free.saturating_add(left) >= TREES_BYTES);
        if !self.loose || !fits || self.pending.health() != Health::Full {
            return Ok(());
        }
        self.empty_journal()?;
        // Should it fail nevertheless, what waits is tried before it is tried again.
        self.loose = false;
        // Its commits do not save what is in use.
        self.in_one_phase = true;
        self.compact().inspect_err(|_| self.broken = true)
    }

    fn compact(&self) -> Result<(), StoreError> {
        let mut place = self.database.write().unwrap_or_else(PoisonError::into_inner);
        match place.as_mut().ok_or(StoreError::Stopped)?.compact() {
            Ok(_any) => Ok(()),
            Err(CompactionError::Storage(error)) => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "the file is not made smaller");
                Ok(())
            }
        }
    }

    /// Says that the disk is full once the reserve was touched, and that it has room again once
    /// that is whole.
    fn look_for_room(&self) {
        self.set_room(self.has_room());
    }

    /// Whether new records may be written. After a full disk there must be enough for more than the
    /// next few, and the reserve whole again.
    fn has_room(&self) -> bool {
        let is_full = self.pending.health() == Health::Full;
        let has_free = |bytes| self.free_bytes().is_none_or(|free| free >= bytes);
        match self.disk.reserve() {
            None => has_free(if is_full { wanted(None) } else { TREES_BYTES }),
            Some(reserve) if reserve.missing() == 0 && !is_full => true,
            Some(reserve) => has_free(wanted(Some(reserve))) && reserve.refill(),
        }
    }

    /// Holds back records that would hardly fit, into what is free and, if they may take it, the
    /// reserve.
    fn make_sure_it_fits(&self, bytes: usize, spends: bool) -> Result<(), StoreError> {
        if bytes == 0 {
            return Ok(());
        }
        let needed = (bytes as u64).saturating_mul(2).saturating_add(TREES_BYTES);
        let reserve = if spends { self.disk.reserve().map_or(0, |reserve| reserve.left()) } else { 0 };
        match self.free_bytes() {
            Some(free) if free.saturating_add(reserve) < needed => {
                Err(io::Error::from(io::ErrorKind::StorageFull).into())
            }
            _ => Ok(()),
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        self.options.free_bytes.as_ref().map(|free| free())
    }

    fn set_room(&self, enough: bool) {
        match (self.pending.health(), enough) {
            (Health::Good, false) => {
                tell_of_full(self.disk.reserve());
                self.pending.set_health(Health::Full);
            }
            (Health::Full, true) => {
                tracing::info!("there is room on the disk again");
                self.pending.set_health(Health::Good);
            }
            _ => {}
        }
    }

    fn close_database(&self) -> Result<(), StoreError> {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        Ok(database.map_or(Ok(()), redb::Database::close)?)
    }
}
