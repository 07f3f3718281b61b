//! The log and the vote of a node of a cluster, in a file of their own: `leveret.raft`.
//!
//! They are not tables of the data file. An entry has to be on disk before a node says that it has
//! it, and that is what everybody waits for: here it costs one write side by side with the one
//! before and one sync, where a transaction of redb writes pages all over its file and syncs twice.
//! The entries are also what the data file's journal is to a broker without a cluster, so a group
//! is still synced once before it is confirmed: see [`super::Replica`].
//!
//! What happens is appended, whatever it is, and nothing is written over: that entries are gone
//! which a new leader does not have is a record as well. So a power cut leaves what was written up
//! to some record, and each record that was synced.
//!
//! ```text
//! 0      slot      magic 16 bytes | u32 format | u64 generation | u64 start | key, 1032 bytes | u32 CRC-32 of all before
//! 4 KiB  slot      the same
//! start  records   each padded with zeros to a multiple of 8 bytes
//!
//! record   0  u64  checksum of all that follows but the padding
//!          8  u64  checksum of the next 21 bytes
//!         16  u32  length of the payload
//!         20  u64  its number, from 1 in each generation
//!         28  u64  up to which number everything was on disk when it was written
//!         36  u8   what it is
//!         37  payload
//!
//! 1 entry      u64 term | u64 index | bytes of whoever appends it
//! 2 vote       u64 term | u64 node | u8 whether a majority has given it
//! 3 truncated  u64 index: the entries from this one on are gone
//! 4 purged     u64 term | u64 index: the entries up to this one are gone
//! 5 note       u8 which | bytes: the last one of each counts
//! ```
//!
//! # Generations
//!
//! When most of it is purged, what is left is written side by side into a new generation: where the
//! file begins if there is room before the present one, behind it otherwise. It is synced, then the
//! slots are made to point to it, one after the other, and what is behind it is cut off. So the
//! file is no longer than about twice what it holds, and nothing is ever behind the last record but
//! what a power cut has left of records that were being written.
//!
//! # Torn or damaged
//!
//! As in the journal: each record tells up to which one everything was on disk, and has a keyed
//! checksum that no client can foresee. Of a record that is not whole, those behind it tell whether
//! it was on disk. If so, the file is damaged and the node must not vote with it; if not, power was
//! cut, nobody was told of it, and it is cut off.

use crate::store::error::StoreError;
use crate::store::keyed::{KEY_BYTES, Key};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Debug};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// The file's name in the data folder.
pub const FILE_NAME: &str = "leveret.raft";

const MAGIC: [u8; 16] = *b"Leveret raft\r\n\x1a\n";

const FORMAT: u32 = 1;

/// A slot has a page for itself, so that a torn write of one leaves the other alone.
const SLOT_ROOM: u64 = 4096;

/// Where a first generation begins.
const FRONT: u64 = 2 * SLOT_ROOM;

const SLOT: usize = 16 + 4 + 8 + 8 + KEY_BYTES + 4;

const HEAD: usize = 37;
const HEAD_SUM_AT: usize = 8;
const HEAD_COVERED: Range<usize> = 16..HEAD;
const ALIGNED: usize = 8;

const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const TRUNCATED: u8 = 3;
const PURGED: u8 = 4;
const NOTE: u8 = 5;

/// So much that is of no use is left in the file before it is worth a new generation.
const REWRITE_BYTES: u64 = 1 << 20;

/// So much of the last entries is kept in memory: followers that keep up are served from there.
const RECENT_BYTES_MAX: usize = 8 << 20;

/// What is read of the file at a time.
const READ_BYTES: usize = 1 << 20;

