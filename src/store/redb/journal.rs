//! The journal: commit groups one after the other, so that a confirm costs one write and one sync.
//!
//! A transaction of redb changes half a dozen pages all over the file, whatever it writes: two to
//! three times what a sync of neighbouring bytes takes. Small groups are therefore written here
//! first, and put into the tables many at a time; the table `leveret` says which entry is the last
//! one they hold. What is not in them when the broker starts is read from here.
//!
//! Integers are big-endian:
//!
//! ```text
//! 0      slot      u64 after | key, 1032 bytes | u32 CRC-32 of both
//! 4 KiB  slot      the same
//! 8 KiB  entries   each padded with zeros to a multiple of 8 bytes
//!
//! entry    0  u64  checksum of all that follows but the padding
//!          8  u64  checksum of the next 20 bytes
//!         16  u32  length of the payload
//!         20  u64  its number
//!         28  u64  up to which number everything was on disk when it was written
//!         36  payload, the changes of a group, as `group` draws them
//! ```
//!
//! Entries have consecutive numbers and lie without gaps from the front on; once the tables hold
//! them all, a new round begins and the next entry is written at the front again. What lies behind
//! the last entry is left from rounds before: bytes that clients chose, which may look like
//! entries. So each round has a random key, without which nobody can make an entry's checksums
//! (`keyed` says why), and an entry counts only with the key of its round.
//!
//! # Which round it is
//!
//! A slot says what the key is for the entries that come once the tables hold entry number
//! `after`. The one in effect is that with the highest `after` that the tables have reached. When
//! the tables take in the entries, the next round is written into one slot before the transaction
//! and is on disk with it; into the other one only afterwards, with the round's first entry. So at
//! any time one slot is not being written and holds the round that the tables ask for, whatever
//! becomes of the other, and once there is an entry whose loss would matter, two slots hold its
//! key. No slot of use means that the file is damaged, or that the tables have fallen behind what
//! they were.
//!
//! # Torn or damaged
//!
//! An entry is written when all before it are on disk, and says so. So the last one may be torn by
//! a power cut, and nobody was told of it; of any other one that is not whole the entries behind it
//! tell that it was. They are found wherever they are: no body can hold 28 bytes that begin an
//! entry of this round. Where the last whole one ends, the next number in its place tells of a torn
//! one, which is logged. If that was torn off as well, there is nothing to be seen.
//!
//! Up to format 4 an entry was a u32 length, the CRC-32 of what follows, the number and the
//! payload, from the front of the room on.

use super::disk::Disk;
use crate::store::error::StoreError;
use crate::store::keyed::{KEY_BYTES, Key};
use std::io;
use std::ops::Range;

/// The first format whose entries have a key.
const FORMAT_KEYED: u32 = 5;

/// A slot has a page for itself, so that a torn write of one leaves the other alone.
const SLOT_ROOM: u64 = 4096;

/// Where the first entry lies.
const ENTRIES_AT: u64 = 2 * SLOT_ROOM;

const SLOT: usize = 8 + KEY_BYTES + 4;

const HEAD: usize = 36;

/// Where an entry's second checksum lies, and what that covers.
const HEAD_SUM_AT: usize = 8;
const HEAD_COVERED: Range<usize> = 16..HEAD;

/// Where an entry has its number, and the one up to which everything was on disk, which is one
/// less.
const NUMBERS: Range<usize> = 20..HEAD;

/// Where entries may begin, counted from the first.
const ALIGNED: usize = 8;

/// Bytes of an entry up to format 4 before its payload.
const HEAD_UNKEYED: usize = 16;

/// An entry's memory is kept for the next one up to this size; few are larger.
const ENTRY_KEPT: usize = 256 * 1024;

