//! The last lines of the log, kept in memory for whoever looks at them from elsewhere.
//!
//! Bounded in number and in bytes. What is in the log is here, and nothing else: what is secret is
//! in neither.

use crate::clock;
use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that are kept.
pub const LINES_MAX: usize = 1000;

/// Bytes of a line that are kept.
const LINE_BYTES_MAX: usize = 4096;

/// Bytes of all of them.
const BYTES_MAX: usize = 1 << 20;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, milliseconds since 1970 by the wall clock.
    pub at_ms: u64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// The part of the program that has written it.
    pub target: &'static str,
    /// What it says, with its values.
    pub text: String,
}

/// Keeps the last lines that are logged. Copies are the same.
#[derive(Debug, Default, Clone)]
pub struct RecentLines(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl RecentLines {
    /// The last so many, the oldest first.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<LogLine> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lines.iter().skip(kept.lines.len().saturating_sub(count)).cloned().collect()
    }

    fn keep(&self, line: LogLine) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.text.len();
        kept.lines.push_back(line);
        while kept.lines.len() > LINES_MAX || kept.bytes > BYTES_MAX {
            let gone = kept.lines.pop_front().map_or(0, |line| line.text.len());
            kept.bytes -= gone;
        }
    }
}

impl<S: Subscriber> Layer<S> for RecentLines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut written = Written::default();
        event.record(&mut written);
        let mut text = written.message + &written.values;
        let mut end = text.len().min(LINE_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        let metadata = event.metadata();
        let level = match *metadata.level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        self.keep(LogLine { at_ms: clock::wall_now_ms(), level, target: metadata.target(), text });
    }
}

/// What an event says.
#[derive(Default)]
struct Written {
    message: String,
    values: String,
}

impl Visit for Written {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.values, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry;

    #[test]
    fn the_last_lines_are_kept_as_they_were_written() {
        let recent = RecentLines::default();
        with_default(registry().with(recent.clone()), || {
            tracing::warn!(queue = "q", count = 3, "messages {}", "parked");
            for number in 1..LINES_MAX {
                tracing::info!("line {number}");
            }
            assert_eq!(recent.last(LINES_MAX).len(), LINES_MAX);
            let first = &recent.last(LINES_MAX)[0];
            assert_eq!((first.level, first.text.as_str()), ("warn", "messages parked queue=\"q\" count=3"));
            tracing::error!("{}", "x".repeat(10_000));
        });
        let lines = recent.last(2);
        assert_eq!((lines[0].text.as_str(), lines[1].text.len()), ("line 999", LINE_BYTES_MAX));
        assert_eq!(recent.last(usize::MAX)[0].text, "line 1");
    }

    #[test]
    fn long_lines_are_fewer() {
        let recent = RecentLines::default();
        with_default(registry().with(recent.clone()), || {
            for _line in 0..LINES_MAX {
                tracing::info!("{}", "x".repeat(10_000));
            }
        });
        assert_eq!(recent.last(usize::MAX).len(), BYTES_MAX / LINE_BYTES_MAX);
    }
}
