//! A result as JSON: one object, `runs` an array with a broker each, in it the counts, those of
//! each level, and every case.

use crate::script::level::Level;
use crate::suite::hexadecimal::hex;
use crate::suite::result::{Case, Outcome, Run, Tally};
use serde_json::{Map, Value, json};

/// All of `runs`.
#[must_use]
pub fn json(runs: &[Run<'_>]) -> String {
    let runs: Vec<Value> = runs.iter().map(run).collect();
    format!("{:#}\n", json!({ "runs": runs }))
}

fn run(run: &Run<'_>) -> Value {
    let levels: Map<String, Value> = Level::ALL
        .into_iter()
        .map(|level| (level.word().to_owned(), counts(Tally::of_level(&run.cases, level))))
        .collect();
    let cases: Vec<Value> = run.cases.iter().map(case).collect();
    let mut object = counts(Tally::of(&run.cases));
    object["product"] = run.target.product.as_str().into();
    object["version"] = run.target.version.as_str().into();
    object["took_ms"] = milliseconds(run.took).into();
    object["levels"] = levels.into();
    object["cases"] = cases.into();
    object
}

fn counts(Tally { passed, differing, failed, skipped }: Tally) -> Value {
    json!({ "passed": passed, "differing": differing, "failed": failed, "skipped": skipped })
}

fn case(case: &Case<'_>) -> Value {
    let mut object = json!({
        "name": case.script.name,
        "title": case.script.head.title,
        "source": case.script.head.source,
        "level": case.script.head.level.word(),
        "about": case.script.head.about,
        "took_ms": milliseconds(case.took),
    });
    object["outcome"] = match &case.outcome {
        Outcome::Passed => "passed".into(),
        Outcome::Failed(failure) => {
            object["failure"] = json!({
                "path": case.script.path.to_string_lossy(),
                "line": failure.line,
                "expected": failure.text,
                "reason": failure.reason,
                "came": failure.came,
                "bytes": hex(&failure.bytes),
                "before": failure.transcript,
            });
            "failed".into()
        }
        Outcome::Skipped(why) => {
            object["skipped"] = why.as_str().into();
            "skipped".into()
        }
    };
    if let Some(differs) = case.differs {
        object["differs"] =
            json!({ "broker": differs.broker, "version": differs.version, "reason": differs.reason });
    }
    object
}

fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
