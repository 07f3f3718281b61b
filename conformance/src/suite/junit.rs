//! A result as JUnit's XML, as build servers read it: a suite for each class and level of each
//! broker.

use crate::suite::report;
use crate::suite::result::{Case, Outcome, Run, Tally};
use std::fmt::Write;
use std::time::Duration;

/// Writing into a string cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {
        let _infallible = write!($out, $($text)*);
    };
}

/// All of `runs`.
#[must_use]
pub fn junit(runs: &[Run<'_>]) -> String {
    let mut out =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"conformance\">\n".to_owned();
    for run in runs {
        for ((class, level), tally) in Tally::by_class_and_level(&run.cases) {
            let Tally { failed, skipped, .. } = tally;
            let is_part = |case: &&Case<'_>| case.script.class() == class && case.script.head.level == level;
            let cases: Vec<&Case<'_>> = run.cases.iter().filter(is_part).collect();
            let took: Duration = cases.iter().map(|case| case.took).sum();
            put!(
                out,
                "  <testsuite name=\"{} {} {level}\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\" errors=\"0\" \
                 time=\"{:.3}\">\n",
                escaped(&run.name()),
                escaped(&class),
                tally.total(),
                took.as_secs_f64()
            );
            cases.into_iter().for_each(|case| put_case(&mut out, case));
            out.push_str("  </testsuite>\n");
        }
    }
    out.push_str("</testsuites>\n");
    out
}

fn put_case(out: &mut String, case: &Case<'_>) {
    put!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
        escaped(case.script.class()),
        escaped(&case.script.name),
        case.took.as_secs_f64()
    );
    match &case.outcome {
        Outcome::Passed => out.push_str("/>\n"),
        Outcome::Skipped(why) => {
            put!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>\n", escaped(why));
        }
        Outcome::Failed(failure) => {
            put!(
                out,
                ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
                escaped(&format!("line {}: {}", failure.line, failure.reason)),
                escaped(&report::failure(case, failure))
            );
        }
    }
}

/// Text as XML has it; what XML cannot hold is a question mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('?'),
            _ => out.push(c),
        }
    }
    out
}
