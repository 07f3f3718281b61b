//! The data file's storage of groups: the only writer of the file.
//!
//! A small group is written to the journal, and gathers with others until it is worth a
//! transaction: until the journal is full, there is much of it, or nothing has happened for a
//! while. A large group has a transaction of its own. So `journaled` is on disk and what is at hand
//! is not, and what is in `journaled` comes before.
//!
//! Spilled records, which nobody asks for after a start, are no part of what the journal gets: they
//! gather beside it, and are put into tables of their own by the same transactions.
//!
//! Each transaction has the number of the last group in it, in the table `leveret`: a group that is
//! applied a second time is left out, before a power cut and after it.
//!
//! What brings no records is written to a full disk nevertheless, from the reserve; so is what
//! brings some and also takes others away or declares something, or a record that nobody consumes
//! would keep on the disk what all others do, and keep out those who would consume it. When nothing
//! happens, the disk gets back what is free in the file, whether records wait or not: see `holes`.
//! What is known of the disk is in `room`.
//!
//! Where the groups are those of a cluster, its log is what the journal is otherwise: nothing is
//! written for a group until it goes into the tables, with the id of the last entry of that log
//! that they then hold. What a crash takes is applied again, from the log.
//!
//! redb finds out what is in use by walking the whole file when it is opened after a crash, about
//! 2.5 GB/s, and is then as good as what it finds: one damaged page is a file that it refuses. A
//! commit in two phases that saves that knowledge spares both. It costs a second sync, and 64 KiB
//! for each GiB of the file. So does each transaction but those of large groups, for which
//! publishers wait one after the other; once the store is idle, one more commit does it for them.

use super::backup::Signals;
use super::checked::Transaction;
use super::disk::Disk;
use super::file::FileIdentity;
use super::holes;
use super::index::{Indexes, QueueIndex, QueueIndexes};
use super::journal::Journal;
use super::log::LogParts;
use super::open_database;
use super::page::Shared;
use super::recover;
use super::room::{Room, TREES_BYTES};
use super::sweep::Sweeper;
use super::table;
use super::write::{Changed, Writer};
use crate::clock;
use crate::ids::{QueueId, Ticket};
use crate::store::FORMAT;
use crate::store::change::Recovered;
use crate::store::commit::group::Group;
use crate::store::commit::merge::{OnDisk, WriteBatch};
use crate::store::commit::pending::WaitTimeout;
use crate::store::commit::storage::Storage;
use crate::store::error::StoreError;
use crate::store::replica::log::EntryId;
use redb::CompactionError;
use std::io;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// A group of more bytes than this is not written twice: a transaction then costs less than the
/// second copy.
const JOURNALED_BYTES_MAX: usize = 128 * 1024;

/// A group of more bytes than this is not gathered with others where a cluster's log has it. There
/// it is on disk as it is, and each transaction less is two syncs less; but it is held in memory.
const COMMITTED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// So much gathers in the journal, in bytes of records and [`ROW_BYTES`] for each row, before it is
/// put into the tables: what is held in memory meanwhile.
const GATHERED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// About what a row costs in memory beside its records.
const ROW_BYTES: usize = 128;

/// So many rows are put into the tables in any case: about 5 ms, half a microsecond each, for
/// which everybody waits.
const GATHERED_ROWS_MAX: usize = 10_000;

/// How much time passes between portions of what is still to be removed, so that most of it is for
/// everybody else.
const SWEEP_EVERY_MS: u64 = 20;

/// What is free in a file is given back no sooner after the last time, nor than ten times as long
/// as that took.
const PUNCH_AGAIN_MS: u64 = 1000;

/// When a file that could not be made smaller is tried again.
const SHRINK_AGAIN_MS: u64 = 5000;

/// A transaction that takes longer than this is told in the log, for who looks for what others wait
/// for.
const SLOW_MS: u64 = 20;

/// How a transaction is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phases {
    One,
    Two,
}

