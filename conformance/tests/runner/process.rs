//! The program from outside: what it prints while cases run, and what is left when it is ended.

use crate::fake::{Fake, Say};
use amq_protocol::protocol::{AMQPClass, channel};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
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
    script_of("rabbitmq", folder, name, body);
}

fn script_of(level: &str, folder: &Path, name: &str, body: &str) {
    let text = format!("title: t\nsource: s\nlevel: {level}\n{body}\n");
    fs::write(folder.join("scripts/hare").join(name), text).expect("a folder of ours can be written");
}

/// A program that says it is a broker, at `uri`, and has the pipe `alive` open for as long as it
/// lives.
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
    let (sender, done) = mpsc::channel();
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

#[test]
fn the_cases_of_one_level_run_alone_and_reply_texts_count_where_that_is_asked_for() {
    let fake = Fake::answering(|_, method| match method {
        AMQPClass::Queue(_) => vec![Say::Method(1, missing())],
        _ => Vec::new(),
    });
    let folder = folder("levels");
    let wanted = "open a.1\na.1 > queue.purge\na.1 < channel.close reply-code=404 reply-text=\"NOT_FOUND\"";
    script_of("specification, queue.purge", &folder, "asked.amqp", wanted);
    script_of("rabbitmq", &folder, "done.amqp", wanted);
    let run = |options: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_conformance"))
            .args(["--uri", &fake.uri(), "--scripts"])
            .arg(folder.join("scripts"))
            .args(options)
            .output()
            .expect("the runner was built");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let check = |options: &[&str], status: i32, part: &str| {
        let (code, said) = run(options);
        assert!(code == Some(status) && said.contains(part), "{options:?}: {code:?}, '{part}' in\n{said}");
    };
    check(&[], 1, "  specification         1 passed\n  rabbitmq              0 passed    1 failed\n2 cases");
    check(&["--level", "specification"], 0, "  specification         1 passed\n1 cases");
    check(&["--level", "rabbitmq"], 1, "  rabbitmq              0 passed    1 failed\n1 cases");
    check(&["--level", "specification", "--words"], 1, "reply-text: \"NOT_FOUND\" expected, \"gone\" came");
    check(&["--level", "strict"], 2, "");
    fake.end();
    fs::remove_dir_all(folder).expect("it is ours");
}

/// A close with words of its own.
fn missing() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close {
        reply_code: 404,
        reply_text: "gone".into(),
        class_id: 50,
        method_id: 30,
    }))
}
