//! What lies between redb and the file: nothing reaches a file before it is known to be ours, and the lock on it
//! outlives a database that failed.
//!
//! redb writes to a file as it opens it. [`Disk::hold`] keeps such writes in memory, where redb reads them back,
//! until [`Disk::release`] lets them through in their order: a file that turns out to be somebody else's is left
//! byte for byte as it was. After an I/O error redb refuses to go on with a database, so it is opened anew
//! over the same `Disk`, which meanwhile keeps the file's lock.

use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What redb puts at the head of a new file, last of all.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// All that redb writes to a new file before that lies below this byte.
const NEW_HEAD: usize = 512;

/// A new file is shorter than this.
const NEW_LEN_MAX: u64 = 1024 * 1024;

/// A backend that several databases use, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Box<dyn StorageBackend>,
    /// Set once a database was opened: the locks it took stay.
    locked: AtomicBool,
    /// Calls that change the file, while they are held back.
    held: Mutex<Option<Vec<Call>>>,
    /// Whether `held` holds, so that the usual case takes no lock.
    holding: AtomicBool,
}

#[derive(Debug)]
enum Call {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

impl Disk {
    pub(super) fn new(backend: impl StorageBackend) -> Self {
        Self(Arc::new(Inner {
            backend: Box::new(backend),
            locked: AtomicBool::new(false),
            held: Mutex::new(None),
            holding: AtomicBool::new(false),
        }))
    }

    /// Whether this is what a power cut leaves of a file in the making: nothing of anybody's was ever in it.
    pub(super) fn is_unfinished(&self) -> io::Result<bool> {
        let len = self.0.backend.len()?;
        if len > NEW_LEN_MAX {
            return Ok(false);
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.0.backend.read(0, &mut bytes)?;
        let head = &bytes[..bytes.len().min(MAGIC.len())];
        let written = head.iter().zip(MAGIC).take_while(|(byte, magic)| **byte == *magic).count();
        let is_blank = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        Ok(written < MAGIC.len()
            && is_blank(&head[written..])
            && is_blank(bytes.get(NEW_HEAD..).unwrap_or_default()))
    }

    /// From now on nothing is written until [`Disk::release`].
    pub(super) fn hold(&self) {
        *self.held() = Some(Vec::new());
        self.0.holding.store(true, Ordering::Release);
    }

    /// Writes what was held back, and holds back no more.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut held = self.held();
        for call in held.take().into_iter().flatten() {
            match call {
                Call::Write(at, bytes) => self.0.backend.write(at, &bytes)?,
                Call::SetLen(len) => self.0.backend.set_len(len)?,
                Call::Sync => self.0.backend.sync_data()?,
            }
        }
        self.0.holding.store(false, Ordering::Release);
        Ok(())
    }

