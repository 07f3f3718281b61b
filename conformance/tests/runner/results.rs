//! A whole run as its readers see it: counts, JSON, JUnit, the table.

use crate::fake::{Fake, Say};
use conformance::run::Failure;
use conformance::run::operator::Command;
use conformance::run::restart::Restarts;
use conformance::run::target::Target;
use conformance::script::{Script, read};
use conformance::suite::json::json;
use conformance::suite::junit::junit;
use conformance::suite::report::summary;
use conformance::suite::result::{Case, Outcome, Run, Tally};
use conformance::suite::table::table;
use conformance::suite::{Options, run};
use std::path::Path;
use std::time::Duration;

const DIFFERENT: &str = "title: A <thing>\nsource: s\nlevel: specification, basic.ack\ndiffers: fake 1 does it so; we do not\n\
    open a\nwhen fake >= 1.2 {\n  close a\n} otherwise {\n  drop a\n}\n";

fn scripts() -> Vec<Script> {
    let named = |name: &str, text: &str| read(Path::new(name), name, text).expect("a sound script");
    vec![
        named("hare/different", DIFFERENT),
        named(
            "hare/failing",
            "title: t\nsource: s\nlevel: rabbitmq\nopen a.1\na.1 > queue.purge\nwithin 20ms a.1 < queue.purge-ok\n",
        ),
        named("stream/skipped", "title: t\nsource: s\nlevel: rabbitmq\nneeds: streams\nopen a\n"),
        named(
            "stream/alone",
            "title: t\nsource: s\nlevel: specification, class channel\nneeds: alone\nopen a\n",
        ),
    ]
}

fn target(version: &str) -> Target {
    let mut target = Target::parse("amqp://").expect("all of it has a default");
    (target.product, target.version) = ("Fake".into(), version.into());
    target
}

#[test]
fn a_run_counts_and_says_each_case_once() {
    let broker = Fake::answering(|_, _| Vec::<Say>::new());
    let scripts = scripts();
    let target = conformance::suite::broker::ask(&broker.uri()).expect("it answers");
    let options = Options { jobs: 3, without: vec!["other:alone".into(), "fake:streams".into()] };
    let names = std::sync::Mutex::new(Vec::new());
    let run = run(&scripts, &target, &options, &|case| {
        names.lock().expect("no thread failed").push(case.script.name.clone());
    });
    let run = run.expect("nothing is to be imported");
    broker.end();
    let tally = Tally { passed: 2, differing: 1, failed: 1, skipped: 1 };
    assert_eq!(Tally::of(&run.cases), tally);
    let mut names = names.into_inner().expect("no thread failed");
    assert_eq!(names.last().map(String::as_str), Some("stream/alone"), "it waits for all others");
    names.sort();
    assert_eq!(names, ["hare/different", "hare/failing", "stream/alone", "stream/skipped"]);
    let order: Vec<&str> = run.cases.iter().map(|case| case.script.name.as_str()).collect();
    assert_eq!(order, ["hare/different", "hare/failing", "stream/skipped", "stream/alone"]);
    let summary = summary(&run);
    for line in [
        "Fake 1.2.3              2 passed    1 failed    1 skipped  (1 as only this broker does)\n",
        "  specification         2 passed  (1 as only this broker does)\n",
        "  rabbitmq              0 passed    1 failed    1 skipped\n",
    ] {
        assert!(summary.contains(line), "'{line}' is not in\n{summary}");
    }
}

/// What a run of a script with definitions, and of one with an operator, comes to when these
/// commands are given.
fn outcomes(import: Option<&str>, operator: Option<&str>) -> Result<Vec<Outcome>, String> {
    let named = |name: &str, text: &str| read(Path::new(name), name, text).expect("a sound script");
    let scripts = [
        named(
            "hare/defined",
            "title: t\nsource: s\nlevel: rabbitmq\ndefinitions: {\"users\": [{\"name\": \"$u\", \"of\": \"$vhost\"}]}\nopen a user=$u\n",
        ),
        named(
            "hare/operated",
            "title: t\nsource: s\nlevel: rabbitmq\nunique u\nopen a\noperator delete_user $u -p \".*\"\n",
        ),
        named("hare/plain", "title: t\nsource: s\nlevel: rabbitmq\nopen a\n"),
    ];
    let broker = Fake::answering(|_, _| Vec::<Say>::new());
    let mut target = conformance::suite::broker::ask(&broker.uri()).expect("it answers");
    target.import = import.map(Command::shell);
    target.operator = operator.map(Command::shell);
    let run = run(&scripts, &target, &Options { jobs: 3, without: Vec::new() }, &|_| {});
    broker.end();
    run.map(|run| run.cases.into_iter().map(|case| case.outcome).collect())
}

