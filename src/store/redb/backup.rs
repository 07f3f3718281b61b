//! A copy of the data file, made while the broker works: the rows of all tables as they were at one
//! moment, one after the other, from which [`restore`] makes a data file.
//!
//! ```text
//! "Leveret copy\r\n\x1a\n" 16 bytes | u32 format | blocks
//! a block    u32 length of what follows the checksum | u32 CRC-32 of that | u8 length of a name | name of a
//!            table | rows
//! a row      u32 length of the key | key | u32 length of the value | value
//! the end    u32 0 | u32 CRC-32 of the next | u64 rows in all blocks
//! ```
//!
//! Integers are big-endian, but for those in keys. Values are as they lie in the tables, with their
//! checksums.
//!
//! It begins once the tables hold what is in the journal; then one read transaction is open until
//! the end, so that pages which others free stay in the file: it ends before its time when the disk
//! is full, or after [`AGE_MAX_MS`]. A block is made when it is asked for. Others commit meanwhile,
//! and wait for nothing.

use super::checked::{RawRows, TOTALS};
use super::disk::{Disk, Found, Front};
use super::file::{self, DataFile};
use super::loss::Loss;
use super::page::Shared;
use super::salvage::{Copied, SMALL};
use super::table::{BODIES, BODY_PARTS, DAMAGED, META, SEGMENTS};
use super::{Options, RESERVE_BYTES, journal, open_database};
use crate::clock;
use crate::ids::Ticket;
use crate::store::change::Health;
use crate::store::commit::pending::Pending;
use crate::store::error::StoreError;
use crate::store::guard::guarded;
use crate::store::{FILE_NAME, FORMAT};
use redb::{ReadTransaction, ReadableDatabase};
use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

/// What a copy begins with.
const MAGIC: [u8; 16] = *b"Leveret copy\r\n\x1a\n";

/// The oldest format whose rows are taken as they are.
const FORMAT_OLDEST: u32 = 7;

/// Bytes of a block, about: it ends with the row that makes it longer.
const BLOCK_BYTES: usize = 256 * 1024;

/// The longest block: a row has the records of a run, or one large message.
const BLOCK_BYTES_MAX: u32 = 1 << 30;

/// How long a copy may take: freed pages stay in the file meanwhile.
const AGE_MAX_MS: u64 = 60 * 60 * 1000;

/// How long it may take until the tables hold what is in the journal.
const BEGIN_MAX_MS: u64 = 30_000;

/// How often it is looked whether they do.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the commit thread and those who make copies tell each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Signals {
    /// The journal is to be put into the tables.
    pub(super) flush: Arc<AtomicBool>,
    /// How often the database was opened anew.
    pub(super) reopened: Arc<AtomicU64>,
}

/// A copy that is being made: its bytes, part by part.
pub(super) struct Backup {
    database: Shared,
    pending: Arc<Pending>,
    signals: Signals,
    began_ms: u64,
    /// Everything up to this is to be in it.
    ticket: Ticket,
    state: State,
}

enum State {
    New,
    Reading(Box<Reading>),
    Ended,
}

struct Reading {
    tx: ReadTransaction,
    reopened: u64,
    /// Which of the tables is read.
    table: usize,
    /// The last key of it that was read.
    after: Option<Vec<u8>>,
    rows: u64,
}

/// The tables that are not in [`SMALL`].
static LARGE: [&dyn RawRows; 6] = [&META, &SEGMENTS, &BODIES, &BODY_PARTS, &DAMAGED, &TOTALS];

fn table(number: usize) -> Option<&'static dyn RawRows> {
    let small = || SMALL.get(number.checked_sub(LARGE.len())?).map(|&small| small as &dyn RawRows);
    LARGE.get(number).copied().or_else(small)
}

impl Backup {
    /// Everything that is durable now will be in it.
    pub(super) fn new(database: Shared, pending: Arc<Pending>, signals: Signals) -> Self {
        let (began_ms, ticket) = (clock::mono_ms(), pending.durable());
        Self { database, pending, signals, began_ms, ticket, state: State::New }
    }

    fn part(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.pending.health() {
            Health::Good => {}
            Health::Full => return Err(ended("the disk is full, and a copy keeps pages that others freed")),
            Health::Failed => return Err(StoreError::Stopped),
        }
        if clock::mono_ms() > self.began_ms + AGE_MAX_MS {
            return Err(ended("it took too long, and a copy keeps pages that others freed"));
        }
        match &mut self.state {
            State::New => {
                self.state = State::Reading(Box::new(self.begin()?));
                Ok(Some([&MAGIC[..], &FORMAT.to_be_bytes()].concat()))
            }
            State::Reading(reading) => {
                let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
                if database.is_none() || self.signals.reopened.load(Ordering::Relaxed) != reading.reopened {
                    return Err(ended("the data file had to be opened anew"));
                }
                let part = reading.block()?;
                drop(database);
                if part.is_none() {
                    let rows = reading.rows;
                    self.state = State::Ended;
                    return Ok(Some(end(rows)));
                }
                Ok(part)
            }
            State::Ended => Ok(None),
        }
    }