/// A file, or what a test takes for one.
pub trait LogFile: Debug + Send + Sync {
    /// How long it is.
    ///
    /// # Errors
    /// It cannot be asked.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// As [`LogFile::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `at` on.
    ///
    /// # Errors
    /// It is not that long, or cannot be read.
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes `bytes` from `at` on; nothing is safe before the next [`LogFile::sync`].
    ///
    /// # Errors
    /// They could not be written, or only some of them.
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes it longer, with zeros, or shorter.
    ///
    /// # Errors
    /// It could not be done.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Brings all to disk that was written before.
    ///
    /// # Errors
    /// What is on disk is unknown.
    fn sync(&self) -> io::Result<()>;
}

impl LogFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, at)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Which entry: its place in the log, and the term of the leader that put it there. The order is
/// that of Raft: by term, then by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EntryId {
    /// The leader's term.
    pub term: u64,
    /// Its place, without gaps.
    pub index: u64,
}

/// Whom a node has given its vote, last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// In which term.
    pub term: u64,
    /// To which node.
    pub node: u64,
    /// Whether that node was seen to lead.
    pub committed: bool,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Which one.
    pub id: EntryId,
    /// What it says, to whoever appended it.
    pub payload: Bytes,
}

/// Where an entry is.
#[derive(Debug, Clone, Copy)]
struct Place {
    term: u64,
    /// Of its payload.
    at: u64,
    len: u32,
}

/// The log and the vote. After an error it does no more: what is on disk is unknown then.
#[derive(Debug)]
pub struct RaftLog {
    file: Arc<dyn LogFile>,
    key: Key,
    generation: u64,
    /// Where the generation begins, and where the next record will.
    records: Range<u64>,
    /// Of the last record.
    number: u64,
    /// Up to which number everything is on disk.
    synced: u64,
    vote: Option<Vote>,
    purged: Option<EntryId>,
    /// From the one behind `purged` on.
    entries: VecDeque<Place>,
    /// The payloads of the last of `entries`, and their bytes.
    recent: VecDeque<Bytes>,
    recent_bytes: usize,
    notes: BTreeMap<u8, Bytes>,
    /// Bytes of records that say what is still so.
    live: u64,
    is_broken: bool,
    /// Kept between records, for its memory.
    record: Vec<u8>,
}

