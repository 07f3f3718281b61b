//! The data file as a whole: a head that says it is ours, the journal's room, the reserve, and redb
//! behind them.
//!
//! ```text
//! 0                 head: magic 16 bytes | u32 format | u32 state | u64 j | u32 CRC-32 of magic, format and j
//!                   | u64 r | u32 CRC-32 of all before but the state
//! 512               the head again, complete, from format 5 on | zeros
//! 4 KiB             journal, j bytes: see `journal`
//! 4 KiB + j         reserve, r bytes, which are zeros or a hole: see `reserve`
//! 4 KiB + j + r     redb's own file, to the end
//! ```
//!
//! Integers of the head are big-endian. The state is 0 while the file is made and all ones once it
//! is complete; it is outside of the checksums, so that it changes with one write of which any part
//! will do. The first checksum is where every version since format 4 looks for it, so that an older
//! one can tell a newer file from a damaged one. The second head counts where the first does not
//! match its checksum, or is of an older format: it is written before the first one is written
//! over. The head is read before anything is written, under the file's lock: a file that turns out
//! to be somebody else's, of a newer version or damaged is left byte for byte as it was. To redb a
//! [`Disk`] is a file that begins where its part begins. After an I/O error redb refuses to go on
//! with a database, so it is opened anew over the same `Disk`, which meanwhile keeps the lock.
//!
//! The formats there have been, each the number of everything that this page and
//! `journal`, `group`, `table`, `segment`, `record` and `message` draw:
//!
//! | format | beside the one before it |
//! |---|---|
//! | 1 | redb's file alone; its table `leveret` has the format under `"format"` |
//! | 2 | the head and the journal; the head has state 1 when complete, and no checksum |
//! | 3 | `returns` and the journal's returns have a time; `delivered` goes by lane; records tell expiration and priority |
//! | 4 | the head's checksum and its state of all ones; tables that a reader of format 3 would pass over |
//! | 5 | the second head; the journal's slots and keyed entries; checksums of the rows of `segments`, of their records and of the table `leveret` |
//! | 6 | checksums of the rows of all other tables but `damaged`, and the table `totals` |
//! | 7 | r and the second checksum of the head; r is 0 in a file that was of an older format |
//! | 8 | long records in rows of `body_parts`; those that are there stay in one of `bodies`; vhosts that are deleted, but not all that was in them |
//!
//! The tables of what is spilled (see `table`) are of no format: each start makes them anew, and a
//! version that does not know them passes over them.
//!
//! # Where clients' bytes lie
//!
//! They lie in the journal and in redb's part, also where nothing is said to lie any more: pages
//! that are free, what is behind the last entry. The head and the journal's slots are in places
//! that hold nothing else, from the moment the file has its format: the slots are written before
//! the head says that there are any. The journal's entries count only with a key: see `journal`.
//! Its length is that of the head, for as long as the file lives, so that none of it becomes redb's
//! or the other way round. Redb finds pages by pointers from its two roots. Most commits are in two
//! phases: the pages below a root are on disk before the header names it, and power cut in between
//! leaves no older page, with a client's bytes in it, below a root that counts. Those of large
//! groups are in one (see `storage`, which says why): after power was cut in one such, its root is
//! believed when the checksums of all pages below match (XXH3, which has no key). For an older page
//! to be believed below it a client would have to have put into a page that was free then what
//! gives the checksum of a page of 128 bits of which it knows every byte beforehand, the checksums
//! of all pages below and the times of arrival included, and have power cut between two sectors.
//! What was written up to format 4 and never replayed is replayed as format 4 had it, by the first
//! start of this version, and not again.
//!
//! What is older is made the newest as it is opened: see
//! `upgrade`. The order of [`Disk::make_current`] lets a power cut leave a file of the one format
//! or of the other.

use super::counted::Counted;
use super::reserve::{Blocks, Reserve};
use crate::metrics::IoCounters;
use crate::store::FORMAT;
use crate::store::error::{StoreError, is_full};
use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The first format with a head.
const FORMAT_OLDEST: u32 = 2;

/// The first format whose head has a checksum.
const FORMAT_CHECKED: u32 = 4;

/// The first format with a second head.
const FORMAT_COPIED: u32 = 5;

/// The first format with a reserve.
const FORMAT_RESERVING: u32 = 7;