/// A journal that entries are appended to.
#[derive(Debug)]
pub(super) struct Journal {
    disk: Disk,
    /// Where the next entry begins, counted from the first.
    end: u64,
    /// Kept between entries, for its memory.
    entry: Vec<u8>,
    /// Of the entries there are, or of the next one; none makes the next one begin a round.
    round: Option<Round>,
    /// Which slots have it.
    copies: Copies,
    /// The round after this, once it is written into a slot.
    next: Option<Round>,
    /// The slot that is written first.
    first_slot: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copies {
    /// None for certain.
    None,
    /// The first slot.
    First,
    Both,
}

impl Journal {
    /// A journal whose entries, if any, are all in the tables, which end with number `last`.
    pub(super) fn open(disk: Disk, last: u64) -> Result<Self, StoreError> {
        // The slot in effect is the last to be written over.
        let first_slot = match Rounds::read(&disk)? {
            Some(rounds) => 1 - rounds.in_effect(last)?.0,
            None => 0,
        };
        let (round, next) = (None, None);
        Ok(Self { disk, end: 0, entry: Vec::new(), round, copies: Copies::None, next, first_slot })
    }

    /// Appends and syncs an entry, if there is room for it; `write` appends its payload to what it
    /// is given.
    pub(super) fn append(&mut self, number: u64, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<bool> {
        self.entry.clear();
        self.entry.resize(HEAD, 0);
        write(&mut self.entry);
        let Ok(len) = u32::try_from(self.entry.len() - HEAD) else { return Ok(false) };
        let end = self.end + self.entry.len().next_multiple_of(ALIGNED) as u64;
        if ENTRIES_AT + end > self.disk.journal_bytes() {
            return Ok(false);
        }
        self.begin(number - 1)?;
        let Some(Round { key, .. }) = &self.round else { return Ok(false) };
        self.entry[16..20].copy_from_slice(&len.to_be_bytes());
        self.entry[20..28].copy_from_slice(&number.to_be_bytes());
        self.entry[28..HEAD].copy_from_slice(&(number - 1).to_be_bytes());
        let head_sum = key.checksum(&self.entry[HEAD_COVERED]);
        self.entry[HEAD_SUM_AT..16].copy_from_slice(&head_sum.to_be_bytes());
        let sum = key.checksum(&self.entry[HEAD_SUM_AT..]);
        self.entry[..HEAD_SUM_AT].copy_from_slice(&sum.to_be_bytes());
        self.entry.resize(self.entry.len().next_multiple_of(ALIGNED), 0);
        self.disk.write_journal(ENTRIES_AT + self.end, &self.entry)?;
        self.disk.sync()?;
        self.copies = Copies::Both;
        self.end = end;
        self.entry.shrink_to(ENTRY_KEPT);
        Ok(true)
    }

    /// Makes sure that both slots have the round once the next sync has returned, and one of them
    /// before.
    fn begin(&mut self, last: u64) -> io::Result<()> {
        if self.copies == Copies::Both {
            return Ok(());
        }
        let round = match &mut self.round {
            Some(round) => round,
            None => self.round.insert(Round::random(last)?),
        };
        if self.copies == Copies::None {
            round.write(&self.disk, self.first_slot)?;
            self.disk.sync()?;
            self.copies = Copies::First;
        }
        round.write(&self.disk, 1 - self.first_slot)
    }

    /// Whether there is no entry but such as the tables hold.
    pub(super) fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// The tables are about to take in all entries, of which `last` is the last: what is written
    /// here is to be on disk with that.
    pub(super) fn prepare_reset(&mut self, last: u64) -> io::Result<()> {
        let next = Round::random(last)?;
        next.write(&self.disk, self.first_slot)?;
        self.next = Some(next);
        Ok(())
    }

    /// The tables hold every entry: the next one goes to the front. What was written to prepare for
    /// it is on disk if `synced`.
    pub(super) fn reset(&mut self, synced: bool) {
        self.end = 0;
        self.round = self.next.take();
        self.copies = if synced && self.round.is_some() { Copies::First } else { Copies::None };
    }
}

/// Begins the first round of a file whose tables end with number `last`; it counts once it is
/// synced.
pub(super) fn begin(disk: &Disk, last: u64) -> io::Result<()> {
    if disk.journal_bytes() < ENTRIES_AT {
        return Ok(());
    }
    let round = Round::random(last)?;
    round.write(disk, 0)?;
    round.write(disk, 1)
}

/// A key, and when it begins to count.
#[derive(Debug)]
struct Round {
    after: u64,
    key: Key,
    slot: Box<[u8; SLOT]>,
}

impl Round {
    fn random(after: u64) -> io::Result<Self> {
        let (bytes, key) = Key::random()?;
        let mut slot = Box::new([0; SLOT]);
        slot[..8].copy_from_slice(&after.to_be_bytes());
        slot[8..SLOT - 4].copy_from_slice(&bytes);
        let checksum = crc32fast::hash(&slot[..SLOT - 4]);
        slot[SLOT - 4..].copy_from_slice(&checksum.to_be_bytes());
        Ok(Self { after, key, slot })
    }