impl RaftLog {
    /// Opens the log in the data folder `dir`, which is held by whoever has its data file open, or
    /// begins one.
    ///
    /// # Errors
    /// As [`RaftLog::open`].
    pub fn open_in(dir: &Path) -> Result<Self, StoreError> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(dir.join(FILE_NAME))?;
        // So that the file is still there, by this name, after a power cut.
        File::open(dir)?.sync_all()?;
        Self::open(Arc::new(file))
    }

    /// Reads what `file` holds, or begins with it.
    ///
    /// # Errors
    /// It is damaged, or cannot be read or written.
    pub fn open(file: Arc<dyn LogFile>) -> Result<Self, StoreError> {
        let len = file.len()?;
        let found = Slot::read(&*file, 0)?.into_iter().chain(Slot::read(&*file, 1)?);
        let slot = match found.max_by_key(|slot| slot.generation) {
            Some(slot) => slot,
            // Records are written only once both slots are on disk.
            None if len > FRONT => return Err(damaged("both copies of its key are")),
            None => {
                let slot = Slot::random(1, FRONT)?;
                (0..2).try_for_each(|copy| slot.write(&*file, copy))?;
                file.sync()?;
                slot
            }
        };
        let mut log = Self {
            file,
            key: slot.key,
            generation: slot.generation,
            records: slot.start..slot.start,
            number: 0,
            synced: 0,
            vote: None,
            purged: None,
            entries: VecDeque::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            notes: BTreeMap::new(),
            live: 0,
            is_broken: false,
            record: Vec::new(),
        };
        log.read()?;
        Ok(log)
    }

    /// The vote that was saved last.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.vote
    }

    /// The last entry that is gone from the front.
    #[must_use]
    pub fn purged(&self) -> Option<EntryId> {
        self.purged
    }

    /// The last entry, or the last that there was.
    #[must_use]
    pub fn last(&self) -> Option<EntryId> {
        let index = (self.first() + self.entries.len() as u64).checked_sub(1)?;
        self.entries.back().map(|place| EntryId { term: place.term, index }).or(self.purged)
    }

    /// What was noted last under `which`.
    #[must_use]
    pub fn note(&self, which: u8) -> Option<Bytes> {
        self.notes.get(&which).cloned()
    }

    /// How long the file is.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.records.end
    }

    /// Appends entries that follow the last one; they can be read at once. They are on disk once
    /// [`Syncer::sync`] has returned, and what it returns is at least the number that this does.
    ///
    /// # Errors
    /// They could not be written, or do not follow.
    pub fn append(&mut self, entries: impl IntoIterator<Item = LogEntry>) -> Result<u64, StoreError> {
        let mut batch = Vec::new();
        let mut new = Vec::new();
        let first = self.first() + self.entries.len() as u64;
        for (LogEntry { id, payload }, expected) in entries.into_iter().zip(first..) {
            if id.index != expected {
                let what = format!("entry {} of the log was to follow entry {expected}", id.index);
                return Err(StoreError::BrokerFault(what));
            }
            let len = u32::try_from(payload.len()).map_err(|_over| too_large())?;
            self.encode(ENTRY, &[&id.term.to_be_bytes(), &id.index.to_be_bytes(), &payload])?;
            let at = self.records.end + (batch.len() + HEAD + 16) as u64;
            new.push((Place { term: id.term, at, len }, payload));
            batch.extend_from_slice(&self.record);
        }
        self.write(&batch)?;
        new.into_iter().for_each(|(place, payload)| self.push(place, payload));
        Ok(self.number)
    }

    /// Removes the entries from `index` on; it is on disk as [`RaftLog::append`] says.
    ///
    /// # Errors
    /// It could not be written, or those are gone already.
    pub fn truncate(&mut self, index: u64) -> Result<u64, StoreError> {
        if index < self.first() {
            return Err(StoreError::BrokerFault(format!("entry {index} of the log is gone")));
        }
        self.encode(TRUNCATED, &[&index.to_be_bytes()])?;
        self.write_record()?;
        self.drop_from(index);
        Ok(self.number)
    }

    /// Removes the entries up to `upto` from the front; it is on disk as [`RaftLog::append`] says.
    ///
    /// # Errors
    /// It could not be written.
    pub fn purge(&mut self, upto: EntryId) -> Result<u64, StoreError> {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return Ok(self.number);
        }
        self.encode(PURGED, &[&upto.term.to_be_bytes(), &upto.index.to_be_bytes()])?;
        self.write_record()?;
        self.drop_up_to(upto);
        let dead = (self.records.end - self.records.start).saturating_sub(self.live);
        if dead > REWRITE_BYTES.max(self.live) {
            self.rewrite()?;
        }
        Ok(self.number)
    }

    /// Saves a vote; it is on disk as [`RaftLog::append`] says.
    ///
    /// # Errors
    /// It could not be written.
    pub fn save_vote(&mut self, vote: Vote) -> Result<u64, StoreError> {
        self.encode(VOTE, &vote_fields(vote).each_ref().map(Vec::as_slice))?;
        self.write_record()?;
        self.vote = Some(vote);
        Ok(self.number)
    }

    /// Notes `bytes` under `which`; it is on disk as [`RaftLog::append`] says.
    ///
    /// # Errors
    /// It could not be written.
    pub fn set_note(&mut self, which: u8, bytes: Bytes) -> Result<u64, StoreError> {
        self.encode(NOTE, &[&[which], &bytes])?;
        self.write_record()?;
        self.notes.insert(which, bytes);
        Ok(self.number)
    }

    /// The entries with these indexes that there are, in order: at least one, and no more once they
    /// have so many bytes.
    ///
    /// # Errors
    /// They cannot be read any more.
    pub fn entries(&self, indexes: Range<u64>, bytes_max: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.check()?;
        let first = self.first();
        let end = indexes.end.min(first + self.entries.len() as u64);
        let (mut found, mut bytes) = (Vec::new(), 0);
        for index in indexes.start.max(first)..end {
            let at = usize::try_from(index - first).map_err(io::Error::other)?;
            bytes += self.entries[at].len as usize;
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(LogEntry {
                id: EntryId { term: self.entries[at].term, index },
                payload: self.payload(at)?,
            });
        }
        Ok(found)
    }

    /// What brings to disk what was written, for a thread that nobody waits for to write more.
    #[must_use]
    pub fn syncer(&self) -> Syncer {
        Syncer { file: Arc::clone(&self.file), number: self.number, generation: self.generation }
    }

    /// What [`Syncer::sync`] has told: see there.
    pub fn synced(&mut self, done: &Result<Synced, io::Error>) {
        match done {
            Ok(synced) if synced.generation == self.generation => {
                self.synced = self.synced.max(synced.number)
            }
            // All that is in a new generation was synced as it was made.
            Ok(_earlier) => {}
            Err(_unknown) => self.is_broken = true,
        }
    }

    /// Syncs in this thread all that was written.
    ///
    /// # Errors
    /// What is on disk is unknown.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.check()?;
        let done = self.syncer().sync();
        self.synced(&done);
        Ok(done.map(drop)?)
    }

    /// Index of the first entry that there is, or would be.
    fn first(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_broken { Err(StoreError::Stopped) } else { Ok(()) }
    }

    /// Makes a record in `self.record`.
    fn encode(&mut self, kind: u8, fields: &[&[u8]]) -> Result<(), StoreError> {
        self.check()?;
        self.number += 1;
        encode(&mut self.record, &self.key, (self.number, self.synced), (kind, fields))
    }

    fn write_record(&mut self) -> Result<(), StoreError> {
        let record = std::mem::take(&mut self.record);
        let done = self.write(&record);
        self.record = record;
        done
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.check()?;
        self.file.write(self.records.end, bytes).inspect_err(|_| self.is_broken = true)?;
        self.records.end += bytes.len() as u64;
        Ok(())
    }

    /// The payload of the entry at this place among `entries`.
    fn payload(&self, at: usize) -> Result<Bytes, StoreError> {
        let is_recent = at.checked_sub(self.entries.len() - self.recent.len());
        if let Some(payload) = is_recent.and_then(|at| self.recent.get(at)) {
            return Ok(payload.clone());
        }
        let place = self.entries[at];
        let mut payload = vec![0; place.len as usize];
        self.file.read(place.at, &mut payload)?;
        Ok(payload.into())
    }

    fn push(&mut self, place: Place, payload: Bytes) {
        self.live += record_bytes(16 + payload.len());
        self.recent_bytes += payload.len();
        self.entries.push_back(place);
        self.recent.push_back(payload);
        while self.recent_bytes > RECENT_BYTES_MAX && self.recent.len() > 1 {
            self.recent_bytes -= self.recent.pop_front().map_or(0, |payload| payload.len());
        }
    }

    fn drop_from(&mut self, index: u64) {
        while self.first() + self.entries.len() as u64 > index.max(self.first()) {
            let Some(place) = self.entries.pop_back() else { break };
            self.live -= record_bytes(16 + place.len as usize);
            self.recent_bytes -= self.recent.pop_back().map_or(0, |payload| payload.len());
        }
    }

    fn drop_up_to(&mut self, upto: EntryId) {
        while self.first() <= upto.index {
            let index = self.first();
            let Some(place) = self.entries.pop_front() else { break };
            self.purged = Some(EntryId { term: place.term, index });
            self.live -= record_bytes(16 + place.len as usize);
            if self.recent.len() > self.entries.len() {
                self.recent_bytes -= self.recent.pop_front().map_or(0, |payload| payload.len());
            }
        }
        self.purged = Some(upto);
    }

    /// Writes what is still so into a new generation.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        let done = self.rewrite_now();
        self.is_broken |= done.is_err();
        done
    }

    fn rewrite_now(&mut self) -> Result<(), StoreError> {
        let notes: u64 = self.notes.values().map(|bytes| record_bytes(1 + bytes.len())).sum();
        let most = self.live + notes + 2 * record_bytes(17);
        let start = if FRONT + most <= self.records.start { FRONT } else { self.records.end };
        let slot = Slot::random(self.generation + 1, start)?;
        let (mut end, mut number, mut record) = (start, 0, Vec::new());
        let mut put = |kind, fields: &[&[u8]]| {
            number += 1;
            encode(&mut record, &slot.key, (number, 0), (kind, fields))?;
            self.file.write(end, &record)?;
            end += record.len() as u64;
            Ok::<u64, StoreError>(end)
        };
        for (&which, bytes) in &self.notes {
            put(NOTE, &[&[which], bytes])?;
        }
        if let Some(vote) = self.vote {
            put(VOTE, &vote_fields(vote).each_ref().map(Vec::as_slice))?;
        }
        if let Some(EntryId { term, index }) = self.purged {
            put(PURGED, &[&term.to_be_bytes(), &index.to_be_bytes()])?;
        }
        let mut places = VecDeque::new();
        for (at, (place, index)) in self.entries.iter().zip(self.first()..).enumerate() {
            let payload = self.payload(at)?;
            let behind = put(ENTRY, &[&place.term.to_be_bytes(), &index.to_be_bytes(), &payload])?;
            let at = behind - record_bytes(16 + payload.len()) + (HEAD + 16) as u64;
            places.push_back(Place { at, ..*place });
        }
        // The sync covers the slots as they are, too: at no time are both being written.
        self.file.sync()?;
        slot.write(&*self.file, self.generation % 2)?;
        self.file.sync()?;
        slot.write(&*self.file, (self.generation + 1) % 2)?;
        self.file.set_len(end)?;
        (self.entries, self.records) = (places, start..end);
        (self.number, self.synced, self.generation, self.key) = (number, number, slot.generation, slot.key);
        Ok(())
    }

    /// Reads the generation, and cuts off what a power cut has left behind it.
    fn read(&mut self) -> Result<(), StoreError> {
        let mut window = Window::new(Arc::clone(&self.file), self.records.start)?;
        while let Some(head) = Head::read(window.bytes(HEAD)?, &self.key) {
            let whole = window.bytes(HEAD + head.len)?;
            if head.number != self.number + 1 || whole.len() < HEAD + head.len {
                break;
            }
            if self.key.checksum(&whole[HEAD_SUM_AT..]) != head.sum {
                break;
            }
            let payload = Bytes::copy_from_slice(&whole[HEAD..]);
            self.take_in(head.kind, &payload).ok_or_else(|| damaged("a record makes no sense, and it is"))?;
            self.number = head.number;
            window.skip(record_bytes(head.len));
            self.records.end = window.at;
        }
        let next = self.number + 1;
        while let Some(head) = window.find_head(&self.key)? {
            if head.number >= next && head.synced >= next {
                return Err(damaged(&format!("record {next}, which was on disk in full, is")));
            }
        }
        if self.file.len()? > self.records.end {
            self.file.set_len(self.records.end)?;
        }
        // What was read may be in the system's memory alone.
        self.file.sync()?;
        self.synced = self.number;
        Ok(())
    }

    /// Does what a record of the file says; none if there is no such record.
    fn take_in(&mut self, kind: u8, payload: &Bytes) -> Option<()> {
        match kind {
            ENTRY => {
                let (term, index) = (word(payload, 0)?, word(payload, 8)?);
                let is_next = index == self.first() + self.entries.len() as u64;
                let len = u32::try_from(payload.len() - 16).ok().filter(|_| is_next)?;
                let at = self.records.end + (HEAD + 16) as u64;
                self.push(Place { term, at, len }, payload.slice(16..));
            }
            VOTE => {
                let committed = *payload.get(16)? == 1;
                self.vote = Some(Vote { term: word(payload, 0)?, node: word(payload, 8)?, committed });
            }
            TRUNCATED => self.drop_from(word(payload, 0)?),
            PURGED => self.drop_up_to(EntryId { term: word(payload, 0)?, index: word(payload, 8)? }),
            NOTE => drop(self.notes.insert(*payload.first()?, payload.slice(1..))),
            _ => return None,
        }
        Some(())
    }
}

