//! The commit thread: it cuts groups, merges each against what is kept already, hands it to the
//! storage, and tells who waits.
//!
//! A full disk is not the end: the group is kept, what is cut later is merged into it (what is
//! consumed meanwhile need not be written any more), and it is tried again every second. The same
//! if somebody else has found the disk full, after which the storage does no more until it has
//! recovered. Any other fault is the end: nothing is confirmed from then on.
//!
//! What is in that group may be too much for what is left of the disk. What comes later and makes
//! room goes ahead of it then: see `relief`.
//!
//! A stop does not wait for room. If nothing that clients did is lost by that, it is no fault: the
//! next start then is one as after a crash.

use super::group::Group;
use super::linger::{Linger, Tally};
use super::pending::{Cut, Next, Pending, Stop, WaitTimeout};
use super::relief::Relief;
use super::storage::Storage;
use crate::ids::Ticket;
use crate::store::change::{Change, Health};
use crate::store::error::StoreError;
use std::mem;
use std::sync::Arc;
use tracing::warn;

/// Decides what reaches the storage, and in which order.
pub(in crate::store) struct Committer<S> {
    pending: Arc<Pending>,
    /// Where groups go.
    pub(in crate::store) storage: S,
    /// What is cut and not applied, with the number after that of the last group that is.
    group: Group,
    /// What is cut since a fault and not part of `group`, which may turn out to be applied.
    late: Vec<Change>,
    /// The group could not be written when it was tried last.
    has_failed: bool,
    /// What may go ahead of a group that does not fit.
    relief: Relief,
    linger: Linger,
}

impl<S: Storage> Committer<S> {
    /// Commits what `pending` gathers to `storage`.
    pub(in crate::store) fn new(pending: Arc<Pending>, storage: S) -> Self {
        let group = Group::after(storage.applied());
        let (late, relief, linger) = (Vec::new(), Relief::default(), Linger::default());
        Self { pending, storage, group, late, has_failed: false, relief, linger }
    }

    /// Works until it is told to stop or cannot go on.
    ///
    /// # Errors
    /// What kept a group from the disk, unless it passes.
    pub(in crate::store) fn run(mut self) -> Result<(), StoreError> {
        let worked = self.work_until_stopped();
        let is_more_than_marks = self.is_more_than_marks();
        match worked.and_then(|()| self.storage.close()) {
            Err(error) if error.is_full() && !is_more_than_marks => {
                warn!(
                    "the disk is full: stopped without the mark of a clean stop, as by a crash; \
                     all that was confirmed is on disk"
                );
                Ok(())
            }
            ended => ended,
        }
    }

    /// Whether something is not written that clients or operators did.
    fn is_more_than_marks(&self) -> bool {
        let is_more = |change: &Change| !matches!(change, Change::Delivered { .. } | Change::Requeue { .. });
        self.group.changes.is_more_than_marks() || self.late.iter().any(is_more)
    }