    fn decode(slot: Box<[u8; SLOT]>) -> Option<Self> {
        let (covered, checksum) = slot.split_last_chunk::<4>()?;
        let (after, key) = covered.split_first_chunk::<8>()?;
        let (after, key) = (u64::from_be_bytes(*after), Key::from_bytes(key.first_chunk()?));
        (crc32fast::hash(covered) == u32::from_be_bytes(*checksum)).then_some(Self { after, key, slot })
    }

    fn write(&self, disk: &Disk, slot: u64) -> io::Result<()> {
        disk.write_journal(slot * SLOT_ROOM, &self.slot[..])
    }
}

/// What is in the slots, where it is whole.
struct Rounds([Option<Round>; 2]);

impl Rounds {
    /// None for a journal that has no room.
    fn read(disk: &Disk) -> io::Result<Option<Self>> {
        if disk.journal_bytes() < ENTRIES_AT {
            return Ok(None);
        }
        let read = |slot: u64| {
            let mut bytes = Box::new([0; SLOT]);
            disk.read_journal(slot * SLOT_ROOM, &mut bytes[..])?;
            io::Result::Ok(Round::decode(bytes))
        };
        Ok(Some(Self([read(0)?, read(1)?])))
    }

    /// The slot that counts when the tables end with number `last`, and what it says.
    fn in_effect(&self, last: u64) -> Result<(u64, &Round), StoreError> {
        let whole = || (0..).zip(&self.0).filter_map(|(slot, round)| Some((slot, round.as_ref()?)));
        let reached = whole().filter(|(_, round)| round.after <= last);
        reached.max_by_key(|(_, round)| round.after).ok_or_else(|| {
            StoreError::Damaged(match whole().map(|(_, round)| round.after).max() {
                Some(after) => format!(
                    "its tables end with commit {last}, though they had reached {after}: what came since is gone from them"
                ),
                None => "both copies of the journal's key are damaged".to_owned(),
            })
        })
    }
}

/// An entry as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) payload: Vec<u8>,
}

/// What is in the journal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The entries that the tables do not hold, in order.
    pub(super) entries: Vec<Entry>,
    /// The numbers of entries that were on disk, and are not whole any more.
    pub(super) damaged: Vec<Range<u64>>,
    /// The number of the entry behind the last whole one, which is not whole; nothing tells that it
    /// ever was.
    pub(super) torn: Option<u64>,
}

impl Found {
    /// Notes which entries after number
    /// `last` are not there though everything was on disk up to number `synced`.
    fn look_for_damage(&mut self, last: u64, synced: u64) {
        let mut next = last + 1;
        for number in self.entries.iter().map(|entry| entry.number).chain([synced + 1]) {
            if next < number {
                self.damaged.push(next..number);
            }
            next = next.max(number + 1);
        }
    }
}

