//! A result as a page for people: a row a class, a column a broker, and what differs with the reason.

use crate::suite::result::{Case, Outcome, Run, Tally};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Writing into a string cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {
        let _infallible = write!($out, $($text)*);
    };
}

/// All of `runs` in Markdown.
#[must_use]
pub fn table(runs: &[Run<'_>]) -> String {
    let mut out = String::from("| class |");
    for run in runs {
        put!(out, " {} |", run.name());
    }
    out.push_str("\n|---|");
    out.push_str(&"---|".repeat(runs.len()));
    out.push('\n');
    let tallies: Vec<BTreeMap<String, Tally>> = runs.iter().map(|run| Tally::by_class(&run.cases)).collect();
    let classes: BTreeSet<&String> = tallies.iter().flat_map(BTreeMap::keys).collect();
    let mut row = |name: &str, cells: Vec<Tally>| {
        put!(out, "| {name} |");
        for tally in cells {
            put!(out, " {} |", cell(tally));
        }
        out.push('\n');
    };
    for class in classes {
        row(class, tallies.iter().map(|by_class| by_class.get(class).copied().unwrap_or_default()).collect());
    }
    row("**all**", runs.iter().map(|run| Tally::of(&run.cases)).collect());
    for run in runs {
        list(&mut out, run, "does otherwise, as the scripts say", |case| match case.outcome {
            Outcome::Passed => case.differs.map(|differs| differs.reason.clone()),
            _ => None,
        });
        list(&mut out, run, "fails", |case| match &case.outcome {
            Outcome::Failed(failure) => {
                let first = failure.reason.lines().next().unwrap_or_default();
                Some(format!("line {}: {first}", failure.line))
            }
            _ => None,
        });
        list(&mut out, run, "was not asked", |case| match &case.outcome {
            Outcome::Skipped(why) => Some(why.clone()),
            _ => None,
        });
    }
    out
}

/// "12", "10 and 2 otherwise", "10, **1 fails**".
fn cell(tally: Tally) -> String {
    let mut out = (tally.passed - tally.differing).to_string();
    if tally.differing > 0 {
        put!(out, " and {} otherwise", tally.differing);
    }
    if tally.failed > 0 {
        put!(out, ", **{} failed**", tally.failed);
    }
    if tally.skipped > 0 {
        put!(out, ", {} not asked", tally.skipped);
    }
    out
}

/// The cases that `tell` tells something about, a line each; nothing when there are none.
fn list(out: &mut String, run: &Run<'_>, what: &str, tell: impl Fn(&Case<'_>) -> Option<String>) {
    let lines: Vec<String> = run
        .cases
        .iter()
        .filter_map(|case| tell(case).map(|text| format!("- `{}`: {text}", case.script.name)))
        .collect();
    if !lines.is_empty() {
        put!(out, "\n{} {what}:\n\n{}\n", run.name(), lines.join("\n"));
    }
}