#[test]
fn definitions_are_imported_and_commands_given_where_somebody_says_how() {
    let skipped = |outcome: &Outcome| matches!(outcome, Outcome::Skipped(why) if why.contains("no command"));
    let without = outcomes(None, None).expect("nothing is imported");
    assert_eq!(without.iter().map(skipped).collect::<Vec<_>>(), [true, true, false]);

    let import = r#"grep -q '"name": "u-[0-9a-f]*-0"' {} && grep -q '"of": "/"' {}"#;
    let operator = r#"check() { test $1 = delete_user && test $3 = -p && test "$4" = '.*'; }; check"#;
    let with = outcomes(Some(import), Some(operator)).expect("it is imported");
    assert_eq!(with, [const { Outcome::Passed }; 3]);

    let why = outcomes(Some("echo no such section; exit 1;"), None).expect_err("nothing is imported");
    assert!(why.contains("were not imported") && why.contains("no such section"), "{why}");
    let failing = outcomes(None, Some("echo no such user; exit 70;")).expect("nothing is imported");
    match &failing[1] {
        Outcome::Failed(failure) => assert!(failure.reason.contains("no such user"), "{failure:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broker_that_hangs_ends_the_run_after_twenty_cases() {
    let body = "title: t\nsource: s\nlevel: rabbitmq\nopen a.1\na.1 > queue.purge\nwithin 20ms a.1 < queue.purge-ok\n";
    let scripts: Vec<Script> = (0..30)
        .map(|at| format!("hare/case{at:02}"))
        .map(|name| read(Path::new(&name), &name, body).expect("a sound script"))
        .collect();
    let broker = Fake::answering(|_, _| Vec::<Say>::new());
    let target = conformance::suite::broker::ask(&broker.uri()).expect("it answers");
    let run = run(&scripts, &target, &Options { jobs: 1, without: Vec::new() }, &|_| {});
    let run = run.expect("nothing is to be imported");
    broker.end();
    let (asked, spared) = run.cases.split_at(20);
    assert!(asked.iter().all(|case| matches!(&case.outcome, Outcome::Failed(failure) if failure.is_silence)));
    assert!(
        spared.iter().all(|case| matches!(&case.outcome, Outcome::Skipped(why) if why.contains("hangs")))
    );
}

/// What a run of two scripts, of which one has the broker restarted, comes to with this command.
fn restarted(command: Option<&str>) -> Vec<Outcome> {
    let named = |name: &str, text: &str| read(Path::new(name), name, text).expect("a sound script");
    let scripts = [
        named(
            "hare/killed",
            "title: t\nsource: s\nlevel: rabbitmq\nopen a.1\nrestart kill\nopen a.1\nsync a.1\n",
        ),
        named("hare/plain", "title: t\nsource: s\nlevel: rabbitmq\nopen a\n"),
    ];
    let broker = Fake::answering(|_, _| Vec::<Say>::new());
    let mut target = conformance::suite::broker::ask(&broker.uri()).expect("it answers");
    target.restarts = command.map(|text| Restarts::Command(Command::shell(text)));
    let run = run(&scripts, &target, &Options { jobs: 2, without: Vec::new() }, &|_| {});
    broker.end();
    let run = run.expect("nothing is to be imported");
    run.cases.into_iter().map(|case| case.outcome).collect()
}

#[test]
fn a_broker_is_restarted_where_somebody_says_how() {
    let without = restarted(None);
    assert!(matches!(&without[0], Outcome::Skipped(why) if why.contains("no command")), "{without:?}");
    assert_eq!(restarted(Some("test kill =")), [const { Outcome::Passed }; 2]);
    let failing = restarted(Some("echo no such node; exit 69;"));
    assert!(
        matches!(&failing[0], Outcome::Failed(failure) if failure.reason.contains("no such node")),
        "{failing:?}"
    );
}

/// Two brokers of two versions, one of which differs.
fn runs(scripts: &[Script]) -> Vec<Run<'_>> {
    let failure = Failure {
        line: 5,
        text: "a < eof".into(),
        reason: "it is \"<\"\nand more".into(),
        came: String::new(),
        bytes: vec![0, 0xce],
        transcript: vec!["\u{1}".into()],
        is_silence: false,
    };
    let run = |version: &str| {
        let target = target(version);
        let cases = scripts.iter().enumerate().map(|(at, script)| {
            let outcome = match at {
                1 => Outcome::Failed(Box::new(failure.clone())),
                2 => Outcome::Skipped("needs streams".into()),
                _ => Outcome::Passed,
            };
            let differs = script.differs_for(&target.product, &target.version);
            Case { script, outcome, differs, took: Duration::from_millis(1500) }
        });
        let cases = cases.collect();
        Run { cases, target, took: Duration::from_secs(2) }
    };
    vec![run("1.1"), run("1.2.3")]
}

#[test]
fn the_table_has_two_columns_a_broker_and_says_what_differs() {
    let scripts = scripts();
    let wanted = "\
| class | Fake 1.1, specification | Fake 1.1, rabbitmq | Fake 1.2.3, specification | Fake 1.2.3, rabbitmq |
|---|---|---|---|---|
| hare | 1 | 0, **1 failed** | 0 and 1 otherwise | 0, **1 failed** |
| stream | 1 | 0, 1 not asked | 1 | 0, 1 not asked |
| **all** | 2 | 0, **1 failed**, 1 not asked | 1 and 1 otherwise | 0, **1 failed**, 1 not asked |

Fake 1.1, rabbitmq, fails:

- `hare/failing`: line 5: it is \"<\"

Fake 1.1, rabbitmq, was not asked:

- `stream/skipped`: needs streams

Fake 1.2.3, specification, does otherwise, as the scripts say:

- `hare/different`: does it so; we do not

Fake 1.2.3, rabbitmq, fails:

- `hare/failing`: line 5: it is \"<\"

Fake 1.2.3, rabbitmq, was not asked:

- `stream/skipped`: needs streams
";
    assert_eq!(table(&runs(&scripts)), wanted);
}

#[test]
fn json_tells_all_of_every_case() {
    let scripts = scripts();
    let value: serde_json::Value = serde_json::from_str(&json(&runs(&scripts))).expect("it is JSON");
    let run = &value["runs"][1];
    assert_eq!((run["product"].as_str(), run["version"].as_str()), (Some("Fake"), Some("1.2.3")));
    assert_eq!((run["passed"].as_u64(), run["differing"].as_u64()), (Some(2), Some(1)));
    let counts = |level: &str, what: &str| run["levels"][level][what].as_u64();
    assert_eq!(
        ["passed", "differing", "failed"].map(|what| counts("specification", what)),
        [Some(2), Some(1), Some(0)]
    );
    assert_eq!(
        ["passed", "failed", "skipped"].map(|what| counts("rabbitmq", what)),
        [Some(0), Some(1), Some(1)]
    );
    assert_eq!(
        (&run["cases"][0]["level"], &run["cases"][0]["about"]),
        (&"specification".into(), &"basic.ack".into())
    );
    assert_eq!(run["cases"][1]["level"], "rabbitmq");
    assert_eq!(run["cases"][0]["differs"]["reason"], "does it so; we do not");
    assert_eq!(value["runs"][0]["cases"][0]["differs"], serde_json::Value::Null);
    let failed = &run["cases"][1];
    assert_eq!((failed["outcome"].as_str(), failed["took_ms"].as_u64()), (Some("failed"), Some(1500)));
    assert_eq!(failed["failure"]["line"], 5);
    assert_eq!(failed["failure"]["bytes"], "00ce");
    assert_eq!(run["cases"][2]["skipped"], "needs streams");
}

#[test]
fn junit_has_a_suite_for_each_class_and_level_and_no_byte_that_xml_has_not() {
    let scripts = scripts();
    let xml = junit(&runs(&scripts));
    for part in [
        "<testsuite name=\"Fake 1.1 hare specification\" tests=\"1\" failures=\"0\" skipped=\"0\" errors=\"0\" time=\"1.500\">",
        "<testsuite name=\"Fake 1.1 hare rabbitmq\" tests=\"1\" failures=\"1\" skipped=\"0\" errors=\"0\" time=\"1.500\">",
        "<testcase classname=\"hare\" name=\"hare/different\" time=\"1.500\"/>",
        "<failure message=\"line 5: it is &quot;&lt;&quot;\nand more\">FAILED hare/failing: t\n",
        "<skipped message=\"needs streams\"/>",
    ] {
        assert!(xml.contains(part), "'{part}' is not in\n{xml}");
    }
    assert!(!xml.contains('\u{1}') && xml.ends_with("</testsuites>\n"));
}
