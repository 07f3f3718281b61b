//! The documentation, held against what it is about: code that runs, commands that parse, settings
//! that are accepted, links that lead somewhere, and lists that are complete.

use crate::support::process::{Folder, leveret, outcome};
use crate::tidy::source::{File, files, root};
use leveret::arguments::table::TABLE;
use leveret::config::{Config, Flags};
use leveret::policy::key::KEYS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The status of a command that finds no broker, which shows that it was understood.
const NO_BROKER: i32 = 69;

/// A fenced block of code.
struct Fence {
    /// Where it is, for people.
    at: String,
    language: String,
    lines: Vec<String>,
}

/// The pages that users read.
fn pages() -> Vec<File> {
    let is_page = |path: &str| {
        path.ends_with(".md") && !path.starts_with("conformance/") && path.matches('/').count() <= 1
    };
    let pages: Vec<File> = files().into_iter().filter(|file| is_page(&file.path)).collect();
    assert!(pages.iter().any(|page| page.path == "docs/README.md"), "the documentation was not read");
    pages
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn fences(page: &File) -> Vec<Fence> {
    let mut found = Vec::new();
    let mut open: Option<Fence> = None;
    for (number, line) in (1..).zip(page.text.lines()) {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(fence)) => found.push(fence),
            (Some(language), None) => {
                let at = format!("{}:{number}", page.path);
                open = Some(Fence { at, language: language.to_owned(), lines: Vec::new() });
            }
            (None, Some(mut fence)) => {
                fence.lines.push(line.to_owned());
                open = Some(fence);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a block of code is not closed", page.path);
    found
}

/// The blocks of all pages in one of these languages.
fn blocks(languages: &[&str]) -> Vec<Fence> {
    let all = pages().iter().flat_map(fences).collect::<Vec<_>>();
    let found: Vec<_> = all.into_iter().filter(|fence| languages.contains(&&*fence.language)).collect();
    assert!(!found.is_empty(), "there is no block in {languages:?}");
    found
}

/// Lines without what all of them are indented by.
fn dedented(lines: &[String]) -> Vec<&str> {
    let indent = |line: &String| line.len() - line.trim_start().len();
    let least = lines.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    lines.iter().map(|line| line.get(least..).unwrap_or("")).collect()
}

fn is_part_of(block: &[String], program: &str) -> bool {
    let lines: Vec<String> = program.lines().map(str::to_owned).collect();
    let block = dedented(block);
    lines.windows(block.len()).any(|window| dedented(window) == block)
}

#[test]
fn blocks_of_code_are_found_whatever_they_are_indented_by() {
    let block = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let program = "fn main() {\n    if a {\n        b();\n    }\n}\n";
    assert!(is_part_of(&block("if a {\n    b();\n}"), program));
    assert!(!is_part_of(&block("if a {\n  b();\n}"), program));
    assert!(!is_part_of(&block("if a {\n    c();\n}"), program));
}

#[test]
fn every_snippet_is_a_part_of_an_example_that_is_run() {
    let examples: Vec<File> = files().into_iter().filter(|file| file.path.starts_with("examples/")).collect();
    for fence in blocks(&["python", "rust", "javascript"]) {
        let ending = match &*fence.language {
            "python" => ".py",
            "rust" => ".rs",
            _ => ".js",
        };
        let mut programs = examples.iter().filter(|file| file.path.ends_with(ending));
        let found = programs.any(|file| is_part_of(&fence.lines, &file.text));
        assert!(found, "{}: this is in no example:\n{}", fence.at, fence.lines.join("\n"));
    }
}

/// The words of a command line, as a shell reads them; a comment ends it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut begun) = (String::new(), None, false);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.push(c),
            None if c == '\'' || c == '"' => (quote, begun) = (Some(c), true),
            None if c == '#' && !begun => return words,
            None if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            None => {
                word.push(c);
                begun = true;
            }
        }
    }
    assert!(quote.is_none(), "a quote is not closed: {line}");
    if begun {
        words.push(word);
    }
    words
}

