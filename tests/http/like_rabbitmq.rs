//! The management API is asked what a RabbitMQ was asked, and has to answer the same but for what
//! `differences.txt` permits, each with its reason.
//!
//! `rabbitmq-4.3.6.json` was made by `cargo run -p conformance -- api`.

use crate::support::process::{Folder, Process};
use conformance::api::STEPS;
use conformance::api::compare::{Difference, differences};
use conformance::api::record::{Broker, record};
use serde_json::Value;

const RABBITMQ: &str = include_str!("rabbitmq-4.3.6.json");
const PERMITTED: &str = include_str!("differences.txt");

/// A line of `differences.txt`: which requests, where in their answers, and why.
struct Permitted {
    request: &'static str,
    at: &'static str,
    /// It permits what differs now and then.
    is_vague: bool,
    line: &'static str,
}

impl Permitted {
    fn all() -> Vec<Self> {
        let lines = PERMITTED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(Self::parse).collect()
    }

    fn parse(line: &'static str) -> Self {
        let (is_vague, rest) = match line.strip_prefix("? ") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let mut parts = rest.split(" | ");
        let (Some(request), Some(at), Some(_reason), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            panic!("a line is REQUEST | WHERE | REASON: {line}");
        };
        Self { request, at, is_vague, line }
    }

    fn permits(&self, difference: &Difference) -> bool {
        is_like(self.request, &difference.request) && is_like(self.at, &difference.at)
    }
}

/// Whether a text is like a pattern in which `*` stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).any(|at| text.is_char_boundary(at) && is_like(rest, &text[at..]))
        }),
    }
}

#[test]
fn every_answer_is_rabbitmqs_but_for_what_is_permitted() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let ours = record(Broker { http: broker.http, amqp: broker.amqp }, STEPS).expect("the broker answers");
    let theirs: Value = serde_json::from_str(RABBITMQ).expect("the record is JSON");
    let node = |record: &Value| -> String {
        let overview =
            record.as_array().into_iter().flatten().find(|answer| answer["body"]["node"].is_string());
        overview.and_then(|answer| answer["body"]["node"].as_str()).expect("there is an overview").to_owned()
    };
    let found = differences(&theirs, &ours, [&node(&theirs), &node(&ours)]);
    let permitted = Permitted::all();
    let refused: Vec<String> = found
        .iter()
        .filter(|difference| !permitted.iter().any(|entry| entry.permits(difference)))
        .map(ToString::to_string)
        .collect();
    assert!(
        refused.is_empty(),
        "{} differences that are not permitted:\n{}",
        refused.len(),
        refused.join("\n")
    );
    let unused: Vec<&str> = permitted
        .iter()
        .filter(|entry| !entry.is_vague && !found.iter().any(|difference| entry.permits(difference)))
        .map(|entry| entry.line)
        .collect();
    assert!(unused.is_empty(), "there are no such differences any more:\n{}", unused.join("\n"));
}
