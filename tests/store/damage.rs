//! Bits of the file that are turned: nothing is swallowed, and no wrong body is delivered.

use super::{ALL, bodies, commit, declare, open_sim, open_with, publish, settle, wait_for, wait_until};
use crate::support::disk::SimDisk;
use crate::support::draw::{Draw, seeds};
use crate::support::folder::Folder;
use leveret::auth::directory::AuthChange;
use leveret::auth::user::{User, UserLimits};
use leveret::ids::QueueId;
use leveret::store::change::{BindingRecord, Change, ExchangeRecord, Health, Recovered};
use leveret::store::{FILE_NAME, Opened, Options, StoreError, open, open_backend};
use redb::StorageBackend;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
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

/// Nobody was told of the last entry if power was cut before it was on disk: which it was, nobody
/// can tell.
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
pub(super) type Bodies = BTreeMap<(u64, u64), Vec<u8>>;

/// Where redb's part begins in a file without a journal.
const TABLES: usize = 4096;

/// A file with rows of every kind, stopped in order or killed, and what is in it.
pub(super) fn stored(clean: bool) -> (Vec<u8>, Bodies) {
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
    // Longer than a run, so that it is in parts.
    let (long, seq) = (body(3, 8, 300_000), 8);
    commit(&opened.log, [publish(3, seq, &[&long])]);
    expected.insert((3, seq), long);
    let gone = [(1, 5, 7), (2, 0, 4), (2, 30, 31), (3, 2, 3), (4, 0, 99)];
    commit(&opened.log, gone.map(|(queue, first, end)| settle(queue, first, end)));
    expected.retain(|&(queue, seq), _| {
        !gone.iter().any(|&(other, first, end)| queue == other && (first..end).contains(&seq))
    });
    commit(&opened.log, [Change::Requeue { queue: QueueId(2), seq: 9, deliveries: 3, due_ms: 0 }]);
    for name in ["orders", "news"] {
        commit(&opened.log, definitions(name));
    }
    if clean {
        opened.log.close().unwrap();
    } else {
        // A commit in two phases comes once the store is idle, and says so in redb's header.
        wait_until("idle", || disk.image()[TABLES + 9] & 4 != 0);
    }
    (disk.image(), expected)
}

/// An exchange, its binding to a queue, and a user.
fn definitions(name: &str) -> [Change; 3] {
    let (vhost, name) = ("/".to_owned(), name.to_owned());
    let bound = BindingRecord {
        vhost: vhost.clone(),
        source: name.clone(),
        to_exchange: false,
        destination: "q1".to_owned(),
        routing_key: b"key".to_vec(),
        arguments: Vec::new(),
    };
    let user = User { name: name.clone(), password: None, tags: Vec::new(), limits: UserLimits::default() };
    let (kind, arguments) = ("direct".to_owned(), Vec::new());
    let exchange = ExchangeRecord { vhost, name, kind, auto_delete: false, internal: false, arguments };
    [Change::DeclareExchange(exchange), Change::Bind(bound), Change::Auth(AuthChange::PutUser(user))]
}

/// All that is defined, a line each.
pub(super) fn defined(opened: &Opened) -> BTreeSet<String> {
    let Recovered { queues, exchanges, bindings, auth, .. } = &opened.recovered;
    let queues = queues.iter().map(|queue| format!("{:?}", queue.record));
    let exchanges = exchanges.iter().map(|exchange| format!("{exchange:?}"));
    let bindings = bindings.iter().map(|binding| format!("{binding:?}"));
    let auth = auth.iter().flatten().map(|change| format!("{change:?}"));
    queues.chain(exchanges).chain(bindings).chain(auth).collect()
}

