//! Hurts a broker while clients use it, and checks what it owed them.
//!
//! ```text
//! cargo run -p conformance -- faults --minutes 15 --seed 7
//! ```
//!
//! A line for each fault, then the sum. The status is 0 when every promise was kept, 1 when not, 2
//! when the run could not be made. See `conformance/README.md`.

use crate::harness::{Place, broker, say, unable};
use clap::Args;
use conformance::faults::inject::Fault;
use conformance::faults::run::{self, Extent, Options, fresh_seed};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Seconds of a minute.
const MINUTE_S: u64 = 60;

/// How to hurt it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Minutes to run
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// Seed of all random choices [default: a fresh one]
    #[arg(long)]
    seed: Option<u64>,
    /// Program of the broker [default: `leveret` beside this program]
    #[arg(long, value_name = "PATH")]
    leveret: Option<PathBuf>,
    /// Faults, separated by commas: kill, term, stop, vanish, half-open, slow, idle, full, clock,
    /// folder [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Fault>,
    /// Folder for data and log; kept afterwards [default: `faults-SEED` in the folder for temporary
    /// files, removed if all is well]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Hurts a broker, and says whether it kept its promises.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    let place = Place::of(arguments.folder, "faults", seed);
    let options = Options {
        leveret: broker(arguments.leveret),
        folder: place.folder().to_owned(),
        seed,
        faults: if arguments.only.is_empty() { Fault::ALL.to_vec() } else { arguments.only },
        extent: Extent::Time(Duration::from_secs(arguments.minutes * MINUTE_S)),
    };
    say(&format!("seed {seed}"));
    match run::run(&options, &mut say) {
        Ok(report) => {
            say(&report.to_string());
            place.leave(report.violations.is_empty())
        }
        Err(why) => unable("faults", &why),
    }
}
