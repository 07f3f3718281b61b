//! The data file as a whole: a head that says it is ours, the journal's room, and redb behind both.
//!
//! ```text
//! 0                 head: magic 16 bytes | u32 format | u32 1 once the file is complete | u64 j | zeros
//! 4 KiB             journal, j bytes: see `journal`
//! 4 KiB + j         redb's own file, to the end
//! ```
//!
//! Integers of the head are big-endian. The head is read before anything is written, under the file's lock: a file
//! that turns out to be somebody else's is left byte for byte as it was. To redb a [`Disk`] is a file that begins
//! where its part begins. After an I/O error redb refuses to go on with a database, so it is opened anew over the
//! same `Disk`, which meanwhile keeps the lock.

use super::error::StoreError;
use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::Arc;

/// The version of everything that this page and `journal`, `table`, `segment` and `record` draw. Another version is
/// another number.
const FORMAT: u32 = 3;

/// What a data file begins with: as PNG does, with bytes that a transfer as text would spoil.
const MAGIC: [u8; 16] = *b"Leveret data\r\n\x1a\n";

/// Magic, format, whether it is complete, length of the journal.
const HEAD_LEN: usize = 32;

/// Where the journal begins: a page, so that the parts of the file do not share any.
const HEAD_ROOM: u64 = 4096;

/// How much of the journal's room is zeroed at a time.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A backend that several databases use, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Box<dyn StorageBackend>,
    journal_bytes: u64,
}

/// A file that was opened.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) disk: Disk,
    /// Nothing was ever put into it: [`Disk::complete`] is to be called once there is a database.
    pub(super) fresh: bool,
}

impl Disk {
    /// Locks and opens what `backend` holds, or prepares it with a journal of `journal_bytes` when it is empty.
    pub(super) fn open(backend: impl StorageBackend, journal_bytes: u64) -> Result<Found, StoreError> {
        match backend.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
            Ok(true) | Err(BackendError::Unsupported) => {}
            Ok(false) => return Err(StoreError::InUse { place: String::new() }),
            Err(BackendError::Io(error)) => return Err(error.into()),
            Err(other) => return Err(io::Error::other(format!("{other:?}")).into()),
        }
        let found = Head::read(&backend)?;
        let journal_bytes = found.as_ref().map_or(journal_bytes, |head| head.journal_bytes);
        let disk = Self(Arc::new(Inner { backend: Box::new(backend), journal_bytes }));
        match found {
            Some(Head { complete: true, .. }) => Ok(Found { disk, fresh: false }),
            Some(_) | None => {
                disk.prepare()?;
                Ok(Found { disk, fresh: true })
            }
        }
    }

    /// Says that the file is ours before anything else is in it, then makes room.
    fn prepare(&self) -> io::Result<()> {
        let Inner { backend, journal_bytes } = &*self.0;
        backend.set_len(0)?;
        backend.set_len(HEAD_LEN as u64)?;
        self.write_head(false)?;
        // Zeros, not a hole: a commit then changes no metadata of the file system.
        let mut at = HEAD_ROOM;
        backend.set_len(at + journal_bytes)?;
        while at < HEAD_ROOM + journal_bytes {
            let left = usize::try_from(HEAD_ROOM + journal_bytes - at).unwrap_or(usize::MAX);
            let part = &ZEROS[..left.min(ZEROS.len())];
            backend.write(at, part)?;
            at += part.len() as u64;
        }
        backend.sync_data()
    }

    /// From now on the file counts.
    pub(super) fn complete(&self) -> io::Result<()> {
        self.write_head(true)
    }

    fn write_head(&self, complete: bool) -> io::Result<()> {
        let head = Head { complete, journal_bytes: self.0.journal_bytes };
        self.0.backend.write(0, &head.encode())?;
        self.0.backend.sync_data()
    }

    /// How many bytes the journal has.
    pub(super) fn journal_bytes(&self) -> u64 {
        self.0.journal_bytes
    }

    /// Reads from the journal's room.
    pub(super) fn read_journal(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.backend.read(HEAD_ROOM + at, out)
    }

    /// Writes to the journal's room; the caller keeps to its length.
    pub(super) fn write_journal(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(at + bytes.len() as u64 <= self.0.journal_bytes, "the journal would run into the database");
        self.0.backend.write(HEAD_ROOM + at, bytes)
    }

    /// Everything written so far, to the journal too, is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.backend.sync_data()
    }

    fn front(&self) -> u64 {
        HEAD_ROOM + self.0.journal_bytes
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.backend.close() {
            tracing::warn!(%error, "the data file was not closed in order");
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    complete: bool,
    journal_bytes: u64,
}

impl Head {
    fn encode(&self) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[..16].copy_from_slice(&MAGIC);
        head[16..20].copy_from_slice(&FORMAT.to_be_bytes());
        head[20..24].copy_from_slice(&u32::from(self.complete).to_be_bytes());
        head[24..].copy_from_slice(&self.journal_bytes.to_be_bytes());
        head
    }

    /// None for a file that nobody has put anything into.
    fn read(backend: &dyn StorageBackend) -> Result<Option<Self>, StoreError> {
        let not_ours = || StoreError::NotOurs { place: String::new() };
        let len = backend.len()?;
        let mut head = [0; HEAD_LEN];
        let there = usize::try_from(len).map_or(HEAD_LEN, |len| len.min(HEAD_LEN));
        backend.read(0, &mut head[..there])?;
        if len <= HEAD_LEN as u64 && is_begun(&head[..there]) {
            return Ok(None);
        }
        if there < HEAD_LEN || head[..16] != MAGIC {
            return Err(not_ours());
        }
        let [.., format, complete, high, low] = *head.as_chunks::<4>().0 else { return Err(not_ours()) };
        let format = u32::from_be_bytes(format);
        if format != FORMAT {
            return Err(StoreError::WrongVersion { place: String::new(), found: format.into() });
        }
        let journal_bytes = u64::from(u32::from_be_bytes(high)) << 32 | u64::from(u32::from_be_bytes(low));
        let complete = u32::from_be_bytes(complete) != 0;
        if complete && len < HEAD_ROOM.saturating_add(journal_bytes) {
            return Err(StoreError::Damaged("the file ends within its journal".to_owned()));
        }
        Ok(Some(Self { complete, journal_bytes }))
    }
}

