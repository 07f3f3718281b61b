//! The command line: `conformance [--uri amqp://...] [FILTER...]` runs the scripts,
//! `conformance bench`, `conformance faults` and `conformance attacks` what their folders hold. One
//! program, so that `cargo run` knows which one is meant.
//!
//! Exit status: 0 when all cases pass, 1 when one fails, 2 when a script is bad or there is no
//! broker.

#[path = "../api/mod.rs"]
mod api;
#[path = "../attacks/mod.rs"]
mod attacks;
#[path = "../bench/mod.rs"]
mod bench;
#[path = "../faults/mod.rs"]
mod faults;
mod harness;

use clap::{Parser, Subcommand};
use conformance::run::operator::Command;
use conformance::run::restart::Restarts;
use conformance::run::target::Target;
use conformance::script::level::Level;
use conformance::suite::broker::{Own, ask};
use conformance::suite::json::json;
use conformance::suite::junit::junit;
use conformance::suite::result::{Case, Outcome, Run, Tally};
use conformance::suite::table::table;
use conformance::suite::{Options, read, report, run};
use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Scripts are bad, or there is no broker.
const STATUS_UNABLE: u8 = 2;

#[derive(Debug, Parser)]
#[command(
    name = "conformance",
    about = "Run a suite of scripts against AMQP 0-9-1 brokers",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    work: Option<Work>,
    /// Broker to test: amqp://user:password@host:port/vhost; may be repeated [default: a Leveret
    /// that is started for it]
    #[arg(long)]
    uri: Vec<String>,
    /// Program of a Leveret to start and test before any --uri [default without --uri: `leveret`
    /// beside this program]
    #[arg(long, value_name = "PATH")]
    leveret: Option<PathBuf>,
    /// Folder of the scripts [default: that of this package]
    #[arg(long, value_name = "FOLDER")]
    scripts: Option<PathBuf>,
    /// Number of cases that run at the same time
    #[arg(long, default_value_t = 16)]
    jobs: usize,
    /// Skip cases that need this; may be repeated. PRODUCT:NEED is only about brokers of that
    /// product
    #[arg(long, value_name = "NEED")]
    without: Vec<String>,
    /// Shell command that imports definitions, for scripts that need users, permissions or
    /// policies: the file's path replaces {} or is appended. One for each --uri, in their order
    /// [default: that of --operator, with import_definitions]
    #[arg(long, value_name = "COMMAND")]
    import: Vec<String>,
    /// Shell command that takes rabbitmqctl's arguments, for scripts that use an operator's
    /// commands. One for each --uri, in their order
    #[arg(long, value_name = "COMMAND")]
    operator: Vec<String>,
    /// Shell command that restarts the broker, for scripts about persistence. It gets 'stop' (end
    /// it by SIGTERM) or 'kill' (by SIGKILL) appended and returns once the broker is up again with
    /// its data. One for each --uri, in their order
    #[arg(long, value_name = "COMMAND")]
    restart: Vec<String>,
    /// Run only cases of this level: 'specification' (what AMQP 0-9-1 requires) or 'rabbitmq' (what
    /// RabbitMQ does)
    #[arg(long, value_name = "LEVEL", value_parser = Level::named)]
    level: Option<Level>,
    /// Compare reply texts with RabbitMQ's in cases of the specification too
    #[arg(long)]
    words: bool,
    /// Write the result as JSON to standard output, everything else to standard error
    #[arg(long, conflicts_with = "table")]
    json: bool,
    /// Write the result as a Markdown table to standard output, everything else to standard error
    #[arg(long)]
    table: bool,
    /// Write the result as JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print the name of each case when it ends
    #[arg(long, short)]
    verbose: bool,
    /// Run only cases whose class/name contains one of these texts
    filter: Vec<String>,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
enum Work {
    /// Measure brokers side by side
    Bench(bench::Arguments),
    /// Kill, stop and starve a broker while clients use it, and check that no message is lost
    Faults(faults::Arguments),
    /// Let clients try to take a broker down, and check that it keeps serving others
    Attacks(attacks::Arguments),
    /// Ask a management API all that there is to ask, and print what it answers
    Api(api::Arguments),
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    match arguments.work.take() {
        Some(Work::Bench(arguments)) => return bench::run(arguments),
        Some(Work::Faults(arguments)) => return faults::run(arguments),
        Some(Work::Attacks(arguments)) => return attacks::run(arguments),
        Some(Work::Api(arguments)) => return api::run(&arguments),
        None => {}
    }
    match all(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            let _nowhere_else_to_say = writeln!(io::stderr(), "conformance: {why}");
            STATUS_UNABLE.into()
        }
    }
}

