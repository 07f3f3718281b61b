//! What the programs have in common that start a broker of their own and judge it: where it is,
//! where its data goes, how they end.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The run could not be made.
const STATUS_UNABLE: u8 = 2;

/// Where a run keeps the broker's data and log.
pub(crate) struct Place {
    folder: PathBuf,
    /// Somebody has said where, and wants to look at it afterwards.
    kept: bool,
}

impl Place {
    /// The folder that was asked for, or one of its own that `name` and `seed` tell from others.
    pub(crate) fn of(given: Option<PathBuf>, name: &str, seed: u64) -> Self {
        let kept = given.is_some();
        Self { folder: given.unwrap_or_else(|| env::temp_dir().join(format!("{name}-{seed:x}"))), kept }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends the run: well, or so that somebody will want to look.
    pub(crate) fn leave(self, is_well: bool) -> ExitCode {
        if !is_well {
            say(&format!("data and log are in {}", self.folder.display()));
            return ExitCode::FAILURE;
        }
        if !self.kept {
            // What cannot be removed is left to whoever cleans that folder.
            let _removed = fs::remove_dir_all(self.folder);
        }
        ExitCode::SUCCESS
    }
}

/// The broker's program: the one that was asked for, or `leveret` beside this one.
pub(crate) fn broker(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| env::current_exe().unwrap_or_default().with_file_name("leveret"))
}

/// Ends a run that could not be made.
pub(crate) fn unable(name: &str, why: &str) -> ExitCode {
    let _nowhere_else_to_say = writeln!(io::stderr(), "{name}: {why}");
    STATUS_UNABLE.into()
}

/// Writes a line of the result.
pub(crate) fn say(line: &str) {
    // Nobody listens when this cannot be written; the status still tells.
    let _said = writeln!(io::stdout(), "{line}");
}