/// Whether these few bytes are what a power cut leaves of a head in the making, in which nothing of anybody's can be.
fn is_begun(bytes: &[u8]) -> bool {
    let written = bytes.iter().zip(MAGIC).take_while(|(byte, magic)| **byte == *magic).count();
    written == MAGIC.len() && bytes.get(20..24).is_none_or(|complete| complete == [0; 4])
        || bytes[written..].iter().all(|&byte| byte == 0)
}

/// What redb sees: its own part.
impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.backend.len()?.saturating_sub(self.front()))
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.backend.read(self.front() + at, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.backend.set_len(self.front() + len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.backend.sync_data()
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), io::Error> {
        self.0.backend.write(self.front() + at, bytes)
    }

    // The whole file is locked from [`Disk::open`] on, for as long as it is open.

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    fn holding(bytes: &[u8]) -> InMemoryBackend {
        let backend = InMemoryBackend::new();
        backend.set_len(bytes.len() as u64).unwrap();
        backend.write(0, bytes).unwrap();
        backend
    }

    fn opened(bytes: &[u8]) -> Result<bool, StoreError> {
        Disk::open(holding(bytes), 64).map(|found| found.fresh)
    }

    #[test]
    fn a_file_counts_once_it_is_complete() {
        let head = |complete| Head { complete, journal_bytes: 3 }.encode();
        let mut file = head(false).to_vec();
        for end in 0..=HEAD_LEN {
            assert!(opened(&file[..end]).unwrap(), "cut at {end}");
            assert!(opened(&vec![0; end]).unwrap(), "{end} zeros");
        }
        file.resize(5000, 7);
        assert!(opened(&file).unwrap(), "what was never complete begins anew");
        file[..HEAD_LEN].copy_from_slice(&head(true));
        assert!(!opened(&file).unwrap());
        let found = Disk::open(holding(&file), 64).unwrap();
        assert_eq!(found.disk.journal_bytes(), 3, "the file knows its journal");
        let cut = opened(&file[..4098]);
        assert!(matches!(cut, Err(StoreError::Damaged(_))), "{cut:?}");
    }

    #[test]
    fn other_files_are_refused() {
        let mut file = vec![0; 5000];
        for begin in [&b"redb\x1a\x0a\xa9\x0d\x0a"[..], b"letters", b"\0", &MAGIC[..15]] {
            file[..64].fill(0);
            file[..begin.len()].copy_from_slice(begin);
            assert!(matches!(opened(&file), Err(StoreError::NotOurs { .. })), "{begin:?}");
        }
        assert!(matches!(opened(b"short"), Err(StoreError::NotOurs { .. })));
        let mut other = Head { complete: true, journal_bytes: 0 }.encode().to_vec();
        other[19] = 9;
        assert!(matches!(opened(&other), Err(StoreError::WrongVersion { found: 9, .. })));
    }

    #[test]
    fn the_parts_of_the_file_lie_behind_each_other() {
        let Found { disk, fresh } = Disk::open(InMemoryBackend::new(), 100).unwrap();
        assert!(fresh);
        assert_eq!(StorageBackend::len(&disk).unwrap(), 0);
        disk.set_len(10).unwrap();
        disk.write(2, b"database").unwrap();
        disk.write_journal(92, b"journal!").unwrap();
        let mut whole = vec![0; 4096 + 110];
        disk.0.backend.read(0, &mut whole).unwrap();
        assert_eq!(&whole[4096 + 92..], b"journal!\0\0database");
        let (mut journal, mut database) = ([0; 3], [0; 4]);
        disk.read_journal(92, &mut journal).unwrap();
        disk.read(6, &mut database).unwrap();
        assert_eq!((&journal, &database), (b"jou", b"base"));
    }
}
