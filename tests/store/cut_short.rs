//! Files whose end is missing, as a copy leaves them that was interrupted or trimmed.

use super::damage::{defined, open_sim_or_not, read_all, stored};
use super::{commit, declare, open_with, publish};
use crate::support::disk::SimDisk;
use crate::support::draw::{Draw, seeds};
use crate::support::folder::Folder;
use leveret::store::{FILE_NAME, Options, open};
use std::collections::BTreeSet;
use std::fs;

/// How many zeros an image ends with.
fn zeros(image: &[u8]) -> usize {
    image.iter().rev().take_while(|&&byte| byte == 0).count()
}

/// Also of the last page in use, which is not full.
#[test]
fn zeros_that_are_missing_at_the_end_cost_nothing() {
    let (mut images, mut missing) = (vec![stored(true).0, stored(false).0], 0);
    for seed in seeds(1) {
        let mut draw = Draw::new(seed);
        for _ in 0..15 {
            let disk = SimDisk::default();
            let opened = open_with(&disk, 0);
            for seq in 0..8 {
                let body = vec![b'x'; usize::try_from(draw.below(60_000)).unwrap()];
                commit(&opened.log, [declare(seq), publish(seq, 0, &[body])]);
                images.push(disk.image());
            }
            opened.log.close().unwrap();
            images.push(disk.image());
        }
    }
    for (number, image) in images.into_iter().enumerate() {
        let whole = open_sim_or_not(image.clone()).unwrap();
        let end = zeros(&image);
        for cut in BTreeSet::from([1, 4096, end / 2, end]).into_iter().filter(|&cut| 0 < cut && cut <= end) {
            let case = format!("image {number}, {cut} of {end} zeros are missing");
            let opened = open_sim_or_not(image[..image.len() - cut].to_vec())
                .unwrap_or_else(|why| panic!("{case}: {why}"));
            assert!(read_all(&opened) == read_all(&whole), "{case}");
            assert_eq!(defined(&opened), defined(&whole), "{case}");
            commit(&opened.log, [publish(1, 1000, &["later"])]);
            missing += 1;
        }
    }
    assert!(missing > 200, "{missing} files had zeros at their end");
}

/// What a kill leaves after a large commit, of which redb itself finds out whether it is whole.
fn unsettled() -> Vec<u8> {
    let disk = SimDisk::default();
    let opened = open_with(&disk, 0);
    commit(&opened.log, [declare(1)]);
    for seq in 0..20 {
        let body = format!("queue 1 message {seq} {}", "x".repeat(20_000));
        commit(&opened.log, [publish(1, seq, &[body])]);
    }
    disk.image()
}

/// Whatever is missing: what can be read is, and a repair is offered only if it can read something.
#[test]
fn a_repair_of_a_file_that_is_cut_short_is_offered_where_it_helps() {
    let (mut repaired, mut hopeless) = (0, 0);
    let unsettled = unsettled();
    let whole = read_all(&open_sim_or_not(unsettled.clone()).unwrap());
    let images = [("stopped", stored(true)), ("idle", stored(false)), ("killed", (unsettled, whole))];
    for (how, (image, expected)) in images {
        for part in 1..40 {
            let len = image.len() * part / 40;
            let case = format!("{how}, {len} of {} bytes", image.len());
            let folder = Folder::new();
            fs::write(folder.at(FILE_NAME), &image[..len]).unwrap();
            let opened = match open(&folder.at(""), Options::default()) {
                Ok(opened) => opened,
                Err(why) if why.to_string().contains("`leveret serve --repair` starts") => {
                    repaired += 1;
                    open(&folder.at(""), Options { repair: true, ..Options::default() })
                        .unwrap_or_else(|error| panic!("{case}: {why}, with repair: {error}"))
                }
                Err(why) => {
                    hopeless += 1;
                    assert!(why.to_string().contains("restore a copy"), "{case}: {why}");
                    let refused = open(&folder.at(""), Options { repair: true, ..Options::default() });
                    assert!(refused.is_err(), "{case}: {why}, and yet it can be repaired");
                    continue;
                }
            };
            for (place, body) in read_all(&opened) {
                let found = expected.get(&place).map_or_else(
                    || body.starts_with(format!("queue {} message {} ", place.0, place.1).as_bytes()),
                    |expected| *expected == body,
                );
                assert!(found, "{case}: {place:?} has another body");
            }
        }
    }
    assert!(repaired > 10, "{repaired} repaired, {hopeless} not");
}