/// Brings to disk what was written to a log before it was made.
#[derive(Debug)]
pub struct Syncer {
    file: Arc<dyn LogFile>,
    number: u64,
    generation: u64,
}

/// What a sync has brought to disk.
#[derive(Debug, Clone, Copy)]
pub struct Synced {
    /// All up to this number, as [`RaftLog::append`] gives them.
    pub number: u64,
    generation: u64,
}

impl Syncer {
    /// Syncs; [`RaftLog::synced`] is to be told of it, and then who waits.
    ///
    /// # Errors
    /// What is on disk is unknown.
    pub fn sync(&self) -> io::Result<Synced> {
        self.file.sync()?;
        Ok(Synced { number: self.number, generation: self.generation })
    }
}

/// What points to a generation.
struct Slot {
    generation: u64,
    start: u64,
    key_bytes: [u8; KEY_BYTES],
    key: Key,
}

impl Slot {
    fn random(generation: u64, start: u64) -> io::Result<Self> {
        let (key_bytes, key) = Key::random()?;
        Ok(Self { generation, start, key_bytes, key })
    }

    /// What a slot says, if it is whole.
    fn read(file: &dyn LogFile, copy: u64) -> Result<Option<Self>, StoreError> {
        let mut slot = [0; SLOT];
        if file.len()? < copy * SLOT_ROOM + SLOT as u64 {
            return Ok(None);
        }
        file.read(copy * SLOT_ROOM, &mut slot)?;
        let (covered, checksum) = slot.split_at(SLOT - 4);
        if crc32fast::hash(covered).to_be_bytes() != checksum || covered[..16] != MAGIC {
            return Ok(None);
        }
        let format = covered[16..20].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        if format != u64::from(FORMAT) {
            return Err(StoreError::WrongVersion { place: FILE_NAME.to_owned(), found: format });
        }
        let mut key_bytes = [0; KEY_BYTES];
        key_bytes.copy_from_slice(&covered[36..]);
        let (generation, start) = (word(covered, 20), word(covered, 28));
        let key = Key::from_bytes(&key_bytes);
        Ok(generation.zip(start).map(|(generation, start)| Self { generation, start, key_bytes, key }))
    }

