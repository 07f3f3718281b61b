//! What a run says to a person: a line a class, and every failure in full.

use crate::run::Failure;
use crate::script::level::Level;
use crate::suite::hexadecimal::hex;
use crate::suite::result::{Case, Outcome, Run, Tally};
use std::fmt::Write;

/// How many bytes of what came are shown in hexadecimal.
const HEX_MAX: usize = 512;

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
    let head = &case.script.head;
    put!(out, "FAILED {}: {}\n", case.script.name, head.title);
    let about = if head.about.is_empty() { String::new() } else { format!(": {}", head.about) };
    put!(out, "  {}{about}\n", head.level);
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

/// A line a class, one for all, and one for each level.
#[must_use]
pub fn summary(run: &Run<'_>) -> String {
    let mut out = String::new();
    let mut line = |name: &str, tally: Tally| {
        put!(out, "{name:<20} {:>4} passed", tally.passed);
        for (count, word) in [(tally.failed, "failed"), (tally.skipped, "skipped")] {
            if count > 0 {
                put!(out, " {count:>4} {word}");
            }
        }
        if tally.differing > 0 {
            put!(out, "  ({} as only this broker does)", tally.differing);
        }
        out.push('\n');
    };
    for (class, tally) in Tally::by_class(&run.cases) {
        line(&class, tally);
    }
    line(&run.name(), Tally::of(&run.cases));
    for level in Level::ALL {
        let tally = Tally::of_level(&run.cases, level);
        if tally.total() > 0 {
            line(&format!("  {level}"), tally);
        }
    }
    put!(out, "{} cases in {:.1} s\n", run.cases.len(), run.took.as_secs_f64());
    out
}

/// Every failure in full.
#[must_use]
pub fn failures(cases: &[Case<'_>]) -> String {
    let mut out = String::new();
    for case in cases {
        if let Outcome::Failed(failed) = &case.outcome {
            put!(out, "{}\n", failure(case, failed));
        }
    }
    out
}