/// Groups in the tables and the journal of a data file.
#[derive(Debug)]
pub(in crate::store) struct RedbStorage {
    /// Empty when opening it anew failed.
    database: Shared,
    disk: Disk,
    room: Room,
    /// Memory for pages of the file, bytes.
    cache_bytes: usize,
    journal: Journal,
    indexes: Indexes,
    /// What is in the journal and not in the tables, and what is spilled and not in the tables.
    journaled: WriteBatch,
    /// Of the last group that is in the journal or in the tables.
    number: u64,
    /// With the last group, or what came with it.
    last: Ticket,
    /// With the last group that is in the tables, and what came with it.
    readable: Ticket,
    /// A commit failed: whether what it had is on disk is unknown, and redb will do no more with
    /// this database.
    is_broken: bool,
    /// Something was committed since the last rest.
    has_news: bool,
    /// From when on the file may be made smaller, by the monotonic clock: not before something was
    /// committed since it was, or some time has passed since that failed.
    shrinks_from_ms: u64,
    /// When what is free in it may be given back again.
    punches_from_ms: u64,
    /// The last transaction did not save what is in use.
    in_one_phase: bool,
    /// What is removed when there is time.
    sweeper: Sweeper,
    swept_ms: u64,
    signals: Signals,
    /// The groups are entries of a cluster's log.
    replicates: bool,
    /// The last entry of that log that was applied.
    entry: Option<EntryId>,
}

impl RedbStorage {
    /// What is in `database`, which is in `disk` and has these queues and what is `sweeper`'s; its
    /// last group is `number`, that of `entry` in a cluster.
    ///
    /// # Errors
    /// The journal makes no sense.
    pub(super) fn new(
        (database, disk): (Shared, Disk),
        room: Room,
        cache_bytes: usize,
        (queues, sweeper): (QueueIndexes, Sweeper),
        (number, entry): (u64, Option<EntryId>),
    ) -> Result<Self, StoreError> {
        Ok(Self {
            database,
            journal: Journal::open(disk.clone(), number)?,
            disk,
            room,
            cache_bytes,
            indexes: Indexes { queues, ..Indexes::default() },
            journaled: WriteBatch::default(),
            number,
            last: Ticket(0),
            readable: Ticket(0),
            is_broken: false,
            has_news: true,
            shrinks_from_ms: 0,
            punches_from_ms: 0,
            in_one_phase: false,
            sweeper,
            swept_ms: 0,
            signals: Signals::default(),
            replicates: false,
            entry,
        })
    }

    /// Has a cluster's log take the place of the journal from now on.
    ///
    /// # Errors
    /// It could not be written.
    pub(in crate::store) fn replicate(&mut self) -> Result<(), StoreError> {
        self.empty_journal()?;
        self.replicates = true;
        Ok(())
    }

    /// The last entry of that log that was applied.
    pub(in crate::store) fn entry(&self) -> Option<EntryId> {
        self.entry
    }

    /// Notes that an entry of the log was applied which has no group.
    pub(in crate::store) fn apply_entry(&mut self, entry: EntryId) {
        self.entry = Some(entry);
    }

    /// As [`Storage::apply`] of what an entry of the log has, however little room there is: a
    /// majority has it on disk. False if it is not the group that comes next.
    ///
    /// # Errors
    /// It could not be written.
    pub(in crate::store) fn apply_committed(
        &mut self,
        group: &mut Group,
        ticket: Ticket,
        entry: EntryId,
    ) -> Result<bool, StoreError> {
        if group.number != self.number + 1 {
            self.entry = Some(entry);
            return Ok(false);
        }
        group.changes.settle(|id| self.on_disk(id));
        if group.changes.bytes > COMMITTED_BYTES_MAX || !self.append(group, ticket)? {
            // Before the entry counts as applied.
            self.empty_journal()?;
            self.entry = Some(entry);
            self.write_to_tables(group, true, Phases::One)?;
            (self.last, self.readable) = (ticket, ticket);
        }
        (self.number, self.entry) = (group.number, Some(entry));
        Ok(true)
    }