    fn write(&self, file: &dyn LogFile, copy: u64) -> io::Result<()> {
        let mut slot = Vec::with_capacity(SLOT);
        slot.extend_from_slice(&MAGIC);
        slot.extend_from_slice(&FORMAT.to_be_bytes());
        slot.extend_from_slice(&self.generation.to_be_bytes());
        slot.extend_from_slice(&self.start.to_be_bytes());
        slot.extend_from_slice(&self.key_bytes);
        slot.extend_from_slice(&crc32fast::hash(&slot).to_be_bytes());
        file.write(copy * SLOT_ROOM, &slot)
    }
}

/// The beginning of a record.
struct Head {
    /// Of all that follows it.
    sum: u64,
    len: usize,
    number: u64,
    synced: u64,
    kind: u8,
}

impl Head {
    /// What `bytes` begin with, if that is a record with this key.
    fn read(bytes: &[u8], key: &Key) -> Option<Self> {
        let head = bytes.get(..HEAD)?;
        let (number, synced) = (word(head, 20)?, word(head, 28)?);
        // What costs little is looked at first.
        if number <= synced || word(head, HEAD_SUM_AT)? != key.checksum(&head[HEAD_COVERED]) {
            return None;
        }
        let len = u32::from_be_bytes(*head[16..].first_chunk()?) as usize;
        Some(Self { sum: word(head, 0)?, len, number, synced, kind: head[36] })
    }
}

