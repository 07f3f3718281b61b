//! A regular expression that names are held against, found anywhere in them (RabbitMQ:
//! access-control.md).
//!
//! RabbitMQ's patterns are PCRE2's, on bytes.
//! `rewrite` says what they mean in the language of the crate `regex`, which takes time in
//! proportion to the name, however a pattern is built. What that cannot find (look-around, back
//! references, atomic groups) is found by
//! `fancy-regex`, which tries again and again, but no more often than `TRIES_MAX` allows: a pattern
//! that needs more is found in no name of that kind, and the log says so.

mod class;
mod cursor;
mod rewrite;
#[cfg(test)]
mod tests;

use self::rewrite::{Rewritten, rewrite};
use fancy_regex::{BytesMode, CompileError};
use regex::bytes::{Regex, RegexBuilder};
use std::sync::{Arc, OnceLock};
use tracing::warn;

/// The longest pattern, in bytes: room for some hundred names.
const LEN_MAX: usize = 8192;

/// Memory of a compiled pattern, bytes: what a careful one of full length takes, and a careless one
/// (`(a{99}){99}`) does not get.
const SIZE_MAX: usize = 512 << 10;

/// How deep a compiled pattern may nest: what is rewritten has groups within those that were
/// written.
const NEST_MAX: u32 = 250;

/// What repetitions may add to a pattern ([`Rewritten::repeated`]): a handful of `{1,255}`. The
/// work on a name grows with it.
const REPEATED_MAX: usize = 2000;

/// Memory that each part of a pattern that takes backtracking keeps for its next search, bytes.
const PART_CACHE_MAX: usize = 64 << 10;

/// Instructions of a pattern that takes backtracking.
const PROGRAM_MAX: usize = 50_000;

/// How often a pattern may be tried anew for one name, beside once for each of its parts: each byte
/// of a name of 255 some forty times.
const TRIES_MAX: usize = 10_000;

/// How often a pattern may be tried anew that is as large as can be.
const TRIES_MIN: usize = 300;

/// How often the parts of a pattern may be tried, all counted: what a try costs grows with them.
const PARTS_TRIED_MAX: usize = 300_000;

/// A pattern ready for use.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// Every name.
    Any,
    /// The empty name, and a newline, which `$` does not count.
    Empty,
    /// No name.
    Nothing,
    /// Names in which it is found.
    Found(Arc<Finder>),
}

/// Whether a pattern is found in a name cannot be told: it would be tried too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManySteps;

/// What [`Pattern::Found`] looks for, ready for use.
#[derive(Debug)]
pub struct Finder {
    /// As it was written.
    text: String,
    engine: Engine,
    /// For names that end in a newline, if they need another one; made when there is such a name.
    for_last_newline: Option<OnceLock<Option<Engine>>>,
}

#[derive(Debug)]
enum Engine {
    Linear(Regex),
    Backtracking(Box<fancy_regex::Regex>),
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
            // Found only in names that are empty, of which there are none but among routing keys:
            // RabbitMQ's way to say no.
            "" | "^$" => return Ok(Self::Empty),
            ".*" | "^.*" => return Ok(Self::Any),
            _ => {}
        }
        let finder = Finder::compile(text)
            .map_err(|why| format!("'{}' is not a pattern: {why}", in_one_line(text)))?;
        Ok(Self::Found(Arc::new(finder)))
    }

    /// Whether it is found in a name; not in one that takes too many steps, which is logged.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        self.find(name).unwrap_or_else(|TooManySteps| {
            let (pattern, name) = (self.text(), String::from_utf8_lossy(name));
            warn!(pattern, %name, "a pattern takes too many steps to match and counts as not matching: simplify it");
            false
        })
    }

    /// Whether it is found in a name.
    ///
    /// # Errors
    /// To find out takes too many steps.
    pub fn find(&self, name: &[u8]) -> Result<bool, TooManySteps> {
        match self {
            Self::Any => Ok(true),
            Self::Empty => Ok(matches!(name, b"" | b"\n")),
            Self::Nothing => Ok(false),
            Self::Found(finder) => finder.is_found_in(name),
        }
    }

    /// As it was written, where that takes steps.
    fn text(&self) -> &str {
        if let Self::Found(finder) = self { &finder.text } else { "" }
    }
}

impl Finder {
    fn compile(text: &str) -> Result<Self, String> {
        let mut rewritten = rewrite(text, false)?;
        if rewritten.is_hard && rewritten.minds_last_newline {
            rewritten = rewrite(text, true)?;
        }
        let for_last_newline = (rewritten.minds_last_newline && !rewritten.is_hard).then(OnceLock::new);
        Ok(Self { text: text.to_owned(), engine: Engine::compile(&rewritten)?, for_last_newline })
    }

    fn is_found_in(&self, name: &[u8]) -> Result<bool, TooManySteps> {
        let engine = match &self.for_last_newline {
            Some(other) if name.ends_with(b"\n") => {
                let compiled =
                    || rewrite(&self.text, true).and_then(|rewritten| Engine::compile(&rewritten)).ok();
                other.get_or_init(compiled).as_ref()
            }
            _ => Some(&self.engine),
        };
        match engine {
            Some(Engine::Linear(regex)) => Ok(regex.is_match(name)),
            Some(Engine::Backtracking(regex)) => regex.is_match(name).map_err(|_limit| TooManySteps),
            None => Err(TooManySteps),
        }
    }
}

impl Engine {
    fn compile(rewritten: &Rewritten) -> Result<Self, String> {
        let too_large = || "it is too large with all its repetitions".to_owned();
        if rewritten.repeated > REPEATED_MAX {
            return Err(too_large());
        }
        if !rewritten.is_hard {
            let regex = RegexBuilder::new(&rewritten.text)
                .unicode(false)
                .size_limit(SIZE_MAX)
                .dfa_size_limit(SIZE_MAX)
                .nest_limit(NEST_MAX)
                .build();
            return regex.map(Self::Linear).map_err(|error| last_line(&error.to_string()));
        }
        let parts = rewritten.parts + rewritten.repeated;
        let tries = (PARTS_TRIED_MAX / parts.max(1)).clamp(TRIES_MIN, TRIES_MAX);
        let regex = fancy_regex::RegexBuilder::new(&rewritten.text)
            .bytes_mode(BytesMode::Ascii)
            .unicode_mode(false)
            .backtrack_limit(tries + rewritten.parts)
            .delegate_size_limit(SIZE_MAX)
            .delegate_dfa_size_limit(PART_CACHE_MAX)
            .max_prog_size(PROGRAM_MAX)
            .build();
        let regex = regex.map_err(|error| match error {
            fancy_regex::Error::CompileError(error) if matches!(*error, CompileError::InnerError(_)) => {
                too_large()
            }
            other => last_line(&other.to_string()),
        });
        regex.map(|regex| Self::Backtracking(Box::new(regex)))
    }
}

fn in_one_line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(shown).collect()
}

fn last_line(error: &str) -> String {
    error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
