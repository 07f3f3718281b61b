//! Where groups go: what the commit thread asks of whatever keeps them.
//!
//! With a group goes what is local, spilled records: these are kept until the next start and have
//! no number.

use super::group::Group;
use super::merge::OnDisk;
use super::pending::WaitTimeout;
use crate::ids::{QueueId, Ticket};
use crate::store::error::StoreError;

/// Keeps groups, one after the other.
///
/// After an error that [passes](StoreError::passes) it may be asked again; until [`recover`] has
/// succeeded it is not known whether the group at hand is kept.
///
/// [`recover`]: Storage::recover
pub(in crate::store) trait Storage {
    /// What may be kept of a queue: a group is merged against that.
    fn on_disk(&self, queue: QueueId) -> OnDisk;

    /// The number of the last group that is kept.
    fn applied(&self) -> u64;

    /// The last ticket that came with a group of which everything can be read back; none if that is
    /// so of all that came.
    fn readable(&self) -> Option<Ticket>;

    /// Keeps `group`, which is on disk when it returns, and takes the changes out of it; one whose
    /// number was applied before is left out. The `ticket` is for [`Storage::readable`].
    ///
    /// # Errors
    /// It could not be written, or is not the one that comes next.
    fn apply(&mut self, group: &mut Group, ticket: Ticket) -> Result<(), StoreError>;

    /// As [`Storage::apply`] of the last group, which may be empty, and marks the stop as clean.
    ///
    /// # Errors
    /// It could not be written.
    fn finish(&mut self, group: &mut Group) -> Result<(), StoreError>;

    /// Finds out after an error what is kept, so that [`Storage::applied`] is true again; does
    /// nothing if there was none.
    ///
    /// # Errors
    /// It could not be read.
    fn recover(&mut self) -> Result<(), StoreError>;

    /// How long to wait for changes when none are at hand: until it is to be tried again, until
    /// there may be a [`Storage::rest`], or without end.
    fn timeout(&self) -> WaitTimeout;

    /// Does a little of what can wait, now that nobody waits for a group.
    ///
    /// # Errors
    /// It could not be written.
    fn tidy(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Does what can wait until nothing happens.
    ///
    /// # Errors
    /// It could not be written.
    fn rest(&mut self) -> Result<(), StoreError>;

    /// Gives the disk back what is not in use, if it is full: before the same group is tried once
    /// more.
    ///
    /// # Errors
    /// It could not be written.
    fn shrink(&mut self) -> Result<(), StoreError>;

    /// Whether publishers may go on; looks at the disk.
    fn has_room(&mut self) -> bool;

    /// Whether enough is left of a full disk for what its queues hand on among themselves, beside
    /// what makes room; looks at the disk.
    fn has_spare(&self) -> bool {
        true
    }

    /// Ends its use of the disk.
    ///
    /// # Errors
    /// It could not be written.
    fn close(self) -> Result<(), StoreError>;
}
