//! The tree as text: which files belong to the project, and a Rust file without its prose.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the project.
#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the root, with `/` between its parts.
    pub(crate) path: String,
    /// Its content; empty for what is not text.
    pub(crate) text: String,
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the project, in order of its path. What `.gitignore` names at the root does not
/// belong to it, nor does git's own folder; inputs kept for the fuzz tests are not text of ours.
pub(crate) fn files() -> Vec<File> {
    let ignored = fs::read_to_string(root().join(".gitignore")).expect("the root has a .gitignore");
    let ignored: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('/')).collect();
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(root())];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project can be read") {
            let entry = entry.expect("an entry of the project can be read").path();
            let path =
                entry.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
            if path == ".git" || path == "conformance/fuzz/corpus" || ignored.contains(&path.as_str()) {
                continue;
            }
            if entry.is_dir() {
                folders.push(entry);
            } else {
                let text = String::from_utf8(fs::read(&entry).expect("a file of the project can be read"));
                found.push(File { path, text: text.unwrap_or_default() });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A Rust source with every comment and the inside of every literal blanked, so that what is left
/// is code; lines keep their numbers and columns.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = prose_end(bytes, at);
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none does.
fn prose_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment_len(rest),
        [b'"', ..] => at + quoted_len(rest, b'"'),
        [b'\'', b'\\', ..] | [b'\'', _, b'\'', ..] => at + quoted_len(rest, b'\''),
        [b'r', b'"' | b'#', ..] if !in_word || matches!(bytes[at - 1], b'b' | b'c') => {
            at + raw_string_len(rest)
        }
        _ => at,
    }
}

fn block_comment_len(rest: &[u8]) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(rest.len())
}

fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// 0 when this is a raw identifier and not a raw string.
fn raw_string_len(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = 2 + hashes;
    rest[body..]
        .windows(close.len())
        .position(|window| window == close)
        .map_or(rest.len(), |found| body + found + close.len())
}

#[test]
fn prose_is_blanked_and_code_is_kept() {
    let check = |text: &str, want: &str| {
        let got = code(text);
        assert_eq!(got.len(), text.len(), "columns move in {text:?}");
        assert_eq!(got.split_whitespace().collect::<Vec<_>>().join(" "), want, "of {text:?}");
    };
    check("a // b \"\nc", "a c");
    check("a /* b /* c */ d */ e", "a e");
    check("f(\"b // \\\" c\", d)", "f( , d)");
    check("f(r#\"b \" c\"#, br\"x\\\", d)", "f( , b , d)");
    check("let r#type = 1;", "let r#type = 1;");
    check(
        "fn f<'a>(x: &'a str, y: char) { y == '\"' || y == '\\'' }",
        "fn f<'a>(x: &'a str, y: char) { y == || y == }",
    );
    check("a /* b", "a");
}
