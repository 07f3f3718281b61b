//! The rules of the house that no compiler checks, held against the source tree as text.
//!
//! A rule is a function of a path and a text. Its test first shows that it finds a fault made for
//! the purpose, then holds it against every file and lists every offence.

mod circles;
mod floors;
mod impls;
pub(crate) mod source;

use self::source::{File, code, files, root};
use std::collections::BTreeSet;
use std::fs;

/// What breaks a rule: the line, from 1, and what is wrong there.
type Offence = (usize, String);
/// A rule: finds the offences in a file.
type Rule = fn(path: &str, text: &str) -> Vec<Offence>;

/// The rooms of `src/` from the bottom up; one room imports only from those in rows above its own.
/// What is in [`PROTOCOL`] counts as rooms.
const ROOMS: &[&[&str]] = &[
    &[
        "ids",
        "clock",
        "cluster_status",
        "draw",
        "error",
        "config",
        "machine",
        "metrics",
        "near",
        "statistics",
    ],
    &["audit", "blocking", "tls"],
    &["message"],
    &["auth"],
    &["policy"],
    &["arguments"],
    &["store"],
    &["cluster"],
    &["queue"],
    &["routing"],
    &["broker"],
    &["admin"],
    &["client"],
    &["wire"],
    &["fault"],
    &["reply"],
    &["session"],
    &["protocol"],
    &["server", "http"],
    &["node"],
    &["api_client"],
    &["perf", "ctl"],
    &["top"],
];

/// The folder of a protocol, whose files and folders have floors as the rooms of `src/` have.
const PROTOCOL: &str = "protocol/amqp/";

/// What `perf` may import, being a client of any broker.
const ROOMS_OF_PERF: &[&str] = &["ids", "clock", "error", "machine", "message", "wire"];

/// What `ctl` may import, being a client of a broker that runs elsewhere: where to find it, what to
/// ask, and what was meant by a slip.
const ROOMS_OF_CTL: &[&str] = &["clock", "error", "config", "near", "admin", "api_client"];

/// What `top` may import, being such a client too, by the options and the connection of `ctl`.
const ROOMS_OF_TOP: &[&str] = &["clock", "api_client", "ctl"];

/// Crates that only some rooms, or folders of a room, may name, so that replacing one touches one
/// place.
const OWNERS: &[(&str, &[&str])] = &[
    ("amq_protocol", &["wire", "session", "perf"]),
    ("axum", &["http"]),
    ("base64", &["auth", "admin", "http", "api_client"]),
    ("clap_complete", &["ctl"]),
    ("dashmap", &["broker"]),
    ("fancy_regex", &["auth"]),
    ("flate2", &["http"]),
    ("futures_core", &["cluster"]),
    ("getrandom", &["machine"]),
    ("http_body_util", &["http", "api_client"]),
    ("hyper", &["http", "api_client"]),
    ("hyper_util", &["http", "api_client"]),
    ("indicatif", &["perf"]),
    ("ipnet", &["config"]),
    ("md5", &["auth"]),
    ("openraft", &["cluster"]),
    ("openraft_rt", &["cluster"]),
    ("percent_encoding", &["perf", "http", "api_client"]),
    ("ratatui", &["top"]),
    ("redb", &["store/redb"]),
    ("regex", &["auth"]),
    ("ring", &["tls", "cluster"]),
    ("rustix", &["clock", "machine", "store/redb", "server", "ctl", "main"]),
    ("rustls_native_certs", &["tls"]),
    ("serde_ignored", &["admin"]),
    ("sd_notify", &["main"]),
    ("serde_json", &["admin", "http", "node", "ctl", "top", "main"]),
    ("serde_path_to_error", &["config"]),
    ("sha2", &["auth"]),
    ("strsim", &["near"]),
    ("subtle", &["auth"]),
    ("tikv_jemallocator", &["main"]),
    (
        "tokio",
        &[
            "blocking",
            "tls",
            "cluster",
            "admin",
            "server",
            "http",
            "node",
            "api_client",
            "perf",
            "top",
            "main",
        ],
    ),
    ("tokio_rustls", &["tls", "server"]),
    ("toml", &["config"]),
    ("tracing_subscriber", &["audit", "main"]),
    ("twox_hash", &["store/redb"]),
    ("url", &["perf", "http", "api_client", "ctl"]),
    ("x509_cert", &["tls"]),
];