/// Reads what the tables, which end with number `last`, do not hold.
pub(super) fn read(disk: &Disk, last: u64, format: u32) -> Result<Found, StoreError> {
    if format < FORMAT_KEYED {
        return Ok(read_unkeyed(disk, last)?);
    }
    let Some(rounds) = Rounds::read(disk)? else { return Ok(Found::default()) };
    let (_, round) = rounds.in_effect(last)?;
    let len = usize::try_from(disk.journal_bytes() - ENTRIES_AT).map_err(io::Error::other)?;
    let mut room = vec![0; len];
    disk.read_journal(ENTRIES_AT, &mut room)?;
    let (mut found, mut synced, mut at) = (Found::default(), last, 0);
    // Where the entry behind the last whole one begins, and its number.
    let (mut rest, mut next) = (&room[..], last + 1);
    while at < room.len() {
        let mut end = at + ALIGNED;
        if let Some(head) = Head::read(&room[at..], round) {
            synced = synced.max(head.synced);
            if let Some(payload) = head.payload(&room[at..], &round.key) {
                end = at + (HEAD + payload.len()).next_multiple_of(ALIGNED);
                (rest, next) = (room.get(end..).unwrap_or_default(), next.max(head.number + 1));
                if head.number > last {
                    found.entries.push(Entry { number: head.number, payload: payload.to_vec() });
                }
            }
        }
        at = end;
    }
    found.look_for_damage(last, synced);
    // One of its two numbers tells of it; those of earlier rounds are all lower.
    let tells = |numbers: &[u8]| {
        let (number, before) = numbers.split_at(size_of::<u64>());
        (number == next.to_be_bytes() || before == (next - 1).to_be_bytes()) && numbers != [0; 16]
    };
    if synced < next && rest.get(NUMBERS).is_some_and(tells) {
        found.torn = Some(next);
        tell_of_torn(next);
    }
    Ok(found)
}

/// Only an operator knows whether the process was killed or power was cut.
fn tell_of_torn(number: u64) {
    tracing::warn!(
        "the journal ends with entry {number}, which is not whole and is left out: after a kill or a power cut this is expected and \
         the entry was not confirmed; otherwise the file is damaged"
    );
}

/// The beginning of an entry.
struct Head {
    len: usize,
    number: u64,
    synced: u64,
}

impl Head {
    /// What `bytes` begin with, if that is an entry of this round.
    fn read(bytes: &[u8], round: &Round) -> Option<Self> {
        let covered = bytes.get(HEAD_COVERED)?;
        let (len, rest) = covered.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (number, synced) = (u64::from_be_bytes(*number), u64::from_be_bytes(*rest.first_chunk()?));
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        // What costs little is looked at first: most of the room is none of this round.
        let may_be = number > round.after && synced < number && len <= bytes.len();
        let sum = u64::from_be_bytes(*bytes.get(HEAD_SUM_AT..)?.first_chunk()?);
        (may_be && round.key.checksum(covered) == sum).then_some(Self { len, number, synced })
    }

    /// The payload, if the entry is whole.
    fn payload<'a>(&self, bytes: &'a [u8], key: &Key) -> Option<&'a [u8]> {
        let entry = bytes.get(..HEAD + self.len)?;
        let (sum, covered) = entry.split_first_chunk()?;
        (key.checksum(covered) == u64::from_be_bytes(*sum)).then_some(&entry[HEAD..])
    }
}

/// What is behind number `last`, up to format 4.
fn read_unkeyed(disk: &Disk, last: u64) -> io::Result<Found> {
    let len = usize::try_from(disk.journal_bytes()).map_err(io::Error::other)?;
    let mut room = vec![0; len];
    disk.read_journal(0, &mut room)?;
    let mut found = Found::default();
    let (mut rest, mut number) = (room.as_slice(), last + 1);
    while let Some((payload, behind)) = first_unkeyed(rest, number) {
        found.entries.push(Entry { number, payload: payload.to_vec() });
        (rest, number) = (behind, number + 1);
    }
    if rest.get(8..HEAD_UNKEYED).is_some_and(|found| found == number.to_be_bytes()) {
        found.torn = Some(number);
        tell_of_torn(number);
    }
    Ok(found)
}

