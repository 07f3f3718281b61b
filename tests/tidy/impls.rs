//! In how many files the `impl` blocks of one type are. A type whose methods are all over its room
//! is a namespace: nobody can say what it is for, and every field is everybody's. It is cut along
//! what its users need.
//!
//! Traits that a type implements do not count, nor do tests.

use super::circles::{before_tests, module};
use super::source::{File, files};
use super::{is_word, names_after};
use std::collections::{BTreeMap, BTreeSet};

/// Files with `impl` blocks of one type.
const FILES_MAX: usize = 4;

/// A type, by the file that defines it and its name, since files have types of the same name.
type Type<'a> = (&'a str, &'a str);

/// The types that have an `impl` block of their own in `code`.
fn implemented(code: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("impl") {
        let after = &code[at + "impl".len()..];
        let begins_line = code[..at].rsplit('\n').next().is_none_or(|before| before.trim().is_empty());
        if !begins_line || !after.starts_with([' ', '<']) {
            continue;
        }
        let head = &after[..after.find('{').unwrap_or(after.len())];
        if head.split_whitespace().any(|word| word == "for") {
            continue;
        }
        let of = without_parameters(head).trim_start();
        found.insert(&of[..of.find(|c| !is_word(c)).unwrap_or(of.len())]);
    }
    found
}

/// What follows the parameters of an `impl`, if it has any.
fn without_parameters(head: &str) -> &str {
    if !head.starts_with('<') {
        return head;
    }
    let mut depth = 0_u32;
    for (at, c) in head.char_indices() {
        match c {
            '<' => depth += 1,
            // The end of an arrow is none of a list.
            '>' if !head[..at].ends_with(['-', '=']) => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &head[at + 1..];
        }
    }
    head
}

/// The files with `impl` blocks of each type that some files define.
fn spread<'a>(texts: &'a [(&'a str, String)]) -> BTreeMap<Type<'a>, BTreeSet<&'a str>> {
    let mut defined = BTreeMap::<&str, Vec<&str>>::new();
    for (path, code) in texts {
        for (_, name) in ["struct ", "enum "].iter().flat_map(|keyword| names_after(code, keyword)) {
            defined.entry(name).or_default().push(path);
        }
    }
    let mut spread = BTreeMap::<Type<'_>, BTreeSet<&str>>::new();
    for (path, code) in texts {
        for name in implemented(code) {
            let of_room = defined.get(name).into_iter().flatten();
            let near = of_room.filter_map(|file| Some((nearness(path, file)?, *file)));
            if let Some((_, home)) = near.max() {
                spread.entry((home, name)).or_default().insert(path);
            }
        }
    }
    spread
}

/// How near a file is to another of its room, since a type is the nearest of its name: whether it
/// is the same one, and how much of the paths of their modules is.
fn nearness(one: &str, other: &str) -> Option<(bool, usize)> {
    let (of_one, of_other) = (module(one)?, module(other)?);
    let same = of_one.iter().zip(&of_other).take_while(|(one, other)| one == other).count();
    (same > 1).then_some((one == other, same))
}

/// What is wrong with the `impl` blocks of some files.
fn offences(files: &[(&str, &str)]) -> Vec<String> {
    let modules = files.iter().filter(|(path, _)| module(path).is_some());
    let texts: Vec<(&str, String)> = modules.map(|&(path, text)| (path, before_tests(text))).collect();
    let spread = spread(&texts);
    let mut offences = Vec::new();
    for (&(home, name), of) in &spread {
        let number = of.len();
        if number > FILES_MAX {
            let listed = of.iter().copied().collect::<Vec<_>>().join(", ");
            offences.push(format!(
                "`{name}` of {home} has its impl in {number} files, {FILES_MAX} at most: {listed}"
            ));
        }
    }
    offences
}

#[test]
fn the_impl_of_a_type_is_in_few_files() {
    let home = ("src/a/home.rs", "pub(super) struct One<'a>(&'a str);\npub enum Two {}\nimpl Two {}\n");
    let paths: Vec<_> = (0..FILES_MAX).map(|at| format!("src/a/f{at}.rs")).collect();
    let with = |text: &'static str| paths.iter().map(move |path| (path.as_str(), text)).collect::<Vec<_>>();
    let found = |more: &[(&str, &str)]| offences(&[&[home], more].concat()).len();
    let one =
        "use super::One;\nimpl<'a, F: Fn(&str) -> Option<u8>> One<'a> {\n    fn f() {}\n}\nimpl One<'_> {}\n";
    assert_eq!(found(&with(one)), 0, "so many may be");
    assert_eq!(found(&with("impl Two {\n}\n")), 1, "with that where it is defined it is one too many");
    assert_eq!(found(&with("impl fmt::Debug for Two {\n}\n")), 0, "a trait");
    assert_eq!(found(&with("struct Two;\nimpl Two {\n}\n")), 0, "others of that name");
    assert_eq!(found(&with("#[cfg(test)]\nmod tests {\nimpl Two {\n}\n}\n")), 0, "in tests");
    let elsewhere: Vec<_> = with("impl Two {\n}\n").into_iter().skip(1).collect();
    let other_room = ("src/b/mod.rs", "impl Two {\n}\n");
    assert_eq!(found(&[&elsewhere[..], &[other_room]].concat()), 0, "another room");

    let files = files();
    let files: Vec<_> = files.iter().map(|File { path, text }| (path.as_str(), text.as_str())).collect();
    let offences = offences(&files);
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}