    fn work_until_stopped(&mut self) -> Result<(), StoreError> {
        loop {
            let moment = self.linger.moment();
            let (result, stop) = match self.pending.next(self.timeout(), moment) {
                Next::Rest => (self.rest(), None),
                Next::Commit(Cut { stop: Some(Stop::Abandon), .. }) => return Ok(()),
                Next::Commit(cut) => {
                    let stop = cut.stop;
                    (self.commit(cut, !moment.is_zero()), stop)
                }
            };
            match result {
                Ok(()) if stop.is_some() => return Ok(()),
                Ok(()) => {}
                Err(error) if error.passes() && stop.is_none() => {
                    self.pending.set_spare(self.storage.has_spare());
                    self.pending.set_health(Health::Full);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn timeout(&self) -> WaitTimeout {
        match self.storage.timeout() {
            // What is tidied may make the room that the group waits for.
            WaitTimeout::Soon => WaitTimeout::Soon,
            _ if !self.group.changes.is_empty() => WaitTimeout::Retry,
            timeout => timeout,
        }
    }

    fn rest(&mut self) -> Result<(), StoreError> {
        let rested = self.storage.rest();
        self.tell_of_readable();
        rested?;
        self.look_for_room();
        Ok(())
    }

    /// Takes in what was cut, which was waited for or not, and commits all that is there.
    ///
    /// # Errors
    /// It could not be written; it is kept, and tried again with what is cut next.
    pub(in crate::store) fn commit(&mut self, cut: Cut, waited: bool) -> Result<(), StoreError> {
        if self.late.is_empty() {
            self.late = cut.changes;
        } else {
            self.late.extend(cut.changes);
        }
        self.storage.recover()?;
        self.see_what_is_applied();
        let changes = mem::take(&mut self.late);
        if self.has_failed {
            self.relief.add(&changes);
        }
        let idle = changes.is_empty();
        let tally = Tally::of(&changes);
        let batch = &mut self.group.changes;
        batch.absorb(changes);
        let appended = batch.bytes;
        batch.settle(|id| self.storage.on_disk(id));
        let bytes = batch.bytes;
        self.pending.give_back(appended - bytes);
        self.linger.learn(tally, waited, appended, bytes);
        let applied = self.apply(cut.number, idle, cut.stop.is_some());
        self.tell_of_readable();
        if applied.as_ref().is_err_and(StoreError::passes) && cut.stop.is_none() {
            if !self.has_failed {
                self.relief.begin(&self.group.changes);
            }
            self.relieve()?;
        }
        self.has_failed = applied.is_err();
        applied?;
        self.begin_group(bytes);
        self.look_for_room();
        self.pending.announce(cut.number);
        self.tell_of_readable();
        if cut.stop.is_some() { Ok(()) } else { self.storage.tidy() }
    }

    /// Once the storage knows again what is kept: whether that is the group at hand, or what went
    /// ahead of it, which has the same number then.
    fn see_what_is_applied(&mut self) {
        if self.storage.applied() < self.group.number {
            return self.relief.stays();
        }
        if self.relief.is_under_way() {
            self.relief.done();
            self.group.number = self.storage.applied() + 1;
        } else {
            self.begin_group(self.group.changes.bytes);
        }
    }

    /// The group does not fit: has what makes room go ahead of it. Nobody is told, since what came
    /// before is not on disk.
    fn relieve(&mut self) -> Result<(), StoreError> {
        if self.relief.is_empty() {
            return Ok(());
        }
        self.storage.recover()?;
        if self.storage.applied() >= self.group.number {
            // It is on disk after all, which the next round finds.
            return Ok(());
        }
        let mut ahead = Group::after(self.storage.applied());
        ahead.changes.absorb(self.relief.begin_to_go());
        ahead.changes.settle(|id| self.storage.on_disk(id));
        if !ahead.changes.is_empty() {
            self.storage.apply(&mut ahead, self.pending.durable())?;
        }
        self.relief.done();
        self.group.number = self.storage.applied() + 1;
        Ok(())
    }

    fn apply(&mut self, ticket: Ticket, idle: bool, last: bool) -> Result<(), StoreError> {
        if last {
            return self.storage.finish(&mut self.group);
        }
        if self.group.changes.is_empty() {
            return Ok(());
        }
        // Once what is new has been tried, be there ever so much of it.
        if idle || self.has_failed {
            self.storage.shrink()?;
        }
        self.storage.apply(&mut self.group, ticket)
    }

    /// The group is applied, with `bytes` of records.
    fn begin_group(&mut self, bytes: usize) {
        self.pending.give_back(bytes);
        self.group = Group::after(self.storage.applied());
        self.relief = Relief::default();
    }

    /// Says up to which ticket everything can be read back.
    fn tell_of_readable(&self) {
        self.pending.set_stored(self.storage.readable().unwrap_or_else(|| self.pending.durable()));
    }

    fn look_for_room(&mut self) {
        let has_room = self.storage.has_room();
        self.pending.set_spare(self.storage.has_spare());
        self.pending.set_health(if has_room { Health::Good } else { Health::Full });
    }
}