    /// Begins to read once the tables have all that was durable.
    fn begin(&self) -> Result<Reading, StoreError> {
        while self.pending.stored() < self.ticket {
            self.signals.flush.store(true, Ordering::Relaxed);
            if clock::mono_ms() > self.began_ms + BEGIN_MAX_MS || self.pending.health() != Health::Good {
                return Err(ended("the disk does not keep up"));
            }
            thread::park_timeout(LOOK_EVERY);
        }
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let tx = database.as_ref().ok_or(StoreError::Stopped)?.begin_read()?;
        let reopened = self.signals.reopened.load(Ordering::Relaxed);
        Ok(Reading { tx, reopened, table: 0, after: None, rows: 0 })
    }
}

impl Iterator for Backup {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let part = guarded(|| self.part());
        if part.is_err() {
            self.state = State::Ended;
        }
        part.transpose()
    }
}

impl Reading {
    /// The next rows of a table, if there are more.
    fn block(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            let Some(table) = table(self.table) else { return Ok(None) };
            let name = table.name();
            let mut block = vec![0; 8];
            block.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            block.extend_from_slice(name.as_bytes());
            let (empty, mut last, mut rows) = (block.len(), None, 0);
            let mut take = |key: &[u8], value: &[u8]| {
                rows += 1;
                put(key, &mut block);
                put(value, &mut block);
                last = (block.len() >= BLOCK_BYTES).then(|| key.to_vec());
                last.is_none()
            };
            let after = self.after.take();
            let at_end = table.rows(&self.tx, after.as_deref(), &mut take)?;
            self.rows += rows;
            self.after = last;
            if at_end {
                (self.table, self.after) = (self.table + 1, None);
            }
            if block.len() > empty {
                return Ok(Some(sealed(block)));
            }
        }
    }
}

fn put(bytes: &[u8], block: &mut Vec<u8>) {
    block.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    block.extend_from_slice(bytes);
}

/// A block with its length and its checksum, for which there is room at its beginning.
fn sealed(mut block: Vec<u8>) -> Vec<u8> {
    let (len, sum) = (u32::try_from(block.len() - 8).unwrap_or(u32::MAX), crc32fast::hash(&block[8..]));
    block[..4].copy_from_slice(&len.to_be_bytes());
    block[4..8].copy_from_slice(&sum.to_be_bytes());
    block
}

fn end(rows: u64) -> Vec<u8> {
    let rows = rows.to_be_bytes();
    [&[0; 4][..], &crc32fast::hash(&rows).to_be_bytes(), &rows].concat()
}

fn ended(why: &str) -> StoreError {
    io::Error::other(format!("the copy ends before its time: {why}")).into()
}

/// Why no data file was made of a copy.
#[derive(Debug)]
pub enum RestoreError {
    /// There is a data file already.
    Exists(PathBuf),
    /// What went wrong with the copy in this file, or with the data file that was being made of it.
    Copy(PathBuf, StoreError),
    /// What went wrong with the folder.
    Folder(StoreError),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => {
                write!(f, "{} exists: restore into another folder, or move it away", path.display())
            }
            Self::Copy(copy, error) => {
                write!(f, "cannot restore {}: ", copy.display())?;
                match error {
                    StoreError::Damaged(what) => f.write_str(what),
                    StoreError::Io(error) => error.fmt(f),
                    StoreError::WrongVersion { found, .. } => write!(
                        f,
                        "it has format {found}, and this version of Leveret restores formats {FORMAT_OLDEST} to {FORMAT}: \
                         use the version that made it, or a newer one"
                    ),
                    error => error.fmt(f),
                }
            }
            Self::Folder(error) => error.fmt(f),
        }
    }
}

impl Error for RestoreError {}

