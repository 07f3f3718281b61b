//! Runs `leveret perf --json` and reads its one object.

use crate::bench::broker::Broker;
use serde_json::Value;
use std::env;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The load generator.
#[derive(Debug)]
pub(crate) struct Perf {
    program: PathBuf,
}

/// One run's figures.
#[derive(Debug, Clone)]
pub(crate) struct Figures(Value);

impl Figures {
    /// A figure by its name; parts of `latency_ms` as `latency_ms/p50`.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.pointer(&format!("/{name}"))?.as_f64()
    }
}

impl Perf {
    pub(crate) fn new(program: Option<PathBuf>) -> Self {
        let beside = || Some(env::current_exe().ok()?.with_file_name("leveret"));
        Self { program: program.or_else(beside).unwrap_or_else(|| "leveret".into()) }
    }

    /// Runs the load to its end.
    ///
    /// # Errors
    /// It cannot be started or fails.
    pub(crate) fn run(&self, broker: &Broker, arguments: &[String]) -> Result<Figures, String> {
        let output = self.start(broker, arguments)?.wait_with_output().map_err(|why| why.to_string())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} with {}: {}", broker.name, arguments.join(" "), said.trim()));
        }
        serde_json::from_slice(&output.stdout)
            .map(Figures)
            .map_err(|why| format!("perf printed something else than its object: {why}"))
    }

    /// Starts the load.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(&self, broker: &Broker, arguments: &[String]) -> Result<Child, String> {
        let mut command = Command::new(&self.program);
        command.args(["perf", "--json", "--uri", &broker.uri()]).args(arguments);
        if let Some(pid) = broker.pid {
            command.args(["--broker-pid", &pid.to_string()]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|why| format!("{} cannot be started: {why}", self.program.display()))
    }
}

/// The middle one of `values`.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Splits words at spaces.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}
