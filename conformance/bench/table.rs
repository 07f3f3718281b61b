//! The table: throughput, CPU per message and latency of each kind of work, broker by broker.

use crate::bench::broker::Broker;
use crate::bench::perf::{Figures, Perf, median, words};
use crate::bench::say;
use clap::Args;

/// What is measured, and how it is shown.
struct Row {
    title: &'static str,
    load: &'static str,
    shows: Shows,
}

#[derive(Clone, Copy)]
enum Shows {
    /// Messages consumed a second, and CPU.
    Consumed,
    /// Messages published (and confirmed) a second, and CPU.
    Published,
    /// Median and 99th percentile.
    Latency,
}

const ROWS: &[Row] = &[
    Row { title: "16 B, transient, 1 to 1, auto-ack", load: "--size 16", shows: Shows::Consumed },
    Row { title: "1 KiB, transient, 1 to 1, auto-ack", load: "--size 1024", shows: Shows::Consumed },
    Row {
        title: "16 B, persistent, confirms 1000 in flight, acks by 100",
        load: "--size 16 --persistent --confirm 1000 --ack 100 --prefetch 1000",
        shows: Shows::Consumed,
    },
    Row {
        title: "1 KiB, persistent, same",
        load: "--size 1024 --persistent --confirm 1000 --ack 100 --prefetch 1000",
        shows: Shows::Consumed,
    },
    Row {
        title: "1 KiB, persistent, publish only, confirms 1000 in flight",
        load: "--size 1024 --persistent --confirm 1000 --consumers 0",
        shows: Shows::Published,
    },
    Row {
        title: "64 KiB, persistent, confirms 100 in flight",
        load: "--size 65536 --persistent --confirm 100 --ack 10 --prefetch 100",
        shows: Shows::Consumed,
    },
    Row {
        title: "1 KiB, persistent, one confirm at a time, 1 publisher",
        load: "--size 1024 --persistent --confirm 1 --consumers 0",
        shows: Shows::Published,
    },
    Row {
        title: "1 KiB, persistent, one confirm at a time, 10 publishers",
        load: "--size 1024 --persistent --confirm 1 --consumers 0 --producers 10",
        shows: Shows::Published,
    },
    Row {
        title: "latency, 16 B at 1000/s, median / 99th",
        load: "--size 16 --rate 1000 --latency",
        shows: Shows::Latency,
    },
    Row {
        title: "16 B, persistent, publish only, confirms 5000 in flight",
        load: "--size 16 --persistent --confirm 5000 --consumers 0",
        shows: Shows::Published,
    },
];

/// Options of `bench table`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds of each run
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Runs of each row and broker
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only rows whose title contains this
    #[arg(long)]
    only: Option<String>,
}

/// Measures and prints.
///
/// # Errors
/// A run fails.
pub(crate) fn run(perf: &Perf, brokers: &[Broker], options: &Options) -> Result<(), String> {
    let names: Vec<_> = brokers.iter().map(|broker| broker.name.as_str()).collect();
    say(&format!("| work | {} |", names.join(" | ")))?;
    say(&format!("|---|{}", "---|".repeat(brokers.len())))?;
    let wanted = |row: &&Row| options.only.as_deref().is_none_or(|part| row.title.contains(part));
    for row in ROWS.iter().filter(wanted) {
        let mut load = words(row.load);
        load.extend(["--time".into(), options.seconds.to_string()]);
        let mut runs: Vec<Vec<Figures>> = brokers.iter().map(|_| Vec::new()).collect();
        for _round in 0..options.rounds {
            for (broker, runs) in brokers.iter().zip(&mut runs) {
                runs.push(perf.run(broker, &load)?);
            }
        }
        let cells: Vec<_> = runs.iter().map(|runs| cell(row.shows, runs)).collect();
        say(&format!("| {} | {} |", row.title, cells.join(" | ")))?;
    }
    Ok(())
}

fn cell(shows: Shows, runs: &[Figures]) -> String {
    let middle = |name: &str| median(runs.iter().filter_map(|run| run.get(name)).collect());
    let cpu = middle("broker_cpu_us_per_message").map_or(String::new(), |us| format!(", {us:.2} us"));
    match shows {
        Shows::Consumed => rate(middle("consumed_per_s")) + &cpu,
        Shows::Published => rate(middle("published_per_s")) + &cpu,
        Shows::Latency => {
            let ms = |name| middle(name).map_or("-".into(), |ms| format!("{ms:.3}"));
            format!("{} / {} ms", ms("latency_ms/p50"), ms("latency_ms/p99"))
        }
    }
}

fn rate(per_s: Option<f64>) -> String {
    match per_s {
        None => "-".into(),
        Some(per_s) if per_s >= 100_000.0 => format!("{:.0} k/s", per_s / 1000.0),
        Some(per_s) => format!("{:.1} k/s", per_s / 1000.0),
    }
}