/// What a data file begins with: as PNG does, with bytes that a transfer as text would spoil.
const MAGIC: [u8; 16] = *b"Leveret data\r\n\x1a\n";

/// Magic, format, state, length of the journal, checksum, length of the reserve, checksum.
const HEAD_LEN: usize = 48;

/// Where the format lies in the head.
const FORMAT_AT: usize = 16;

/// Where the state lies in the head.
const STATE_AT: usize = 20;

/// Where the length of the journal lies in the head.
const JOURNAL_AT: usize = 24;

/// Where the first checksum lies in the head.
const CHECKSUM_AT: usize = 32;

/// Where the length of the reserve lies in the head.
const RESERVE_AT: usize = 36;

/// Where the second checksum lies in the head.
const SECOND_CHECKSUM_AT: usize = 44;

/// Where the second head lies: in a sector of its own.
const COPY_AT: u64 = 512;

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
    io: Arc<IoCounters>,
    front: Front,
    /// What the file takes of its disk, where that is known.
    blocks: OnceLock<Arc<dyn Blocks>>,
    reserve: OnceLock<Reserve>,
    /// What is written now leaves so many bytes of the reserve.
    kept: AtomicU64,
}

/// How much room there is before redb's part, beside the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Front {
    pub(super) journal_bytes: u64,
    pub(super) reserve_bytes: u64,
}

/// A file that was opened.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) disk: Disk,
    /// Nothing was ever put into it: [`Disk::complete`] is to be called once there is a database.
    pub(super) fresh: bool,
    /// What it has; [`Disk::make_current`] is to be called once its data are of the newest.
    pub(super) format: u32,
    /// The second head was needed: [`Disk::make_current`] is to be called.
    pub(super) head_damaged: bool,
}

impl Disk {
    /// Locks and opens what `backend` holds, or prepares it with such a `front` when it is empty.
    pub(super) fn open(backend: impl StorageBackend, front: Front) -> Result<Found, StoreError> {
        lock(&backend)?;
        let (found, head_damaged) = match (Head::read(&backend), Head::read_copy(&backend)?) {
            (Err(StoreError::Damaged(_)), Some(copy)) => (Some(copy), true),
            // All was of its format when it was written: so it was where one bit makes an older
            // format of the first.
            (Ok(Some(head)), Some(copy)) if head.format < copy.format => (Some(copy), true),
            (found, _) => (found?, false),
        };
        let complete = found.as_ref().filter(|head| head.complete);
        let backend = Counted::new(backend);
        let disk = Self(Arc::new(Inner {
            io: backend.io(),
            backend: Box::new(backend),
            front: complete.map_or(front, |head| head.front),
            blocks: OnceLock::new(),
            reserve: OnceLock::new(),
            kept: AtomicU64::new(0),
        }));
        match found {
            Some(Head { complete: true, format, .. }) => {
                Ok(Found { disk, fresh: false, format, head_damaged })
            }
            Some(_) | None => {
                disk.prepare()?;
                Ok(Found { disk, fresh: true, format: FORMAT, head_damaged })
            }
        }
    }

