//! Circles of imports. Files that import each other in a circle are understood together or not at
//! all: those of different rooms never are in one, and those of one room only while they are few.
//!
//! Imports are the `use` declarations of a file outside its tests; what is imported is the file of
//! the module that is named, whatever that file hands on. What a module takes from the modules
//! inside it does not count: it is what they are for.

use super::is_word;
use super::source::{File, code, files};
use std::collections::{BTreeMap, BTreeSet};

/// Files of one room that may import each other in a circle.
const FILES_MAX: usize = 8;

/// Files by the path of their module: `["src", "queue", "core"]`.
pub(super) type Modules<'a> = BTreeMap<Vec<&'a str>, &'a str>;

/// The path of the module that a file is, below the folder of its crate; none for what is no module
/// of a library.
pub(super) fn module(path: &str) -> Option<Vec<&str>> {
    let library = ["src/", "conformance/src/"].into_iter().find(|root| path.starts_with(root))?;
    let below = path[library.len()..].strip_suffix(".rs")?;
    let names = below.strip_suffix("/mod").unwrap_or(below).split('/');
    let of_tests = names.clone().any(|name| name == "tests");
    (!of_tests && below != "main" && below != "lib").then(|| [library].into_iter().chain(names).collect())
}

/// The code of a file before its tests, which are at its end.
pub(super) fn before_tests(text: &str) -> String {
    let code = code(text);
    let end = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
    code[..end].to_owned()
}

/// Every path that the `use` declarations of `code` name, its braces resolved: of
/// `use a::{b, c::d};` these are `a::b` and `a::c::d`.
fn used(code: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        if !code[..at].ends_with(|c| is_word(c) || c == '<') {
            paths(&code[at + "use ".len()..], &mut Vec::new(), &mut found);
        }
    }
    found
}

/// The paths of one branch, which all begin with `before`; what comes after the branch.
fn paths<'a>(branch: &'a str, before: &mut Vec<&'a str>, found: &mut Vec<Vec<&'a str>>) -> &'a str {
    let branch = branch.trim_start();
    if let Some(mut rest) = branch.strip_prefix('{') {
        loop {
            rest = paths(rest, &mut before.clone(), found).trim_start();
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let (name, rest) = branch.split_at(branch.find(|c| !is_word(c)).unwrap_or(branch.len()));
    before.push(name);
    match rest.strip_prefix("::") {
        Some(rest) => paths(rest, before, found),
        None => {
            found.push(before.clone());
            // `as other` and `*` name nothing.
            &rest[rest.find([',', '}', ';']).unwrap_or(rest.len())..]
        }
    }
}

/// The files that the file of `module` imports.
pub(super) fn imports<'a>(module: &[&str], text: &str, modules: &Modules<'a>) -> BTreeSet<&'a str> {
    let code = before_tests(text);
    let resolved = used(&code).into_iter().filter_map(|path| {
        let ups = path.iter().take_while(|name| **name == "super").count();
        let start = match path[0] {
            "crate" => &module[..1],
            "self" => module,
            _ if ups > 0 => &module[..module.len().checked_sub(ups)?],
            _ => return None,
        };
        let mut of: Vec<&str> = start.iter().chain(&path[ups.max(1)..]).copied().collect();
        while !of.is_empty() {
            if let Some(file) = modules.get(&of) {
                return Some(*file);
            }
            of.pop();
        }
        None
    });
    let inside = |file: &&str| self::module(file).is_some_and(|of| of.starts_with(module));
    resolved.filter(|file| !inside(file)).collect()
}

/// The files of modules among some files.
pub(super) fn modules<'a>(files: &[(&'a str, &str)]) -> Modules<'a> {
    files.iter().filter_map(|&(path, _)| Some((module(path)?, path))).collect()
}

/// The circles of imports among some files: those of each that cannot be left out of it.
fn circles(files: &[(&str, &str)]) -> Vec<BTreeSet<String>> {
    let modules = modules(files);
    let texts: BTreeMap<&str, &str> = files.iter().copied().collect();
    let graph: BTreeMap<&str, BTreeSet<&str>> =
        modules.iter().map(|(module, &file)| (file, imports(module, texts[file], &modules))).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> = graph
        .keys()
        .map(|&from| {
            let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
            while let Some(file) = next.pop() {
                next.extend(graph[file].iter().copied().filter(|&to| reached.insert(to)));
            }
            (from, reached)
        })
        .collect();
    let circle = |&file: &&str| -> BTreeSet<String> {
        let other = |to: &&&str| **to != file && reached[**to].contains(file);
        reached[file].iter().filter(other).chain([&file]).map(|&file| file.to_owned()).collect()
    };
    let found: BTreeSet<_> = reached.keys().map(circle).filter(|circle| circle.len() > 1).collect();
    found.into_iter().collect()
}

/// What is wrong with the circles among some files.
fn offences(files: &[(&str, &str)]) -> Vec<String> {
    let mut offences = Vec::new();
    for circle in circles(files) {
        let room = |path: &String| Some(module(path)?[..2].concat());
        let rooms: BTreeSet<String> = circle.iter().filter_map(room).collect();
        let number = circle.len();
        let listed = circle.iter().cloned().collect::<Vec<_>>().join(", ");
        if rooms.len() > 1 {
            offences.push(format!("files of several rooms import each other in a circle: {listed}"));
        } else if number > FILES_MAX {
            offences
                .push(format!("{number} files import each other in a circle, {FILES_MAX} at most: {listed}"));
        }
    }
    offences
}

#[test]
fn files_import_each_other_in_no_circle_that_is_large_or_leaves_its_room() {
    let found = |files: &[(&str, &str)]| {
        let found: Vec<_> = circles(files).into_iter().map(|circle| circle.len()).collect();
        (found, offences(files).len())
    };
    let imports_b = "//! Of crate::b.\nuse crate::{ids::Id, b::{self, B as C}};\n";
    let (of_a, of_b) = (("src/a.rs", imports_b), ("src/b/mod.rs", "pub use super::a::A;\n"));
    assert_eq!(found(&[of_a, of_b]), (vec![2], 1), "two rooms");
    assert_eq!(
        found(&[of_a, ("src/b/mod.rs", "#[cfg(test)]\nmod tests {\nuse crate::a;\n}\n")]),
        (vec![], 0)
    );
    assert_eq!(found(&[of_a, ("conformance/src/b.rs", "use crate::a;")]), (vec![], 0), "two crates");
    let (one, two) = (("src/a/one.rs", "use super::{A, two::B};"), ("src/a/two.rs", "use crate::a::one::C;"));
    assert_eq!(found(&[one, two]), (vec![2], 0), "in one room");
    assert_eq!(found(&[one, ("src/a/mod.rs", "use self::one::C;")]), (vec![], 0), "a module and its own");
    let paths: Vec<_> = (0..=FILES_MAX).map(|at| format!("src/a/f{at}.rs")).collect();
    let texts: Vec<_> =
        (0..=FILES_MAX).map(|at| format!("use super::f{}::T;", (at + 1) % paths.len())).collect();
    let ring: Vec<_> = paths.iter().zip(&texts).map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(found(&ring), (vec![FILES_MAX + 1], 1), "too many of one room");
    assert_eq!(found(&ring[1..]), (vec![], 0), "a chain");

    let files = files();
    let files: Vec<_> = files.iter().map(|File { path, text }| (path.as_str(), text.as_str())).collect();
    let offences = offences(&files);
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}