/// What the line of a shell has `leveret` do, if it does.
fn arguments_of_leveret(line: &str) -> Option<Vec<String>> {
    let words = words(line);
    let (program, rest) = words.split_first()?;
    match program.as_str() {
        "leveret" | "target/release/leveret" => Some(rest.to_vec()),
        "cargo" if rest.first().is_some_and(|word| word == "run") && !rest.contains(&"-p".to_owned()) => {
            let own = rest.iter().position(|word| word == "--example" || word == "--");
            match own {
                None => Some(Vec::new()),
                Some(at) if rest[at] == "--" => Some(rest[at + 1..].to_vec()),
                Some(_) => None,
            }
        }
        _ => None,
    }
}

#[test]
fn commands_are_read_as_a_shell_reads_them() {
    let check = |line: &str, expected: Option<&[&str]>| {
        let expected = expected.map(|words| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(arguments_of_leveret(line), expected, "{line}");
    };
    check(
        "leveret ctl set_policy p '^a b' '{\"x\": 1}'  # why",
        Some(&["ctl", "set_policy", "p", "^a b", "{\"x\": 1}"]),
    );
    check("leveret ctl x --to '' key", Some(&["ctl", "x", "--to", "", "key"]));
    check("cargo run --release        # serves", Some(&[]));
    check("cargo run --release -- --amqp a:1", Some(&["--amqp", "a:1"]));
    check("cargo run --example hello", None);
    check("cargo run -p conformance -- faults", None);
    check("# leveret", None);
}

#[test]
fn every_command_line_is_understood() {
    let folder = Folder::new();
    let mut checked = 0;
    for fence in blocks(&["sh"]) {
        for line in &fence.lines {
            let Some(mut arguments) = arguments_of_leveret(line) else { continue };
            checked += 1;
            let is_ctl = arguments.first().is_some_and(|word| word == "ctl");
            if is_ctl {
                // Files that a command reads have to be there before it looks for a broker.
                arguments
                    .iter()
                    .filter(|word| word.ends_with(".json"))
                    .for_each(|name| drop(folder.write(name, "{}")));
                arguments.extend(["--data-dir".to_owned(), "nowhere".to_owned()]);
            } else {
                // It is shown once everything before it is understood.
                arguments.push("--help".to_owned());
            }
            let output = outcome(leveret().args(&arguments).current_dir(folder.at("")));
            let expected = if is_ctl { NO_BROKER } else { 0 };
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(expected), "{}: {line}\n{said}", fence.at);
            assert!(!is_ctl || said.contains("no broker is running"), "{}: {line}\n{said}", fence.at);
        }
    }
    assert!(checked > 10, "{checked} command lines were found");
}

/// The smallest systems have a shell, and no other program to send a signal with.
#[test]
fn the_unit_of_systemd_runs_what_every_system_has() {
    let unit = page("deploy/leveret.service");
    let commands: Vec<_> = unit.lines().filter(|line| line.starts_with("Exec")).collect();
    assert_eq!(commands.len(), 2, "a start and a reload: {commands:?}");
    for command in commands {
        let (_key, line) = command.split_once('=').expect("it has a value");
        let words = words(line);
        let (program, arguments) = words.split_first().expect("it runs something");
        if program == "/usr/local/bin/leveret" {
            let output = outcome(leveret().args(arguments).arg("--help"));
            assert!(output.status.success(), "{line}");
        } else {
            assert_eq!(program, "/bin/sh", "{line}");
        }
    }
}

#[test]
fn every_settings_file_is_accepted() {
    let folder = Folder::new();
    for fence in blocks(&["toml"]) {
        let config = Some(folder.write("leveret.toml", fence.lines.join("\n")));
        let resolved = Config::resolve(Flags { config, ..Flags::default() });
        assert!(resolved.is_ok(), "{}: {}", fence.at, resolved.unwrap_err());
    }
}

/// What follows `before` up to `after`, each time.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| Some(rest.split_once(after)?.0)).collect()
}

/// The names under which a page's headings can be linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let name = |line: &str| {
        let kept = |&c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let words: String = line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect();
        words.replace(' ', "-")
    };
    headings.map(name).collect()
}

#[test]
fn every_link_within_the_project_leads_somewhere() {
    for page in pages() {
        for link in between(&page.text, "](", ")") {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, to)| (path, Some(to)));
            let mut target = PathBuf::new();
            let folder = Path::new(&page.path).parent().expect("a page is a file");
            let own = if path.is_empty() { PathBuf::from(&page.path) } else { folder.join(path) };
            for part in own.components() {
                match part {
                    Component::ParentDir => assert!(target.pop(), "{}: {link}", page.path),
                    part => target.push(part),
                }
            }
            let target = root().join(target);
            assert!(target.exists(), "{}: {link} leads nowhere", page.path);
            if let Some(anchor) = anchor {
                let text = fs::read_to_string(target).expect("only a text has headings");
                assert!(anchors(&text).contains(anchor), "{}: {link} has no such heading", page.path);
            }
        }
    }
}