/// A part of the file that moves on.
struct Window {
    file: Arc<dyn LogFile>,
    /// Where it begins.
    at: u64,
    len: u64,
    /// What is read of the file from `from` on.
    buffer: Vec<u8>,
    from: u64,
}

impl Window {
    fn new(file: Arc<dyn LogFile>, at: u64) -> io::Result<Self> {
        let len = file.len()?;
        Ok(Self { file, at, len, buffer: Vec::new(), from: at })
    }

    /// So many bytes from its beginning on, or as many as there are.
    fn bytes(&mut self, count: usize) -> io::Result<&[u8]> {
        let there = self.len.saturating_sub(self.at);
        let count = usize::try_from(there.min(count as u64)).map_err(io::Error::other)?;
        let has = (self.from + self.buffer.len() as u64).saturating_sub(self.at);
        if has < count as u64 {
            let read = usize::try_from(there.min(READ_BYTES as u64)).map_err(io::Error::other)?.max(count);
            self.buffer.resize(read, 0);
            self.file.read(self.at, &mut self.buffer)?;
            self.from = self.at;
        }
        let begin = usize::try_from(self.at - self.from).map_err(io::Error::other)?.min(self.buffer.len());
        Ok(&self.buffer[begin..begin + count])
    }

    fn skip(&mut self, bytes: u64) {
        self.at += bytes;
    }

