//! The web pages: every file is served, as what it is, and none does what the policy forbids.

use super::client::Api;
use crate::tidy::source::root;
use conformance::api::http::Answer;
use flate2::read::GzDecoder;
use std::fs;
use std::io::Read;
use std::path::Path;

/// Bytes of all files together, at most.
const BYTES_MAX: usize = 250_000;

/// What makes markup or a program of a text, or runs one within the page.
const FORBIDDEN: [&str; 11] = [
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "createContextualFragment",
    "document.write",
    "DOMParser",
    "srcdoc",
    "eval(",
    "new Function",
    "javascript:",
    "<style",
];

/// A name that is no host: that of a kind of markup.
const NAMESPACE: &str = "http://www.w3.org/2000/svg";

/// Paths and texts of all files in the folder.
fn files() -> Vec<(String, String)> {
    fn add(folder: &Path, path: &str, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).expect("the folder is there") {
            let entry = entry.expect("the folder is read");
            let path = format!("{path}/{}", entry.file_name().to_str().expect("names are UTF-8"));
            match fs::read_to_string(entry.path()) {
                Ok(text) => found.push((path, text)),
                Err(_folder) => add(&entry.path(), &path, found),
            }
        }
    }
    let mut found = Vec::new();
    add(&root().join("src/http/ui"), "/ui", &mut found);
    assert!(found.len() > 30, "the folder was not read");
    for (path, _) in &mut found {
        if path == "/ui/index.html" {
            path.truncate(1);
        }
    }
    found
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        None => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml; charset=utf-8",
        Some(other) => panic!("what is a .{other}?"),
    }
}

/// What a browser is told of every file, or of one that it has.
#[track_caller]
fn check_headers(path: &str, answer: &Answer) {
    let header = |name| answer.header(name).unwrap_or_default();
    let policy = header("content-security-policy");
    assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{path}: {policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
    assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
    assert_eq!(header("cache-control"), "no-cache", "{path}");
    assert!(header("vary").contains("accept-encoding"), "{path}");
    assert!(header("etag").starts_with("W/\""), "{path}");
    let policies = answer.headers.iter().filter(|(name, _)| name == "content-security-policy");
    assert_eq!(policies.count(), 1, "{path}");
}

#[test]
fn every_file_is_served_to_whoever_asks() {
    let api = Api::start();
    for (path, text) in files() {
        let whole = api.ask_with(("GET", &path), &[], None);
        assert_eq!((whole.status, whole.text()), (200, text.clone()), "{path}");
        assert_eq!(whole.header("content-type"), Some(kind(&path)), "{path}");
        assert_eq!(whole.header("content-encoding"), None, "{path}");
        check_headers(&path, &whole);
        let zipped = api.ask_with(("GET", &path), &[("Accept-Encoding", "br, gzip")], None);
        assert_eq!(zipped.header("content-encoding"), Some("gzip"), "{path}");
        assert_eq!(zipped.header("etag"), whole.header("etag"), "{path}");
        let mut plain = String::new();
        GzDecoder::new(&*zipped.body).read_to_string(&mut plain).expect("it is compressed");
        assert_eq!(plain, text, "{path}");
    }
}

#[test]
fn a_file_that_the_browser_has_is_not_sent_again() {
    let api = Api::start();
    let path = "/ui/app.js";
    let head = api.ask_with(("HEAD", path), &[], None);
    assert_eq!((head.status, head.body.len()), (200, 0));
    check_headers(path, &head);
    let tag = head.header("etag").expect("there is one").to_owned();
    let opaque = tag.trim_start_matches("W/");
    for known in [&*tag, opaque, "*", &format!("\"other\", {tag}")] {
        let answer = api.ask_with(("GET", path), &[("If-None-Match", known)], None);
        assert_eq!(
            (answer.status, answer.body.len(), answer.header("etag")),
            (304, 0, Some(&*tag)),
            "{known}"
        );
        check_headers(path, &answer);
    }
    for other in ["", "W/\"other\"", "app"] {
        assert_eq!(api.ask_with(("GET", path), &[("If-None-Match", other)], None).status, 200, "{other}");
    }
}

#[test]
fn nothing_else_is_served() {
    let api = Api::start();
    for path in [
        "/ui",
        "/ui/",
        "/ui/index.html",
        "/ui/..%2f",
        "/ui/..%2fui.rs",
        "/ui/../ui.rs",
        "/ui/pages",
        "/ui/pages%2fqueues.js",
        "/ui/%00",
        "/ui/APP.js",
        "/index.html",
        "/favicon.ico",
    ] {
        assert_eq!(api.ask_with(("GET", path), &[], None).status, 404, "{path}");
    }
    assert_eq!(api.ask_with(("POST", "/"), &[], Some("{}")).status, 405);
    assert_eq!(api.ask_with(("DELETE", "/ui/app.js"), &[], None).status, 405);
}

#[test]
fn the_files_are_small_and_make_no_markup_of_texts() {
    let files = files();
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    assert!(bytes < BYTES_MAX, "{bytes} bytes");
    for (path, text) in &files {
        for word in FORBIDDEN {
            assert!(!text.contains(word), "{path} has {word}");
        }
        let text = text.replace(NAMESPACE, "");
        assert!(!text.contains("http://") && !text.contains("https://"), "{path} names another host");
    }
}

/// Handlers in markup, which the policy forbids, are attributes such as `onclick="..."`.
#[test]
fn the_page_has_no_program_or_style_within() {
    for (path, text) in files() {
        if !kind(&path).starts_with("text/html") && !kind(&path).starts_with("image/svg") {
            continue;
        }
        for tag in text.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
            let handler = tag.split_whitespace().find(|word| word.starts_with("on") && word.contains('='));
            assert_eq!(handler, None, "{path}: <{tag}>");
            assert!(!tag.contains("style="), "{path}: <{tag}>");
            assert!(!tag.starts_with("script") || tag.contains("src=\"ui/"), "{path}: <{tag}>");
        }
    }
}