/// What every room that may name `amq_protocol` besides `wire` may use of it: its values.
const PROTOCOL_VALUES: &[&str] = &["types", "protocol"];

/// Lines of a file, at most. One idea in 900 lines is better than one idea in three files that
/// share their fields.
const LINES_MAX: usize = 900;

/// All that the top level holds beside dot files.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "conformance",
    "deny.toml",
    "deploy",
    "docs",
    "examples",
    "src",
    "tests",
];

/// First folders of absolute paths that exist on one machine only.
const MACHINE_FOLDERS: &[&str] = &["home", "mnt", "opt", "root", "srv", "tmp", "work", "Users"];

/// Shows that `rule` finds the fault in line `line` of `bad` and nothing in `good`, then holds it
/// against every file.
#[track_caller]
fn check(rule: Rule, (path, line, bad): (&str, usize, &str), good: (&str, &str)) {
    let lines: Vec<usize> = rule(path, bad).into_iter().map(|(at, _)| at).collect();
    assert_eq!(lines, [line], "the rule misses the fault made for it");
    assert_eq!(rule(good.0, good.1), [], "the rule finds fault with what is right");
    let mut offences = Vec::new();
    for File { path, text } in files() {
        offences.extend(rule(&path, &text).into_iter().map(|(line, what)| format!("{path}:{line}: {what}")));
    }
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}

/// The offences of one kind: `what` for every line of `text` that `is_bad`.
fn lines_where(text: &str, what: &str, is_bad: impl Fn(&str) -> bool) -> Vec<Offence> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| is_bad(line))
        .map(|(at, _)| (at + 1, what.to_owned()))
        .collect()
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

/// The room that a file of `src/` belongs to; none for `lib.rs` and for what is elsewhere.
fn room(path: &str) -> Option<&str> {
    let below = path.strip_prefix("src/")?;
    let inside = below.strip_prefix(PROTOCOL).filter(|inside| *inside != "mod.rs");
    let name = inside.unwrap_or(below).split('/').next()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    (name != "lib").then_some(name)
}

fn row(room: &str) -> Option<usize> {
    ROOMS.iter().position(|row| row.contains(&room))
}

