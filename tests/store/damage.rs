//! Bits of the file that are turned: nothing is swallowed, and no wrong body is delivered.

use super::{ALL, bodies, commit, declare, open_with, publish};
use crate::support::disk::SimDisk;
use leveret::store::{Options, open_backend};

const JOURNAL: u64 = 200_000;

/// A file whose journal holds a hundred messages, each in an entry of its own.
fn journaled() -> Vec<u8> {
    let disk = SimDisk::default();
    let opened = open_with(&disk, JOURNAL);
    commit(&opened.log, [declare(1)]);
    for seq in 0..100 {
        commit(&opened.log, [publish(1, seq, &[format!("message {seq} of many")])]);
    }
    disk.image()
}

fn find(image: &[u8], what: &str) -> usize {
    image.windows(what.len()).position(|bytes| bytes == what.as_bytes()).unwrap()
}

#[test]
fn a_damaged_entry_of_the_journal_is_told_and_not_swallowed() {
    let mut image = journaled();
    let at = find(&image, "message 11 of many");
    image[at] ^= 1;
    let refused = open_backend(SimDisk::holding(image.clone()), Options::default()).map(|_opened| ());
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("entry 13 of the journal") && why.contains("--repair"), "{why}");
    assert!(!why.contains('\n'), "{why}");
}

#[test]
fn a_repair_drops_the_damaged_entry_and_keeps_the_rest() {
    let mut image = journaled();
    for seq in [11, 40, 41] {
        let at = find(&image, &format!("message {seq} of many"));
        image[at] ^= 1;
    }
    let options = Options { repair: true, ..Options::default() };
    let opened = open_backend(SimDisk::holding(image), options).unwrap();
    let there: Vec<u64> = bodies(&opened, 1, ALL).into_keys().collect();
    let expected: Vec<u64> = (0..100).filter(|seq| ![11, 40, 41].contains(seq)).collect();
    assert_eq!(there, expected);
    commit(&opened.log, [publish(1, 100, &["later"])]);
}

/// Nobody was told of the last entry if power was cut before it was on disk: which it was, nobody can tell.
#[test]
fn the_last_entry_may_be_torn() {
    let image = journaled();
    let from = find(&image, "message 99 of many");
    for at in from - 60..from + 18 {
        let mut torn = image.clone();
        torn[at..at + 8].fill(0);
        let opened = open_with(&SimDisk::holding(torn), 0);
        let there = bodies(&opened, 1, ALL).len();
        assert!(there == 99 || there == 100 && image[at..at + 8] == [0; 8], "{there} at {at}");
    }
}

/// Every bit of the journal's room: nothing is lost without a word but the entry that may be torn.
#[test]
fn no_bit_of_the_journal_loses_more_than_the_last_entry_silently() {
    let image = journaled();
    let whole = bodies(&open_with(&SimDisk::holding(image.clone()), 0), 1, ALL);
    let slots = 4096..4096 + 8192;
    let front = find(&image, "message 0 of many") - 200;
    let end = find(&image, "message 99 of many") + 40;
    let mut refused = 0;
    for bit in (slots.start * 8..slots.end * 8).step_by(997).chain((front * 8..end * 8).step_by(61)) {
        let mut turned = image.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        match open_backend(SimDisk::holding(turned), Options::default()) {
            Ok(opened) => {
                let there = bodies(&opened, 1, ALL);
                let kept: Vec<_> = whole.iter().take(there.len()).collect();
                assert!(there.len() >= 99 && there.iter().collect::<Vec<_>>() == kept, "bit {bit}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 500, "{refused} were refused");
}
