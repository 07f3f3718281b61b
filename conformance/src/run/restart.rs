//! How the broker under test is ended, and comes back with its data.

use crate::run::operator::Command;
use std::path::PathBuf;

/// How it is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is asked to end, and puts everything in order.
    Stop,
    /// It is killed: what it had only in memory is gone.
    Kill,
}

impl Ending {
    /// As scripts and commands say it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Kill => "kill",
        }
    }
}

/// Who restarts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restarts {
    /// A command, to which the ending is appended, and which is done once the broker is back.
    /// Others use the broker as well, so that a case which has it restarted runs alone.
    Command(Command),
    /// The runner: each such case has a broker of its own.
    Program {
        /// What is started.
        program: PathBuf,
        /// Its data is in a folder in here.
        parent: PathBuf,
    },
}
