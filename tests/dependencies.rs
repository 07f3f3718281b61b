//! What other people's crates there are, held against
//! `deny.toml`: their licences, where they come from, and that none is there twice. `cargo deny
//! check` does the same for all platforms, where it is installed; this asks cargo about the
//! platform of the test alone.

use crate::support::process::outcome;
use crate::tidy::source::root;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

/// What `deny.toml` says.
struct Rules {
    licences: BTreeSet<String>,
    registries: BTreeSet<String>,
    /// `crate@version`, which may be there beside another version.
    doubles: BTreeSet<String>,
}

fn rules() -> Rules {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml is there");
    let file: toml::Table = toml::from_str(&text).expect("deny.toml is TOML");
    let texts = |section: &str, key: &str, field: Option<&str>| -> BTreeSet<String> {
        let entries = file[section][key].as_array().expect("it is a list").iter();
        let text =
            |entry: &toml::Value| field.map_or(entry, |field| &entry[field]).as_str().map(str::to_owned);
        entries.map(|entry| text(entry).expect("it is a text")).collect()
    };
    Rules {
        licences: texts("licenses", "allow", None),
        registries: texts("sources", "allow-registry", None),
        doubles: texts("bans", "skip", Some("crate")),
    }
}

/// The crates of this platform, as cargo tells them.
fn crates() -> Vec<Value> {
    let ask = |command: &mut Command| {
        let output = outcome(command.current_dir(root()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    };
    let about = ask(Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("-vV"));
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc tells its host");
    let metadata = ask(Command::new(env!("CARGO")).args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--offline",
        "--filter-platform",
        host,
    ]));
    let mut metadata: Value = serde_json::from_str(&metadata).expect("cargo writes JSON");
    let Value::Array(crates) = metadata["packages"].take() else { panic!("there are no packages") };
    assert!(crates.len() > 50, "{} crates were found", crates.len());
    crates
}

/// Whether an SPDX expression leaves a choice that is allowed. Old ones have `/` for `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = any(&mut words, allowed);
    verdict && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut verdict = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        verdict |= all(words, allowed);
    }
    verdict
}

fn all(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut verdict = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        verdict &= one(words, allowed);
    }
    verdict
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    match words.next() {
        Some("(") => any(words, allowed) & (words.next() == Some(")")),
        Some(licence) if words.next_if_eq(&"WITH").is_some() => {
            let exception = words.next().unwrap_or_default();
            allowed.contains(&format!("{licence} WITH {exception}"))
        }
        Some(licence) => allowed.contains(licence),
        None => false,
    }
}

#[test]
fn a_licence_is_a_choice_or_a_sum() {
    let allowed = ["MIT", "Apache-2.0"].map(str::to_owned).into();
    for good in
        ["MIT", "MIT/GPL-3.0", "GPL-3.0 OR (MIT AND Apache-2.0)", "X WITH Y OR MIT", "(X AND Y) OR MIT"]
    {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND X", "(MIT OR X) AND X", "MIT WITH Y", "MIT MIT", "(MIT", "MIT AND"] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}

#[test]
fn every_crate_may_be_used() {
    let rules = rules();
    let mut faults = Vec::new();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for found in crates() {
        let [name, version] = ["name", "version"].map(|key| found[key].as_str().expect("a crate has it"));
        versions.entry(name.to_owned()).or_default().insert(format!("{name}@{version}"));
        let licence = found["license"].as_str().unwrap_or_default();
        if !is_allowed(licence, &rules.licences) {
            faults.push(format!("{name} {version} has the licence '{licence}'"));
        }
        // Without a source it is a part of this workspace.
        let source = found["source"].as_str();
        if source.is_some_and(|source| !rules.registries.contains(source.trim_start_matches("registry+"))) {
            faults.push(format!("{name} {version} comes from {}", source.unwrap_or_default()));
        }
    }
    for versions in versions.values() {
        let counted: Vec<_> = versions.difference(&rules.doubles).cloned().collect();
        if counted.len() > 1 {
            faults.push(format!("there are several versions: {}", counted.join(", ")));
        }
    }
    assert!(faults.is_empty(), "deny.toml does not allow this:\n{}", faults.join("\n"));
}
