//! The commit thread: the only writer of the file. It cuts a group, merges it, writes it as one transaction, and
//! tells who waits.
//!
//! A full disk is not the end: the work is kept, later groups are merged into it (what is consumed meanwhile
//! need not be written any more), and it is tried again every second. Any other fault is: nothing is confirmed
//! from then on.
//!
//! redb finds out what is in use by walking the whole file when it is opened after a crash, about 2.5 GB/s, unless
//! the last commit has saved that knowledge. Saving it costs a second fsync, so no commit that somebody waits for
//! does; once the store is idle, one more commit does.

use super::change::Health;
use super::disk::Disk;
use super::error::StoreError;
use super::linger::{Linger, Tally};
use super::merge::Work;
use super::page::Shared;
use super::pending::{Group, Next, Patience, Pending, Stop};
use super::recover;
use super::shelf::{Shelf, Shelves};
use super::table::{self, META, META_CLEAN};
use super::write::Writer;
use super::{Options, open_database};
use crate::ids::QueueId;
use redb::CompactionError;
use std::io;
use std::sync::{Arc, PoisonError};

/// So many bytes, beside the group's own, must be free to write records: a commit also writes trees, and what it
/// replaces is free only after it.
const RESERVE_BYTES: u64 = 4 * 1024 * 1024;

/// See the head of this file.
pub(super) struct Committer {
    pub(super) pending: Arc<Pending>,
    /// Empty when opening it anew failed.
    pub(super) database: Shared,
    pub(super) disk: Disk,
    pub(super) options: Options,
    pub(super) shelves: Shelves,
    /// What is cut and not on disk.
    pub(super) work: Work,
    /// A commit failed: whether `work` is on disk is unknown, and redb will do no more with this database.
    pub(super) broken: bool,
    /// Something was committed since the file was last put in order.
    pub(super) restless: bool,
    pub(super) linger: Linger,
}

impl Committer {
    /// Works until it is told to stop or cannot go on.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        let result = self.work_until_stopped().and_then(|()| self.close_database());
        if let Err(error) = &result {
            tracing::error!(%error, "the store has failed: nothing is confirmed from now on");
            self.pending.set_health(Health::Failed);
        }
        self.pending.close();
        result
    }

    fn work_until_stopped(&mut self) -> Result<(), StoreError> {
        loop {
            let moment = self.linger.moment();
            let (result, stop) = match self.pending.next(self.patience(), moment) {
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
                Err(error) if error.is_full() && stop.is_none() => self.set_room(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn patience(&self) -> Patience {
        if self.broken || !self.work.is_empty() {
            Patience::UntilRetry
        } else if self.restless || self.pending.health() == Health::Full {
            Patience::UntilIdle
        } else {
            Patience::Endless
        }
    }

    /// Takes a group in, which was waited for or not, and commits all that is there.
    fn take(&mut self, group: Group, waited: bool) -> Result<(), StoreError> {
        let tally = Tally::of(&group.changes);
        self.work.absorb(group.changes);
        if self.broken {
            self.reopen()?;
        }
        let appended = self.work.bytes;
        self.work.settle(&self.shelves);
        self.pending.give_back(appended - self.work.bytes);
        self.linger.learn(tally, waited, appended, self.work.bytes);
        self.make_sure_it_fits()?;
        if !self.work.is_empty() || group.stop.is_some() {
            let changed = self.write(group.stop.is_some()).inspect_err(|_| self.broken = true)?;
            self.learn(changed);
        }
        self.pending.give_back(self.work.bytes);
        self.work = Work::default();
        self.look_for_room();
        self.pending.announce(group.number);
        Ok(())
    }

    /// Writes the work as one transaction; returns what then holds of its queues.
    fn write(&self, last: bool) -> Result<Vec<(QueueId, Shelf)>, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let tx = database.as_ref().ok_or(StoreError::Stopped)?.begin_write()?;
        let mut writer = Writer::new(&tx);
        writer.write(&self.work, &self.shelves)?;
        let changed = writer.finish();
        if last {
            tx.open_table(META)?.insert(META_CLEAN, 1)?;
        }
        tx.commit()?;
        Ok(changed)
    }

    fn learn(&mut self, changed: Vec<(QueueId, Shelf)>) {
        for (id, shelf) in changed {
            if shelf.is_empty() {
                self.shelves.remove(&id);
            } else {
                self.shelves.insert(id, shelf);
            }
        }
        self.restless = true;
    }

    /// Opens the database anew after a fault, and looks what of the work is on disk.
    fn reopen(&mut self) -> Result<(), StoreError> {
        let mut place = self.database.write().unwrap_or_else(PoisonError::into_inner);
        drop(place.take());
        let database = open_database(&self.disk, &self.options)?;
        self.shelves = recover::recount(&database)?;
        *place = Some(database);
        self.broken = false;
        Ok(())
    }

    /// Nothing has happened for a while: puts the file in order for a quick start.
    fn rest(&mut self) -> Result<(), StoreError> {
        if self.restless && self.pending.health() == Health::Full {
            self.shrink().inspect_err(|_| self.broken = true)?;
        }
        self.look_for_room();
        if self.restless {
            table::put_in_order(&self.database).inspect_err(|_| self.broken = true)?;
            self.restless = false;
        }
        Ok(())
    }

    /// Gives the disk back what was consumed: redb keeps it in the file, where nobody else can see that there is room.
    fn shrink(&self) -> Result<(), StoreError> {
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

    /// After a full disk, and once nothing is held back: lets publishers go on if there is room.
    fn look_for_room(&self) {
        if self.pending.health() == Health::Full {
            let free = self.options.free_bytes.as_ref().map_or(u64::MAX, |free| free());
            self.set_room(free >= self.options.free_bytes_min);
        }
    }

    /// Notices a disk that fills up before a write fails; holds back records that would hardly fit.
    fn make_sure_it_fits(&self) -> Result<(), StoreError> {
        let Some(free) = self.options.free_bytes.as_ref().filter(|_| self.work.bytes > 0) else {
            return Ok(());
        };
        let (free, min) = (free(), self.options.free_bytes_min);
        if free < min {
            self.set_room(false);
        }
        let needed = (self.work.bytes as u64).saturating_mul(2).saturating_add(RESERVE_BYTES);
        if free < needed.min(min) { Err(io::Error::from(io::ErrorKind::StorageFull).into()) } else { Ok(()) }
    }

    fn set_room(&self, enough: bool) {
        match (self.pending.health(), enough) {
            (Health::Good, false) => {
                tracing::warn!("the disk is nearly full: publishers wait until there is room");
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
