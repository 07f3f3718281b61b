//! A regular expression that names are held against, found anywhere in them (RabbitMQ: access-control.md).
//!
//! It looks at bytes, as RabbitMQ's does, and takes time in proportion to the name, however it is built: there is nothing in
//! it that could make it try again. Look-around and back references, which cannot be had at that price, are refused.

use regex::bytes::{Regex, RegexBuilder};

/// The longest pattern, in bytes: room for some hundred names.
const LEN_MAX: usize = 8192;

/// Memory of a compiled pattern, bytes: what a careful one of full length takes, and a careless one (`(a{99}){99}`) does not get.
const SIZE_MAX: usize = 512 << 10;

/// How deep a pattern may nest.
const NEST_MAX: u32 = 50;

/// See the head of this file.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// Every name.
    Any,
    /// No name.
    Nothing,
    /// Names in which it is found.
    Found(Regex),
}

impl Pattern {
    /// A pattern ready for use.
    ///
    /// # Errors
    /// Why it cannot be used, in one line.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > LEN_MAX {
            return Err(format!("a pattern has {} bytes; {LEN_MAX} are allowed", text.len()));
        }
        match text {
            // Nothing is found only in names that are empty, of which there are none: RabbitMQ's way to say no.
            "" | "^$" => return Ok(Self::Nothing),
            ".*" | "^.*" => return Ok(Self::Any),
            _ => {}
        }
        let regex = RegexBuilder::new(text)
            .unicode(false)
            .size_limit(SIZE_MAX)
            .dfa_size_limit(SIZE_MAX)
            .nest_limit(NEST_MAX)
            .build();
        regex.map(Self::Found).map_err(|error| {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("'{text}' is not a pattern: {why}")
        })
    }

    /// Whether it is found in a name.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Nothing => false,
            Self::Found(regex) => regex.is_match(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let pattern = Pattern::compile(pattern).unwrap();
        matching.iter().for_each(|name| assert!(pattern.matches(name.as_bytes()), "{name}"));
        others.iter().for_each(|name| assert!(!pattern.matches(name.as_bytes()), "{name}"));
    }

    #[test]
    fn a_pattern_is_found_anywhere_in_a_name() {
        check("job", &["job", "jobs", "my job"], &["jo", "JOB", ""]);
        check("^job", &["job", "jobs"], &["my job"]);
        check("^(jobs|logs\\..*)$", &["jobs", "logs.", "logs.x"], &["jobs.x", "logs"]);
        check("(?i)job", &["Job"], &[]);
        check("^\u{e9}.$", &["\u{e9}1"], &["e1"]);
    }

    #[test]
    fn some_say_yes_or_no_to_all() {
        check("", &[], &["", "jobs"]);
        check("^$", &[], &["", "jobs"]);
        check(".*", &["", "jobs", "a\nb"], &[]);
    }

    #[test]
    fn what_could_explode_or_is_no_pattern_is_refused_in_one_line() {
        for bad in ["(", "[z-a]", "(a{99}){99}{99}", "(?=a)", "(a)\\1", &"(".repeat(60), &"a".repeat(8193)] {
            let why = Pattern::compile(bad).unwrap_err();
            assert!(!why.contains('\n') && !why.is_empty(), "{why}");
        }
        let pattern = Pattern::compile("(a*)*b").unwrap();
        assert!(!pattern.matches(&[b'a'; 255]), "and that quickly");
    }
}
