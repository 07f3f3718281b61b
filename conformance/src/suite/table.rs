//! A result as a page for people: a row a class, a column for each level of each broker, and lists
//! of what differs, what fails and what was not asked, each with its reason.

use crate::script::level::Level;
use crate::suite::result::{Case, Outcome, Run, Tally};
use std::collections::BTreeSet;
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
        for level in Level::ALL {
            put!(out, " {}, {level} |", run.name());
        }
    }
    out.push_str("\n|---|");
    out.push_str(&"---|".repeat(runs.len() * Level::ALL.len()));
    out.push('\n');
    let mut row = |name: &str, tally: &dyn Fn(usize, Level) -> Tally| {
        put!(out, "| {name} |");
        for run in 0..runs.len() {
            for level in Level::ALL {
                put!(out, " {} |", cell(tally(run, level)));
            }
        }
        out.push('\n');
    };
    let parts: Vec<_> = runs.iter().map(|run| Tally::by_class_and_level(&run.cases)).collect();
    let classes: BTreeSet<&String> =
        parts.iter().flat_map(|parts| parts.keys().map(|(class, _)| class)).collect();
    for class in classes {
        row(class, &|run, level| parts[run].get(&(class.clone(), level)).copied().unwrap_or_default());
    }
    row("**all**", &|run, level| Tally::of_level(&runs[run].cases, level));
    for run in runs {
        for level in Level::ALL {
            put_lists(&mut out, run, level);
        }
    }
    out
}

/// "12", "10 and 2 otherwise", "10, **1 failed**", "-" where there are no cases.
fn cell(tally: Tally) -> String {
    if tally.total() == 0 {
        return "-".into();
    }
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

/// The cases of `level` that did not simply pass, a list for each way.
fn put_lists(out: &mut String, run: &Run<'_>, level: Level) {
    let mut list = |what: &str, tell: &dyn Fn(&Case<'_>) -> Option<String>| {
        let cases = run.cases.iter().filter(|case| case.script.head.level == level);
        let lines: Vec<String> = cases
            .filter_map(|case| tell(case).map(|text| format!("- `{}`: {text}", case.script.name)))
            .collect();
        if !lines.is_empty() {
            put!(out, "\n{}, {level}, {what}:\n\n{}\n", run.name(), lines.join("\n"));
        }
    };
    list("does otherwise, as the scripts say", &|case| match case.outcome {
        Outcome::Passed => case.differs.map(|differs| differs.reason.clone()),
        _ => None,
    });
    list("fails", &|case| match &case.outcome {
        Outcome::Failed(failure) => {
            let first = failure.reason.lines().next().unwrap_or_default();
            Some(format!("line {}: {first}", failure.line))
        }
        _ => None,
    });
    list("was not asked", &|case| match &case.outcome {
        Outcome::Skipped(why) => Some(why.clone()),
        _ => None,
    });
}
