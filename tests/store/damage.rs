//! Bits of the file that are turned: nothing is swallowed, and no wrong body is delivered.

use super::{ALL, bodies, commit, declare, open_sim, open_with, publish, settle};
use crate::support::disk::SimDisk;
use crate::support::draw::{Draw, seeds};
use leveret::ids::QueueId;
use leveret::store::change::{Change, Health};
use leveret::store::{Opened, Options, StoreError, open_backend};
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

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

/// By queue and number.
type Bodies = BTreeMap<(u64, u64), Vec<u8>>;

/// Where redb's part begins in a file without a journal.
const TABLES: usize = 4096;

/// A file with rows of every kind, stopped in order, and what is in it.
fn stored() -> (Vec<u8>, Bodies) {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    let mut expected = Bodies::new();
    let body = |queue: u64, seq: u64, len: usize| -> Vec<u8> {
        let mut body = format!("queue {queue} message {seq} ").into_bytes();
        body.resize(body.len() + len, b'a' + u8::try_from(seq % 26).unwrap());
        body
    };
    for (queue, count, len) in [(1, 40, 10), (2, 60, 900), (3, 8, 30_000), (4, 300, 200)] {
        commit(&opened.log, [declare(queue)]);
        for first in (0..count).step_by(4) {
            let batch: Vec<Vec<u8>> = (first..first + 4).map(|seq| body(queue, seq, len)).collect();
            commit(&opened.log, [publish(queue, first, &batch)]);
            expected.extend((first..).zip(batch).map(|(seq, body)| ((queue, seq), body)));
        }
    }
    let gone = [(1, 5, 7), (2, 0, 4), (2, 30, 31), (3, 2, 3), (4, 0, 99)];
    commit(&opened.log, gone.map(|(queue, first, end)| settle(queue, first, end)));
    expected.retain(|&(queue, seq), _| {
        !gone.iter().any(|&(other, first, end)| queue == other && (first..end).contains(&seq))
    });
    commit(&opened.log, [Change::Requeue { queue: QueueId(2), seq: 9, deliveries: 3, due_ms: 0 }]);
    opened.log.close().unwrap();
    (disk.image(), expected)
}

/// All that a start finds and reads back.
fn read_all(opened: &Opened) -> Bodies {
    let mut all = Bodies::new();
    for queue in &opened.recovered.queues {
        let id = queue.record.id.0;
        let there = |seq| queue.messages.iter().any(|range| range.first <= seq && seq < range.end);
        let read = bodies(opened, id, ALL).into_iter().filter(|&(seq, _)| there(seq));
        all.extend(read.map(|(seq, body)| ((id, seq), body)));
    }
    all
}

/// What came of a start from a damaged file.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    /// All is there, or what is missing is told.
    Told,
    Untouched,
}

/// Opens `image`: nothing may be there that is not expected, and what is missing has to be among what is told.
fn check(image: Vec<u8>, expected: &Bodies, case: &str) -> Outcome {
    let open = || -> Result<_, StoreError> {
        let opened = open_sim_or_not(image)?;
        let found = read_all(&opened);
        let damaged = opened.pages.damaged()?;
        for run in &damaged {
            opened.pages.damaged_records(run)?;
        }
        let told: u64 = damaged.iter().map(|run| u64::from(run.messages)).sum();
        Ok((found, told, damaged.len()))
    };
    // Redb panics over some of it, which ends the process with a line of its own.
    let Ok(Ok((found, told, damaged))) = catch_unwind(AssertUnwindSafe(open)) else {
        return Outcome::Refused;
    };
    for (place, body) in &found {
        let shown = body[..body.len().min(60)].escape_ascii();
        assert!(expected.get(place) == Some(body), "{case}: {place:?} is '{shown}'");
    }
    let missing = (expected.len() - found.len()) as u64;
    assert!(missing <= told || damaged > 0 && told == 0, "{case}: {missing} are missing, {told} are told");
    if damaged > 0 { Outcome::Told } else { Outcome::Untouched }
}

fn open_sim_or_not(image: Vec<u8>) -> Result<Opened, StoreError> {
    open_backend(SimDisk::holding(image), Options { journal_bytes: 0, ..Options::default() })
}

#[test]
fn bits_that_are_turned_all_over_the_tables_deliver_no_wrong_body_and_lose_none_silently() {
    let (image, expected) = stored();
    assert_eq!(check(image.clone(), &expected, "whole"), Outcome::Untouched);
    for seed in seeds(1) {
        let mut draw = Draw::new(seed);
        let (mut refused, mut told) = (0, 0);
        for _ in 0..600 {
            // Most of the file is free: where there is nothing, there is nothing to be turned.
            let byte = loop {
                let byte = TABLES + usize::try_from(draw.below((image.len() - TABLES) as u64)).unwrap();
                if image[byte] != 0 || draw.one_in(20) {
                    break byte;
                }
            };
            let bit = draw.below(8);
            let mut turned = image.clone();
            turned[byte] ^= 1 << bit;
            match check(turned, &expected, &format!("seed {seed}, bit {bit} of byte {byte}")) {
                Outcome::Refused => refused += 1,
                Outcome::Told => told += 1,
                Outcome::Untouched => {}
            }
        }
        assert!(told > 50, "seed {seed}: {told} told, {refused} refused");
    }
}

/// A row that goes bad after the start, which looks at each, is no reason to go on without its messages: the next start tells of it.
#[test]
fn damage_that_a_reader_finds_ends_the_store() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    commit(&opened.log, [declare(1), publish(1, 0, &["the hare in its row"])]);
    opened.log.close().unwrap();
    let whole = disk.image();
    let body = find(&whole, "the hare in its row");
    let found = (body - 60..body).rev().find_map(|at| {
        let disk = SimDisk::holding(whole.clone());
        let opened = open_backend(disk.clone(), Options { cache_bytes: 0, ..Options::default() }).unwrap();
        disk.write(at as u64, &[whole[at] ^ 1]).unwrap();
        let read = opened.pages.load(QueueId(1), ALL, usize::MAX).err()?;
        assert!(matches!(read, StoreError::Stopped), "byte {at}: it is told once: {read}");
        assert_eq!(opened.log.health(), Health::Failed, "byte {at}");
        opened.log.close().err()
    });
    let why = found.expect("the row has a checksum");
    assert!(matches!(why, StoreError::Damaged(_)), "{why}");
    assert!(why.to_string().contains("segments"), "{why}");
}
