//! The whole suite: finds the scripts, reads them all, and runs them on a bounded number of
//! threads.

mod attempt;
pub mod broker;
mod definitions;
mod hexadecimal;
pub mod json;
pub mod junit;
pub mod report;
pub mod result;
pub mod table;

use crate::clock;
use crate::run;
use crate::run::restart::Restarts;
use crate::run::target::Target;
use crate::script::{self, Refusal, Script};
use crate::suite::result::{Case, Outcome, Run};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// After so many cases in a row to which the broker said nothing in time it is taken to hang, and
/// the run ends: at five seconds and more for each of a thousand cases nobody would wait for the
/// end.
const SILENCE_MAX: usize = 20;

/// How a run is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many cases run at once.
    pub jobs: usize,
    /// What the broker does not offer, of what scripts need; `product:need` for brokers of that
    /// product alone.
    pub without: Vec<String>,
}

/// Reads every script under `folder` whose name contains one of `filters`, or every one when there
/// are none.
///
/// # Errors
/// The bad ones, all of them.
pub fn read(folder: &Path, filters: &[String]) -> Result<Vec<Script>, Vec<Refusal>> {
    let (mut scripts, mut refusals) = (Vec::new(), Vec::new());
    let refused =
        |path: &Path, why: io::Error| Refusal { path: path.to_owned(), line: 1, reason: why.to_string() };
    let mut files = Vec::new();
    if let Err(why) = find(folder, &mut files) {
        return Err(vec![refused(folder, why)]);
    }
    files.sort();
    for path in files {
        let name = path.strip_prefix(folder).unwrap_or(&path).with_extension("");
        let name = name.to_string_lossy().replace('\\', "/");
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        let read = fs::read_to_string(&path)
            .map_err(|why| refused(&path, why))
            .and_then(|text| script::read(&path, &name, &text));
        match read {
            Ok(script) => scripts.push(script),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() { Ok(scripts) } else { Err(refusals) }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "amqp") {
            files.push(path);
        }
    }
    Ok(())
}

/// Runs `scripts` against `target`; `done` is told of each as it ends.
///
/// # Errors
/// What they want defined there is not.
pub fn run<'a>(
    scripts: &'a [Script],
    target: &Target,
    options: &Options,
    done: &(impl Fn(&Case<'a>) + Sync),
) -> Result<Run<'a>, String> {
    let began = clock::now();
    let stamp = clock::stamp() / 1_000_000 % (1 << 36);
    let results: Mutex<Vec<(usize, Case<'a>)>> = Mutex::new(Vec::new());
    let mark = |at: usize| format!("{stamp:x}-{at}");
    let missing: Vec<Option<String>> =
        scripts.iter().map(|script| missing(script, target, options)).collect();
    let has_own = |at: usize| scripts[at].has_restart() && is_restarted_by_us(target);
    let wanted = (0..scripts.len()).filter(|&at| missing[at].is_none() && !has_own(at));
    definitions::import(target, wanted.map(|at| run::definitions(&scripts[at], target, &mark(at))))?;
    let silence = AtomicUsize::new(0);
    let work = |at: usize| {
        let hangs = silence.load(Ordering::Relaxed) >= SILENCE_MAX;
        let hangs = hangs.then(|| format!("the broker hangs: {SILENCE_MAX} cases in a row got no answer"));
        let case = one(&scripts[at], target, missing[at].as_ref().or(hangs.as_ref()), &mark(at));
        match &case.outcome {
            Outcome::Failed(failure) if failure.is_silence => {
                silence.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Passed | Outcome::Failed(_) if hangs.is_none() => silence.store(0, Ordering::Relaxed),
            _ => {}
        }
        done(&case);
        results.lock().unwrap_or_else(PoisonError::into_inner).push((at, case));
    };
    let (apart, mut together): (Vec<usize>, Vec<usize>) =
        (0..scripts.len()).partition(|&at| is_alone(&scripts[at], target));
    // A command of an operator's may take seconds; those that wait for one wait while the others
    // work.
    together.sort_by_key(|&at| !scripts[at].has_operator());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, together.len().max(1)) {
            scope.spawn(|| {
                while let Some(&at) = together.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(at);
                }
            });
        }
    });
    apart.into_iter().for_each(work);
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    let cases = results.into_iter().map(|(_, case)| case).collect();
    Ok(Run { target: target.clone(), cases, took: began.elapsed() })
}

/// Whether a case of ours that has its broker restarted has one of its own.
fn is_restarted_by_us(target: &Target) -> bool {
    matches!(target.restarts, Some(Restarts::Program { .. }))
}

/// Whether no other case may run beside this one.
fn is_alone(script: &Script, target: &Target) -> bool {
    script.needs("alone") || (script.has_restart() && !is_restarted_by_us(target))
}

/// Why `script` is not run against `target`; None when it is.
fn missing(script: &Script, target: &Target, options: &Options) -> Option<String> {
    let without = options.without.iter().find_map(|without| match without.split_once(':') {
        Some((product, _)) if !product.eq_ignore_ascii_case(&target.product) => None,
        Some((_, need)) => script.needs(need).then_some(need),
        None => script.needs(without).then_some(without.as_str()),
    });
    if let Some(need) = without {
        return Some(format!("needs {need}"));
    }
    if script.has_definitions() && target.import.is_none() {
        return Some("needs definitions, and there is no command to import them".into());
    }
    if script.has_restart() && target.restarts.is_none() {
        return Some("needs a restart, and there is no command for one".into());
    }
    if !script.has_operator() {
        return None;
    }
    let Some(operator) = &target.operator else {
        return Some("needs an operator, and there is no command for one".into());
    };
    let unknown = |word: &str| !operator.clone().and(word).is_known();
    script.has_command(&unknown).then(|| "needs a command that the operator has not".into())
}

fn one<'a>(script: &'a Script, target: &Target, missing: Option<&String>, mark: &str) -> Case<'a> {
    let began = clock::now();
    let outcome = match missing {
        Some(why) => Outcome::Skipped(why.clone()),
        None => attempt::run(script, target, mark).map_or_else(Outcome::Failed, |()| Outcome::Passed),
    };
    let differs = script.differs_for(&target.product, &target.version);
    Case { script, outcome, differs, took: began.elapsed() }
}
