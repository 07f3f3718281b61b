//! Has clients try to take a broker down, and checks how it stands that.
//!
//! ```text
//! cargo run --release -p conformance -- attacks --only flood
//! ```
//!
//! A line for each attack, then a table. The status is 0 when the broker stood all of them, 1 when
//! not, 2 when the run could not be made. See `conformance/README.md`.

use crate::harness::{Place, broker, say, unable};
use clap::Args;
use conformance::attacks::run::{self, Options};
use conformance::attacks::scale::Scale;
use conformance::attacks::{Attack, all};
use conformance::faults::run::fresh_seed;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Seconds of the flood when nothing else is asked for.
const FLOOD_S: u64 = 300;
/// Seconds of any other attack that goes on for as long as one likes.
const ATTACK_S: u64 = 20;

/// What to try.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Seconds of each attack that has no end of its own [default: 20; 300 for the flood]
    #[arg(long)]
    seconds: Option<u64>,
    /// Attacks, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<Attack>,
    /// A short run, as in `cargo test`
    #[arg(long)]
    short: bool,
    /// Seed of all random choices [default: a fresh one]
    #[arg(long)]
    seed: Option<u64>,
    /// Program of the broker [default: `leveret` beside this program]
    #[arg(long, value_name = "PATH")]
    leveret: Option<PathBuf>,
    /// Folder for data and log; kept afterwards [default: `attacks-SEED` in the folder for
    /// temporary files, removed if all is well]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Attacks a broker, and says whether it stood that.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    let place = Place::of(arguments.folder, "attacks", seed);
    let options = Options {
        leveret: broker(arguments.leveret),
        folder: place.folder().to_owned(),
        seed,
        attacks: if arguments.only.is_empty() { all().to_vec() } else { arguments.only },
        duration: Duration::from_secs(arguments.seconds.unwrap_or(ATTACK_S)),
        flood_duration: Duration::from_secs(arguments.seconds.unwrap_or(FLOOD_S)),
        scale: if arguments.short { Scale::SHORT } else { Scale::FULL },
    };
    say(&format!("seed {seed}"));
    match run::run(&options, &mut say) {
        Ok(report) => {
            say(&format!("\n{report}"));
            place.leave(report.findings().is_empty())
        }
        Err(why) => unable("attacks", &why),
    }
}
