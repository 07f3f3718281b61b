//! The scripts of `conformance/` against the real process, a test for each class of them; a case
//! that fails is named in its test's failure, with all that `cargo run -p conformance` says about
//! it.
//!
//! With a URI in `LEVERET_TEST_AMQP` they run against that broker instead, as the clients do.
//! `LEVERET_TEST_OPERATOR` is then the command of its operator, for the shell; without one, scripts
//! that need users or policies are skipped, and without one in `LEVERET_TEST_RESTART` (see
//! `clients`) those that have it restarted.

use crate::clients::Subject;
use conformance::script::Script;
use conformance::script::level::Level;
use conformance::suite::broker::ask;
use conformance::suite::result::Run;
use conformance::suite::{Options, read, report, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// How many cases of a class run at once: they wait more than they work.
const JOBS: usize = 16;

/// The class of scripts that have their broker restarted.
const RESTART: &str = "restart";

/// Held for writing while a case runs that must be alone.
static ALONE: RwLock<()> = RwLock::new(());

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/scripts")
}

/// Runs every script of `class`.
fn check(class: &str) {
    let scripts = read(&folder(), &[format!("{class}/")]).unwrap_or_else(|refusals| {
        let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        panic!("bad scripts:\n{}", lines.join("\n"));
    });
    let (alone, together): (Vec<Script>, Vec<Script>) = scripts
        .into_iter()
        .filter(|script| script.class() == class)
        .partition(|script| script.needs("alone"));
    assert!(alone.len() + together.len() > 0, "class '{class}' has no script");
    let restarts = alone.iter().chain(&together).any(Script::has_restart);
    assert_eq!(
        restarts,
        class == RESTART,
        "whatever has a broker restarted is in '{RESTART}', and nothing else is"
    );
    let broker = if restarts { Subject::start_alone() } else { Subject::start() };
    let mut target = ask(&broker.uri).expect("the broker lets its clients in");
    broker.operate(&mut target);
    // RabbitMQ's words are what its clients know, so Leveret is held to them everywhere.
    target.compares_words = target.product == "Leveret";
    let options = Options { jobs: JOBS, without: Vec::new() };
    let all = |scripts| run(scripts, &target, &options, &|_| {}).unwrap_or_else(|why| panic!("{why}"));
    let mut failures = String::new();
    let mut note = |run: &Run<'_>| failures.push_str(&report::failures(&run.cases));
    {
        let _with_others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
        note(&all(&together));
    }
    if !alone.is_empty() {
        let _without_others = ALONE.write().unwrap_or_else(PoisonError::into_inner);
        note(&all(&alone));
    }
    let log = broker.stop();
    assert!(failures.is_empty(), "\n{failures}\nthe broker logged:\n{log}");
}

/// The folder of a class whose test has this name.
fn folder_of(test: &str) -> String {
    test.replace('_', "-")
}

/// A test for each class, and the list of them all.
macro_rules! classes {
    ($($class:ident)*) => {
        $(
            #[test]
            fn $class() {
                check(&folder_of(stringify!($class)));
            }
        )*

        const CLASSES: &[&str] = &[$(stringify!($class)),*];
    };
}

classes! {
    access basic cc_bcc channel confirm connection consumer content deadletter deduplication
    delayed_message direct_reply_to exchange exchange_types expires firehose frame frameworks length limits permission
    policy priority queue quorum restart retry retry_delays routing stream ttl tx user_id vhost
}

#[test]
fn no_class_is_without_a_test() {
    let tested: BTreeSet<String> = CLASSES.iter().copied().map(folder_of).collect();
    let there: BTreeSet<String> = fs::read_dir(folder())
        .expect("the scripts can be listed")
        .map(|entry| entry.expect("the scripts can be listed").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(there, tested, "each folder of conformance/scripts is a class in the list above");
}

/// Methods that RabbitMQ added to the protocol.
const EXTENSIONS: &[&str] = &[
    "confirm.select",
    "basic.nack",
    "exchange.bind",
    "exchange.unbind",
    "connection.blocked",
    "connection.update-secret",
];

#[test]
fn a_case_of_the_specification_uses_no_extension() {
    let scripts = read(&folder(), &[]).expect("the scripts are sound");
    let (mut cases, mut wrong) = (0, Vec::new());
    for script in scripts.iter().filter(|script| script.head.level == Level::Specification) {
        cases += 1;
        let text = fs::read_to_string(&script.path).expect("it was read before");
        let used =
            EXTENSIONS.iter().filter(|method| text.contains(*method)).map(|method| (*method).to_owned());
        let needed = script.head.needs.iter().filter(|need| *need != "alone").cloned();
        wrong.extend(used.chain(needed).map(|what| format!("{}: {what}", script.name)));
    }
    assert!(cases > 0, "there are such cases");
    assert!(wrong.is_empty(), "of the specification, with what RabbitMQ added:\n{}", wrong.join("\n"));
}
