//! Power is cut at every call to the disk; whatever survives must be a state the store has
//! promised.

use super::model::{Model, Unit, Workload, found};
use super::{ALL, bodies, commit, declare, open_sim, open_with, publish, wait_for};
use crate::support::disk::{Cut, SimDisk};
use crate::support::draw::{Draw, seeds};
use leveret::ids::Ticket;
use std::collections::BTreeMap;

const UNITS: usize = 24;

/// None, one that is full every few groups (two of its pages are for slots), one that is never
/// full.
const JOURNALS: [u64; 3] = [0, 10_192, 100_000];

/// A workload, and what must be on disk after each of its units; before the first, nothing.
fn workload(seed: u64) -> (Vec<Unit>, Vec<Model>) {
    let mut workload = Workload::new(seed);
    let mut states = vec![Model::default()];
    let units = (0..UNITS).map(|_| {
        let (unit, state) = workload.step();
        states.push(state);
        unit
    });
    (units.collect(), states)
}

/// Runs the workload; tells the disk how many units are on it for certain, and how many were tried.
fn run(disk: &SimDisk, journal_bytes: u64, units: &[Unit], seed: u64) {
    let mut draw = Draw::new(seed ^ 7);
    let opened = open_with(disk, journal_bytes);
    let mut durable = 0;
    for (unit, tried) in units.iter().zip(1..) {
        disk.set_progress(durable, tried);
        let batch = opened.log.atomic_batch();
        let mut ticket = Ticket(0);
        for changes in unit {
            ticket = opened.log.append(&mut changes.clone());
        }
        drop(batch);
        // Not always: units that share a group are merged, and reach the disk together.
        if !draw.one_in(3) {
            wait_for(&opened.log, ticket);
            durable = tried;
            disk.set_progress(durable, tried);
        }
    }
}

#[test]
fn what_was_durable_survives_a_power_cut_at_every_call() {
    for (seed, journal_bytes) in seeds(3).flat_map(|seed| JOURNALS.map(|bytes| (seed, bytes))) {
        let (units, states) = workload(seed);
        let disk = SimDisk::default().cut_everywhere(seed);
        run(&disk, journal_bytes, &units, seed);
        let cuts = disk.take_cuts();
        // Units that share a group share its calls too, so the number varies; a workload that
        // hardly reaches the disk does not come near this.
        assert!(cuts.len() > 30, "seed {seed}, journal {journal_bytes}: only {} cuts", cuts.len());
        for Cut { call, image, progress: (durable, tried) } in cuts {
            let case =
                format!("seed {seed}, journal {journal_bytes}, cut at call {call}, {durable}..={tried}");
            let image = reopen_under_a_cut(image, call, seed);
            let opened = open_sim(&SimDisk::holding(image));
            assert!(!opened.recovered.clean || durable == 0, "{case}: it was not closed");
            let found = found(&opened);
            assert!(states[durable..=tried].contains(&found), "{case}: {found:#?}");
        }
    }
}

/// Power may be cut again while the store puts itself in order.
fn reopen_under_a_cut(image: Vec<u8>, call: u64, seed: u64) -> Vec<u8> {
    let at = 1 + Draw::new(seed ^ call).below(20);
    let disk = SimDisk::holding(image.clone()).cut_at(at, seed);
    drop(open_sim(&disk));
    disk.take_cuts().pop().map_or(image, |cut| cut.image)
}

#[test]
fn a_clean_stop_keeps_everything_and_says_so() {
    for (seed, journal_bytes) in seeds(3).flat_map(|seed| JOURNALS.map(|bytes| (seed, bytes))) {
        let (units, states) = workload(seed);
        let disk = SimDisk::default();
        let opened = open_with(&disk, journal_bytes);
        assert!(opened.recovered.clean && opened.recovered.queues.is_empty());
        for unit in units {
            for mut changes in unit {
                opened.log.append(&mut changes);
            }
        }
        opened.log.close().unwrap();
        assert_eq!(opened.log.pending_bytes(), 0, "seed {seed}");
        let again = open_sim(&SimDisk::holding(disk.image()));
        assert!(again.recovered.clean, "seed {seed}");
        assert_eq!(&found(&again), states.last().unwrap(), "seed {seed}");
    }
}

/// Messages published one at a time, up to the group that joins their rows, under a cut at each of
/// its calls.
#[test]
fn joining_rows_survives_a_power_cut_at_every_call() {
    let body = |seq: u64| format!("message {seq}").into_bytes();
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    commit(&opened.log, [declare(1)]);
    for seq in 0..126 {
        commit(&opened.log, [publish(1, seq, &[body(seq)])]);
    }
    drop(opened);
    let disk = SimDisk::holding(disk.image()).cut_everywhere(5);
    let opened = open_sim(&disk);
    for seq in 126..130 {
        let tried = usize::try_from(seq + 1).unwrap();
        disk.set_progress(tried - 1, tried);
        commit(&opened.log, [publish(1, seq, &[body(seq)])]);
    }
    let cuts: Vec<Cut> = disk.take_cuts().into_iter().filter(|cut| cut.progress.0 > 0).collect();
    assert!(cuts.len() > 20, "only {} cuts", cuts.len());
    for Cut { call, image, progress: (durable, tried) } in cuts {
        let opened = open_sim(&SimDisk::holding(image));
        let there = bodies(&opened, 1, ALL);
        let expected =
            |end: usize| -> BTreeMap<_, _> { (0..).take(end).map(|seq| (seq, body(seq))).collect() };
        assert!((durable..=tried).any(|end| there == expected(end)), "cut at call {call}: {there:?}");
    }
}
