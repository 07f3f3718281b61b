//! pika, the Python client: its tutorials and what programs written for RabbitMQ expect beyond them.
//!
//! The programs are in `programs/`; each takes a broker's URI, asserts what it sees, and passes on RabbitMQ 4.3 too,
//! except `poison.py`, which shows where this broker goes beyond it. pika is installed once, at a fixed version, into
//! the build folder.

use crate::clients::{Subject, restart, uri};
use crate::support::process::{Folder, Process, outcome};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

const VERSION: &str = "1.4.4";

/// A Python that has pika.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let place =
        Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients").join(format!("pika-{VERSION}"));
    let (python, stamp) = (place.join("bin/python"), place.join("installed"));
    if !stamp.exists() {
        let venv = [Path::new("-m"), Path::new("venv"), Path::new("--clear"), &place];
        install("python3", Command::new("python3").args(venv));
        let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
        install("pip", Command::new(&python).args(pip).arg(format!("pika=={VERSION}")));
        fs::write(stamp, VERSION).expect("the build folder can be written");
    }
    python
});

/// Runs a command that sets pika up.
fn install(tool: &str, command: &mut Command) {
    let needs = "these tests need Python 3.8 or later with its venv module, and the Python package index";
    let output = command.output().unwrap_or_else(|fault| panic!("{tool} cannot be run ({fault}); {needs}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} failed ({}); {needs}\n{said}", output.status);
}

fn program(name: &str, uri: &str) -> Command {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/programs");
    let mut command = Command::new(&*PYTHON);
    command.arg(programs.join(name).with_extension("py")).arg(uri);
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    command
}

/// Runs a program against a broker of its own: it must end well.
#[track_caller]
fn check(name: &str) {
    LazyLock::force(&PYTHON);
    let broker = Subject::start();
    let output = outcome(&mut program(name, &broker.uri));
    let log = broker.stop();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name} ended with {}\n{said}\nthe broker logged:\n{log}",
        output.status
    );
}

#[test]
fn hello_world() {
    check("hello_world");
}

#[test]
fn work_queues() {
    check("work_queues");
}

#[test]
fn publish_subscribe() {
    check("publish_subscribe");
}

#[test]
fn routing() {
    check("routing");
}

#[test]
fn topics() {
    check("topics");
}

#[test]
fn rpc() {
    check("rpc");
}

#[test]
fn headers() {
    check("headers");
}

#[test]
fn confirms() {
    check("confirms");
}

#[test]
fn basic_get() {
    check("basic_get");
}

#[test]
fn dead_letters() {
    check("dead_letters");
}

#[test]
fn delivery_limit() {
    check("delivery_limit");
}

#[test]
fn poison() {
    check("poison");
}

#[test]
fn queue_kinds() {
    check("queue_kinds");
}

#[test]
fn errors() {
    check("errors");
}

#[test]
fn prefetch() {
    check("prefetch");
}

#[test]
fn heartbeat() {
    check("heartbeat");
}

#[test]
fn bodies() {
    check("bodies");
}

#[test]
fn reconnect() {
    LazyLock::force(&PYTHON);
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let amqp = broker.amqp;
    let mut command = program("reconnect", &uri(amqp));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().expect("a Python was installed");
    let mut line = String::new();
    BufReader::new(client.stdout.take().expect("it was piped"))
        .read_line(&mut line)
        .expect("a pipe can be read");
    let again = (line == "published\n").then(|| {
        broker.kill();
        let again = restart(&folder, amqp);
        writeln!(client.stdin.take().expect("it was piped"), "restarted").expect("the client waits for it");
        again
    });
    let output = client.wait_with_output().expect("its pipes can be read");
    assert!(
        output.status.success(),
        "reconnect ended with {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    drop(again);
}