fn say(text: &str) -> Result<(), String> {
    io::stdout().write_all(text.as_bytes()).map_err(|why| format!("standard output: {why}"))
}

impl Arguments {
    /// Says what is for a person, where it is not in the way of what is for a program.
    fn tell(&self, text: &str) -> Result<(), String> {
        if self.json || self.table {
            io::stderr().write_all(text.as_bytes()).map_err(|why| format!("standard error: {why}"))
        } else {
            say(text)
        }
    }

    /// The program to start, if one is to be.
    fn program(&self) -> Option<PathBuf> {
        let beside = || env::current_exe().ok().map(|here| here.with_file_name("leveret"));
        match &self.leveret {
            Some(program) => Some(program.clone()),
            None if self.uri.is_empty() => Some(beside().unwrap_or_else(|| "leveret".into())),
            None => None,
        }
    }

    /// The brokers under test, each asked who it is.
    fn targets(&self, own: Option<&Own>) -> Result<Vec<Target>, String> {
        for (option, commands) in
            [("--import", &self.import), ("--operator", &self.operator), ("--restart", &self.restart)]
        {
            if commands.len() > self.uri.len() {
                return Err(format!("{option} is given {} times, --uri {}", commands.len(), self.uri.len()));
            }
        }
        let mut targets = Vec::new();
        if let Some(own) = own {
            let mut target = own.target()?;
            target.restarts =
                self.program().map(|program| Restarts::Program { program, parent: env::temp_dir() });
            targets.push(target);
        }
        for (at, uri) in self.uri.iter().enumerate() {
            let mut target = ask(uri)?;
            if let Some(operator) = self.operator.get(at) {
                target.operated_by(Command::shell(operator));
            }
            if let Some(import) = self.import.get(at) {
                target.import = Some(Command::shell(import));
            }
            target.restarts = self.restart.get(at).map(|text| Restarts::Command(Command::shell(text)));
            targets.push(target);
        }
        targets.iter_mut().for_each(|target| target.compares_words = self.words);
        Ok(targets)
    }

    /// Says what became of a case: a failure in full, as it comes.
    fn tell_of(&self, case: &Case<'_>) {
        if let Outcome::Failed(failed) = &case.outcome {
            let _nobody_listens = self.tell(&format!("{}\n", report::failure(case, failed)));
        }
        if !self.verbose {
            return;
        }
        let word = match &case.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed(_) => "FAILED",
            Outcome::Skipped(_) => "skipped",
        };
        let line = format!("{word:<8}{} ({} ms)\n", case.script.name, case.took.as_millis());
        let _nobody_listens = self.tell(&line);
    }
}

/// Whether all passed.
fn all(arguments: &Arguments) -> Result<bool, String> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let scripts = arguments.scripts.clone().unwrap_or(scripts);
    let mut scripts = read(&scripts, &arguments.filter).map_err(|refusals| {
        let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        format!("bad scripts:\n{}", lines.join("\n"))
    })?;
    scripts.retain(|script| arguments.level.is_none_or(|level| script.head.level == level));
    if scripts.is_empty() {
        return Err("no script matches the filter and the level".into());
    }
    let own = arguments.program().map(|program| Own::start(&program, &env::temp_dir())).transpose()?;
    let targets = arguments.targets(own.as_ref())?;
    let options = Options { jobs: arguments.jobs, without: arguments.without.clone() };
    let mut runs: Vec<Run<'_>> = Vec::new();
    for target in &targets {
        let run = run(&scripts, target, &options, &|case| arguments.tell_of(case))?;
        arguments.tell(&report::summary(&run))?;
        runs.push(run);
    }
    if let Some(file) = &arguments.junit {
        fs::write(file, junit(&runs)).map_err(|why| format!("{}: {why}", file.display()))?;
    }
    if arguments.json {
        say(&json(&runs))?;
    }
    if arguments.table {
        say(&table(&runs))?;
    }
    Ok(runs.iter().all(|run| Tally::of(&run.cases).failed == 0))
}
