//! The program from outside: what it prints while cases run, and what is left when it is ended.

use crate::fake::Fake;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of this test run.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    // An earlier run with the same number may have left it.
    let _removed = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("scripts/hare")).expect("the build's folder for tests can be written");
    folder
}

fn script(folder: &Path, name: &str, body: &str) {
    let text = format!("title: t\nsource: s\n{body}\n");
    fs::write(folder.join("scripts/hare").join(name), text).expect("a folder of ours can be written");
}

/// A program that says it is a broker, at `uri`, and has the pipe `alive` open for as long as it lives.
fn broker(folder: &Path, uri: &str) -> PathBuf {
    let made = Command::new("mkfifo").arg(folder.join("alive")).status().expect("there is mkfifo");
    assert!(made.success(), "a pipe with a name can be made");
    let address = uri.strip_prefix("amqp://").expect("it is a URI");
    let text = format!(
        "#!/bin/sh\nexec 9>'{}'\necho ready amqp={address}\nexec sleep 600\n",
        folder.join("alive").display()
    );
    let program = folder.join("broker");
    fs::write(&program, text).expect("a folder of ours can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("it is ours");
    program
}

/// Does `work`, which must be done in time; otherwise `child` is killed and the test fails.
fn in_time<T: Send + 'static>(child: &mut Child, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, done) = channel();
    thread::spawn(move || sender.send(work()));
    done.recv_timeout(PATIENCE).unwrap_or_else(|_late| {
        child.kill().expect("it is a child of ours");
        panic!("not done within {PATIENCE:?}");
    })
}

#[test]
fn failures_are_printed_as_they_come_and_a_signal_ends_the_broker_too() {
    let fake = Fake::answering(|_, _| Vec::new());
    let folder = folder("ended");
    script(&folder, "failing.amqp", "open a.1\na.1 > queue.purge\nwithin 20ms a.1 < queue.purge-ok");
    script(&folder, "waiting.amqp", "open a\nwait 600s");
    let mut runner = Command::new(env!("CARGO_BIN_EXE_conformance"))
        .arg("--leveret")
        .arg(broker(&folder, &fake.uri()))
        .arg("--scripts")
        .arg(folder.join("scripts"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the runner was built");
    // Opening waits until the broker has opened it, too.
    let pipe = folder.join("alive");
    let mut alive =
        in_time(&mut runner, move || fs::File::open(pipe)).expect("the broker opens the other end");
    let mut output = BufReader::new(runner.stdout.take().expect("it was piped"));
    let failed = in_time(&mut runner, move || {
        let mut line = String::new();
        while !line.starts_with("FAILED hare/failing") {
            line.clear();
            assert!(output.read_line(&mut line).expect("it prints text") > 0, "the run is over");
        }
        line
    });
    assert!(failed.contains("FAILED hare/failing: t"), "{failed}");
    let sent = Command::new("kill").arg("-TERM").arg(runner.id().to_string()).status();
    assert!(sent.expect("there is a kill command").success(), "the runner is there");
    // The end of the pipe is the end of the broker.
    let read = in_time(&mut runner, move || alive.read_to_end(&mut Vec::new()));
    assert_eq!(read.expect("a pipe can be read"), 0);
    runner.wait().expect("it is a child of ours");
    fake.end();
    fs::remove_dir_all(folder).expect("it is ours");
}
