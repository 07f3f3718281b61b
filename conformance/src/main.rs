//! The runner's command line: `conformance [--uri amqp://...] [FILTER...]`.
//!
//! Exit status: 0 when all cases pass, 1 when one fails, 2 when a script is bad or there is no broker.

use clap::Parser;
use conformance::suite::broker::{Own, ask};
use conformance::suite::{Options, Outcome, read, report, run};
use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Scripts are bad, or there is no broker.
const STATUS_UNABLE: u8 = 2;

#[derive(Debug, Parser)]
#[command(name = "conformance", about = "Holds an AMQP 0-9-1 broker against a suite of scripts")]
struct Arguments {
    /// The broker: amqp://user:password@host:port/vhost [default: a Leveret of its own]
    #[arg(long)]
    uri: Option<String>,
    /// The leveret program to start when there is no --uri [default: `leveret` beside this program]
    #[arg(long)]
    leveret: Option<PathBuf>,
    /// The folder of scripts [default: that of this package]
    #[arg(long)]
    scripts: Option<PathBuf>,
    /// How many cases run at once
    #[arg(long, default_value_t = 16)]
    jobs: usize,
    /// What the broker does not offer, so that cases which need it are skipped; repeat for each
    #[arg(long)]
    without: Vec<String>,
    /// Say each case's name as it ends
    #[arg(long, short)]
    verbose: bool,
    /// Run only cases whose class/name contains one of these
    filter: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
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
    write!(io::stdout(), "{text}").map_err(|why| format!("standard output: {why}"))
}

/// Whether all passed.
fn all(arguments: &Arguments) -> Result<bool, String> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let scripts = arguments.scripts.clone().unwrap_or(scripts);
    let scripts = read(&scripts, &arguments.filter).map_err(|refusals| {
        let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        format!("bad scripts:\n{}", lines.join("\n"))
    })?;
    if scripts.is_empty() {
        return Err("no script has such a name".into());
    }
    let (uri, _own) = match &arguments.uri {
        Some(uri) => (uri.clone(), None),
        None => {
            let beside = || env::current_exe().ok().map(|here| here.with_file_name("leveret"));
            let program = arguments.leveret.clone().or_else(beside).unwrap_or_else(|| "leveret".into());
            let own = Own::start(&program, &env::temp_dir())?;
            (own.uri.clone(), Some(own))
        }
    };
    let target = ask(&uri)?;
    let options = Options { jobs: arguments.jobs, without: arguments.without.clone() };
    let cases = run(&scripts, &target, &options, &|case| {
        if arguments.verbose {
            let word = match &case.outcome {
                Outcome::Passed => "passed",
                Outcome::Failed(_) => "FAILED",
                Outcome::Skipped(_) => "skipped",
            };
            let _standard_output_is_gone =
                say(&format!("{word:<8}{} ({} ms)\n", case.script.name, case.took.as_millis()));
        }
    });
    for case in &cases {
        if let Outcome::Failed(failure) = &case.outcome {
            say(&format!("{}\n", report::failure(case, failure)))?;
        }
    }
    say(&report::summary(&cases, &target))?;
    Ok(report::Tally::of(&cases).failed == 0)
}