    /// Says that the file is ours before anything else is in it, then makes room.
    fn prepare(&self) -> io::Result<()> {
        let Inner { backend, front, .. } = &*self.0;
        backend.set_len(0)?;
        backend.set_len(HEAD_LEN as u64)?;
        backend.write(0, &Head { complete: false, ..self.head() }.encode())?;
        backend.sync_data()?;
        // Zeros, not a hole: a commit then changes no metadata of the file system.
        let mut at = HEAD_ROOM;
        let end = at + front.journal_bytes;
        backend.set_len(front.end())?;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let part = &ZEROS[..left.min(ZEROS.len())];
            backend.write(at, part)?;
            at += part.len() as u64;
        }
        backend.sync_data()
    }

    /// From now on the file counts.
    pub(super) fn complete(&self) -> io::Result<()> {
        self.0.backend.write(COPY_AT, &self.head().encode())?;
        self.0.backend.write(STATE_AT as u64, &self.head().encode()[STATE_AT..JOURNAL_AT])?;
        self.0.backend.sync_data()
    }

    /// Says that the file is of the newest format: first in the second head, which counts if the
    /// first is torn.
    pub(super) fn make_current(&self) -> io::Result<()> {
        let head = self.head().encode();
        self.0.backend.write(COPY_AT, &head)?;
        self.0.backend.sync_data()?;
        self.0.backend.write(FORMAT_AT as u64, &head[FORMAT_AT..])?;
        self.0.backend.sync_data()
    }

    fn head(&self) -> Head {
        Head { format: FORMAT, complete: true, front: self.0.front }
    }

    /// Where in the file its reserve is, which may be empty.
    pub(super) fn reserve_room(&self) -> Range<u64> {
        let front = self.0.front;
        HEAD_ROOM + front.journal_bytes..front.end()
    }

    /// From now on `reserve` makes room for writes for which the disk has none.
    pub(super) fn rely_on(&self, reserve: Reserve) {
        let _first = self.0.reserve.set(reserve);
    }

    /// Writes leave so many bytes of the reserve from now on.
    pub(super) fn keep_of_reserve(&self, bytes: u64) {
        self.0.kept.store(bytes, Ordering::Relaxed);
    }

    /// What the file takes of its disk.
    pub(super) fn own(&self, blocks: Arc<dyn Blocks>) {
        let _first = self.0.blocks.set(blocks);
    }

    /// Whether it is known what the file takes of its disk.
    pub(super) fn can_punch(&self) -> bool {
        self.0.blocks.get().is_some()
    }

    /// Gives the disk back what a range of redb's part has.
    ///
    /// # Errors
    /// It cannot be done there.
    pub(super) fn punch(&self, range: Range<u64>) -> io::Result<()> {
        let blocks = self.0.blocks.get().ok_or(io::ErrorKind::Unsupported)?;
        blocks.punch(self.front() + range.start..self.front() + range.end)
    }

    /// What may make room, if anything may.
    pub(super) fn reserve(&self) -> Option<&Reserve> {
        self.0.reserve.get()
    }

    /// Does `what` again, which takes `bytes` of the disk, as long as the disk is full and the
    /// reserve makes room.
    fn with_room(&self, bytes: usize, what: impl Fn() -> io::Result<()>) -> io::Result<()> {
        loop {
            match what() {
                Err(error) if is_full(&error) && self.make_room(bytes) => {}
                outcome => return outcome,
            }
        }
    }

    fn make_room(&self, bytes: usize) -> bool {
        let kept = self.0.kept.load(Ordering::Relaxed);
        self.reserve().is_some_and(|reserve| reserve.left() > kept && reserve.spend(bytes))
    }

    /// What was done to the file since it was opened.
    pub(super) fn io(&self) -> Arc<IoCounters> {
        Arc::clone(&self.0.io)
    }

    /// How many bytes the journal has.
    pub(super) fn journal_bytes(&self) -> u64 {
        self.0.front.journal_bytes
    }

    /// Reads from the journal's room.
    pub(super) fn read_journal(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.backend.read(HEAD_ROOM + at, out)
    }

    /// Writes to the journal's room; the caller keeps to its length.
    pub(super) fn write_journal(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(
            at + bytes.len() as u64 <= self.journal_bytes(),
            "the journal would run into what is behind it"
        );
        self.with_room(bytes.len(), || self.0.backend.write(HEAD_ROOM + at, bytes))
    }

    /// Takes over the journal's room of another file, which is as long.
    pub(super) fn copy_journal(&self, from: &Self) -> io::Result<()> {
        let (mut at, mut part) = (0, vec![0; ZEROS.len()]);
        while at < self.journal_bytes() {
            let count = usize::try_from(self.journal_bytes() - at).unwrap_or(usize::MAX).min(part.len());
            from.read_journal(at, &mut part[..count])?;
            self.write_journal(at, &part[..count])?;
            at += count as u64;
        }
        Ok(())
    }

    /// Everything written so far, to the journal too, is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.backend.sync_data()
    }

    /// Where redb's part begins.
    fn front(&self) -> u64 {
        self.0.front.end()
    }
}

impl Front {
    #[cfg(test)]
    pub(super) fn of_journal(journal_bytes: u64) -> Self {
        Self { journal_bytes, reserve_bytes: 0 }
    }

