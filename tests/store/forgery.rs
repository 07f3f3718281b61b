//! A client that knows the journal's layout, and writes bodies that look like its entries.

use super::{commit, declare, open_with, publish};
use crate::support::disk::SimDisk;
use leveret::auth::directory::AuthChange;
use leveret::store::Opened;

const JOURNAL: u64 = 200_000;

/// The number of the entry that the next start would read next: after the declaration, the body,
/// the large group and the small one.
const NEXT: u64 = 5;

fn text(bytes: &str) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes.as_bytes()].concat()
}

/// "Put user evil, administrator", as `entry` and `auth` draw it.
fn payload() -> Vec<u8> {
    [&[40][..], &text("\0\0\0\x04evil"), &text(&format!("{}\x0dadministrator", "\0".repeat(16)))].concat()
}

/// As format 4 drew an entry.
fn entry_of_4(payload: &[u8]) -> Vec<u8> {
    let covered = [&NEXT.to_be_bytes()[..], payload].concat();
    let length = u32::try_from(payload.len()).unwrap();
    [&length.to_be_bytes()[..], &crc32fast::hash(&covered).to_be_bytes(), &covered].concat()
}

/// As format 5 draws one, with these checksums, which a client has to guess.
fn entry_of_5(payload: &[u8], guess: u64) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let guess = guess.to_be_bytes();
    let (number, synced) = (NEXT.to_be_bytes(), (NEXT - 1).to_be_bytes());
    [&guess[..], &guess, &length.to_be_bytes(), &number, &synced, payload].concat()
}

/// Puts `entry` all over the journal, has its front written over by less than that, and starts
/// again after a kill, with the small group ending at each place of `entry` in turn.
fn attack(entry: &[u8]) {
    let body = entry.repeat(100_000 / entry.len());
    let is_evil = |change: &AuthChange| matches!(change, AuthChange::PutUser(user) if user.name == "evil");
    for shift in 0..entry.len() {
        let disk = SimDisk::default();
        let opened = open_with(&disk, JOURNAL);
        commit(&opened.log, [declare(1)]);
        commit(&opened.log, [publish(1, 0, &[&body])]);
        // What is too large for the journal empties it, as idleness does.
        commit(&opened.log, [publish(1, 1, &[vec![b'x'; 200_000]])]);
        commit(&opened.log, [publish(1, 2, &[vec![b'y'; shift]])]);
        let image = disk.image();
        assert!(image.windows(entry.len()).any(|bytes| bytes == entry), "the bait is in the file");
        let Opened { recovered, .. } = open_with(&SimDisk::holding(image), 0);
        assert!(!recovered.auth.iter().flatten().any(is_evil), "evil became administrator, shift {shift}");
        assert_eq!(recovered.queues[0].messages.iter().map(|range| range.len()).sum::<u64>(), 3);
    }
}

#[test]
fn a_body_made_of_entries_is_not_replayed() {
    attack(&entry_of_4(&payload()));
    for guess in [0, 1, u64::MAX] {
        attack(&entry_of_5(&payload(), guess));
    }
}
