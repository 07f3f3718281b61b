//! Room on the disk that is kept for what has to be written although the disk is full: what the
//! journal has is put into the tables at the start, and what is consumed is taken off the disk.
//!
//! redb writes new pages before it gives old ones up, and its file has holes that take room only
//! when they are written. So a part of the data file, of which nobody reads a byte, has its blocks
//! from the beginning. What a write needs of them is given back to the disk from the end of that
//! part, which is a hole from there on, and taken again once there is room. It is no data: a copy
//! of the file in which it is a hole, or zeros, is as good.
//!
//! How much is left is not written down anywhere: a start takes it all again, from the beginning,
//! until the disk is full. What has its blocks costs nothing.
//!
//! Files that are older than format 7 have no such part: a second file beside them has the blocks.
//! Blocks beyond the end of a file (`FALLOC_FL_KEEP_SIZE`) would not do: ext4 cannot give up a part
//! of them, and loses all of them when the length is set.

use super::file;
use crate::store::error::is_full;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::retry_on_intr;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The name, in the data folder, of the file that keeps room for when the disk is full, where the
/// data file has no place for it.
pub const FILE_NAME: &str = "leveret.reserve";

/// What is given up or taken at a time, and what a write needs beside its own bytes: an allocation
/// unit of any usual file system.
pub(super) const STEP: u64 = 64 * 1024;

/// What a file takes of its disk.
pub trait Blocks: Debug + Send + Sync {
    /// Takes what `range` needs, which is within the file.
    ///
    /// # Errors
    /// The disk is full, and a part of it may have been taken; or it cannot be done there.
    fn allocate(&self, range: Range<u64>) -> io::Result<()>;

    /// Gives back what `range` has, which becomes a hole.
    ///
    /// # Errors
    /// It cannot be done there.
    fn punch(&self, range: Range<u64>) -> io::Result<()>;
}

impl Blocks for File {
    fn allocate(&self, range: Range<u64>) -> io::Result<()> {
        let len = range.end - range.start;
        Ok(retry_on_intr(|| fallocate(self, FallocateFlags::empty(), range.start, len))?)
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(retry_on_intr(|| fallocate(self, hole, range.start, range.end - range.start))?)
    }
}

/// A part of a file whose blocks are kept.
#[derive(Debug)]
pub(super) struct Reserve {
    blocks: Arc<dyn Blocks>,
    /// Where it begins.
    at: u64,
    lengths: Mutex<Lengths>,
}

#[derive(Debug, Clone, Copy)]
struct Lengths {
    /// How many bytes it is meant to have.
    whole: u64,
    /// How many it has, from its beginning on.
    left: u64,
}

impl Reserve {
    /// What `room` of a file has, of which nothing is known yet.
    pub(super) fn of(blocks: Arc<dyn Blocks>, room: Range<u64>) -> Self {
        let lengths = Lengths { whole: room.end - room.start, left: 0 };
        Self { blocks, at: room.start, lengths: Mutex::new(lengths) }
    }

    /// A file of its own in the folder `dir`, which is as long as `whole`.
    ///
    /// # Errors
    /// It is not there, unless it is to be made, or it cannot be written.
    pub(super) fn beside(dir: &Path, whole: u64, make: bool) -> io::Result<Self> {
        let file = file::options().create(make).truncate(false).open(dir.join(FILE_NAME))?;
        file.set_len(whole)?;
        Ok(Self::of(Arc::new(file), 0..whole))
    }

    /// Finds out how much it has, and takes what it lacks as far as the disk has it; all `at_once`
    /// where there is room in any case.
    pub(super) fn recount(&self, at_once: bool) {
        let mut lengths = self.lengths();
        let whole = lengths.whole;
        if at_once && self.take(&mut lengths, whole) {
            return;
        }
        while lengths.left < lengths.whole {
            let end = (lengths.left + STEP).min(lengths.whole);
            if !self.take(&mut lengths, end) {
                break;
            }
        }
    }

    /// Gives the disk back what `bytes` need; false when nothing is left.
    pub(super) fn spend(&self, bytes: usize) -> bool {
        let mut lengths = self.lengths();
        let left = lengths.left.saturating_sub((bytes as u64).next_multiple_of(STEP) + STEP);
        if lengths.left == 0 || self.blocks.punch(self.at + left..self.at + lengths.left).is_err() {
            return false;
        }
        lengths.left = left;
        true
    }

    /// How many bytes it has.
    pub(super) fn left(&self) -> u64 {
        self.lengths().left
    }

    /// How many bytes it lacks.
    pub(super) fn missing(&self) -> u64 {
        let lengths = self.lengths();
        lengths.whole - lengths.left
    }

    /// Takes from the disk what it lacks, or nothing; whether it is whole.
    pub(super) fn refill(&self) -> bool {
        let mut lengths = self.lengths();
        let Lengths { whole, left } = *lengths;
        let is_whole = left == whole || self.take(&mut lengths, whole);
        if !is_whole {
            // A part of it may have been taken.
            let _none_of_it = self.blocks.punch(self.at + left..self.at + whole);
        }
        is_whole
    }

