//! The broker under test: asked who it is, or started for the occasion.

use crate::run::identify;
use crate::run::operator::Command;
use crate::run::target::Target;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Stdio};

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

/// A Leveret that lives as long as this does.
#[derive(Debug)]
pub struct Own {
    child: Child,
    program: PathBuf,
    folder: PathBuf,
    /// Where it is.
    pub uri: String,
}

impl Own {
    /// Starts `program` on a free port, with its data in a new folder inside `parent`.
    ///
    /// # Errors
    /// It cannot be started or does not become ready.
    pub fn start(program: &Path, parent: &Path) -> Result<Self, String> {
        let named = |why: &dyn std::fmt::Display| format!("{}: {why}", program.display());
        if !program.exists() {
            return Err(named(
                &"there is no such program; 'cargo build' makes it, --uri takes any other broker",
            ));
        }
        let folder = parent.join(format!("conformance-{}-{:x}", process::id(), crate::clock::stamp()));
        fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let mut command = process::Command::new(program);
        let settings = env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LEVERET_"));
        settings.for_each(|(name, _)| {
            command.env_remove(name);
        });
        let child = command
            .args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|why| named(&why))?;
        let mut own = Self { child, program: program.to_owned(), folder, uri: String::new() };
        let mut ready = String::new();
        let stdout = own.child.stdout.take().ok_or_else(|| named(&"it has no output"))?;
        BufReader::new(stdout).read_line(&mut ready).map_err(|why| named(&why))?;
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("amqp="));
        let address = address.and_then(|all| all.split(',').next());
        own.uri = match address {
            Some(address) => format!("amqp://guest:guest@{address}/%2f"),
            None => return Err(named(&"it did not become ready")),
        };
        Ok(own)
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

impl Drop for Own {
    fn drop(&mut self) {
        // It may have ended already, and what is left behind is in a folder for such things.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        let _removed = fs::remove_dir_all(&self.folder);
    }
}