    /// The next beginning of a record behind its own, wherever it is.
    fn find_head(&mut self, key: &Key) -> io::Result<Option<Head>> {
        while self.at < self.len {
            let head = Head::read(self.bytes(HEAD)?, key);
            self.skip(ALIGNED as u64);
            if head.is_some() {
                return Ok(head);
            }
        }
        Ok(None)
    }
}

/// Makes a record of what it is and its fields in `out`.
fn encode(
    out: &mut Vec<u8>,
    key: &Key,
    (number, synced): (u64, u64),
    (kind, fields): (u8, &[&[u8]]),
) -> Result<(), StoreError> {
    out.clear();
    out.resize(HEAD, 0);
    fields.iter().for_each(|field| out.extend_from_slice(field));
    let len = u32::try_from(out.len() - HEAD).map_err(|_over| too_large())?;
    out[16..20].copy_from_slice(&len.to_be_bytes());
    out[20..28].copy_from_slice(&number.to_be_bytes());
    out[28..36].copy_from_slice(&synced.to_be_bytes());
    out[36] = kind;
    let head_sum = key.checksum(&out[HEAD_COVERED]);
    out[HEAD_SUM_AT..16].copy_from_slice(&head_sum.to_be_bytes());
    let sum = key.checksum(&out[HEAD_SUM_AT..]);
    out[..HEAD_SUM_AT].copy_from_slice(&sum.to_be_bytes());
    out.resize(out.len().next_multiple_of(ALIGNED), 0);
    Ok(())
}

fn vote_fields(vote: Vote) -> [Vec<u8>; 3] {
    [vote.term.to_be_bytes().to_vec(), vote.node.to_be_bytes().to_vec(), vec![vote.committed.into()]]
}

/// Bytes of a record with a payload of so many.
fn record_bytes(payload: usize) -> u64 {
    (HEAD + payload).next_multiple_of(ALIGNED) as u64
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn too_large() -> StoreError {
    StoreError::BrokerFault("an entry of the log is over 4 GiB".to_owned())
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{FILE_NAME}: {what} damaged"))
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.index)
    }
}
