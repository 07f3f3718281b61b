//! The journal: commit groups one after the other, so that a confirm costs one write and one sync.
//!
//! A transaction of redb changes half a dozen pages all over the file, whatever it writes: two to three times what a
//! sync of neighbouring bytes takes. Small groups are therefore written here first, and put into the tables many
//! at a time; the table `leveret` says which entry is the last one they hold. What is not in them when the broker
//! starts is read from here.
//!
//! An entry, integers big-endian:
//!
//! ```text
//!  0  u32  length of the payload
//!  4  u32  CRC-32 of what follows
//!  8  u64  its number
//! 16  payload, as `entry` draws it
//! ```
//!
//! Entries have consecutive numbers and lie without gaps from the front on; once the tables hold them all, the next
//! one is written at the front again. So reading from the front ends at the first entry that is damaged (torn by a power
//! cut, and nobody was told of it) or whose number is not the next one (a leftover).

use super::disk::Disk;
use std::io;

const HEAD: usize = 16;

/// An entry's memory is kept for the next one up to this size; few are larger.
const ENTRY_KEPT: usize = 256 * 1024;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Journal {
    disk: Disk,
    /// Where the next entry begins.
    end: u64,
    /// Kept between entries, for its memory.
    entry: Vec<u8>,
}

impl Journal {
    /// A journal whose entries, if any, are all in the tables.
    pub(super) fn new(disk: Disk) -> Self {
        Self { disk, end: 0, entry: Vec::new() }
    }

    /// Appends and syncs an entry, if there is room for it; `write` appends its payload to what it is given.
    pub(super) fn append(&mut self, number: u64, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<bool> {
        self.entry.clear();
        self.entry.resize(HEAD, 0);
        write(&mut self.entry);
        let end = self.end + self.entry.len() as u64;
        let Ok(len) = u32::try_from(self.entry.len() - HEAD) else { return Ok(false) };
        if end > self.disk.journal_bytes() {
            return Ok(false);
        }
        self.entry[..4].copy_from_slice(&len.to_be_bytes());
        self.entry[8..HEAD].copy_from_slice(&number.to_be_bytes());
        let checksum = crc32fast::hash(&self.entry[8..]);
        self.entry[4..8].copy_from_slice(&checksum.to_be_bytes());
        self.disk.write_journal(self.end, &self.entry)?;
        self.disk.sync()?;
        self.end = end;
        self.entry.shrink_to(ENTRY_KEPT);
        Ok(true)
    }

    /// Whether there is no entry but such as the tables hold.
    pub(super) fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// The tables hold every entry: the next one goes to the front.
    pub(super) fn reset(&mut self) {
        self.end = 0;
    }
}

/// The payloads of the entries after number `last`, in order.
pub(super) fn read(disk: &Disk, last: u64) -> io::Result<Vec<Vec<u8>>> {
    let len = usize::try_from(disk.journal_bytes()).map_err(io::Error::other)?;
    let mut room = vec![0; len];
    disk.read_journal(0, &mut room)?;
    let mut payloads = Vec::new();
    let (mut rest, mut number) = (room.as_slice(), last + 1);
    while let Some((payload, behind)) = first(rest, number) {
        payloads.push(payload.to_vec());
        (rest, number) = (behind, number + 1);
    }
    Ok(payloads)
}

/// The payload at the front of `bytes`, if it is entry `number`, and what lies behind it.
fn first(bytes: &[u8], number: u64) -> Option<(&[u8], &[u8])> {
    let (&[l0, l1, l2, l3, c0, c1, c2, c3], covered) = bytes.split_first_chunk()?;
    let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let (entry, behind) = covered.split_at_checked(len.checked_add(HEAD - 8)?)?;
    let (found, payload) = entry.split_first_chunk()?;
    let is_whole = crc32fast::hash(entry) == u32::from_be_bytes([c0, c1, c2, c3]);
    (u64::from_be_bytes(*found) == number && is_whole).then_some((payload, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::Found;
    use redb::backends::InMemoryBackend;

    fn disk() -> Disk {
        let Found { disk, .. } = Disk::open(InMemoryBackend::new(), 100).unwrap();
        disk
    }

    fn append(journal: &mut Journal, number: u64, payload: &[u8]) -> bool {
        journal.append(number, |out| out.extend_from_slice(payload)).unwrap()
    }

    #[test]
    fn entries_are_read_back_from_the_one_that_is_wanted() {
        let disk = disk();
        let mut journal = Journal::new(disk.clone());
        assert!(read(&disk, 0).unwrap().is_empty());
        assert!(
            append(&mut journal, 5, b"five") && append(&mut journal, 6, b"") && append(&mut journal, 7, b"7")
        );
        assert_eq!(read(&disk, 4).unwrap(), [&b"five"[..], b"", b"7"]);
        assert!(read(&disk, 5).unwrap().is_empty(), "the tables hold more than the front");
        journal.reset();
        assert!(append(&mut journal, 8, b"eigh"));
        assert_eq!(read(&disk, 7).unwrap(), [b"eigh"], "a leftover of the same length is none of it");
    }

    #[test]
    fn a_full_journal_takes_nothing() {
        let disk = disk();
        let mut journal = Journal::new(disk.clone());
        assert!(append(&mut journal, 1, &[b'x'; 40]));
        assert!(!append(&mut journal, 2, &[b'y'; 29]), "one byte too many");
        assert!(append(&mut journal, 2, &[b'y'; 28]));
        assert_eq!(read(&disk, 0).unwrap().len(), 2);
    }

    #[test]
    fn a_damaged_entry_ends_the_journal() {
        let disk = disk();
        let mut journal = Journal::new(disk.clone());
        append(&mut journal, 1, b"one");
        append(&mut journal, 2, b"two");
        let mut byte = [0];
        for at in 0..19 + 19 {
            disk.read_journal(at, &mut byte).unwrap();
            disk.write_journal(at, &[byte[0] ^ 1]).unwrap();
            assert_eq!(read(&disk, 0).unwrap().len(), usize::from(at >= 19), "byte {at}");
            disk.write_journal(at, &byte).unwrap();
        }
    }

    /// The bytes that the head of this file draws; a change here is a new format.
    #[test]
    fn the_entry_is_as_drawn() {
        let disk = disk();
        append(&mut Journal::new(disk.clone()), 258, b"abc");
        let mut entry = [0; 19];
        disk.read_journal(0, &mut entry).unwrap();
        assert_eq!(entry[..4], [0, 0, 0, 3]);
        assert_eq!(entry[4..8], crc32fast::hash(b"\0\0\0\0\0\0\x01\x02abc").to_be_bytes());
        assert_eq!(&entry[8..], b"\0\0\0\0\0\0\x01\x02abc");
    }
}
