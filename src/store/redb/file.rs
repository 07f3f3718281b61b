//! The data file in its folder: made for the broker's user alone, and watched.
//!
//! What is written to a file that has no name any more is gone with the process, and so is what was
//! in the part of a file that somebody has cut off. A sync therefore fails once the file was
//! deleted, and so does making it longer once something else is in its place or it is shorter than
//! it was made; [`FileIdentity::check`] finds out the same for who asks now and then. Nothing is
//! confirmed after such a failure.

use super::reserve::Blocks;
use crate::store::error::{CutShort, Gone, StoreError};
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use rustix::fs::{AtFlags, StatxFlags, statx};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What others than the owner may do with a file or a folder.
const OTHERS: u32 = 0o077;

/// What a look at the path of a file says when something of the path is gone.
const GONE: [io::ErrorKind; 3] =
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory, io::ErrorKind::StaleNetworkFileHandle];

/// A data file as redb and [`super::disk::Disk`] see it.
#[derive(Debug)]
pub(super) struct DataFile {
    backend: FileBackend,
    identity: FileIdentity,
}

/// Where a data file was opened, and which file that was.
#[derive(Debug, Clone)]
pub(in crate::store) struct FileIdentity {
    path: Arc<Path>,
    file: Arc<File>,
    device: u64,
    inode: u64,
    /// How long it has been made.
    len: Arc<AtomicU64>,
}

/// Makes the folder `dir` and those above it, if they are not there, for the broker's user alone.
pub(super) fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return io::Error::new(io::ErrorKind::NotADirectory, "it is a file, not a folder");
        }
        error
    })
}

/// Options for a file that, if it is not there, is made for the broker's user alone.
pub(super) fn options() -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

/// Says so in the log if others may read or write the folder, or the data file in it.
pub(super) fn tell_if_open_to_others(dir: &Path, file: &Path) {
    for (what, path, right) in [("folder", dir, "700"), ("file", file, "600")] {
        if let Ok(found) = fs::metadata(path)
            && found.mode() & OTHERS != 0
        {
            let (path, mode) = (path.display(), found.mode() & 0o777);
            tracing::warn!(
                "the data {what} {path} is open to other users (mode {mode:03o}): chmod {right} {path}"
            );
        }
    }
}

impl DataFile {
    /// Opens the file at `path`, or makes an empty one.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::of(options().truncate(false).open(path)?, path)
    }

    /// `file` was opened at `path`.
    pub(super) fn of(file: File, path: &Path) -> Result<Self, StoreError> {
        let found = file.metadata()?;
        let watched = Arc::new(file.try_clone()?);
        let (device, inode, len) = (found.dev(), found.ino(), Arc::new(AtomicU64::new(found.len())));
        let identity = FileIdentity { path: path.into(), file: watched, device, inode, len };
        Ok(Self { backend: FileBackend::new(file)?, identity })
    }

    /// Where it is, and which file.
    pub(super) fn identity(&self) -> FileIdentity {
        self.identity.clone()
    }

    /// What it takes of the disk.
    pub(super) fn blocks(&self) -> Arc<dyn Blocks> {
        Arc::<File>::clone(&self.identity.file)
    }
}

impl FileIdentity {
    /// Whether the file is where it was opened, and whole.
    ///
    /// # Errors
    /// It was deleted, moved, replaced or cut short, or the file system it is on was unmounted.
    pub(super) fn check(&self) -> io::Result<()> {
        let is_it = |found: &Metadata| found.dev() == self.device && found.ino() == self.inode;
        // First: what is made longer meanwhile is longer than this.
        let len = self.len.load(Ordering::Acquire);
        match fs::metadata(&self.path) {
            Ok(found) if is_it(&found) && found.len() < len => {
                Err(io::Error::other(CutShort { left: found.len(), of: len }))
            }
            Ok(found) if is_it(&found) => Ok(()),
            Ok(_another) => Err(self.gone()),
            Err(error) if GONE.contains(&error.kind()) => Err(self.gone()),
            // It could not be looked at, which says nothing about the file.
            Err(_unknown) => Ok(()),
        }
    }

    /// Whether the file has a name: less than [`FileIdentity::check`] finds out, for a tenth of its
    /// price.
    fn check_name(&self) -> io::Result<()> {
        // Its times are not asked for: once somebody has seen them, the next write changes them,
        // and a sync writes the inode as well.
        let found = statx(&self.file, c"", AtFlags::EMPTY_PATH, StatxFlags::NLINK)?;
        if found.stx_nlink > 0 { Ok(()) } else { Err(self.gone()) }
    }

    fn gone(&self) -> io::Error {
        io::Error::new(io::ErrorKind::NotFound, Gone(self.path.to_path_buf()))
    }
}

impl StorageBackend for DataFile {
    fn len(&self) -> Result<u64, io::Error> {
        self.backend.len()
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.backend.read(at, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.identity.check()?;
        let before = self.identity.len.fetch_min(len, Ordering::AcqRel);
        self.backend
            .set_len(len)
            .inspect_err(|_as_before| self.identity.len.store(before, Ordering::Release))?;
        self.identity.len.store(len, Ordering::Release);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.backend.sync_data()?;
        self.identity.check_name()
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), io::Error> {
        self.backend.write(at, bytes)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }
}
