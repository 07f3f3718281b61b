//! Room on the disk that is kept for what has to be written although the disk is full: what the
//! journal has is put into the tables at the start, and what is consumed is taken off the disk.
//!
//! redb writes new pages before it gives old ones up, and its file has holes that take room only
//! when they are written. So a second file, of which nobody reads a byte, has its blocks from the
//! beginning and is made shorter by what a write needs. It is not part of the data: without it a
//! broker starts as well, if the disk has room.
//!
//! # Why it is a file of its own
//!
//! A file can have blocks beyond its end (`FALLOC_FL_KEEP_SIZE`), so that the data file could keep
//! the room itself. Tried with 20 MiB on ext4 and tmpfs, Linux 6.18:
//!
//! * ext4 cannot give up a part of them: `FALLOC_FL_PUNCH_HOLE` beyond the end succeeds and frees
//!   nothing (tmpfs frees it). Setting the length gives up all of them, even to the length that the
//!   file has. Whoever fills the disk would have the rest before it is taken again.
//! * So does redb whenever it makes its file shorter, which happens while the disk is full.
//! * They are of use where the file grows, and only there: with 0 bytes free, a write into a hole
//!   before the end fails.
//! * How much there is cannot be asked for: `st_blocks` counts it together with the blocks of a
//!   file that has holes.
//!
//! A part of the file before redb's could be given up and taken again piece by piece (both file
//! systems do that within the length of a file), but the head would have to tell of it, and files
//! that exist have no place for it.

use super::file;
use crate::store::error::is_full;
use rustix::fs::{FallocateFlags, fallocate};
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The name, in the data folder, of the file that keeps room for when the disk is full.
pub const FILE_NAME: &str = "leveret.reserve";

/// What the file gives up at a time, and what a write needs beside its own bytes: an allocation
/// unit of any usual file system.
pub(super) const STEP: u64 = 64 * 1024;

/// The unit in which [`MetadataExt::blocks`] counts.
const BLOCK: u64 = 512;

/// Room that is kept.
pub trait Reserve: Debug + Send + Sync {
    /// Gives the disk back what `bytes` need; false when nothing is left.
    fn spend(&self, bytes: usize) -> bool;

    /// How many bytes it has.
    fn left(&self) -> u64;

    /// How many bytes it lacks.
    fn missing(&self) -> u64;

    /// Takes from the disk what it lacks; whether it is whole.
    fn refill(&self) -> bool;
}

/// A [`Reserve`] that is a file.
#[derive(Debug)]
pub(super) struct ReserveFile {
    file: File,
    lengths: Mutex<Lengths>,
}

#[derive(Debug)]
struct Lengths {
    /// How long it is meant to be.
    whole: u64,
    /// How long it is.
    is: u64,
}

impl ReserveFile {
    /// Opens the file in the folder `dir`, which is to be as long as `whole`.
    ///
    /// # Errors
    /// It is not there, unless it is to be made, or it cannot be written.
    pub(super) fn open(dir: &Path, whole: u64, make: bool) -> io::Result<Self> {
        let file = file::options().create(make).truncate(false).open(dir.join(FILE_NAME))?;
        let found = file.metadata()?;
        // A copy may be as long without having a block.
        let is = found.len().min(found.blocks() * BLOCK).min(whole);
        if is != found.len() {
            file.set_len(is)?;
        }
        Ok(Self { file, lengths: Mutex::new(Lengths { whole, is }) })
    }

    fn lengths(&self) -> MutexGuard<'_, Lengths> {
        self.lengths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserve for ReserveFile {
    fn spend(&self, bytes: usize) -> bool {
        let mut lengths = self.lengths();
        let left = lengths.is.saturating_sub((bytes as u64).next_multiple_of(STEP) + STEP);
        if lengths.is == 0 || self.file.set_len(left).is_err() {
            return false;
        }
        lengths.is = left;
        true
    }

    fn left(&self) -> u64 {
        self.lengths().is
    }

    fn missing(&self) -> u64 {
        let lengths = self.lengths();
        lengths.whole - lengths.is
    }

    fn refill(&self) -> bool {
        let mut lengths = self.lengths();
        let Lengths { whole, is } = *lengths;
        if is == whole {
            return true;
        }
        let taken = fallocate(&self.file, FallocateFlags::empty(), is, whole - is).map_err(io::Error::from);
        match taken {
            Ok(()) => lengths.is = whole,
            Err(error) => {
                // A part of it may have been taken.
                let _shorter = self.file.set_len(is);
                if is_full(&error) {
                    return false;
                }
                tracing::warn!(%error, "this file system cannot reserve space for a full disk");
                lengths.whole = is;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;
    use std::fs;
    use std::process;

    #[test]
    fn what_is_spent_is_free_on_the_disk_and_taken_again() {
        let dir = env::temp_dir().join(format!("leveret-reserve-{}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        let blocks = || fs::metadata(dir.join(FILE_NAME)).unwrap().blocks() * BLOCK;
        assert!(ReserveFile::open(&dir, 8 * STEP, false).is_err());
        let reserve = ReserveFile::open(&dir, 8 * STEP, true).unwrap();
        assert_eq!(reserve.missing(), 8 * STEP);
        assert!(reserve.refill() && reserve.missing() == 0 && blocks() >= 8 * STEP);
        assert!(reserve.spend(1));
        assert_eq!(reserve.missing(), 2 * STEP, "a step, and what the file system itself needs");
        assert!(reserve.spend(1 << 40), "what there is");
        assert_eq!((reserve.missing(), blocks()), (8 * STEP, 0));
        assert!(!reserve.spend(1));
        assert!(reserve.refill() && blocks() >= 8 * STEP);
        drop(reserve);
        assert_eq!(ReserveFile::open(&dir, 8 * STEP, true).unwrap().missing(), 0, "it is found again");
        assert_eq!(ReserveFile::open(&dir, 4 * STEP, false).unwrap().missing(), 0);
        File::create(dir.join(FILE_NAME)).unwrap().set_len(8 * STEP).unwrap();
        assert_eq!(ReserveFile::open(&dir, 8 * STEP, true).unwrap().missing(), 8 * STEP, "a hole is no room");
        fs::remove_dir_all(&dir).unwrap();
    }
}
