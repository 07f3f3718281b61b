//! The broker's process: started on a free port, ended in every way, gone when dropped.

use super::skew::SkewedClock;
use super::world::PATIENCE;
use crate::watch::Watch;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// So many bytes of the broker's log are shown when it fails.
const LOG_TAIL: usize = 4_000;

/// How to start a broker: what a run on another broker would exchange.
#[derive(Debug)]
pub(crate) struct Start {
    /// The program.
    pub(crate) leveret: PathBuf,
    /// Where it logs to.
    pub(crate) log: PathBuf,
    /// What it is told beside its ports, its data and how much to log.
    pub(crate) arguments: Vec<OsString>,
    /// Its wall clock, if that can be set.
    pub(crate) clock: Option<SkewedClock>,
}

/// A running broker.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Gone before the child is waited for.
    watch: Option<Watch>,
    log: PathBuf,
    /// Where it takes AMQP clients.
    pub(crate) address: String,
    /// Where it speaks HTTP.
    pub(crate) http: String,
    /// Disconnected when the process has closed its standard output, that is, when it has ended.
    ended: Receiver<()>,
}

impl Start {
    /// Starts a broker on `data` and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub(crate) fn start(&self, data: &Path) -> Result<Process, String> {
        let (mut process, line) = self.spawn(data)?;
        let line = line.recv_timeout(PATIENCE).unwrap_or_default();
        let of = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
        let (Some(address), Some(http)) = (of("amqp="), of("http=")) else {
            return Err(format!("the broker did not become ready: {line}\n{}", process.log_tail()));
        };
        (process.address, process.http) = (address.to_owned(), http.to_owned());
        Ok(process)
    }

    /// Starts a broker on `data` and kills it after `duration`, or sooner if it becomes ready.
    ///
    /// # Errors
    /// It cannot be started at all.
    pub(crate) fn interrupt(&self, data: &Path, duration: Duration) -> Result<(), String> {
        let (process, line) = self.spawn(data)?;
        // Whether it has become ready makes no difference to what is on disk.
        let _either = line.recv_timeout(duration);
        process.kill()
    }

    /// What the operator's command line prints of the broker on `data`.
    ///
    /// # Errors
    /// It refuses, as it says.
    pub(crate) fn ctl(&self, data: &Path, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.leveret);
        command.arg("ctl").arg("--data-dir").arg(data).args(arguments).stdin(Stdio::null());
        let done = command.output().map_err(|why| format!("ctl cannot be started: {why}"))?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        let why = String::from_utf8_lossy(&done.stderr);
        Err(format!("ctl {} ended with {}: {}", arguments.join(" "), done.status, why.trim()))
    }

    /// A process, and the first line that it says, once it does.
    fn spawn(&self, data: &Path) -> Result<(Process, Receiver<String>), String> {
        let failed = |why: io::Error| format!("the broker cannot be started: {why}");
        let log = File::options().create(true).append(true).open(&self.log).map_err(failed)?;
        let mut child = Command::new(&self.leveret)
            .args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "warn"])
            .args(&self.arguments)
            .envs(self.clock.iter().flat_map(SkewedClock::environment))
            .arg("--data-dir")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take().ok_or("its output is not piped")?;
        let (ready, line) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        let log = self.log.clone();
        let mut process =
            Process { child, watch: None, log, address: String::new(), http: String::new(), ended };
        process.watch = Some(Watch::over(&process.child, None).map_err(failed)?);
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut text = String::new();
            // An error is the end, as far as anybody here cares.
            let _ended = stdout.read_line(&mut text);
            let _wanted = ready.send(text);
            let _ended = stdout.read_to_end(&mut Vec::new());
            drop(alive);
        });
        Ok((process, line))
    }
}

impl Process {
    /// SIGKILL: what it had only in memory is gone.
    ///
    /// # Errors
    /// It cannot be killed, which no process can help.
    pub(crate) fn kill(mut self) -> Result<(), String> {
        self.child.kill().map_err(|why| format!("the broker cannot be killed: {why}"))?;
        self.wait().map(|_killed| ())
    }

    /// SIGTERM: it puts everything in order and ends; with which status.
    ///
    /// # Errors
    /// It does not end.
    pub(crate) fn terminate(&mut self) -> Result<ExitStatus, String> {
        self.signal("TERM")?;
        self.wait()
    }

    /// Sends a signal by its name, as in `STOP`.
    ///
    /// # Errors
    /// There is no `kill` command, or no process any more.
    pub(crate) fn signal(&self, name: &str) -> Result<(), String> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{name} could not be sent: {status}")),
            Err(why) => Err(format!("{name} could not be sent: {why}")),
        }
    }

    /// Its number, for what the system tells of it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself, and how.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        self.watch = None;
        Some(format!("the broker ended by itself with {status}\n{}", self.log_tail()))
    }

    /// Waits until it has ended; with which status.
    ///
    /// # Errors
    /// It does not end.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus, String> {
        self.watch = None;
        if let Err(mpsc::RecvTimeoutError::Timeout) = self.ended.recv_timeout(PATIENCE) {
            return Err(format!("the broker did not end within {PATIENCE:?}\n{}", self.log_tail()));
        }
        self.child.wait().map_err(|why| format!("the broker cannot be waited for: {why}"))
    }

    /// The end of its log.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.watch = None;
        // It may have ended already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
