//! The programs of `examples/`, each run as a user runs it, against a broker of its own.

use crate::clients::install;
use crate::support::process::{Folder, Process, leveret, outcome, outcome_within};
use crate::tidy::source::{files, root};
use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// How long cargo may take to build the examples; they are there already when all tests are run.
const BUILD_PATIENCE: Duration = Duration::from_secs(900);

/// The queues in which examples leave messages because that is what they are about.
const KEEP_MESSAGES: [&str; 2] = ["events", "orders"];

/// Runs a program against a broker: it must end well, and print exactly `expected`. Returns what
/// the broker's operator sees afterwards of parked messages.
#[track_caller]
fn check(program: &mut Command, expected: &str) -> String {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let url = format!("amqp://guest:guest@{}/%2F", broker.amqp);
    // One way to say where the broker is suffices for a test; the other is the same line of each
    // example.
    let output = outcome(program.arg(url).env_remove("AMQP_URL"));
    let parked =
        outcome(leveret().args(["ctl", "--silent", "list_parked", "--data-dir"]).arg(folder.at("data")));
    let queues = leveret()
        .args(["ctl", "--silent", "list_queues", "name", "messages", "--data-dir"])
        .arg(folder.at("data"))
        .output()
        .expect("the binary was built");
    let queues = String::from_utf8_lossy(&queues.stdout).into_owned();
    let (_status, log) = broker.stop();
    let [printed, complained] = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    let status = output.status;
    assert!(status.success(), "it ended with {status}\n{printed}{complained}\nthe broker logged:\n{log}");
    assert_eq!(printed.trim_end(), expected, "{complained}");
    for queue in queues.lines() {
        let (name, messages) = queue.split_once('\t').expect("two columns were asked for");
        assert!(messages == "0" || KEEP_MESSAGES.contains(&name), "the example left messages: {queue}");
    }
    String::from_utf8_lossy(&parked.stdout).into_owned()
}

/// The folder of the examples that cargo has built.
fn built() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--offline", "--examples", "--profile", profile]);
        build.arg("--target-dir").arg(&target).current_dir(root());
        // What cargo tells this process of its package makes build scripts run again that look at
        // such variables.
        let told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in env::vars().filter(|(name, _)| told(name)) {
            build.env_remove(name);
        }
        let output = outcome_within(BUILD_PATIENCE, &mut build);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        target.join(if cfg!(debug_assertions) { "debug" } else { "release" }).join("examples")
    })
}

fn rust(name: &str) -> Command {
    Command::new(built().join(name))
}

fn python(name: &str) -> Command {
    let mut command = Command::new(install::python("pika"));
    command.arg(root().join("examples/python").join(name).with_extension("py"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn node(name: &str) -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", install::node_modules("amqplib").join("node_modules"));
    command.arg(root().join("examples/node").join(name).with_extension("js"));
    command
}

/// Defines a test for each example, and a list of all.
macro_rules! examples {
    ($($language:ident { $($name:ident: $expected:expr;)* })*) => {
        $(mod $language {
            $(#[test] fn $name() { super::check(&mut super::$language(stringify!($name)), $expected); })*
        })*

        const EXAMPLES: &[(&str, &str)] = &[$($((stringify!($language), stringify!($name)),)*)*];
    };
}

const WORK_QUEUE: &str = "started task 0\nstarted task 1\ndone task 0 (redelivered)\ndone task 1 (redelivered)\n\
                          done task 2\ndone task 3\ndone task 4";

examples! {
    rust {
        hello: "received hello";
        work_queue: super::WORK_QUEUE;
    }
    python {
        hello: "received hello";
        work_queue: super::WORK_QUEUE;
        retry: "attempt 1\nattempt 2\nattempt 3\nattempt 4\nset aside poison from emails because of delivery_limit";
        delayed: "waiting 2\nreceived first\nreceived second";
        stream: "from first\n0 event 0\n1 event 1\n2 event 2\nfrom 1\n1 event 1\n2 event 2\nfrom -1\n2 event 2";
        deduplication: "in the queue 1";
    }
    node {
        hello: "received hello";
        work_queue: "done 6";
        retry: "attempt 1\nattempt 2\nattempt 3\nattempt 4\nset aside because of delivery_limit";
    }
}

/// The one example after which an operator finds something.
#[test]
fn a_task_that_fails_for_good_is_parked() {
    let attempts = "attempt 1, failures before: None\nattempt 2, failures before: Some(LongLongInt(1))\n\
                    attempt 3, failures before: Some(LongLongInt(2))\nattempt 4, failures before: Some(LongLongInt(3))";
    let parked = check(&mut rust("retry"), attempts);
    assert!(parked.starts_with("invoices\tdelivery_limit\tno_exchange\t"), "{parked}");
}

/// The one example that needs no broker: it is one.
#[test]
fn a_program_runs_a_broker_of_its_own() {
    let output = outcome(&mut rust("embedded"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "received hello\n");
}

#[test]
fn every_example_is_run() {
    let listed: BTreeSet<String> = EXAMPLES
        .iter()
        .map(|(language, name)| match *language {
            "rust" => format!("examples/{name}.rs"),
            "python" => format!("examples/python/{name}.py"),
            other => format!("examples/{other}/{name}.js"),
        })
        .chain(["examples/embedded.rs".to_owned(), "examples/retry.rs".to_owned()])
        .collect();
    let there: BTreeSet<String> =
        files().into_iter().map(|file| file.path).filter(|path| path.starts_with("examples/")).collect();
    assert_eq!(listed, there);
}
