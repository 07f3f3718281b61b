//! A short run of the attack harness: the real process, attacked in every way, with figures and a
//! verdict.
//!
//! `cargo run --release -p conformance -- attacks` is the long one.

use crate::support::process::Folder;
use conformance::attacks::all;
use conformance::attacks::run::{Options, run};
use conformance::attacks::scale::Scale;
use conformance::faults::run::fresh_seed;
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn a_broker_that_is_attacked_serves_others_as_before() {
    let folder = Folder::new();
    let options = Options {
        leveret: PathBuf::from(env!("CARGO_BIN_EXE_leveret")),
        folder: folder.at("attacks"),
        seed: fresh_seed(),
        attacks: all().to_vec(),
        duration: Duration::from_millis(100),
        flood_duration: Duration::from_millis(300),
        scale: Scale::SHORT,
    };
    let mut lines = vec![format!("seed {}", options.seed)];
    let report = run(&options, &mut |line| lines.push(line.to_owned())).expect("the harness can be run");
    assert!(report.findings().is_empty(), "{}\n{report}", lines.join("\n"));
    assert!(report.tried() > 10_000 && report.refused() > 100, "{report}");
}