    /// Keeps the locks that the database just opened has taken for the databases after it.
    pub(super) fn keep_locks(&self) {
        self.0.locked.store(true, Ordering::Release);
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<Call>>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds `call` back; false when calls go through.
    fn holds(&self, call: impl FnOnce() -> Call) -> bool {
        if !self.0.holding.load(Ordering::Acquire) {
            return false;
        }
        let mut held = self.held();
        held.as_mut().map(|calls| calls.push(call())).is_some()
    }

    fn is_locked(&self) -> bool {
        self.0.locked.load(Ordering::Acquire)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.backend.close() {
            tracing::warn!(%error, "the data file was not closed in order");
        }
    }
}

/// What a file of the bytes `base` holds at `at` after `calls`.
fn overlay(base: &dyn StorageBackend, calls: &[Call], at: u64, out: &mut [u8]) -> io::Result<()> {
    let end = at + out.len() as u64;
    let there = base.len()?.min(end).saturating_sub(at);
    let there = usize::try_from(there).map_err(io::Error::other)?;
    base.read(at, &mut out[..there])?;
    out[there..].fill(0);
    // Where the part of `out` begins that lies at or behind `place`.
    let index = |place: u64| usize::try_from(place.clamp(at, end) - at).map_err(io::Error::other);
    for call in calls {
        match call {
            Call::Write(place, bytes) => {
                let (from, to) = (index(*place)?, index(place + bytes.len() as u64)?);
                if from < to {
                    let skip = usize::try_from(at.saturating_sub(*place)).map_err(io::Error::other)?;
                    out[from..to].copy_from_slice(&bytes[skip..skip + (to - from)]);
                }
            }
            Call::SetLen(len) => out[index(*len)?..].fill(0),
            Call::Sync => {}
        }
    }
    Ok(())
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        let mut len = self.0.backend.len()?;
        if self.0.holding.load(Ordering::Acquire) {
            for call in self.held().iter().flatten() {
                match call {
                    Call::Write(at, bytes) => len = len.max(at + bytes.len() as u64),
                    Call::SetLen(new) => len = *new,
                    Call::Sync => {}
                }
            }
        }
        Ok(len)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), io::Error> {
        if self.0.holding.load(Ordering::Acquire)
            && let Some(calls) = self.held().as_ref()
            && !calls.is_empty()
        {
            return overlay(&*self.0.backend, calls, at, out);
        }
        self.0.backend.read(at, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        if self.holds(|| Call::SetLen(len)) { Ok(()) } else { self.0.backend.set_len(len) }
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        if self.holds(|| Call::Sync) { Ok(()) } else { self.0.backend.sync_data() }
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), io::Error> {
        if self.holds(|| Call::Write(at, bytes.to_vec())) { Ok(()) } else { self.0.backend.write(at, bytes) }
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if self.is_locked() { Ok(true) } else { self.0.backend.try_lock_range(start, end) }
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if self.is_locked() { Ok(true) } else { self.0.backend.try_lock_shared_range(start, end) }
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if self.is_locked() { Ok(()) } else { self.0.backend.lock_range(start, end) }
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if self.is_locked() { Ok(()) } else { self.0.backend.lock_shared_range(start, end) }
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if self.is_locked() { Ok(()) } else { self.0.backend.unlock_range(start, end) }
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if self.is_locked() { Ok(false) } else { self.0.backend.query_lock_range(start, end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    #[test]
    fn held_calls_are_read_back_and_arrive_in_order() {
        let disk = Disk::new(InMemoryBackend::new());
        disk.set_len(8).unwrap();
        disk.write(0, b"abcdefgh").unwrap();
        disk.hold();
        disk.write(6, b"XYZW").unwrap();
        disk.write(1, b"12").unwrap();
        disk.set_len(7).unwrap();
        disk.sync_data().unwrap();
        disk.set_len(9).unwrap();
        let read = |from: u64, len| {
            let mut out = vec![0; len];
            disk.read(from, &mut out).unwrap();
            out
        };
        assert_eq!(disk.len().unwrap(), 9);
        let (whole, middle) = (read(0, 9), read(2, 5));
        assert_eq!(whole, b"a12defX\0\0");
        assert_eq!(middle, b"2defX");
        let mut below = [0; 8];
        disk.0.backend.read(0, &mut below).unwrap();
        assert_eq!(&below, b"abcdefgh", "nothing reaches what lies below");
    }

    #[test]
    fn only_a_file_in_the_making_is_unfinished() {
        let is_unfinished = |bytes: &[u8]| {
            let disk = Disk::new(InMemoryBackend::new());
            disk.set_len(bytes.len() as u64).unwrap();
            disk.write(0, bytes).unwrap();
            disk.is_unfinished().unwrap()
        };
        let mut new = vec![0; 72 * 1024];
        new[64..320].fill(7);
        assert!(
            is_unfinished(b"")
                && is_unfinished(&new)
                && is_unfinished(&new[..5])
                && is_unfinished(&new[..100])
        );
        new[..4].copy_from_slice(b"redb");
        assert!(is_unfinished(&new));
        new[..9].copy_from_slice(&MAGIC);
        assert!(!is_unfinished(&new));
        new[..9].copy_from_slice(b"letters\0\0");
        assert!(!is_unfinished(&new));
        new[..9].fill(0);
        new[600] = 1;
        assert!(!is_unfinished(&new));
    }

    #[test]
    fn what_was_held_is_written_on_release() {
        let disk = Disk::new(InMemoryBackend::new());
        disk.hold();
        disk.set_len(3).unwrap();
        disk.write(0, b"abc").unwrap();
        disk.write(1, b"x").unwrap();
        disk.release().unwrap();
        disk.write(2, b"y").unwrap();
        let mut below = [0; 3];
        disk.0.backend.read(0, &mut below).unwrap();
        assert_eq!(&below, b"axy");
    }
}