    /// Whether there is room for a group that is to be proposed.
    ///
    /// # Errors
    /// There is none, and it brings nothing but records.
    pub(in crate::store) fn admit(&self, group: &Group) -> Result<(), StoreError> {
        let is_short = group.changes.bytes > 0 && !self.room.is_there() && !group.changes.is_urgent();
        if is_short { Err(io::Error::from(io::ErrorKind::StorageFull).into()) } else { Ok(()) }
    }

    /// Puts into the tables all that was applied.
    ///
    /// # Errors
    /// It could not be written.
    pub(in crate::store) fn flush(&mut self) -> Result<(), StoreError> {
        self.empty_journal()
    }

    /// Does what a start does, and gives what it would find: for a broker that begins on tables
    /// that are in use.
    ///
    /// # Errors
    /// It could not be read or written.
    pub(in crate::store) fn start_anew(&mut self) -> Result<Recovered, StoreError> {
        self.empty_journal()?;
        while !self.sweeper.is_empty() {
            self.sweep()?;
        }
        let place = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = place.as_ref().ok_or(StoreError::Stopped)?;
        let identity = table::identify(database, FORMAT, false)?;
        let mut found = recover::recover(database, identity, false)?;
        table::begin_run(database, identity.next_queue, found.totals)?;
        recover::tidy(database, &mut found)?;
        drop(place);
        self.indexes = Indexes { queues: found.indexes, ..Indexes::default() };
        self.sweeper = Sweeper::new(found.removed);
        (self.last, self.readable) = (Ticket(0), Ticket(0));
        Ok(found.recovered)
    }

    /// The database, while it is open.
    pub(super) fn database(&self) -> Shared {
        Arc::clone(&self.database)
    }

    /// What a log takes of it, which is in this file if it is in one.
    pub(in crate::store) fn parts(&self, file: Option<FileIdentity>) -> LogParts {
        let (database, signals, io) = (self.database(), self.signals.clone(), self.disk.io());
        LogParts { database, file, signals, io, is_full: self.room.is_full() }
    }

    /// Brings a group to disk, this way or that.
    fn write(&mut self, group: &mut Group, ticket: Ticket) -> Result<(), StoreError> {
        let batch = &group.changes;
        let records = batch.bytes > 0;
        // There may be some room, and too little for what did not fit before.
        let is_too_much = || self.room.is_full() && self.room.make_sure_it_fits(batch.bytes, false).is_err();
        let is_short = records && (!self.room.is_there() || is_too_much());
        if is_short {
            // Records that publishers sent before they were told to wait must not keep on the disk
            // what others consume, nor those others out.
            if !batch.is_urgent() {
                return Err(io::Error::from(io::ErrorKind::StorageFull).into());
            }
            if self.room.make_sure_it_fits(self.journaled.bytes + batch.bytes, true).is_err() {
                // One after the other they may.
                self.room.make_sure_it_fits(batch.bytes, true)?;
                self.empty_journal()?;
                self.room.make_sure_it_fits(group.changes.bytes, true)?;
            }
        }
        if batch.bytes <= JOURNALED_BYTES_MAX {
            if self.append(group, ticket)? {
                return Ok(());
            }
            self.empty_journal()?;
            if self.append(group, ticket)? {
                return Ok(());
            }
        }
        self.empty_journal()?;
        self.write_to_tables(group, !records || is_short, Phases::One)?;
        (self.last, self.readable) = (ticket, ticket);
        Ok(())
    }

    /// Brings the last group to disk, and with it that the stop is a clean one.
    fn write_last(&mut self, group: &mut Group) -> Result<(), StoreError> {
        self.empty_journal()?;
        self.write_to_tables(group, group.changes.bytes == 0, Phases::Two)
    }