/// The words of `code` that directly follow `prefix`, with the line each is on; not where that is
/// the middle of a path, unless such paths begin with it. Of `prefix{a::b, c}` these are `a` and
/// `c`.
fn names_after<'a>(code: &'a str, prefix: &str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = &code[..at];
        let in_path = before.strip_suffix("::").is_some_and(|path| path.ends_with(is_word));
        if before.ends_with(is_word) || in_path && prefix != "super::" {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let starts = if rest.starts_with('{') { starts_in_braces(rest) } else { vec![0] };
        for start in starts {
            let name = &rest[start..];
            let name = &name[..name.find(|c| !is_word(c)).unwrap_or(name.len())];
            found.push((code[..at + prefix.len() + start].lines().count().max(1), name));
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where each entry of the brace that opens `list` begins.
fn starts_in_braces(list: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let (mut depth, mut fresh) = (0_u32, false);
    for (at, c) in list.char_indices() {
        match c {
            '{' => (depth, fresh) = (depth + 1, depth == 0),
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                starts.push(at);
                fresh = false;
            }
            _ => {}
        }
    }
    starts
}

fn layers(path: &str, text: &str) -> Vec<Offence> {
    let Some(from) = room(path).filter(|&room| room != "main") else { return Vec::new() };
    let Some(from_row) = row(from) else {
        return vec![(1, format!("`{from}` is not a room of the map"))];
    };
    let code = code(text).replace(&format!("crate::{}", PROTOCOL.replace('/', "::")), "crate::");
    let path = &path.replace(PROTOCOL, "");
    let mut uses = names_after(&code, "crate::");
    let at_top = !path["src/".len()..].contains('/') || path.ends_with("/mod.rs");
    if at_top {
        uses.extend(names_after(&code, "super::").into_iter().filter(|(_, to)| row(to).is_some()));
    }
    let allowed = |to: &str| match from {
        _ if to == from => true,
        "perf" => ROOMS_OF_PERF.contains(&to),
        "ctl" => ROOMS_OF_CTL.contains(&to),
        "top" => ROOMS_OF_TOP.contains(&to),
        _ => row(to).is_some_and(|to_row| to_row < from_row || (to_row == 0 && from_row == 0)),
    };
    let mut offences = lines_where(&code, "reaches out of its room by `super::super`", |line| {
        line.contains("super::super") && path.matches('/').count() < 3
    });
    offences.extend(
        uses.into_iter()
            .filter(|(_, to)| !allowed(to))
            .map(|(line, to)| (line, format!("`{from}` may not import from `{to}`"))),
    );
    offences
}

#[test]
fn rooms_import_only_from_rooms_above_them_on_the_map() {
    check(
        layers,
        (
            "src/message/table.rs",
            3,
            "//! Tables of crate::store.\nuse crate::ids::QueueId;\nuse crate::store::Log;\n",
        ),
        ("src/protocol/amqp/session/publish.rs", "use crate::broker::{Broker, Queue};\n"),
    );
}

#[test]
fn server_and_http_do_not_know_each_other_and_perf_knows_only_the_wire() {
    let found = |path: &str, text: &str| layers(path, text).len();
    assert_eq!(found("src/server/listener.rs", "use crate::http::Http;"), 1);
    assert_eq!(found("src/http/router.rs", "use crate::{session::Session, server};"), 1);
    assert_eq!(found("src/perf/mod.rs", "use crate::{\n    broker::Broker,\n    wire::encode,\n};"), 1);
    assert_eq!(found("src/ctl/mod.rs", "use crate::{broker::Broker, admin::Operation};"), 1);
    assert_eq!(found("src/top/mod.rs", "use crate::{admin::Operation, ctl::CtlError};"), 1);
    assert_eq!(found("src/ctl/mod.rs", "use crate::top::Top;"), 1);
    assert_eq!(found("src/store/mod.rs", "use super::broker::Broker;"), 1);
    assert_eq!(found("src/broker/queue/core.rs", "use super::super::Mailbox;"), 0);
    assert_eq!(found("src/broker/route.rs", "use super::super::session;"), 1);
    assert_eq!(found("src/protocol/amqp/wire/frame.rs", "use crate::protocol::amqp::session::Peer;"), 1);
    assert_eq!(found("src/protocol/amqp/wire/mod.rs", "use super::reply::Reply;"), 1);
    assert_eq!(found("src/protocol/amqp/session/mod.rs", "use super::reply::Reply;"), 0);
    assert_eq!(found("src/broker/mod.rs", "use crate::protocol::amqp::wire::encode;"), 1);
    assert_eq!(found("src/perf/mod.rs", "use crate::protocol::amqp::wire::encode;"), 0);
    assert_eq!(found("src/jokes.rs", ""), 1);
    assert_eq!(found("src/main.rs", "use crate::server;"), 0);
}

fn owners(path: &str, text: &str) -> Vec<Offence> {
    if !is_rust(path) || !path.starts_with("src/") {
        return Vec::new();
    }
    let room = room(path).unwrap_or("lib");
    let code = code(text);
    let mut offences = Vec::new();
    for &(owned, owners) in OWNERS {
        let is_owner = owners
            .iter()
            .any(|owner| *owner == room || path["src/".len()..].starts_with(&format!("{owner}/")));
        let bare = format!("use {owned}");
        let uses = names_after(&code, &format!("{owned}::"));
        let foreign = |part: &str| {
            !is_owner || (owned == "amq_protocol" && room != "wire" && !PROTOCOL_VALUES.contains(&part))
        };
        offences.extend(
            uses.into_iter()
                .filter(|(_, part)| foreign(part))
                .map(|(line, part)| (line, format!("`{owned}::{part}` is not for `{room}`"))),
        );
        offences.extend(lines_where(&code, "names a crate as a whole that it does not own", |line| {
            !is_owner
                && line.trim_start().strip_prefix(&bare).is_some_and(|rest| rest.starts_with([';', ' ']))
        }));
    }
    offences
}

#[test]
fn a_crate_is_named_only_where_it_is_owned() {
    check(
        owners,
        ("src/broker/queue.rs", 2, "//! Waits on tokio::time.\nuse tokio::time::sleep;\n"),
        ("src/server/listener.rs", "use tokio::net::TcpListener;\n"),
    );
    assert_eq!(owners("src/protocol/amqp/session/mod.rs", "use redb;").len(), 1);
    assert_eq!(owners("src/store/commit/group.rs", "use redb::Database;").len(), 1);
    assert_eq!(owners("src/store/mod.rs", "use self::redb::open;"), []);
    assert_eq!(owners("src/store/redb/table.rs", "use redb::Table;"), []);
    assert_eq!(
        owners(
            "src/protocol/amqp/session/mod.rs",
            "use amq_protocol::{frame::gen_frame, types::FieldTable};"
        )
        .len(),
        1
    );
    assert_eq!(owners("src/protocol/amqp/wire/mod.rs", "use amq_protocol::frame::gen_frame;"), []);
}

/// Rooms that know no protocol: they say what went wrong, and a protocol what a client is told.
const ROOMS_WITHOUT_PROTOCOL: &[&str] = &["store", "queue", "routing", "broker"];

/// The reply codes of AMQP 0-9-1 for what goes wrong.
const REPLY_CODES: &[&str] = &[
    "311", "312", "313", "320", "402", "403", "404", "405", "406", "501", "502", "503", "504", "505", "506",
    "530", "540", "541",
];

fn protocol_words(path: &str, text: &str) -> Vec<Offence> {
    let applies = is_rust(path) && room(path).is_some_and(|room| ROOMS_WITHOUT_PROTOCOL.contains(&room));
    lines_where(if applies { text } else { "" }, "is for a protocol: name what went wrong", |line| {
        let is_comment = line.trim_start().starts_with("//");
        line.split(|c| !is_word(c)).any(|word| match word {
            "AmqpError" | "ReplyCode" | "PRECONDITION_FAILED" | "ACCESS_REFUSED" | "NOT_FOUND" => true,
            number => is_comment && REPLY_CODES.contains(&number),
        })
    })
}

#[test]
fn what_knows_no_protocol_names_no_reply_codes() {
    check(
        protocol_words,
        ("src/queue/core.rs", 2, "//! Queues.\n/// 404 when it is gone.\n"),
        ("src/queue/core.rs", "/// [`BrokerError::NotFound`] when it is gone, 4040 times.\n"),
    );
    let found = |path: &str, text: &str| protocol_words(path, text).len();
    assert_eq!(found("src/broker/vhost.rs", "use crate::protocol::amqp::fault::AmqpError;"), 1);
    assert_eq!(found("src/protocol/amqp/session/mod.rs", "use super::fault::AmqpError;"), 0);
}

/// How headers begin that the broker itself reads or writes, as literals of Rust.
const OWN_HEADERS: &[&str] = &[
    "\"CC\"",
    "\"BCC\"",
    "\"x-acquired-count\"",
    "\"x-death",
    "\"x-delay\"",
    "\"x-delivery-count\"",
    "\"x-first-death",
    "\"x-last-death",
    "\"x-stream-filter-value\"",
];

fn header_names(path: &str, text: &str) -> Vec<Offence> {
    let of_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
    let applies = is_rust(path) && !of_tests && room(path).is_some_and(|room| room != "message");
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let what = "names a header: call what `message` has for it";
    lines_where(if applies { &text[..end] } else { "" }, what, |line| {
        let is_comment = line.trim_start().starts_with("//");
        !is_comment && OWN_HEADERS.iter().any(|name| line.contains(name))
    })
}

#[test]
fn headers_that_the_broker_reads_have_their_names_in_one_room() {
    check(
        header_names,
        ("src/queue/delayed.rs", 2, "//! Delays.\nconst DELAY: &[u8] = b\"x-delay\";\n"),
        (
            "src/queue/delayed.rs",
            "/// \"x-delay\" is negative then.\nconst KIND: &str = \"x-delayed-type\";\n",
        ),
    );
    let found = |path: &str| header_names(path, "const CC: &str = \"CC\";").len();
    assert_eq!(
        (found("src/broker/trace.rs"), found("src/message/mod.rs"), found("src/queue/tests.rs")),
        (1, 0, 0)
    );
}

fn passwords(path: &str, text: &str) -> Vec<Offence> {
    // What documents hold is hidden as a whole.
    let of_documents = path.starts_with("src/admin/definitions/");
    let applies = is_rust(path) && room(path) == Some("admin") && !of_documents;
    let what = "a password of an operation is a `Password`, which no log shows";
    lines_where(if applies { text } else { "" }, what, |line| {
        let field = line.trim().trim_start_matches("pub ").split_once(": ");
        field.is_some_and(|(name, kind)| {
            name.split('_').any(|word| word == "password")
                && name.chars().all(is_word)
                && kind.contains("String")
        })
    })
}

#[test]
fn a_password_that_an_operator_gives_is_of_the_type_that_hides_it() {
    check(
        passwords,
        ("src/admin/users.rs", 3, "AddUser {\n    /// The password.\n    new_password: Option<String>,\n}\n"),
        ("src/admin/users.rs", "AddUser {\n    password: Password,\n    tags: Vec<String>,\n}\n"),
    );
}

fn neutral(path: &str, text: &str) -> Vec<Offence> {
    let of_fuzz = path.starts_with("conformance/fuzz/");
    let applies = is_rust(path) && path.starts_with("conformance/") && !of_fuzz;
    let uses = if applies { code(text) } else { String::new() };
    lines_where(&uses, "the suite is broker-neutral: it may not use the broker's code", |line| {
        line.contains("leveret::")
    })
}

#[test]
fn the_conformance_suite_uses_none_of_the_brokers_code() {
    check(
        neutral,
        ("conformance/src/main.rs", 1, "use leveret::wire::frame;\n"),
        ("conformance/src/main.rs", "const BROKER: &str = \"leveret::\";\n"),
    );
}

fn length(path: &str, text: &str) -> Vec<Offence> {
    let lines = text.lines().count();
    let bound = path != "LICENSE" && !path.ends_with("Cargo.lock");
    if bound && lines > LINES_MAX {
        vec![(lines, format!("{lines} lines, {LINES_MAX} at most"))]
    } else {
        Vec::new()
    }
}

#[test]
fn no_file_is_too_long_to_be_read_in_one_go() {
    let lines = |n| "//\n".repeat(n);
    check(length, ("src/long.rs", 901, &lines(901)), ("src/short.rs", &lines(900)));
}

fn head(path: &str, text: &str) -> Vec<Offence> {
    let opening = match path.rsplit('.').next() {
        Some("rs") => "//! ",
        Some("py") => "\"\"\"",
        Some("amqp") => "title: ",
        _ => "",
    };
    if text.starts_with(opening) { Vec::new() } else { vec![(1, format!("does not open with `{opening}`"))] }
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    check(head, ("src/ids.rs", 1, "use std::fmt;\n"), ("src/ids.rs", "//! Identifiers.\n"));
    assert_eq!(head("conformance/clients/pika/rpc.py", "import pika\n").len(), 1);
    assert_eq!(head("conformance/scripts/queue/purge.amqp", "open a.1\n").len(), 1);
}

/// Columns of a comment, at most; drawings of bytes and tables may be wider.
const COMMENT_COLUMNS_MAX: usize = 100;

fn wide_comments(path: &str, text: &str) -> Vec<Offence> {
    let is_wide = |line: &str| {
        let comment = line.trim_start();
        let is_drawn = comment.contains('|') || comment.contains("  ") || comment.contains("http");
        comment.starts_with("//") && !is_drawn && line.len() > COMMENT_COLUMNS_MAX
    };
    let lines = if is_rust(path) { text } else { "" };
    lines_where(lines, "a comment of more than 100 columns", is_wide)
}

#[test]
fn comments_have_a_hundred_columns() {
    let line = |columns: usize| format!("//! {}\n", "a".repeat(columns - 4));
    check(wide_comments, ("src/ids.rs", 1, &line(101)), ("src/ids.rs", &line(100)));
}

fn empty_docs(path: &str, text: &str) -> Vec<Offence> {
    let says_nothing = |line: &str| {
        let doc = line.trim_start().strip_prefix("/// ").unwrap_or_default();
        doc.starts_with("See the head of this")
    };
    let lines = if is_rust(path) { text } else { "" };
    lines_where(lines, "says nothing where rustdoc shows it: say what the item is", says_nothing)
}

#[test]
fn documentation_says_what_an_item_is() {
    check(
        empty_docs,
        ("src/ids.rs", 2, "//! Ids.\n/// See the head of this file.\nstruct Id;\n"),
        ("src/ids.rs", "//! Ids.\n/// An id: see the head of this file.\nstruct Id;\n"),
    );
}

fn ascii(_: &str, text: &str) -> Vec<Offence> {
    lines_where(text, "not ASCII", |line| !line.is_ascii())
}

#[test]
fn every_text_is_ascii() {
    check(ascii, ("README.md", 2, "A hare\nof 3 \u{b5}s\n"), ("README.md", "A hare of 3 us\n"));
}

fn unfinished(path: &str, text: &str) -> Vec<Offence> {
    let marks = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")];
    let mut offences = lines_where(text, "marks unfinished work", |line| {
        marks.iter().any(|mark| line.split(|c| !is_word(c)).any(|word| word == *mark))
    });
    if is_rust(path) {
        let shapes = ["todo!", "unimplemented!", "#[ignore", "[allow(", ", allow("];
        offences.extend(lines_where(&code(text), "unfinished, skipped or waved through", |line| {
            shapes.iter().any(|shape| line.contains(shape))
        }));
    }
    offences
}

#[test]
fn nothing_is_left_undone_or_waved_through() {
    check(
        unfinished,
        ("src/ids.rs", 2, "//! Ids.\nfn id() { todo!() }\n"),
        ("src/ids.rs", "//! No todo!() here.\nfn allow() { self.allow(1) }\n"),
    );
    for bad in [
        "#[ignore]",
        "#![allow(dead_code)]",
        "#[cfg_attr(test, allow(unused))]",
        "fn f() { unimplemented!() }",
    ] {
        assert_eq!(unfinished("tests/a.rs", bad).len(), 1, "{bad}");
    }
    assert_eq!(unfinished(".ci/run", concat!("# FIX", "ME later")).len(), 1);
}

fn names(path: &str, _: &str) -> Vec<Offence> {
    let bad = ["util", "utils", "misc", "helper", "helpers", "common"];
    path.split(['/', '.', '_', '-'])
        .filter(|part| bad.contains(part))
        .map(|part| (1, format!("`{part}` does not name an idea")))
        .collect()
}

#[test]
fn files_are_named_by_their_idea() {
    check(names, ("src/wire/util.rs", 1, ""), ("src/wire/utilisation.rs", ""));
}

fn globs(path: &str, text: &str) -> Vec<Offence> {
    let code = if is_rust(path) { code(text) } else { String::new() };
    let of_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
    lines_where(&code, "imports by a glob", |line| {
        let in_test_module = line.trim() == "use super::*;" && (line.starts_with(' ') || of_tests);
        line.trim_end().trim_end_matches([';', ',', '}', ' ']).ends_with("::*") && !in_test_module
    })
}

#[test]
fn imports_name_what_they_import() {
    check(
        globs,
        ("src/wire/method.rs", 2, "//! Methods.\nuse amq_protocol::types::*;\n"),
        ("src/wire/method.rs", "mod tests {\n    use super::*;\n}\n"),
    );
    assert_eq!(globs("src/ids.rs", "use super::*;").len(), 1);
    assert_eq!(globs("src/broker/queue/tests.rs", "use super::*;"), []);
    assert_eq!(globs("src/broker/vhost/tests/routing.rs", "use super::*;"), []);
    assert_eq!(globs("src/ids.rs", "use std::{fmt::*, io};\nuse std::{io, fmt::*};").len(), 1);
}

fn machine_paths(_: &str, text: &str) -> Vec<Offence> {
    lines_where(text, "names a place on one machine", |line| {
        line.match_indices('/').any(|(at, _)| {
            let folder = line[at + 1..].split(|c: char| !is_word(c)).next().unwrap_or_default();
            let absolute =
                !line[..at].ends_with(|c: char| is_word(c) || matches!(c, '.' | '/' | '}' | '*' | '>' | ')'));
            absolute && MACHINE_FOLDERS.contains(&folder)
        })
    })
}

#[test]
fn no_path_of_one_machine_is_named() {
    check(
        machine_paths,
        ("README.md", 2, concat!("Run it\nwith `/", "home/hare/leveret`.\n")),
        ("README.md", "It is in `target/tmp`, see https://example.org/home or ./work.\n"),
    );
}

fn strays(entries: &BTreeSet<String>) -> Vec<&String> {
    entries.iter().filter(|entry| !entry.starts_with('.') && !TOP_LEVEL.contains(&entry.as_str())).collect()
}

#[test]
fn the_top_level_holds_nothing_unexpected() {
    assert_eq!(strays(&["src".to_owned(), ".ci".to_owned(), "notes".to_owned()].into()), ["notes"]);
    let entries: BTreeSet<String> = files()
        .into_iter()
        .map(|file| file.path.split('/').next().expect("split gives at least one part").to_owned())
        .collect();
    assert_eq!(strays(&entries), Vec::<&String>::new());
    assert!(entries.contains("src"), "the tree was not read");
}

#[test]
fn the_licence_is_the_one_that_the_manifest_names() {
    let read =
        |name: &str| fs::read_to_string(root().join(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    let licence = read("LICENSE");
    assert!(read("Cargo.toml").contains("license = \"Apache-2.0\""));
    assert!(licence.contains("Apache License") && licence.contains("Version 2.0, January 2004"));
    assert!(licence.contains("END OF TERMS AND CONDITIONS"), "the licence is cut short");
}

/// The programs that a package has beside the one named like itself, and which one it asks to be
/// run.
fn programs(manifest: &str) -> (usize, Option<&str>) {
    let named = |line: &'_ str, key: &str| {
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let default = manifest.lines().find(|line| named(line, "default-run"));
    (manifest.matches("[[bin]]").count(), default.and_then(|line| line.split('"').nth(1)))
}

/// `cargo run` at the root must start the broker, and with `-p conformance` the suite: it goes by
/// the one package that says which program is meant, or else by there being one program only.
#[test]
fn cargo_run_starts_the_broker() {
    assert_eq!(programs("[[bin]]\n[[bin]]\n"), (2, None));
    assert_eq!(programs("default-run = \"leveret\"\n"), (0, Some("leveret")));
    let manifest = |path| fs::read_to_string(root().join(path)).expect("a manifest is there");
    assert_eq!(programs(&manifest("Cargo.toml")), (0, Some("leveret")));
    assert_eq!(programs(&manifest("conformance/Cargo.toml")), (1, None));
}
