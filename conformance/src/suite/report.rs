//! What a run says: a line a class and every failure in full for a person; JSON, JUnit and a table for programs.

use crate::run::Failure;
use crate::run::target::Target;
use crate::suite::{Case, Outcome};
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many bytes of what came are shown in hexadecimal.
const HEX_MAX: usize = 512;

/// Counts of outcomes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases that were not run.
    pub skipped: usize,
}

impl Tally {
    /// Counts one more.
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }

    /// Of all `cases`.
    #[must_use]
    pub fn of(cases: &[Case<'_>]) -> Self {
        let mut tally = Self::default();
        cases.iter().for_each(|case| tally.add(&case.outcome));
        tally
    }
}

/// Writing into a string cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {
        let _infallible = write!($out, $($text)*);
    };
}

/// A failure in full, its lines indented.
#[must_use]
pub fn failure(case: &Case<'_>, failure: &Failure) -> String {
    let mut out = String::new();
    let indented = |text: &str| text.replace('\n', "\n      ");
    put!(out, "FAILED {}: {}\n", case.script.name, case.script.head.title);
    put!(out, "  {}:{}\n", case.script.path.display(), failure.line);
    put!(out, "      {}\n", indented(&failure.text));
    put!(out, "  what is wrong:\n      {}\n", indented(&failure.reason));
    if !failure.came.is_empty() {
        put!(out, "  what came:\n      {}\n", indented(&failure.came));
    }
    if !failure.bytes.is_empty() {
        put!(out, "  in bytes:\n");
        for line in failure.bytes[..failure.bytes.len().min(HEX_MAX)].chunks(32) {
            let hex: Vec<String> = line.chunks(4).map(hex).collect();
            put!(out, "      {}\n", hex.join(" "));
        }
        if failure.bytes.len() > HEX_MAX {
            put!(out, "      ... ({} bytes)\n", failure.bytes.len());
        }
    }
    put!(out, "  before:\n");
    for line in &failure.transcript {
        put!(out, "  {line}\n");
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        put!(out, "{byte:02x}");
        out
    })
}

fn by_class(cases: &[Case<'_>]) -> BTreeMap<String, Tally> {
    let mut classes: BTreeMap<String, Tally> = BTreeMap::new();
    for case in cases {
        classes.entry(case.script.class().to_owned()).or_default().add(&case.outcome);
    }
    classes
}

/// A line a class, and one for all.
#[must_use]
pub fn summary(cases: &[Case<'_>], target: &Target) -> String {
    let mut out = String::new();
    let mut line = |name: &str, tally: Tally| {
        put!(out, "{name:<20} {:>4} passed", tally.passed);
        if tally.failed > 0 {
            put!(out, " {:>4} failed", tally.failed);
        }
        if tally.skipped > 0 {
            put!(out, " {:>4} skipped", tally.skipped);
        }
        out.push('\n');
    };
    for (class, tally) in by_class(cases) {
        line(&class, tally);
    }
    line(&format!("{} {}", target.product, target.version), Tally::of(cases));
    out
}
