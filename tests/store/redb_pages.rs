//! Pages of redb in which something is not as it was written.

use super::{ALL, commit, declare, open_sim, publish, settle, wait_until};
use crate::support::disk::SimDisk;
use crate::support::draw::{Draw, seeds};
use leveret::ids::QueueId;
use leveret::store::change::Health;
use leveret::store::{Options, StoreError, open_backend};
use redb::StorageBackend;
use std::panic::catch_unwind;

/// Where redb's part begins in a file without a journal.
const FRONT: usize = 4096;

/// What is damaged: so many pages, of which the first is redb's header.
const PAGES: u64 = 16;
const PAGE: u64 = 4096;

/// What redb says, told as a fault, where it panics.
const PANICKED: &str = "a part of it is invalid";

/// A file with something in most of its tables.
fn file() -> Vec<u8> {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    for queue in 1..20 {
        commit(&opened.log, [declare(queue), publish(queue, 0, &["a", "b", "c"]), settle(queue, 1, 2)]);
        commit(&opened.log, [publish(queue, 3, &[vec![7; 5000]])]);
    }
    opened.log.close().unwrap();
    disk.image()
}

/// A start on `image`, what follows from it, and a stop; the faults on the way, in the order in
/// which they came.
fn live(image: Vec<u8>) -> Vec<StoreError> {
    let opened = match open_backend(SimDisk::holding(image), Options::default()) {
        Ok(opened) => opened,
        Err(error) => return vec![error],
    };
    let mut faults = Vec::new();
    for queue in 1..20 {
        faults.extend(opened.pages.load(QueueId(queue), ALL, usize::MAX).err());
    }
    let ticket = opened.log.append(&mut vec![publish(3, 9, &[vec![7; 200_000]]), settle(3, 0, 1)]);
    opened.log.notify(ticket, &super::nobody());
    wait_until("durable or failed", || {
        opened.log.durable() >= ticket || opened.log.health() == Health::Failed
    });
    faults.extend(opened.log.close().err());
    faults
}

#[test]
fn a_damaged_page_is_a_fault_in_one_line_and_never_a_panic() {
    let whole = file();
    assert!(live(whole.clone()).is_empty());
    let mut faulty = 0;
    for seed in seeds(2) {
        let mut draw = Draw::new(seed);
        for round in 0..100 {
            let mut image = whole.clone();
            // Anywhere, and where each page says what it is.
            let within = if draw.one_in(2) { PAGE } else { 4 };
            let at = FRONT + usize::try_from(draw.below(PAGES) * PAGE + draw.below(within)).unwrap();
            image[at] ^= 1 << draw.below(8);
            let faults = catch_unwind(|| live(image));
            let faults =
                faults.unwrap_or_else(|_panic| panic!("seed {seed}, round {round}: byte {at} panics"));
            for fault in &faults {
                let text = fault.to_string();
                assert!(!text.contains('\n') && !text.is_empty(), "byte {at}: {text}");
            }
            faulty += usize::from(!faults.is_empty());
        }
    }
    assert!(faulty > 50, "{faulty} faults: the test sees nothing");
}

/// A page may be damaged after the start as well.
#[test]
fn a_panic_of_a_reader_ends_the_store() {
    let whole = file();
    let found = (FRONT + 4096..FRONT + 16 * 4096).step_by(7).find_map(|at| {
        let disk = SimDisk::holding(whole.clone());
        let options = Options { cache_bytes: 0, ..Options::default() };
        let opened = open_backend(disk.clone(), options).unwrap();
        disk.write(at as u64, &[whole[at] ^ 0x80]).unwrap();
        (1..20).find_map(|queue| opened.pages.load(QueueId(queue), ALL, usize::MAX).err())?;
        (opened.log.health() == Health::Failed).then_some(opened)
    });
    let opened = found.expect("there is a page with which redb panics while it reads");
    let error = opened.log.close().unwrap_err();
    assert!(error.to_string().contains(PANICKED), "{error}");
}