/// Makes the data file of the folder `dir` from the copy in the file `copy`; which file that is.
/// There must be none.
///
/// # Errors
/// There is one, the copy is not whole, or of a newer version, or a file cannot be read or written;
/// then there is no folder that was not there before.
pub fn restore(copy: &Path, dir: &Path) -> Result<PathBuf, RestoreError> {
    let of_copy = |error| RestoreError::Copy(copy.to_owned(), error);
    let from = File::open(copy).map_err(|error| of_copy(error.into()))?;
    let path = dir.join(FILE_NAME);
    if path.exists() {
        return Err(RestoreError::Exists(path));
    }
    let is_new = !dir.exists();
    let of_folder = |error: io::Error| RestoreError::Folder(error.into());
    file::make_folder(dir).map_err(of_folder)?;
    let aside = dir.join(format!("{FILE_NAME}.restored"));
    let made = guarded(|| fill(&aside, &mut BufReader::new(from))).map_err(of_copy).and_then(|()| {
        // Unlike a new name, a second one does not take the place of a file.
        fs::hard_link(&aside, &path).and_then(|()| File::open(dir)?.sync_all()).map_err(of_folder)
    });
    let _removed = fs::remove_file(&aside);
    if made.is_err() && is_new {
        // Not one that somebody has put something into meanwhile.
        let _removed = fs::remove_dir(dir);
    }
    made.map(|()| path)
}

/// Whether a file begins as a copy does.
pub(super) fn is_copy(path: &Path) -> bool {
    let mut head = [0; MAGIC.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == MAGIC
}

/// Whether a copy may take the place of a file: of another copy, or of an empty file.
#[must_use]
pub fn may_hold_copy(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && (found.len() == 0 || is_copy(path)))
}

/// Puts the rows of a copy into a new file.
fn fill(path: &Path, from: &mut impl Read) -> Result<(), StoreError> {
    let mut head = [0; 20];
    from.read_exact(&mut head).map_err(cut_short)?;
    if head[..16] != MAGIC {
        return Err(StoreError::Damaged("it is not a copy that leveret ctl backup made".to_owned()));
    }
    let format = head.last_chunk().map_or(0, |format| u32::from_be_bytes(*format));
    if !(FORMAT_OLDEST..=FORMAT).contains(&format) {
        return Err(StoreError::WrongVersion { place: String::new(), found: format.into() });
    }
    let file = file::options().truncate(true).open(path)?;
    let options = Options::default();
    let front = Front { reserve_bytes: RESERVE_BYTES, ..options.front() };
    let Found { disk, .. } = Disk::open(DataFile::of(file, path)?, front)?;
    let database = open_database(&disk, options.cache_bytes)?;
    let mut copied = Copied::of(&database);
    let mut rows = 0;
    while let Some(block) = block(from, rows)? {
        rows += take(&block, &mut copied)?;
    }
    let number = copied.number()?;
    let lost = copied.finish()?;
    if lost != Loss::default() {
        return Err(StoreError::Damaged("rows of it do not match their checksums".to_owned()));
    }
    drop(database);
    journal::begin(&disk, number)?;
    disk.sync()?;
    Ok(disk.complete()?)
}

/// The next block, or nothing at the end, which says that there were so many rows.
fn block(from: &mut impl Read, rows: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let mut head = [0; 8];
    from.read_exact(&mut head).map_err(cut_short)?;
    let [len, sum] =
        [0, 4].map(|at| head[at..].first_chunk().map_or(0, |number| u32::from_be_bytes(*number)));
    let damaged = || StoreError::Damaged("it does not match its checksums".to_owned());
    if len > BLOCK_BYTES_MAX {
        return Err(damaged());
    }
    let is_end = len == 0;
    let mut block = Vec::new();
    let expected = if is_end { 8 } else { u64::from(len) };
    if from.take(expected).read_to_end(&mut block)? as u64 != expected {
        return Err(cut_short(ErrorKind::UnexpectedEof.into()));
    }
    match crc32fast::hash(&block) == sum {
        true if is_end && block == rows.to_be_bytes() => Ok(None),
        true if !is_end => Ok(Some(block)),
        _ => Err(damaged()),
    }
}

/// Takes over the rows of a block; how many.
fn take(block: &[u8], copied: &mut Copied<'_>) -> Result<u64, StoreError> {
    let malformed = || StoreError::Damaged("a block of it is malformed".to_owned());
    let (len, rest) = block.split_first().ok_or_else(malformed)?;
    let (name, mut rest) = rest.split_at_checked((*len).into()).ok_or_else(malformed)?;
    let name = str::from_utf8(name).map_err(|_error| malformed())?;
    let mut rows = 0;
    while !rest.is_empty() {
        let key = field(&mut rest).ok_or_else(malformed)?;
        let value = field(&mut rest).ok_or_else(malformed)?;
        copied.take(name, key, value, true)?;
        rows += 1;
    }
    Ok(rows)
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk()?;
    let (field, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    let _before = mem::replace(rest, after);
    Some(field)
}

fn cut_short(error: io::Error) -> StoreError {
    if error.kind() == ErrorKind::UnexpectedEof {
        return StoreError::Damaged("it is cut short".to_owned());
    }
    error.into()
}
