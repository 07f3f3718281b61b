//! Ends a broker that was started for a run when the run ends, however it ends: by a signal or by a
//! fault too.
//!
//! A small shell reads from a pipe that only this process holds. When the process is gone the pipe
//! ends, and the shell kills the broker. It does not heed the signals that a terminal sends to all
//! of its processes.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What the shell does: the broker's number, and a folder to remove with it, are its arguments.
const SCRIPT: &str =
    r#"trap '' HUP INT TERM; read -r _; kill -9 "$1" 2>/dev/null; if [ -n "$2" ]; then rm -rf "$2"; fi"#;

/// A process that ends the broker when the runner is gone. Dropped before the broker is waited for:
/// its number may be another's afterwards.
#[derive(Debug)]
pub(crate) struct Watch(Child);

impl Watch {
    /// Watches over `broker`; what it leaves in `folder` goes with it.
    ///
    /// # Errors
    /// There is no shell.
    pub(crate) fn over(broker: &Child, folder: Option<&Path>) -> io::Result<Self> {
        let watch = Command::new("sh")
            .args(["-c", SCRIPT, "sh", &broker.id().to_string()])
            .arg(folder.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(watch))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Before its pipe ends: from here on the broker is its owner's affair.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}
