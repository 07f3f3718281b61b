//! A short run of the fault harness: the real process, hurt once in every way, with a history and a
//! verdict.
//!
//! `cargo run -p conformance -- faults` is the long one.

use crate::support::process::Folder;
use conformance::faults::inject::Fault;
use conformance::faults::run::{Extent, Options, fresh_seed, run};
use std::path::PathBuf;

/// Every kind of fault once in each episode; the second one is on a disk that can be filled, where
/// mounting is permitted.
#[track_caller]
fn check(seed: u64, episodes: u32) {
    let folder = Folder::new();
    let options = Options {
        leveret: PathBuf::from(env!("CARGO_BIN_EXE_leveret")),
        folder: folder.at("faults"),
        seed,
        faults: Fault::ALL.to_vec(),
        extent: Extent::Rounds { episodes, each: 1 },
    };
    let mut lines = Vec::new();
    let report = run(&options, &mut |line| lines.push(line.to_owned())).expect("the harness can be run");
    assert!(report.violations.is_empty(), "{}\n{report}", lines.join("\n"));
    assert!(
        report.confirmed > 0 && report.faults.values().sum::<u64>() >= 9 * u64::from(episodes),
        "{report}"
    );
}

#[test]
fn a_broker_that_is_hurt_keeps_its_promises() {
    check(1, 1);
    check(fresh_seed(), 2);
}
