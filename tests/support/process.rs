//! The real process: started on free ports with a folder of its own, stopped in every way, gone
//! when dropped.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the process may take for anything before the test fails: long, for it is only reached
/// by a fault.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder for one test, removed with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty folder, different from all others.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("folder-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // A test run that was killed leaves its folders behind, and process ids are used again.
        let _removed = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the build's folder for tests can be written");
        Self(path)
    }

    /// The path of something in it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in it; returns its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, text).expect("a file in a folder of ours can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the build's folder.
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// `leveret`, with nothing said but what a test adds.
pub(crate) fn leveret() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    for name in [
        "DATA_DIR",
        "AMQP",
        "AMQPS",
        "HTTP",
        "CONFIG",
        "LOG",
        "LOG_FORMAT",
        "MEMORY_LIMIT",
        "DEFINITIONS",
        "DISK_FREE_LIMIT",
        "ANONYMOUS_USER",
        "DEFAULT_USER",
        "DEFAULT_PASS",
        "DEFAULT_VHOST",
        "URL",
        "USERNAME",
        "PASSWORD",
        "PASSWORD_FILE",
        "TLS_CA",
        "CLUSTER_NODE",
        "CLUSTER_LISTEN",
        "CLUSTER_PEERS",
        "CLUSTER_SECRET_FILE",
    ] {
        command.env_remove(format!("LEVERET_{name}"));
    }
    command.stdin(Stdio::null());
    command
}

/// As [`leveret`], with free ports and the data in `folder`.
pub(crate) fn leveret_in(folder: &Folder) -> Command {
    let mut command = leveret();
    command.args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir"]).arg(folder.at("data"));
    command
}

/// Runs a command that is expected to end by itself.
pub(crate) fn outcome(command: &mut Command) -> Output {
    outcome_within(PATIENCE, command)
}

/// As [`outcome`], for a command that is known to take long.
pub(crate) fn outcome_within(patience: Duration, command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary was built");
    let id = child.id();
    within(patience, move || child.wait_with_output(), || kill("KILL", id)).expect("its pipes can be read")
}

/// A running broker; killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// The line it printed when it was ready.
    pub(crate) ready: String,
    /// Where it takes AMQP clients; the first, if there are several.
    pub(crate) amqp: SocketAddr,
    /// Where it takes AMQP clients by TLS, if it was told to.
    pub(crate) amqps: Option<SocketAddr>,
    /// Where it serves health and metrics.
    pub(crate) http: SocketAddr,
    /// What it has logged so far.
    logged: Arc<Logged>,
    log: Option<JoinHandle<String>>,
}

#[derive(Default)]
struct Logged {
    text: Mutex<String>,
    more: Condvar,
}

impl Logged {
    /// Takes in what comes until the end; all of it.
    fn read(&self, pipe: impl Read) -> String {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        // What was read before an error is still worth showing.
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            self.text().push_str(&String::from_utf8_lossy(&line));
            self.more.notify_all();
            line.clear();
        }
        self.text().clone()
    }

    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().expect("nobody panics while they hold it")
    }
}

impl Process {
    /// Starts a broker on free ports, its data in `folder`, and waits until it is ready.
    pub(crate) fn start(folder: &Folder) -> Self {
        Self::spawn(&mut leveret_in(folder))
    }

    /// Starts a broker as `command` says and waits until it is ready.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary was built");
        let stdout = child.stdout.take().expect("it was piped");
        let stderr = child.stderr.take().expect("it was piped");
        let logged = Arc::<Logged>::default();
        let log = thread::spawn({
            let logged = Arc::clone(&logged);
            move || logged.read(stderr)
        });
        let id = child.id();
        let mut ready = String::new();
        let ready = in_time(
            move || BufReader::new(stdout).read_line(&mut ready).map(|_bytes| ready),
            || kill("KILL", id),
        )
        .expect("its output can be read");
        if ready.is_empty() {
            panic!("the broker did not become ready: {}", log.join().unwrap_or_default());
        }
        let json: Option<Value> = serde_json::from_str(&ready).ok();
        let address = |key: &str| {
            if let Some(json) = &json {
                let told = if json[key].is_array() { &json[key][0] } else { &json[key] };
                return told.as_str()?.parse().ok();
            }
            let word = ready.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))?;
            word.split(',').next()?.parse().ok()
        };
        let (amqp, amqps, http) = (address("amqp"), address("amqps"), address("http"));
        let (Some(amqp), Some(http)) = (amqp, http) else { panic!("not a ready line: {ready}") };
        Self { child, ready, amqp, amqps, http, logged, log: Some(log) }
    }

    /// Sends a signal by its name, as in `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        kill(name, self.child.id());
    }

    /// Waits until it has logged this.
    pub(crate) fn until_logged(&self, text: &str) {
        let log = self.logged.text();
        let waited = self.logged.more.wait_timeout_while(log, PATIENCE, |log| !log.contains(text));
        let (log, waited) = waited.expect("nobody panics while they hold it");
        assert!(!waited.timed_out(), "'{text}' was never logged: {log}");
    }

    /// Waits until it has ended by itself; its status and what it logged.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let id = self.child.id();
        let log = self.log.take().expect("it is taken here only");
        // The log's pipe ends with the process.
        let log = in_time(move || log.join().unwrap_or_default(), || kill("KILL", id));
        (self.child.wait().expect("it is a child of ours"), log)
    }

    /// SIGTERM, and everything that follows from it.
    pub(crate) fn stop(self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.ended()
    }

    /// `kill -9`: what the process had only in memory is gone.
    pub(crate) fn kill(self) {
        self.signal("KILL");
        self.ended();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn kill(signal: &str, id: u32) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(id.to_string()).status();
    assert!(sent.expect("there is a kill command").success(), "{signal} could not be sent to {id}");
}

/// What `wait` comes back with; should it take too long, `give_up` is called and the test fails.
fn in_time<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static, give_up: impl FnOnce()) -> T {
    within(PATIENCE, wait, give_up)
}

fn within<T: Send + 'static>(
    patience: Duration,
    wait: impl FnOnce() -> T + Send + 'static,
    give_up: impl FnOnce(),
) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(wait()));
    receiver.recv_timeout(patience).unwrap_or_else(|_late| {
        give_up();
        panic!("not done within {patience:?}");
    })
}
