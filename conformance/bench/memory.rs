//! Memory: with a large backlog while it grows and drains, with idle queues, with idle connections.

use crate::bench::broker::Broker;
use crate::bench::perf::{Perf, words};
use crate::bench::say;
use clap::Args;
use std::process::Child;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Options of `bench memory`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Messages of the backlog, 16 bytes each, persistent and confirmed
    #[arg(long, default_value_t = 10_000_000)]
    backlog: u64,
    /// Idle queues
    #[arg(long, default_value_t = 1000)]
    queues: u32,
    /// Idle connections, each with a channel and a consumer
    #[arg(long, default_value_t = 1000)]
    connections: u32,
}

/// Measures and prints; brokers need their PIDs.
///
/// # Errors
/// A run fails, or a broker's process is not known.
pub(crate) fn run(perf: &Perf, brokers: &[Broker], options: &Options) -> Result<(), String> {
    say(
        "| broker | at rest | backlog: peak while it grows | backlog: peak while it drains | a queue | a connection |",
    )?;
    say("|---|---|---|---|---|---|")?;
    for broker in brokers {
        let rest = resident(broker)?;
        // Idle things first: what a load leaves behind in the broker's allocator would hide them.
        let before = resident(broker)?;
        let queues = format!(
            "--size 16 --consumers 0 --messages {0} --queues {0} --queue bench-idle --keep",
            options.queues
        );
        peak(broker, perf.start(broker, &words(&queues))?)?;
        let with_queues = resident(broker)?;
        let sweep = format!(
            "--producers 0 --ack 1 --messages {0} --queues {0} --queue bench-idle --delete",
            options.queues
        );
        peak(broker, perf.start(broker, &words(&sweep))?)?;

        let before_connections = resident(broker)?;
        let connections = format!(
            "--size 16 --rate 1 --time 5 --consumers {} --queue bench-connections",
            options.connections
        );
        let with_connections = peak(broker, perf.start(broker, &words(&connections))?)?;

        let messages = options.backlog;
        let fill = format!(
            "--size 16 --persistent --confirm 5000 --consumers 0 --messages {messages} --queue bench-backlog --keep"
        );
        let grown = peak(broker, perf.start(broker, &words(&fill))?)?;
        let drain = format!(
            "--producers 0 --ack 100 --prefetch 1000 --messages {messages} --queue bench-backlog --delete"
        );
        let drained = peak(broker, perf.start(broker, &words(&drain))?)?;
        say(&format!(
            "| {} | {} | {} | {} | {} B | {} B |",
            broker.name,
            mib(rest),
            mib(grown),
            mib(drained),
            each(before, with_queues, options.queues),
            each(before_connections, with_connections, options.connections),
        ))?;
    }
    Ok(())
}

/// The most that the broker held while `load` ran, KiB.
fn peak(broker: &Broker, load: Child) -> Result<u64, String> {
    let (done, ended) = channel();
    let waiter = thread::spawn(move || {
        let output = load.wait_with_output();
        let _the_watcher_left = done.send(());
        output
    });
    let mut most = resident(broker)?;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_millis(50)) {
        most = most.max(resident(broker)?);
    }
    let output = waiter
        .join()
        .map_err(|_panicked| "the thread that waits for perf panicked".to_owned())?
        .map_err(|why| why.to_string())?;
    if output.status.success() {
        Ok(most)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

fn resident(broker: &Broker) -> Result<u64, String> {
    broker.resident_kib().ok_or_else(|| format!("{}: its process id is needed", broker.name))
}

fn mib(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

fn each(before_kib: u64, after_kib: u64, things: u32) -> u64 {
    after_kib.saturating_sub(before_kib) * 1024 / u64::from(things.max(1))
}