    /// Writes a group into a transaction of its own, from the reserve if it `spends` that. One in
    /// two phases is the last one of a clean stop.
    fn write_to_tables(&mut self, group: &mut Group, spends: bool, phases: Phases) -> Result<(), StoreError> {
        self.room.make_sure_it_fits(group.changes.bytes, spends)?;
        let number = if group.changes.lasts() { group.number } else { self.number };
        self.disk.keep_of_reserve(if spends { 0 } else { u64::MAX });
        let committed = self.commit(&group.changes, number, phases == Phases::Two, phases);
        self.disk.keep_of_reserve(0);
        let changed = committed.inspect_err(|_| self.is_broken = true)?;
        self.number = number;
        self.in_one_phase = phases == Phases::One;
        self.learn(changed);
        group.changes = WriteBatch::default();
        Ok(())
    }

    /// Writes a group to the journal, if there is room for it.
    fn append(&mut self, group: &mut Group, ticket: Ticket) -> Result<bool, StoreError> {
        let gathered = self.journaled.bytes + self.journaled.rows * ROW_BYTES;
        let is_wanted = self.signals.flush.swap(false, Ordering::Relaxed);
        if gathered > GATHERED_BYTES_MAX || self.journaled.rows > GATHERED_ROWS_MAX || is_wanted {
            return Ok(false);
        }
        let lasts = group.changes.lasts();
        let is_kept = !lasts || self.replicates;
        let fits = is_kept || self.journal.append(group.number, |out| group.encode(out))?;
        if fits {
            self.number = if lasts { group.number } else { self.number };
            let mut batch = mem::take(&mut group.changes);
            batch.detach();
            self.journaled.merge(batch);
            self.last = ticket;
            self.has_news = true;
        }
        Ok(fits)
    }

    /// Puts what is in the journal into the tables.
    fn empty_journal(&mut self) -> Result<(), StoreError> {
        if self.journal.is_empty() && self.journaled.is_empty() {
            return Ok(());
        }
        let indexes = &self.indexes;
        self.journaled.settle(|id| indexes.on_disk(id));
        self.room.make_sure_it_fits(self.journaled.bytes, true)?;
        if !self.journal.is_empty() {
            self.journal.prepare_reset(self.number)?;
        }
        let changed = self
            .commit(&self.journaled, self.number, false, Phases::Two)
            .inspect_err(|_| self.is_broken = true)?;
        self.in_one_phase = false;
        self.learn(changed);
        self.forget_journal(true);
        Ok(())
    }

    /// The tables hold what is in the journal; what was written before them is on disk if they were
    /// `synced`.
    fn forget_journal(&mut self, synced: bool) {
        self.journaled = WriteBatch::default();
        if !self.journal.is_empty() {
            self.journal.reset(synced);
        }
        self.readable = self.last;
    }

