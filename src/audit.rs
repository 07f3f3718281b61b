//! Sees to it that nobody can fill the disk with log lines: of each kind, that is of each place in
//! the code that writes one, a thousand may come at once and two a second in the long run, about 25
//! MB a day. What is left out is counted, and the count is logged. So the lines that say who came,
//! who was refused and who was thrown out, and from where, can be kept.
//!
//! Lines below the level `info` are not counted: they are for whoever asked for them, while he
//! looks.

pub mod recent;

use crate::clock;
use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of a kind that may come at once.
const BURST: u64 = 1000;

/// Milliseconds after which one more may come.
const INTERVAL_MS: u64 = 500;

/// The longest example of what was left out, in bytes.
const EXAMPLE_MAX: usize = 200;

/// A filter that limits how many log lines each place in the code may write. Copies share what they
/// count.
#[derive(Debug, Default, Clone)]
pub struct Audit {
    /// One for each place in the code that has logged anything.
    kinds: Arc<Mutex<HashMap<Identifier, Kind>>>,
}

/// What may still be logged of one kind, and what was not.
#[derive(Debug, Default)]
struct Kind {
    /// Lines on account: each is paid off in [`INTERVAL_MS`].
    debt: u64,
    /// Up to when it was paid off, in monotonic milliseconds.
    paid_ms: u64,
    left_out: u64,
    /// The first that was left out.
    example: String,
}

impl Kind {
    /// Whether one more line may be logged.
    fn admits(&mut self, now_ms: u64) -> bool {
        let paid = now_ms.saturating_sub(self.paid_ms) / INTERVAL_MS;
        self.debt = self.debt.saturating_sub(paid);
        self.paid_ms = if self.debt == 0 { now_ms } else { self.paid_ms + paid * INTERVAL_MS };
        if self.debt >= BURST {
            self.left_out += 1;
            return false;
        }
        self.debt += 1;
        true
    }
}

impl Audit {
    /// Logs how much was left out since the last call.
    pub fn report(&self) {
        let mut left_out: Vec<(u64, String)> = Vec::new();
        for kind in self.kinds().values_mut().filter(|kind| kind.left_out > 0) {
            left_out.push((std::mem::take(&mut kind.left_out), std::mem::take(&mut kind.example)));
        }
        for (left_out, example) in left_out {
            warn!(omitted = left_out, "log lines omitted, there were too many like this: {example}");
        }
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Identifier, Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a line of this kind is logged; and whether it is the first that is not.
    fn admits(&self, kind: Identifier, now_ms: u64) -> (bool, bool) {
        let mut kinds = self.kinds();
        let kind = kinds.entry(kind).or_default();
        (kind.admits(now_ms), kind.left_out == 1)
    }
}

impl<S: Subscriber> Layer<S> for Audit {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let (admitted, first) = self.admits(metadata.callsite(), clock::mono_ms());
        if !admitted && first {
            // Not under the lock: what is formatted may log.
            let mut example = Example(String::new());
            event.record(&mut example);
            if let Some(kind) = self.kinds().get_mut(&metadata.callsite()) {
                kind.example = example.0;
            }
        }
        admitted
    }
}

/// The words of a line, and what they are about.
struct Example(String);

impl Visit for Example {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut end = self.0.len();
        // Writing to a String does not fail.
        let _always = match field.name() {
            "message" => write!(self.0, "{value:?} "),
            name => write!(self.0, "{name}={value:?} "),
        };
        if self.0.len() > EXAMPLE_MAX {
            end = end.max(EXAMPLE_MAX);
            while !self.0.is_char_boundary(end) {
                end -= 1;
            }
            self.0.truncate(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(kind: &mut Kind, lines: u64, now_ms: u64) -> u64 {
        (0..lines).map(|_| u64::from(kind.admits(now_ms))).sum()
    }

    #[test]
    fn a_burst_passes_and_then_two_a_second() {
        let mut kind = Kind::default();
        assert_eq!(admitted(&mut kind, 1500, 10_000), BURST);
        assert_eq!(admitted(&mut kind, 10, 10_499), 0);
        assert_eq!(admitted(&mut kind, 10, 10_500), 1);
        assert_eq!(admitted(&mut kind, 10, 11_999), 2);
        assert_eq!(kind.left_out, 500 + 10 + 9 + 8);
    }

    #[test]
    fn quiet_times_are_not_saved_up() {
        let mut kind = Kind::default();
        assert_eq!(admitted(&mut kind, 2000, 1000), BURST);
        assert_eq!(admitted(&mut kind, 2000, 1_000_000_000), BURST);
        assert_eq!(admitted(&mut kind, 1, 1_000_000_499), 0);
    }

    #[test]
    fn who_logs_less_always_passes() {
        let mut kind = Kind::default();
        for now_ms in (0..10_000_000).step_by(500) {
            assert!(kind.admits(now_ms));
        }
    }
}