#[test]
fn every_page_is_in_the_index() {
    let index = page("docs/README.md");
    for page in pages() {
        if let Some(name) = page.path.strip_prefix("docs/").filter(|&name| name != "README.md") {
            assert!(index.contains(&format!("({name})")), "{name} is not in docs/README.md");
        }
    }
}

/// Fails with the names that `text` does not have between backquotes.
#[track_caller]
fn check_names<'a>(path: &str, names: impl Iterator<Item = &'a str>) {
    let text = page(path);
    let said: BTreeSet<&str> =
        text.split('`').skip(1).step_by(2).filter_map(|code| code.split([' ', '[']).next()).collect();
    let (mut count, mut missing) = (0, Vec::new());
    for name in names {
        count += 1;
        missing.extend((!said.contains(name)).then_some(name));
    }
    assert!(missing.is_empty(), "{path} does not say what these are: {missing:?}");
    assert!(count > 5, "{count} names were found");
}

#[test]
fn every_flag_and_limit_is_explained() {
    let help = outcome(leveret().args(["serve", "--help"])).stdout;
    let help = String::from_utf8(help).expect("help is text");
    let flags = help.lines().filter_map(|line| line.trim().strip_prefix("--")?.split_whitespace().next());
    let flags: Vec<String> = flags.map(|name| format!("--{name}")).collect();
    check_names("docs/configuration.md", flags.iter().map(String::as_str));
    let limits = page("src/config/limits.rs");
    let limits = limits.lines().filter_map(|line| line.strip_prefix("    pub ")?.split_once(": u"));
    check_names("docs/configuration.md", limits.map(|(name, _type)| name));
}

#[test]
fn every_command_is_explained() {
    let help = outcome(leveret().args(["ctl", "--help"])).stdout;
    let help = String::from_utf8(help).expect("help is text");
    let commands = between(&help, "Commands:\n", "\n\n");
    let commands = commands.iter().flat_map(|list| list.lines());
    let names = commands.filter_map(|line| line.split_whitespace().next());
    check_names("docs/operating.md", names);
}

#[test]
fn every_argument_and_policy_key_is_explained() {
    check_names("docs/arguments.md", TABLE.iter().map(|argument| argument.name));
    check_names("docs/policies.md", KEYS.iter().map(|key| key.name));
}

/// Whether `name` is what `pattern` says, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => {
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        }
    }
}

/// The conformance scripts that say what RabbitMQ or Leveret does otherwise are the list of
/// differences.
#[test]
fn every_difference_to_rabbitmq_is_listed() {
    let text = page("docs/differences.md");
    let listed: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|code| code.contains('/')).collect();
    let scripts = files().into_iter().filter_map(|file| {
        let name = file.path.strip_prefix("conformance/scripts/")?.strip_suffix(".amqp")?;
        let differs = file
            .text
            .lines()
            .any(|line| ["differs: rabbitmq", "differs: leveret"].iter().any(|head| line.starts_with(head)));
        differs.then(|| name.to_owned())
    });
    let scripts: Vec<String> = scripts.collect();
    let missing: Vec<_> =
        scripts.iter().filter(|name| !listed.iter().any(|pattern| matches(pattern, name))).collect();
    assert!(missing.is_empty(), "docs/differences.md does not have {missing:?}");
    let stale: Vec<_> =
        listed.iter().filter(|pattern| !scripts.iter().any(|name| matches(pattern, name))).collect();
    assert!(stale.is_empty(), "no script differs that is called {stale:?}");
    assert!(scripts.len() > 50, "the scripts were not read");
}

#[test]
fn every_file_that_contributors_are_sent_to_is_there() {
    for page in pages() {
        for code in page.text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "conformance/", "docs/", "examples/"]
                .iter()
                .any(|room| code.starts_with(room));
            if is_path && !code.contains(['*', ' ']) && code != "conformance/scripts/CLASS/CASE.amqp" {
                assert!(root().join(code).exists(), "{}: there is no {code}", page.path);
            }
        }
    }
}
