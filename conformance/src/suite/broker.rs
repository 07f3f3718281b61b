//! The broker under test: asked who it is, or started for the occasion and restarted.

use crate::clock;
use crate::run::identify;
use crate::run::operator::Command;
use crate::run::restart::Ending;
use crate::run::target::Target;
use crate::watch::Watch;
use rustix::process::{Pid, Signal, kill_process};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{self, Child, ChildStdout, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long a broker of ours may take to end.
const ENDING_LIMIT: Duration = Duration::from_secs(60);

/// Asks the broker at `uri` who it is.
///
/// # Errors
/// It is not there, or refuses.
pub fn ask(uri: &str) -> Result<Target, String> {
    let target = Target::parse(uri)?;
    identify(target).map_err(|why| format!("{uri}: {why}"))
}

/// Has the operator of a Leveret that keeps its data in `folder` use the `program` that runs it.
pub fn operate(target: &mut Target, program: &Path, folder: &Path) {
    target.operated_by(Command::program(program, &["ctl", "--data-dir"]).and(folder));
}

/// A Leveret that lives as long as this does, or as this process.
#[derive(Debug)]
pub struct Own {
    running: Option<Running>,
    program: PathBuf,
    folder: PathBuf,
    /// Where it is.
    pub uri: String,
}

#[derive(Debug)]
struct Running {
    child: Child,
    watch: Watch,
    /// Ends with the process.
    output: BufReader<ChildStdout>,
}

impl Own {
    /// Starts `program` on a free port, with its data in a new folder inside `parent`.
    ///
    /// # Errors
    /// It cannot be started or does not become ready.
    pub fn start(program: &Path, parent: &Path) -> Result<Self, String> {
        if !program.exists() {
            let what = "there is no such program; 'cargo build' makes it, --uri takes any other broker";
            return Err(format!("{}: {what}", program.display()));
        }
        let folder = parent.join(format!("conformance-{}-{:x}", process::id(), clock::stamp()));
        fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let mut own = Self { running: None, program: program.to_owned(), folder, uri: String::new() };
        own.run().map_err(|why| format!("{}: {why}", program.display()))?;
        Ok(own)
    }

    /// Starts the program on the data there is, and waits until it is ready.
    fn run(&mut self) -> Result<(), String> {
        let mut command = process::Command::new(&self.program);
        let settings = env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LEVERET_"));
        settings.for_each(|(name, _)| {
            command.env_remove(name);
        });
        let mut child = command
            .args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir"])
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|why| why.to_string())?;
        let stdout = child.stdout.take().ok_or("it has no output")?;
        let watch = match Watch::over(&child, Some(&self.folder)) {
            Ok(watch) => watch,
            Err(why) => {
                end(child);
                return Err(format!("nobody can watch over it: {why}"));
            }
        };
        let running = self.running.insert(Running { child, watch, output: BufReader::new(stdout) });
        let mut ready = String::new();
        running.output.read_line(&mut ready).map_err(|why| why.to_string())?;
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("amqp="));
        let address = address.and_then(|all| all.split(',').next()).ok_or("it did not become ready")?;
        self.uri = format!("amqp://guest:guest@{address}/%2f");
        Ok(())
    }

    /// Ends it and starts it again, on another port.
    ///
    /// # Errors
    /// It does not end, or does not become ready.
    pub fn restart(&mut self, ending: Ending) -> Result<(), String> {
        let named = |why: String| format!("{}: {why}", self.program.display());
        if let Some(running) = self.running.take() {
            match ending {
                Ending::Stop => running.stop().map_err(named)?,
                Ending::Kill => running.end(),
            }
        }
        self.run().map_err(|why| format!("{}: {why}", self.program.display()))
    }

    /// Asks it who it is; its operator's commands are those of its own program.
    ///
    /// # Errors
    /// As [`ask`].
    pub fn target(&self) -> Result<Target, String> {
        let mut target = ask(&self.uri)?;
        operate(&mut target, &self.program, &self.folder);
        Ok(target)
    }
}

impl Running {
    /// SIGTERM, and everything that follows from it.
    fn stop(self) -> Result<(), String> {
        let Self { mut child, watch, mut output } = self;
        drop(watch);
        kill_process(Pid::from_child(&child), Signal::TERM).map_err(|why| why.to_string())?;
        let (alive, ended) = channel::<()>();
        thread::spawn(move || {
            // An error is the end, as far as anybody here cares.
            let _ended = output.read_to_end(&mut Vec::new());
            drop(alive);
        });
        if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(ENDING_LIMIT) {
            end(child);
            return Err(format!("it did not end within {} s", ENDING_LIMIT.as_secs()));
        }
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("it ended with {status}")),
            Err(why) => Err(why.to_string()),
        }
    }

    fn end(self) {
        drop(self.watch);
        end(self.child);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
        }
        // What is left behind is in a folder for such things.
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

/// Kills it, unless it has ended already.
fn end(mut child: Child) {
    let _killed = child.kill();
    let _reaped = child.wait();
}