    /// Takes what it lacks up to `end`; false when the disk is full.
    fn take(&self, lengths: &mut Lengths, end: u64) -> bool {
        match self.blocks.allocate(self.at + lengths.left..self.at + end) {
            Ok(()) => lengths.left = end,
            Err(error) if is_full(&error) => return false,
            Err(error) => {
                tracing::warn!(%error, "this file system cannot reserve space for a full disk");
                lengths.whole = lengths.left;
            }
        }
        true
    }

    fn lengths(&self) -> MutexGuard<'_, Lengths> {
        self.lengths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the file beside a data file that needs it no longer.
pub(super) fn remove_beside(dir: &Path) {
    match fs::remove_file(dir.join(FILE_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "cannot remove {FILE_NAME}, which is no longer needed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;
    use std::os::unix::fs::MetadataExt;
    use std::process;

    /// The unit in which [`MetadataExt::blocks`] counts.
    const BLOCK: u64 = 512;

    /// What the folder `dir` has beside its data file, which is as long as `steps`.
    fn beside(dir: &Path, steps: u64) -> Reserve {
        let reserve = Reserve::beside(dir, steps * STEP, true).unwrap();
        reserve.recount(steps.is_multiple_of(2));
        reserve
    }

    #[test]
    fn what_is_spent_is_free_on_the_disk_and_taken_again() {
        let dir = env::temp_dir().join(format!("leveret-reserve-{}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        let found = || fs::metadata(dir.join(FILE_NAME)).unwrap();
        let bytes = || found().blocks() * BLOCK / STEP * STEP;
        assert!(Reserve::beside(&dir, 8 * STEP, false).is_err());
        let reserve = Reserve::beside(&dir, 8 * STEP, true).unwrap();
        assert_eq!((reserve.missing(), bytes()), (8 * STEP, 0));
        assert!(reserve.refill() && reserve.missing() == 0 && bytes() == 8 * STEP);
        assert!(reserve.spend(1));
        assert_eq!((reserve.left(), bytes()), (6 * STEP, 6 * STEP), "what the file system needs as well");
        assert_eq!(Reserve::beside(&dir, 8 * STEP, false).unwrap().left(), 0, "it is not known yet");
        assert!(reserve.spend(1 << 40), "what there is");
        assert_eq!((reserve.missing(), bytes(), found().len()), (8 * STEP, 0, 8 * STEP));
        assert!(!reserve.spend(1));
        assert!(reserve.refill() && bytes() == 8 * STEP);
        assert_eq!(beside(&dir, 8).missing(), 0, "it is found again");
        assert_eq!((beside(&dir, 4).missing(), found().len()), (0, 4 * STEP));
        assert_eq!((beside(&dir, 9).left(), bytes()), (9 * STEP, 9 * STEP), "a hole is filled");
        remove_beside(&dir);
        remove_beside(&dir);
        fs::remove_dir(&dir).unwrap();
    }

    /// A disk with room for so many bytes of one file.
    #[derive(Debug)]
    struct Small(u64, Mutex<Vec<Range<u64>>>);

    impl Blocks for Small {
        fn allocate(&self, range: Range<u64>) -> io::Result<()> {
            self.1.lock().unwrap().push(range.clone());
            if range.end <= self.0 { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn punch(&self, range: Range<u64>) -> io::Result<()> {
            self.1.lock().unwrap().push(range.end..range.start);
            Ok(())
        }
    }

    #[test]
    fn what_is_left_is_found_piece_by_piece() {
        let disk = Arc::new(Small(100 + 2 * STEP + 1, Mutex::default()));
        let reserve = Reserve::of(Arc::<Small>::clone(&disk), 100..100 + 4 * STEP);
        reserve.recount(false);
        assert_eq!((reserve.left(), reserve.missing()), (2 * STEP, 2 * STEP));
        let pieces = (0..3).map(|piece| 100 + piece * STEP..100 + (piece + 1) * STEP);
        let mut expected: Vec<_> = pieces.collect();
        assert_eq!(*disk.1.lock().unwrap(), expected);
        assert!(!reserve.refill() && reserve.left() == 2 * STEP);
        let rest = 100 + 2 * STEP..100 + 4 * STEP;
        expected.extend([rest.clone(), rest.end..rest.start]);
        assert_eq!(*disk.1.lock().unwrap(), expected, "what was taken of it is given back");
    }

    #[test]
    fn a_file_system_that_cannot_reserve_is_taken_as_it_is() {
        #[derive(Debug)]
        struct Plain;

        impl Blocks for Plain {
            fn allocate(&self, _: Range<u64>) -> io::Result<()> {
                Err(io::ErrorKind::Unsupported.into())
            }

            fn punch(&self, _: Range<u64>) -> io::Result<()> {
                Err(io::ErrorKind::Unsupported.into())
            }
        }

        let reserve = Reserve::of(Arc::new(Plain), 0..STEP);
        reserve.recount(false);
        assert_eq!((reserve.left(), reserve.missing()), (0, 0));
        assert!(reserve.refill() && !reserve.spend(1));
    }
}
