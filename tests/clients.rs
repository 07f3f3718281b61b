//! Other people's clients against the real process, unmodified: the programs and suites of
//! `conformance/clients/`.
//!
//! With a URI in `LEVERET_TEST_AMQP` they run against that broker instead: what they expect is what
//! RabbitMQ does, and this is how it is checked. Its management API is at the URL in
//! `LEVERET_TEST_API`. Programs that meet a restart do so there when `LEVERET_TEST_RESTART` has a
//! command for the shell that ends once that broker was ended and is back, with its data; without
//! one they start their own. `kill` always does. Scripts append `stop` or `kill` to that command,
//! which says how it is ended.

mod aio_pika;
mod amqplib;
mod celery;
pub(crate) mod install;
mod kill;
mod lapin;
mod management;
mod pika;

use crate::support::process::{Folder, Process, leveret, outcome, outcome_within};
use conformance::run::operator;
use conformance::run::restart::Restarts;
use conformance::run::target::Target;
use conformance::suite::broker::operate;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// How long a whole suite may take.
const SUITE_PATIENCE: Duration = Duration::from_secs(300);

/// Held for reading by whoever uses somebody else's broker, for writing by who restarts it.
static SHARED: RwLock<()> = RwLock::new(());

/// The broker under test.
pub(crate) struct Subject {
    /// Where it is.
    pub(crate) uri: String,
    /// Where its management API is.
    pub(crate) api: String,
    whose: Whose,
}