    /// Writes `batch`, which ends with group `number`, as one transaction, the last one or not;
    /// returns what the tables then hold of its queues.
    fn commit(
        &self,
        batch: &WriteBatch,
        number: u64,
        last: bool,
        phases: Phases,
    ) -> Result<Changed, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(StoreError::Stopped)?;
        let tx = match phases {
            Phases::One => Transaction::in_one_phase(database)?,
            Phases::Two => Transaction::begin(database)?,
        };
        let began_ms = clock::mono_ms();
        let mut writer = Writer::new(&tx);
        writer.write(batch, &self.indexes)?;
        let changed = writer.finish(batch, number, last, self.entry)?;
        tx.commit()?;
        let took_ms = clock::mono_ms() - began_ms;
        if took_ms > SLOW_MS {
            let queues = batch.queues.len();
            let two_phases = matches!(phases, Phases::Two);
            tracing::debug!(took_ms, two_phases, batch.bytes, batch.rows, queues, "a transaction took long");
        }
        Ok(changed)
    }

    fn learn(&mut self, changed: Changed) {
        let learn = |indexes: &mut QueueIndexes, changed: Vec<(QueueId, QueueIndex)>| {
            for (id, index) in changed {
                if index.is_empty() {
                    indexes.remove(&id);
                } else {
                    indexes.insert(id, index);
                }
            }
        };
        learn(&mut self.indexes.queues, changed.queues);
        learn(&mut self.indexes.local, changed.local);
        self.sweeper.extend(changed.removed, changed.removed_local);
        (self.has_news, self.shrinks_from_ms) = (true, 0);
    }

    /// Removes some of what is still to be removed: more while the disk is full, since publishers
    /// wait for that then.
    fn sweep(&mut self) -> Result<(), StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(StoreError::Stopped)?;
        let began_ms = clock::mono_ms();
        loop {
            self.sweeper.sweep(database).inspect_err(|_| self.is_broken = true)?;
            (self.in_one_phase, self.shrinks_from_ms, self.swept_ms) = (false, 0, clock::mono_ms());
            let goes_on = self.room.is_full() && self.swept_ms < began_ms + SWEEP_EVERY_MS;
            if self.sweeper.is_empty() || !goes_on {
                return Ok(());
            }
        }
    }

    /// Opens the database anew, as after a fault, and looks whether what was being written is in
    /// the tables after all. While it is closed, does something to the file.
    fn reopen<T>(&mut self, meanwhile: impl Fn(&Disk) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut place = self.database.write().unwrap_or_else(PoisonError::into_inner);
        self.signals.reopened.fetch_add(1, Ordering::Relaxed);
        drop(place.take());
        let done = meanwhile(&self.disk)?;
        let database = open_database(&self.disk, self.cache_bytes)?;
        self.indexes = recover::recount_all(&database)?;
        self.sweeper.read_again(&database)?;
        let stored = table::identify(&database, FORMAT, false)?.journal;
        *place = Some(database);
        drop(place);
        self.is_broken = false;
        if stored > self.number {
            self.number = stored;
        } else if stored == self.number && (!self.journal.is_empty() || self.replicates) {
            self.forget_journal(false);
        }
        Ok(done)
    }

    fn rest_now(&mut self) -> Result<(), StoreError> {
        self.empty_journal()?;
        self.shrink_if_full()?;
        self.end_in_two_phases()?;
        self.has_news = false;
        Ok(())
    }

    /// Once more in two phases, if the last commit was in one: see the head of this file.
    fn end_in_two_phases(&mut self) -> Result<(), StoreError> {
        if self.in_one_phase {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let settled = Transaction::begin(database.as_ref().ok_or(StoreError::Stopped)?)?.commit();
            settled.inspect_err(|_| self.is_broken = true)?;
            self.in_one_phase = false;
        }
        Ok(())
    }

    /// While the disk is full, gives it back what was consumed, once all of that is removed: redb
    /// keeps it in the file, where nobody else can see that there is room.
    fn shrink_if_full(&mut self) -> Result<(), StoreError> {
        let now_ms = clock::mono_ms();
        let is_due = now_ms >= self.shrinks_from_ms.max(self.punches_from_ms) && self.sweeper.is_empty();
        if !is_due || !self.room.is_full() {
            return Ok(());
        }
        if self.punch()? {
            let ended_ms = clock::mono_ms();
            self.punches_from_ms = ended_ms + PUNCH_AGAIN_MS.max(10 * (ended_ms - now_ms));
            self.shrinks_from_ms = u64::MAX;
            return Ok(());
        }
        if !self.room.is_enough_to_shrink() {
            return Ok(());
        }
        self.empty_journal()?;
        // Should it fail, what waits is tried before it is tried again.
        self.shrinks_from_ms = now_ms + SHRINK_AGAIN_MS;
        // Its commits do not save what is in use.
        self.in_one_phase = true;
        // What it moves may need more than there is, and a start needs some.
        self.disk.keep_of_reserve(2 * TREES_BYTES);
        let compacted = self.compact();
        self.disk.keep_of_reserve(0);
        if compacted.inspect_err(|_| self.is_broken = true)? {
            self.shrinks_from_ms = u64::MAX;
        }
        Ok(())
    }

    /// Makes holes of what is free in the file; false when that cannot be done here.
    fn punch(&mut self) -> Result<bool, StoreError> {
        if !self.disk.can_punch() {
            return Ok(false);
        }
        self.end_in_two_phases()?;
        self.is_broken = true;
        let punched = self.reopen(holes::punch)?;
        tracing::debug!(punched, "free pages were given back to the disk");
        Ok(punched.is_some())
    }

    /// Makes the file as small as it can be; false when that cannot be done now.
    fn compact(&self) -> Result<bool, StoreError> {
        let mut place = self.database.write().unwrap_or_else(PoisonError::into_inner);
        match place.as_mut().ok_or(StoreError::Stopped)?.compact() {
            Ok(_any) => Ok(true),
            Err(CompactionError::Storage(error)) => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "cannot shrink the data file");
                Ok(false)
            }
        }
    }

    /// A fault that passes is a full disk, or what somebody else takes for one.
    fn noting(&mut self, done: Result<(), StoreError>) -> Result<(), StoreError> {
        if done.as_ref().is_err_and(StoreError::passes) {
            self.room.set(false);
        }
        done
    }
}