    fn end(self) -> u64 {
        HEAD_ROOM.saturating_add(self.journal_bytes).saturating_add(self.reserve_bytes)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.backend.close() {
            tracing::warn!(%error, "cannot close the data file cleanly");
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    format: u32,
    complete: bool,
    front: Front,
}

impl Head {
    fn encode(&self) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[..FORMAT_AT].copy_from_slice(&MAGIC);
        head[FORMAT_AT..STATE_AT].copy_from_slice(&self.format.to_be_bytes());
        head[STATE_AT..JOURNAL_AT].fill(if self.complete { 0xff } else { 0 });
        head[JOURNAL_AT..CHECKSUM_AT].copy_from_slice(&self.front.journal_bytes.to_be_bytes());
        let sum = checksum(&head[..CHECKSUM_AT]);
        head[CHECKSUM_AT..RESERVE_AT].copy_from_slice(&sum);
        head[RESERVE_AT..SECOND_CHECKSUM_AT].copy_from_slice(&self.front.reserve_bytes.to_be_bytes());
        let sum = checksum(&head[..SECOND_CHECKSUM_AT]);
        head[SECOND_CHECKSUM_AT..].copy_from_slice(&sum);
        head
    }

    /// None for a file that nobody has put anything into.
    fn read(backend: &dyn StorageBackend) -> Result<Option<Self>, StoreError> {
        let len = backend.len()?;
        let mut bytes = [0; HEAD_LEN];
        let there = usize::try_from(len).map_or(HEAD_LEN, |len| len.min(HEAD_LEN));
        backend.read(0, &mut bytes[..there])?;
        if len <= HEAD_LEN as u64 && is_begun(&bytes[..there]) {
            return Ok(None);
        }
        if there < HEAD_LEN || bytes[..FORMAT_AT] != MAGIC {
            return Err(StoreError::NotOurs { place: String::new() });
        }
        let head = Self::decode(&bytes)?;
        let format = head.format;
        if head.complete && len <= head.front.end() {
            let what =
                "it ends before its tables; a repair (--repair) can read nothing of it: restore a copy";
            return Err(StoreError::Damaged(what.to_owned()));
        }
        if !head.complete && format < FORMAT_CHECKED {
            // One bit would make the difference to a file full of messages.
            let what = format!(
                "an older version of Leveret, with format {format}, began it and did not finish; \
                                remove it if it is to be empty"
            );
            return Err(StoreError::Damaged(what));
        }
        Ok(Some(head))
    }

    /// The second head, if there is one that is whole.
    fn read_copy(backend: &dyn StorageBackend) -> io::Result<Option<Self>> {
        if backend.len()? < HEAD_ROOM {
            return Ok(None);
        }
        let mut bytes = [0; HEAD_LEN];
        backend.read(COPY_AT, &mut bytes)?;
        let head = Self::decode(&bytes).ok();
        Ok(head.filter(|head| bytes[..FORMAT_AT] == MAGIC && head.complete && head.format >= FORMAT_COPIED))
    }

    fn decode(bytes: &[u8; HEAD_LEN]) -> Result<Self, StoreError> {
        let format = u32::from_be_bytes(array(bytes, FORMAT_AT));
        let damaged = || StoreError::Damaged("its head does not match its checksum".to_owned());
        // No head was ever of an older format than that.
        let is_checked = !(FORMAT_OLDEST..FORMAT_CHECKED).contains(&format);
        if is_checked && array(bytes, CHECKSUM_AT) != checksum(&bytes[..CHECKSUM_AT]) {
            return Err(damaged());
        }
        if !(FORMAT_OLDEST..=FORMAT).contains(&format) {
            return Err(StoreError::WrongVersion { place: String::new(), found: format.into() });
        }
        let reserves = format >= FORMAT_RESERVING;
        if reserves && array(bytes, SECOND_CHECKSUM_AT) != checksum(&bytes[..SECOND_CHECKSUM_AT]) {
            return Err(damaged());
        }
        let front = Front {
            journal_bytes: u64::from_be_bytes(array(bytes, JOURNAL_AT)),
            reserve_bytes: if reserves { u64::from_be_bytes(array(bytes, RESERVE_AT)) } else { 0 },
        };
        Ok(Self { format, complete: array::<4>(bytes, STATE_AT) != [0; 4], front })
    }
}

fn array<const N: usize>(head: &[u8; HEAD_LEN], at: usize) -> [u8; N] {
    *head[at..].first_chunk().expect("the fields lie within the head")
}

/// Of what a head begins with, but the state.
fn checksum(begin: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&begin[..STATE_AT]);
    hasher.update(&begin[JOURNAL_AT..]);
    hasher.finalize().to_be_bytes()
}