/// Whom the broker belongs to.
enum Whose {
    Ours(Process, Folder),
    /// Somebody else's, which is held meanwhile.
    Others(#[expect(dead_code, reason = "it is held, not looked at")] Hold),
}

/// What may happen to somebody else's broker meanwhile.
enum Hold {
    /// Nobody restarts it.
    Beside(#[expect(dead_code, reason = "it is held, not looked at")] RwLockReadGuard<'static, ()>),
    /// Nobody else uses it.
    Alone(#[expect(dead_code, reason = "it is held, not looked at")] RwLockWriteGuard<'static, ()>),
}

impl Subject {
    /// Starts one, unless there is one already.
    pub(crate) fn start() -> Self {
        Self::held(|| Hold::Beside(SHARED.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// As [`Self::start`], where nobody else minds that it is restarted.
    pub(crate) fn start_alone() -> Self {
        Self::held(|| Hold::Alone(SHARED.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn held(hold: impl FnOnce() -> Hold) -> Self {
        if let Ok(uri) = env::var("LEVERET_TEST_AMQP") {
            let api = env::var("LEVERET_TEST_API").unwrap_or_else(|_| "http://127.0.0.1:15672".to_owned());
            return Self { uri, api, whose: Whose::Others(hold()) };
        }
        let folder = Folder::new();
        let process = Process::start(&folder);
        let api = format!("http://{}", process.http);
        Self { uri: uri(process.amqp), api, whose: Whose::Ours(process, folder) }
    }

    /// Has its operator stand by: ours by `leveret ctl`, others' as somebody said, if at all. Ours
    /// is not restarted: a case that wants that has one of its own.
    pub(crate) fn operate(&self, target: &mut Target) {
        match &self.whose {
            Whose::Ours(_, folder) => {
                let program = Path::new(env!("CARGO_BIN_EXE_leveret"));
                operate(target, program, &folder.at("data"));
                let parent = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
                target.restarts = Some(Restarts::Program { program: program.to_owned(), parent });
            }
            Whose::Others(_) => {
                let said = env::var("LEVERET_TEST_OPERATOR").ok();
                said.into_iter().for_each(|text| target.operated_by(operator::Command::shell(&text)));
                let said = env::var("LEVERET_TEST_RESTART").ok();
                target.restarts = said.map(|text| Restarts::Command(operator::Command::shell(&text)));
            }
        }
    }

    /// Stops it; what it logged.
    pub(crate) fn stop(self) -> String {
        match self.whose {
            Whose::Ours(process, _folder) => process.stop().1,
            Whose::Others(_) => String::new(),
        }
    }
}

fn uri(amqp: SocketAddr) -> String {
    format!("amqp://guest:guest@{amqp}/%2F")
}

/// A broker that can be restarted.
enum Restartable {
    Ours(Process, Folder),
    /// Nobody else uses it meanwhile.
    Others {
        uri: String,
        command: String,
        _alone: RwLockWriteGuard<'static, ()>,
    },
}

impl Restartable {
    fn start() -> Self {
        if let (Ok(uri), Ok(command)) = (env::var("LEVERET_TEST_AMQP"), env::var("LEVERET_TEST_RESTART")) {
            let alone = SHARED.write().unwrap_or_else(PoisonError::into_inner);
            return Self::Others { uri, command, _alone: alone };
        }
        let folder = Folder::new();
        Self::Ours(Process::start(&folder), folder)
    }

    fn uri(&self) -> String {
        match self {
            Self::Ours(process, _) => uri(process.amqp),
            Self::Others { uri, .. } => uri.clone(),
        }
    }

    /// Ends it, ours without a word, and has it back where its clients look for it.
    fn restart(self) -> Self {
        match self {
            Self::Ours(process, folder) => {
                let amqp = process.amqp.to_string();
                process.kill();
                let mut command = leveret();
                command.args(["--amqp", &amqp, "--http", "127.0.0.1:0", "--data-dir"]).arg(folder.at("data"));
                Self::Ours(Process::spawn(&mut command), folder)
            }
            Self::Others { ref command, .. } => {
                ended_well(&outcome(Command::new("sh").args(["-c", command]).stdin(Stdio::null())), command);
                self
            }
        }
    }

    /// What it has logged, if it is ours; it is stopped then.
    fn stop(self) -> String {
        match self {
            Self::Ours(process, _folder) => process.stop().1,
            Self::Others { .. } => String::new(),
        }
    }
}

/// Defines a test for each program; `$run` is called with its name.
macro_rules! tests {
    ($run:ident: $($program:ident)*) => { $(#[test] fn $program() { $run(stringify!($program)); })* };
}
use tests;

/// Where the programs of a client are.
fn programs(client: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/clients").join(client)
}

/// A program in Python, to be given a URI.
fn python(client: &str, program: &str) -> Command {
    let mut command = Command::new(install::python(client));
    command.arg(programs(client).join(program).with_extension("py")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a program against a broker: it must end well.
#[track_caller]
fn check(mut program: Command) {
    let broker = Subject::start();
    let output = outcome(program.arg(&broker.uri).stdin(Stdio::null()));
    ended_well(&output, &broker.stop());
}

/// Runs a suite as it was published, against a broker: only what `<package>.list` names, with a
/// reason, may fail.
#[track_caller]
fn check_suite(client: &str, pin: &str, arguments: &[&str]) {
    let source = install::source(client, pin);
    let package = pin.split("==").next().expect("split gives at least one part");
    let broker = Subject::start();
    let mut suite = Command::new(install::python(client));
    suite.args(["-m", "pytest", "-p", "suite", "-p", "no:cacheprovider", "-o", "log_cli=false"]);
    suite.args(["--quiet", "--tb=short", "--disable-warnings", "--timeout=30"]).args(arguments);
    suite.current_dir(source).env("PYTHONPATH", programs("")).env("PYTHONDONTWRITEBYTECODE", "1");
    suite
        .env("SUITE_BROKER", &broker.uri)
        .env("SUITE_LIST", programs(client).join(format!("{package}.list")));
    let output = outcome_within(SUITE_PATIENCE, suite.stdin(Stdio::null()));
    ended_well(&output, &broker.stop());
}

/// Runs a program that says
/// `published` when its broker is to die, and goes on when it is told `restarted`.
#[track_caller]
fn check_over_a_restart(mut program: Command) {
    let broker = Restartable::start();
    program.arg(broker.uri()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = program.spawn().expect("it was installed");
    let mut line = String::new();
    let mut stdout = BufReader::new(client.stdout.take().expect("it was piped"));
    stdout.read_line(&mut line).expect("a pipe can be read");
    let again = (line == "published\n").then(|| {
        let again = broker.restart();
        writeln!(client.stdin.take().expect("it was piped"), "restarted").expect("the client waits for it");
        again
    });
    let output = client.wait_with_output().expect("its pipes can be read");
    let log = again.map_or_else(String::new, Restartable::stop);
    ended_well(&output, &log);
}

#[track_caller]
pub(crate) fn ended_well(output: &Output, log: &str) {
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    let [printed, complained] = said;
    let status = output.status;
    assert!(status.success(), "it ended with {status}\n{printed}{complained}\nthe broker logged:\n{log}");
}