impl Storage for RedbStorage {
    fn on_disk(&self, queue: QueueId) -> OnDisk {
        self.indexes.on_disk(queue).in_journal_too(self.journaled.queues.get(&queue))
    }

    fn applied(&self) -> u64 {
        self.number
    }

    fn readable(&self) -> Option<Ticket> {
        (self.readable < self.last).then_some(self.readable)
    }

    fn apply(&mut self, group: &mut Group, ticket: Ticket) -> Result<(), StoreError> {
        if group.number <= self.number {
            group.changes = WriteBatch::default();
            return Ok(());
        }
        if group.number > self.number + 1 {
            let what = format!("commit {} was to follow commit {}", group.number, self.number);
            return Err(StoreError::BrokerFault(what));
        }
        let done = self.write(group, ticket);
        self.noting(done)
    }

    fn finish(&mut self, group: &mut Group) -> Result<(), StoreError> {
        self.write_last(group)
    }

    fn recover(&mut self) -> Result<(), StoreError> {
        let done = if self.is_broken { self.reopen(|_| Ok(())) } else { Ok(()) };
        self.noting(done)
    }

    fn timeout(&self) -> WaitTimeout {
        if self.is_broken {
            WaitTimeout::Retry
        } else if !self.sweeper.is_empty() {
            WaitTimeout::Soon
        } else if self.has_news || self.room.is_full() {
            WaitTimeout::Idle
        } else {
            WaitTimeout::None
        }
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        if self.sweeper.is_empty() || self.is_broken || clock::mono_ms() < self.swept_ms + SWEEP_EVERY_MS {
            return Ok(());
        }
        let done = self.sweep();
        self.noting(done)
    }

    fn rest(&mut self) -> Result<(), StoreError> {
        let done = if self.sweeper.is_empty() { self.rest_now() } else { self.sweep() };
        self.noting(done)
    }

    fn shrink(&mut self) -> Result<(), StoreError> {
        // What waits may need more room than there is, though some is there.
        let done = if self.room.is_there() && !self.room.is_full() {
            Ok(())
        } else if self.sweeper.is_empty() {
            self.shrink_if_full()
        } else {
            self.sweep()
        };
        self.noting(done)
    }

    fn has_room(&mut self) -> bool {
        let is_there = self.room.is_there();
        self.room.set(is_there);
        is_there
    }

    fn has_spare(&self) -> bool {
        self.room.has_spare()
    }

    fn close(self) -> Result<(), StoreError> {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        Ok(database.map_or(Ok(()), redb::Database::close)?)
    }
}
