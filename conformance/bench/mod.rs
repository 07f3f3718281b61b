//! The benchmark: the same work against several brokers, turn by turn on one machine, as a table.
//!
//! ```text
//! cargo run --release -p conformance -- bench table \
//!     --broker Leveret=127.0.0.1:5672,PID --broker RabbitMQ=127.0.0.1:5680,PID
//! ```
//!
//! The load is `leveret perf`, one generator for all. Each row runs its rounds broker by broker in
//! turn, so that a machine whose speed drifts treats them alike; the table shows medians. CPU per
//! message is the broker's own user and system time, read from the process that the PID names.

mod broker;
mod growth;
mod memory;
mod perf;
mod table;

use broker::Broker;
use clap::{Args, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// What to measure, and where.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    work: Work,
    /// Broker to measure: NAME=HOST:PORT[,PID]; may be repeated. Without PID, no CPU and memory
    #[arg(long, global = true)]
    broker: Vec<Broker>,
    /// Program of the load generator [default: `leveret` beside this program]
    #[arg(long, global = true)]
    perf: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Work {
    /// Throughput, CPU per message and latency, row by row
    Table(table::Options),
    /// Memory with a large backlog, with idle queues and with idle connections
    Memory(memory::Options),
    /// The cost of a message as bindings, queues and backlog grow
    Growth(growth::Options),
}

/// Measures, and says what came of it.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let perf = perf::Perf::new(arguments.perf);
    let done = match &arguments.work {
        _ if arguments.broker.is_empty() => Err("name at least one --broker NAME=HOST:PORT[,PID]".to_owned()),
        Work::Table(options) => table::run(&perf, &arguments.broker, options),
        Work::Memory(options) => memory::run(&perf, &arguments.broker, options),
        Work::Growth(options) => growth::run(&perf, &arguments.broker, options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _nowhere_else_to_say = writeln!(std::io::stderr(), "bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a line of the result.
///
/// # Errors
/// Standard output is gone.
fn say(line: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{line}").map_err(|why| format!("standard output: {why}"))
}
