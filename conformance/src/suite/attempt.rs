//! Runs one case: on the broker under test, or on one of its own where it has that restarted.

use crate::run;
use crate::run::Failure;
use crate::run::restart::{Ending, Restarts};
use crate::run::target::Target;
use crate::script::Script;
use crate::suite::broker::Own;
use crate::suite::definitions;
use std::cell::RefCell;
use std::iter;
use std::path::Path;

/// Runs `script`; `mark` is different for each case of each run.
///
/// # Errors
/// The broker did not do what the script says.
pub(super) fn run(script: &Script, target: &Target, mark: &str) -> Result<(), Box<Failure>> {
    match &target.restarts {
        Some(Restarts::Program { program, parent }) if script.has_restart() => {
            on_its_own(script, target, (program, parent), mark)
        }
        Some(Restarts::Command(command)) if script.has_restart() => {
            let restart = |ending: Ending| {
                command.run(&[ending.word().to_owned()])?;
                Ok(target.clone())
            };
            run::run_restarting(script, target, mark, &restart)
        }
        _ => run::run(script, target, mark),
    }
}

/// Runs `script` on a broker that is started for it, and held to as much as the one at `target`.
fn on_its_own(
    script: &Script,
    target: &Target,
    (program, parent): (&Path, &Path),
    mark: &str,
) -> Result<(), Box<Failure>> {
    let unable = |why: String| Failure::before(script, why);
    let own = RefCell::new(Own::start(program, parent).map_err(unable)?);
    let compares_words = target.compares_words;
    let asked = || own.borrow().target().map(|target| Target { compares_words, ..target });
    let target = asked().map_err(unable)?;
    let wanted = run::definitions(script, &target, mark);
    definitions::import(&target, iter::once(wanted)).map_err(unable)?;
    let restart = |ending: Ending| {
        own.borrow_mut().restart(ending)?;
        asked()
    };
    run::run_restarting(script, &target, mark, &restart)
}