/// All that a start finds and reads back.
pub(super) fn read_all(opened: &Opened) -> Bodies {
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

/// Opens `image`: nothing may be there that is not expected, and what is missing has to be among
/// what is told.
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

pub(super) fn open_sim_or_not(image: Vec<u8>) -> Result<Opened, StoreError> {
    open_backend(SimDisk::holding(image), Options { journal_bytes: 0, ..Options::default() })
}

#[test]
fn bits_that_are_turned_all_over_the_tables_deliver_no_wrong_body_and_lose_none_silently() {
    let (image, expected) = stored(true);
    assert_eq!(check(image.clone(), &expected, "whole"), Outcome::Untouched);
    for seed in seeds(1) {
        let mut draw = Draw::new(seed);
        let (mut refused, mut told) = (0, 0);
        for _ in 0..600 {
            let (byte, bit) = (somewhere(&image, &mut draw), draw.below(8));
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

/// A row that goes bad after the start, which looks at each, is no reason to go on without its
/// messages: the next start tells of it.
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

/// A byte of redb's part, mostly one that is in use: most of the file is free.
fn somewhere(image: &[u8], draw: &mut Draw) -> usize {
    loop {
        let byte = TABLES + usize::try_from(draw.below((image.len() - TABLES - 1) as u64)).unwrap();
        // Bodies repeat a letter: there is more to be turned than they.
        let is_record = image[byte] == image[byte + 1];
        if image[byte] != 0 && (!is_record || draw.one_in(50)) || draw.one_in(200) {
            return byte;
        }
    }
}

/// The file is ours, whatever has become of the name that redb writes at its beginning.
#[test]
fn a_bit_of_the_magic_number_of_the_tables_is_mended() {
    let (image, _) = stored(true);
    for at in TABLES..TABLES + 9 {
        let mut turned = image.clone();
        turned[at] ^= 1 << (at % 8);
        let Err(why) = open_sim_or_not(turned.clone()) else { panic!("byte {at}: the file is damaged") };
        let why = why.to_string();
        assert!(why.contains("--repair") && !why.contains('\n'), "byte {at}: {why}");
        let options = Options { journal_bytes: 0, repair: true, ..Options::default() };
        let repaired = open_backend(SimDisk::holding(turned), options);
        assert!(repaired.is_ok(), "byte {at}: {:?}", repaired.err());
    }
}

/// One bit anywhere in the tables: the start works, or is refused with one line and works with a
/// repair; nothing is missing but what is told, and no definition is another one.
#[test]
fn a_bit_that_is_turned_costs_no_more_than_the_records_it_is_in() {
    for clean in [true, false] {
        let (image, expected) = stored(clean);
        let whole = defined(&open_sim_or_not(image.clone()).unwrap());
        assert_eq!(whole.len(), 4 + 2 + 2 + 2 + 1);
        for seed in seeds(1) {
            let mut draw = Draw::new(seed);
            let (mut refused, mut told) = (0, 0);
            for _ in 0..250 {
                let (byte, bit) = (somewhere(&image, &mut draw), draw.below(8));
                let case = format!("clean {clean}, seed {seed}, bit {bit} of byte {byte}");
                let mut turned = image.clone();
                turned[byte] ^= 1 << bit;
                let opened = open_sim_or_not(turned.clone()).unwrap_or_else(|why| {
                    let why = why.to_string();
                    assert!(why.contains("--repair") && !why.contains('\n'), "{case}: {why}");
                    refused += 1;
                    let options = Options { journal_bytes: 0, repair: true, ..Options::default() };
                    let repaired = open_backend(SimDisk::holding(turned), options);
                    repaired.unwrap_or_else(|why| panic!("{case}, with repair: {why}"))
                });
                assert_eq!(defined(&opened), whole, "{case}");
                let found = read_all(&opened);
                for (place, body) in &found {
                    assert!(expected.get(place) == Some(body), "{case}: {place:?} has another body");
                }
                let damaged = opened.pages.damaged().unwrap();
                let missing: u64 = damaged.iter().map(|run| u64::from(run.messages)).sum();
                assert!(expected.len() - found.len() <= usize::try_from(missing).unwrap(), "{case}");
                told += damaged.len();
                let ticket = opened.log.append(&mut vec![publish(1, 1000, &["later"])]);
                wait_for(&opened.log, ticket);
            }
            assert!(refused > 5 && told > 20, "seed {seed}: {refused} refused, {told} told");
        }
    }
}

/// Pages of which nothing is left.
#[test]
fn what_is_left_of_a_file_goes_into_a_new_one() {
    let (image, expected) = stored(true);
    let whole = defined(&open_sim_or_not(image.clone()).unwrap());
    let pages = (image.len() - TABLES) / 4096;
    let (mut salvaged, mut hopeless, mut kept, mut of) = (0, 0, 0, 0);
    for seed in seeds(1) {
        let mut draw = Draw::new(seed);
        for _ in 0..60 {
            let page = TABLES + 4096 * usize::try_from(1 + draw.below(pages as u64 - 1)).unwrap();
            let case = format!("seed {seed}, page at {page}");
            let mut torn = image.clone();
            if torn[page..page + 4096].iter().all(|&byte| byte == 0) {
                continue;
            }
            torn[page..page + 4096].fill(0x55);
            let folder = Folder::new();
            fs::write(folder.at(FILE_NAME), &torn).unwrap();
            let opened = open(&folder.at(""), Options::default()).or_else(|why| {
                let why = why.to_string();
                assert!(why.contains("--repair") && !why.contains('\n'), "{case}: {why}");
                open(&folder.at(""), Options { repair: true, ..Options::default() })
            });
            let opened = match opened {
                Ok(opened) => opened,
                Err(why) => {
                    // It is left as it is: one page tells where all tables are.
                    assert!(why.to_string().contains("list of tables"), "{case}, with repair: {why}");
                    assert_eq!(fs::read(folder.at(FILE_NAME)).unwrap().len(), torn.len(), "{case}");
                    hopeless += 1;
                    continue;
                }
            };
            if let Ok(damaged) = fs::read(folder.at("leveret.redb.damaged-1")) {
                assert_eq!(damaged.len(), torn.len(), "{case}");
                salvaged += 1;
                of += expected.len();
                kept += read_all(&opened).len();
            }
            for (place, body) in read_all(&opened) {
                // What the last commit settled may be there again.
                let found = expected.get(&place).map_or_else(
                    || body.starts_with(format!("queue {} message {} ", place.0, place.1).as_bytes()),
                    |expected| *expected == body,
                );
                assert!(found, "{case}: {place:?} has another body");
            }
            for definition in defined(&opened) {
                assert!(
                    whole.contains(&definition) || definition.contains("damaged.queue."),
                    "{case}: {definition}"
                );
            }
            opened.log.close().unwrap();
            drop(opened);
            drop(
                open(&folder.at(""), Options::default()).unwrap_or_else(|why| panic!("{case}, again: {why}")),
            );
        }
    }
    assert!(
        salvaged > 5 && hopeless * 4 < salvaged && kept * 10 > of * 7,
        "{salvaged} salvaged, {hopeless} not, {kept} of {of} messages kept"
    );
}

/// A queue whose definition is gone keeps its messages.
#[test]
fn a_queue_without_a_definition_gets_another_name() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    for queue in 1..200 {
        commit(&opened.log, [declare(queue), publish(queue, 0, &[format!("message of {queue}")])]);
    }
    opened.log.close().unwrap();
    let image = disk.image();
    let name = find(&image, "q150");
    let places: Vec<usize> =
        (0..image.len() - 4).filter(|&at| &image[at..at + 4] == b"q150").map(|at| at / 4096 * 4096).collect();
    assert!(places.contains(&(name / 4096 * 4096)));
    let mut torn = image;
    // More than a bit, in every page there is or was of it.
    for page in places {
        let at = (page..page + 4092).find(|&at| &torn[at..at + 4] == b"q150").unwrap();
        torn[at..at + 4].copy_from_slice(b"Q051");
    }
    let folder = Folder::new();
    fs::write(folder.at(FILE_NAME), &torn).unwrap();
    let refused = open(&folder.at(""), Options::default()).map(|_opened| ()).unwrap_err().to_string();
    assert!(refused.contains("`queues`") && refused.contains("--repair"), "{refused}");
    let opened = open(&folder.at(""), Options { repair: true, ..Options::default() }).unwrap();
    let queues = &opened.recovered.queues;
    assert_eq!(queues.len(), 199);
    assert_eq!((queues[149].record.id.0, &*queues[149].record.name), (150, "damaged.queue.150"));
    assert_eq!(queues[150].record.name, "q151");
    assert_eq!(bodies(&opened, 150, ALL)[&0], b"message of 150");
}