/// The payload at the front of `bytes`, if it is entry `number`, and what lies behind it.
fn first_unkeyed(bytes: &[u8], number: u64) -> Option<(&[u8], &[u8])> {
    let (&[l0, l1, l2, l3, c0, c1, c2, c3], covered) = bytes.split_first_chunk()?;
    let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let (entry, behind) = covered.split_at_checked(len.checked_add(HEAD_UNKEYED - 8)?)?;
    let (found, payload) = entry.split_first_chunk()?;
    let is_whole = crc32fast::hash(entry) == u32::from_be_bytes([c0, c1, c2, c3]);
    (u64::from_be_bytes(*found) == number && is_whole).then_some((payload, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FORMAT;
    use crate::store::redb::disk::{Found as Opened, Front};
    use redb::backends::InMemoryBackend;

    const ROOM: u64 = ENTRIES_AT + 200;

    fn disk() -> Disk {
        let Opened { disk, .. } = Disk::open(InMemoryBackend::new(), Front::of_journal(ROOM)).unwrap();
        begin(&disk, 0).unwrap();
        disk
    }

    fn journal(disk: &Disk) -> Journal {
        Journal::open(disk.clone(), 0).unwrap()
    }

    fn append(journal: &mut Journal, number: u64, payload: &[u8]) -> bool {
        journal.append(number, |out| out.extend_from_slice(payload)).unwrap()
    }

    /// The tables take in everything up to number `last`.
    fn empty(journal: &mut Journal, last: u64) {
        journal.prepare_reset(last).unwrap();
        journal.reset(true);
    }

    fn payloads(disk: &Disk, last: u64) -> Vec<Vec<u8>> {
        let found = read(disk, last, FORMAT).unwrap();
        assert_eq!(found.damaged, [], "nothing is damaged");
        found.entries.into_iter().map(|entry| entry.payload).collect()
    }

    fn turn(disk: &Disk, bit: u64) {
        let mut byte = [0];
        disk.read_journal(bit / 8, &mut byte).unwrap();
        disk.write_journal(bit / 8, &[byte[0] ^ (1 << (bit % 8))]).unwrap();
    }

    #[test]
    fn entries_are_read_back_from_the_one_that_is_wanted() {
        let disk = disk();
        let mut journal = journal(&disk);
        assert!(payloads(&disk, 0).is_empty());
        assert!(
            append(&mut journal, 5, b"five") && append(&mut journal, 6, b"") && append(&mut journal, 7, b"7")
        );
        assert_eq!(payloads(&disk, 4), [&b"five"[..], b"", b"7"]);
        assert_eq!(payloads(&disk, 6), [b"7"], "the tables hold those before");
        assert!(payloads(&disk, 7).is_empty());
        empty(&mut journal, 7);
        assert!(payloads(&disk, 7).is_empty(), "what the tables hold is over");
        assert!(append(&mut journal, 8, b"eigh"));
        assert_eq!(payloads(&disk, 7), [b"eigh"], "a leftover of the same length is none of it");
    }

    #[test]
    fn a_full_journal_takes_nothing() {
        let disk = disk();
        let mut journal = journal(&disk);
        assert!(append(&mut journal, 1, &[b'x'; 100]));
        assert!(!append(&mut journal, 2, &[b'y'; 29]), "one byte too many");
        assert!(append(&mut journal, 2, &[b'y'; 28]));
        assert_eq!(payloads(&disk, 0).len(), 2);
        let Opened { disk, .. } =
            Disk::open(InMemoryBackend::new(), Front::of_journal(ENTRIES_AT - 1)).unwrap();
        begin(&disk, 0).unwrap();
        assert!(!append(&mut Journal::open(disk.clone(), 0).unwrap(), 1, b""), "no room for slots");
        assert_eq!(read(&disk, 0, FORMAT).unwrap(), Found::default());
    }

    /// The last one may be torn, and nobody was told of it; of the one before the last one tells.
    #[test]
    fn a_bit_of_an_entry_is_damage_unless_it_is_the_last() {
        let disk = disk();
        let mut journal = journal(&disk);
        for (number, payload) in [(1, b"one"), (2, b"two"), (3, b"thr")] {
            append(&mut journal, number, payload);
        }
        let entry = (HEAD + 3).next_multiple_of(ALIGNED) as u64 * 8;
        for bit in 0..3 * entry {
            if bit % entry >= (HEAD as u64 + 3) * 8 {
                continue;
            }
            turn(&disk, ENTRIES_AT * 8 + bit);
            let found = read(&disk, 0, FORMAT).unwrap();
            let number = 1 + bit / entry;
            let numbers: Vec<u64> = found.entries.iter().map(|entry| entry.number).collect();
            let left: Vec<u64> = (1..=3).filter(|&other| other != number).collect();
            assert_eq!(numbers, left, "bit {bit}");
            let damaged: Vec<_> = (number < 3).then_some(number..number + 1).into_iter().collect();
            assert_eq!(found.damaged, damaged, "bit {bit}");
            turn(&disk, ENTRIES_AT * 8 + bit);
        }
    }

    /// A power cut leaves the first sectors of the last entry, or others: as long as its number is
    /// there, it is told.
    #[test]
    fn a_torn_entry_is_told_and_a_clean_end_is_not() {
        let disk = disk();
        let mut journal = journal(&disk);
        let torn = |last| read(&disk, last, FORMAT).unwrap().torn;
        assert_eq!(torn(0), None, "there is nothing");
        append(&mut journal, 1, b"one");
        append(&mut journal, 2, b"two");
        assert_eq!([torn(0), torn(1), torn(2)], [None; 3]);
        let second = ENTRIES_AT + (HEAD as u64 + 3).next_multiple_of(ALIGNED as u64);
        for byte in 0..39 {
            turn(&disk, (second + byte) * 8);
            assert_eq!([torn(0), torn(1)], [Some(2); 2], "byte {byte}");
            if byte != 27 {
                // There it has number 3 now.
                assert_eq!(torn(2), None, "byte {byte}: the tables hold it");
            }
            turn(&disk, (second + byte) * 8);
        }
        // Another one is written over it, or at the front, with what is left of it behind.
        turn(&disk, second * 8);
        let mut journal = Journal::open(disk.clone(), 1).unwrap();
        append(&mut journal, 2, b"");
        assert_eq!(torn(1), None);
        empty(&mut journal, 2);
        append(&mut journal, 3, b"thr");
        assert_eq!([torn(2), torn(3)], [None; 2]);
    }

    #[test]
    fn either_slot_will_do_but_not_none() {
        let disk = disk();
        let mut journal = journal(&disk);
        append(&mut journal, 1, b"one");
        empty(&mut journal, 1);
        append(&mut journal, 2, b"two");
        let bits = SLOT as u64 * 8;
        for bit in (0..bits).step_by(5).flat_map(|bit| [bit, SLOT_ROOM * 8 + bit]) {
            turn(&disk, bit);
            assert_eq!(payloads(&disk, 1), [b"two"], "bit {bit}");
            turn(&disk, bit);
        }
        turn(&disk, 70);
        turn(&disk, SLOT_ROOM * 8 + 700);
        let refused = read(&disk, 1, FORMAT);
        assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
    }

    #[test]
    fn the_round_in_effect_is_the_one_that_the_tables_ask_for() {
        let disk = disk();
        let mut journal = journal(&disk);
        append(&mut journal, 1, b"one");
        append(&mut journal, 2, b"two");
        journal.prepare_reset(2).unwrap();
        assert_eq!(payloads(&disk, 0), [b"one", b"two"], "the transaction may still fail");
        assert!(payloads(&disk, 2).is_empty(), "or have succeeded");
        append(&mut journal, 3, b"thr");
        assert_eq!(payloads(&disk, 0).len(), 3, "it failed");
        empty(&mut journal, 3);
        append(&mut journal, 4, b"fou");
        let fallen_behind = read(&disk, 2, FORMAT);
        assert!(matches!(fallen_behind, Err(StoreError::Damaged(_))), "{fallen_behind:?}");
    }

    /// Whatever a torn write makes of a slot, and whichever it is, at the start of a process or
    /// later.
    #[test]
    fn a_torn_slot_is_written_again_before_the_other_one() {
        for slot in [0, 1] {
            let disk = disk();
            append(&mut journal(&disk), 1, b"one");
            disk.write_journal(slot * SLOT_ROOM + 100, &[0; SLOT - 100]).unwrap();
            let mut journal = Journal::open(disk.clone(), 1).unwrap();
            assert_eq!(journal.first_slot, slot);
            append(&mut journal, 2, b"two");
            assert_eq!(payloads(&disk, 1), [b"two"]);
        }
    }

    /// An entry of another round, or with a key that somebody has made up, is none.
    #[test]
    fn an_entry_without_the_key_is_none() {
        let (disk, other) = (disk(), disk());
        append(&mut journal(&disk), 1, b"one");
        append(&mut journal(&other), 1, b"one");
        let mut entry = [0; HEAD + 4];
        other.read_journal(ENTRIES_AT, &mut entry).unwrap();
        disk.write_journal(ENTRIES_AT, &entry).unwrap();
        assert!(payloads(&disk, 0).is_empty());
        let mut same = [0; HEAD + 4];
        disk.read_journal(ENTRIES_AT, &mut same).unwrap();
        assert_eq!(same, entry);
    }

    /// The bytes that the head of this file draws; a change here is a new format.
    #[test]
    fn the_entry_is_as_drawn() {
        let disk = disk();
        append(&mut journal(&disk), 258, b"abc");
        let mut slots = [[0; SLOT]; 2];
        disk.read_journal(0, &mut slots[0]).unwrap();
        disk.read_journal(4096, &mut slots[1]).unwrap();
        assert_eq!(slots[0], slots[1]);
        assert_eq!(slots[0][..8], [0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(slots[0][1040..], crc32fast::hash(&slots[0][..1040]).to_be_bytes());
        let key = Key::from_bytes(slots[0][8..].first_chunk().unwrap());
        let mut entry = [0; 40];
        disk.read_journal(8192, &mut entry).unwrap();
        assert_eq!(&entry[16..], b"\0\0\0\x03\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\x01\x01abc\0");
        assert_eq!(entry[8..16], key.checksum(&entry[16..36]).to_be_bytes());
        assert_eq!(entry[..8], key.checksum(&entry[8..39]).to_be_bytes());
    }

    #[test]
    fn entries_up_to_format_4_are_read_up_to_the_first_that_is_not_whole() {
        let disk = disk();
        let entry = |number: u64, payload: &[u8]| {
            let covered = [&number.to_be_bytes()[..], payload].concat();
            let length = u32::try_from(payload.len()).unwrap();
            [&length.to_be_bytes()[..], &crc32fast::hash(&covered).to_be_bytes(), &covered].concat()
        };
        disk.write_journal(0, &[entry(1, b"one"), entry(2, b"two")].concat()).unwrap();
        let numbers = |last| {
            let found = read(&disk, last, FORMAT_KEYED - 1).unwrap();
            found.entries.into_iter().map(|entry| entry.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(0), [1, 2]);
        assert!(numbers(1).is_empty(), "the tables hold more than the front");
        let torn = || read(&disk, 0, FORMAT_KEYED - 1).unwrap().torn;
        assert_eq!(torn(), None);
        for byte in 0..38 {
            turn(&disk, byte * 8);
            assert_eq!(numbers(0).len(), usize::from(byte >= 19), "byte {byte}");
            let number = 1 + byte / 19;
            let is_told = !(8..16).contains(&(byte % 19));
            assert_eq!(torn(), is_told.then_some(number), "byte {byte}");
            turn(&disk, byte * 8);
        }
    }
}