/// Makes sure that no other process has what `backend` holds.
pub(super) fn lock(backend: &dyn StorageBackend) -> Result<(), StoreError> {
    match backend.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        Ok(true) | Err(BackendError::Unsupported) => Ok(()),
        Ok(false) => Err(StoreError::InUse { place: String::new() }),
        Err(BackendError::Io(error)) => Err(error.into()),
        Err(other) => Err(io::Error::other(format!("{other:?}")).into()),
    }
}

/// Whether these few bytes are what a power cut leaves of a head in the making, in which nothing of
/// anybody's can be.
fn is_begun(bytes: &[u8]) -> bool {
    let written = bytes.iter().zip(MAGIC).take_while(|(byte, magic)| **byte == *magic).count();
    written == MAGIC.len() && bytes.get(STATE_AT..JOURNAL_AT).is_none_or(|state| state == [0; 4])
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
        // Longer is no more than a number, but a table of blocks may grow with it.
        self.with_room(0, || self.0.backend.set_len(self.front() + len))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.backend.sync_data()
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), io::Error> {
        self.with_room(bytes.len(), || self.0.backend.write(self.front() + at, bytes))
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
        Disk::open(holding(bytes), Front::of_journal(64)).map(|found| found.fresh)
    }

    #[test]
    fn a_file_counts_once_it_is_complete() {
        let head = |complete| Head { format: FORMAT, complete, front: Front::of_journal(3) }.encode();
        let mut file = head(false).to_vec();
        for end in 0..=HEAD_LEN {
            assert!(opened(&file[..end]).unwrap(), "cut at {end}");
            assert!(opened(&vec![0; end]).unwrap(), "{end} zeros");
        }
        file.resize(5000, 7);
        assert!(opened(&file).unwrap(), "what was never complete begins anew");
        file[..HEAD_LEN].copy_from_slice(&head(true));
        assert!(!opened(&file).unwrap());
        let found = Disk::open(holding(&file), Front::of_journal(64)).unwrap();
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
        for format in [0, 1, FORMAT + 1, 9, u32::MAX] {
            file[..HEAD_LEN]
                .copy_from_slice(&Head { format, complete: true, front: Front::of_journal(0) }.encode());
            let refused = opened(&file);
            let found = u64::from(format);
            assert!(matches!(refused, Err(StoreError::WrongVersion { found: told, .. }) if told == found));
        }
    }

    /// The bytes that the head of this file draws; a change here is a new format.
    #[test]
    fn the_head_is_as_drawn() {
        let front = Front { journal_bytes: 258, reserve_bytes: 772 };
        let head = Head { format: 7, complete: true, front }.encode();
        assert_eq!(&head[..32], b"Leveret data\r\n\x1a\n\0\0\0\x07\xff\xff\xff\xff\0\0\0\0\0\0\x01\x02");
        let summed = b"Leveret data\r\n\x1a\n\0\0\0\x07\0\0\0\0\0\0\x01\x02";
        assert_eq!(head[32..36], crc32fast::hash(summed).to_be_bytes());
        assert_eq!(head[36..44], *b"\0\0\0\0\0\0\x03\x04");
        let summed = [summed, &head[32..44]].concat();
        assert_eq!(head[44..], crc32fast::hash(&summed).to_be_bytes());
    }

    #[test]
    fn a_head_with_a_bit_turned_is_refused_or_says_the_same() {
        for (journal_bytes, reserve_bytes) in [(0, 0), (3, 0), (0, 3), (1 << 20, 1 << 20)] {
            for (format, head_len) in [(FORMAT_COPIED, RESERVE_AT), (FORMAT, HEAD_LEN)] {
                let front = Front { journal_bytes, reserve_bytes };
                let mut file = Head { format, complete: true, front }.encode().to_vec();
                file.resize(usize::try_from(front.end()).unwrap() + 1, 7);
                for bit in 0..head_len * 8 {
                    let mut turned = file.clone();
                    turned[bit / 8] ^= 1 << (bit % 8);
                    let format = u32::from_be_bytes(*turned[FORMAT_AT..].first_chunk().unwrap());
                    if (FORMAT_OLDEST..FORMAT_CHECKED).contains(&format) {
                        // What the second head is for.
                        continue;
                    }
                    let found = Disk::open(holding(&turned), Front::of_journal(64));
                    let is_state = (STATE_AT..JOURNAL_AT).contains(&(bit / 8));
                    assert_eq!(found.is_ok(), is_state, "format {format}, bit {bit}");
                    assert!(found.is_err() || found.is_ok_and(|found| !found.fresh), "bit {bit}");
                }
            }
        }
    }

    #[test]
    fn the_second_head_counts_where_the_first_is_damaged_and_nowhere_else() {
        let front = Front { journal_bytes: 3, reserve_bytes: 5 };
        let Found { disk, .. } = Disk::open(InMemoryBackend::new(), front).unwrap();
        StorageBackend::set_len(&disk, 10).unwrap();
        disk.complete().unwrap();
        let mut file = vec![0; 4096 + 18];
        disk.0.backend.read(0, &mut file).unwrap();
        for bit in FORMAT_AT * 8..HEAD_LEN * 8 {
            let mut turned = file.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            let found = Disk::open(holding(&turned), Front::of_journal(64)).unwrap();
            assert_eq!((found.fresh, found.format, found.disk.0.front), (false, FORMAT, front));
            let is_state = (STATE_AT..JOURNAL_AT).contains(&(bit / 8));
            assert_eq!(found.head_damaged, !is_state, "bit {bit}");
            found.disk.make_current().unwrap();
            let mut healed = [0; HEAD_LEN];
            found.disk.0.backend.read(0, &mut healed).unwrap();
            assert_eq!(healed, file[..HEAD_LEN]);
        }
        // Of a newer version, whatever this one may have written before.
        file[..HEAD_LEN].copy_from_slice(&Head { format: FORMAT + 1, complete: true, front }.encode());
        assert!(matches!(opened(&file), Err(StoreError::WrongVersion { .. })));
        // A copy that is damaged as well.
        file[JOURNAL_AT] ^= 1;
        file[FORMAT_AT + 3] = FORMAT.to_be_bytes()[3];
        file[512 + JOURNAL_AT] ^= 1;
        assert!(matches!(opened(&file), Err(StoreError::Damaged(_))));
    }

    #[test]
    fn an_older_head_is_not_taken_for_an_empty_file() {
        for format in FORMAT_OLDEST..FORMAT_CHECKED {
            let mut file = vec![7; 5000];
            file[..HEAD_LEN]
                .copy_from_slice(&Head { format, complete: false, front: Front::of_journal(3) }.encode());
            assert!(matches!(opened(&file), Err(StoreError::Damaged(_))));
            file[STATE_AT + 3] = 1;
            let found = Disk::open(holding(&file), Front::of_journal(64)).unwrap();
            assert_eq!((found.fresh, found.format, found.disk.journal_bytes()), (false, format, 3));
            found.disk.make_current().unwrap();
            let mut head = [0; HEAD_LEN];
            found.disk.0.backend.read(0, &mut head).unwrap();
            assert_eq!(head, Head { format: FORMAT, complete: true, front: Front::of_journal(3) }.encode());
        }
    }

    #[test]
    fn the_parts_of_the_file_lie_behind_each_other() {
        let front = Front { journal_bytes: 100, reserve_bytes: 50 };
        let Found { disk, fresh, .. } = Disk::open(InMemoryBackend::new(), front).unwrap();
        assert!(fresh);
        assert_eq!((StorageBackend::len(&disk).unwrap(), disk.reserve_room()), (0, 4196..4246));
        disk.set_len(10).unwrap();
        disk.write(2, b"database").unwrap();
        disk.write_journal(92, b"journal!").unwrap();
        let mut whole = vec![0; 4096 + 160];
        disk.0.backend.read(0, &mut whole).unwrap();
        assert_eq!(&whole[4096 + 92..4096 + 101], b"journal!\0");
        assert_eq!(&whole[4096 + 149..], b"\0\0\0database");
        let (mut journal, mut database) = ([0; 3], [0; 4]);
        disk.read_journal(92, &mut journal).unwrap();
        disk.read(6, &mut database).unwrap();
        assert_eq!((&journal, &database), (b"jou", b"base"));
    }
}
