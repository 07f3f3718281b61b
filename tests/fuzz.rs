//! The fuzz targets of `conformance/fuzz`, each for a bounded number of seeded inputs, and for
//! every input that ever failed: `conformance/fuzz/corpus/<target>/`.

use crate::support::draw::{Draw, for_seeds};
use crate::targets::{TARGETS, Target};
use std::collections::BTreeSet;
use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Longest input that is made, bytes.
const INPUT_MAX: u64 = 2_000;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/fuzz/corpus")
}

/// Replays what failed before, then tries `rounds` new inputs a seed.
fn check(name: &str, rounds: usize) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("there is such a target");
    for entry in fs::read_dir(corpus().join(name)).into_iter().flatten() {
        let path = entry.expect("the corpus can be listed").path();
        let input = fs::read(&path).expect("an input of the corpus can be read");
        run(target, &input, &path.display().to_string());
    }
    let samples = (target.samples)();
    for sample in &samples {
        run(target, sample, "a sample");
    }
    for_seeds(|draw| {
        for round in 0..rounds {
            run(target, &input(&samples, draw), &format!("round {round}"));
        }
    });
}

/// Runs one input; a failure says which, so that it can be kept.
#[expect(clippy::print_stderr, reason = "a failing input must be seen, to be kept")]
fn run(target: &Target, input: &[u8], what: &str) {
    if let Err(failure) = catch_unwind(|| (target.check)(input)) {
        let digits: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{what} of {} fails; it belongs into conformance/fuzz/corpus: {digits}", target.name);
        resume_unwind(failure);
    }
}

/// Noise, or a sample that was damaged in a few places.
fn input(samples: &[Vec<u8>], draw: &mut Draw) -> Vec<u8> {
    let octet = |draw: &mut Draw| u8::try_from(draw.below(256)).expect("below 256");
    if draw.one_in(4) {
        return (0..draw.below(INPUT_MAX)).map(|_| octet(draw)).collect();
    }
    let mut bytes = draw.pick(samples).clone();
    for _ in 0..draw.below(6) {
        if bytes.is_empty() {
            break;
        }
        let at = usize::try_from(draw.below(bytes.len() as u64)).expect("below a length");
        match draw.below(6) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = octet(draw),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, octet(draw)),
            4 => {
                // A number of every width at one of its ends.
                let len = 1 << draw.below(4);
                let end = bytes.len().min(at + len);
                bytes[at..end].fill(if draw.one_in(2) { 0xff } else { 0 });
            }
            _ => {
                let more = draw.pick(samples).clone();
                bytes.splice(at..at, more);
            }
        }
    }
    bytes
}

#[test]
fn frames() {
    check("frames", 20_000);
}

#[test]
fn methods() {
    check("methods", 20_000);
}

#[test]
fn tables() {
    check("tables", 10_000);
}

#[test]
fn sessions() {
    check("session", 250);
}

#[test]
fn records() {
    check("records", 20_000);
}

#[test]
fn formats() {
    check("formats", 20_000);
}

#[test]
fn journals() {
    check("journal", 300);
}

#[test]
fn rows() {
    check("rows", 300);
}

#[test]
fn every_kept_input_belongs_to_a_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    for entry in fs::read_dir(corpus()).into_iter().flatten() {
        let name = entry.expect("the corpus can be listed").file_name().to_string_lossy().into_owned();
        assert!(targets.contains(&name), "no target is called {name}");
    }
}
