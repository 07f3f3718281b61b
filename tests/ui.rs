//! The web pages in a real Chromium, by the programs of `tests/ui`: against a real broker, and
//! against a made-up one where that has what is hard to come by.

use crate::clients::{ended_well, install};
use crate::support::process::{Folder, Process, leveret_in, outcome_within};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long all of them may take together.
const PATIENCE: Duration = Duration::from_secs(600);

/// A program of `tests/ui`.
fn node(program: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(folder().join(program)).stdin(Stdio::null());
    command
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui")
}

/// The folder with what drives a browser, and a browser if there is one for this machine.
fn tools() -> PathBuf {
    install::node_modules_of("ui", &folder(), |place| {
        // Without one the tests look for one of the system, and say what to install.
        let _unpacked = node("chromium.mjs").arg(place).env("LEVERET_UI_TOOLS", place).output();
    })
}

#[test]
fn the_pages_work_in_a_browser() {
    let tools = tools();
    let (calm, short) = (Folder::new(), Folder::new());
    let broker = Process::start(&calm);
    let alarmed = Process::spawn(leveret_in(&short).args(["--memory-limit", "1MiB"]));
    let mut run = node("run.mjs");
    run.env("LEVERET_UI_TOOLS", tools).env("LEVERET_UI_SLOW", "1");
    run.env("LEVERET_UI_URL", format!("http://{}", broker.http));
    run.env("LEVERET_UI_ALARMED", format!("http://{}", alarmed.http));
    let output = outcome_within(PATIENCE, &mut run);
    ended_well(&output, &broker.stop().1);
}
