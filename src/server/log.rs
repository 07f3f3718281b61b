//! The way of log lines to the exchange `amq.rabbitmq.log`: from whatever thread writes one, which
//! may hold any lock and must not wait, through a bounded channel to a task that publishes them.
//! What has no room there is left out, of the exchange alone.
//!
//! What is logged because a line is published is not published, or it would never end.

use crate::broker::{Broker, log_exchange};
use std::cell::Cell;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::Level;

/// Lines that wait to be published.
const LINES_MAX: usize = 1024;

/// The longest line, in bytes; what is longer is cut.
const LINE_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    /// Whether this thread is publishing a line.
    static PUBLISHES: Cell<bool> = const { Cell::new(false) };
}

/// Where lines are handed over. Copies are the same.
#[derive(Debug, Clone)]
pub struct LogSink {
    lines: Sender<Line>,
    broker: Arc<OnceLock<Weak<Broker>>>,
}

/// What is to be published.
#[derive(Debug)]
pub struct LogLines {
    lines: Receiver<Line>,
    broker: Arc<OnceLock<Weak<Broker>>>,
}

#[derive(Debug)]
struct Line {
    level: &'static str,
    text: String,
}

/// Both ends. Nothing is taken before [`LogLines::publish`].
#[must_use]
pub fn log_exchange() -> (LogSink, LogLines) {
    let (sender, lines) = channel(LINES_MAX);
    let broker = Arc::<OnceLock<_>>::default();
    (LogSink { lines: sender, broker: Arc::clone(&broker) }, LogLines { lines, broker })
}

impl LogSink {
    /// Whether a line of this level would be published. Debugging is not: a consumer of it would
    /// make more of it.
    #[must_use]
    pub fn wants(&self, level: Level) -> bool {
        level <= Level::INFO
            && !PUBLISHES.get()
            && self.broker.get().and_then(Weak::upgrade).is_some_and(|broker| broker.wants_log())
    }

    /// Hands a line over, if there is room.
    pub fn offer(&self, level: Level, line: &str) {
        let level = match level {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => "info",
        };
        let line = line.trim_end();
        let mut end = line.len().min(LINE_BYTES_MAX);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let text = line[..end].to_owned();
        // What has no room is in the log all the same.
        let _left_out = self.lines.try_send(Line { level, text });
    }
}

impl LogLines {
    /// Publishes what is handed over, for as long as there are senders.
    pub async fn publish(mut self, broker: Arc<Broker>) {
        // It is set here alone.
        let _first = self.broker.set(Arc::downgrade(&broker));
        while let Some(Line { level, text }) = self.lines.recv().await {
            PUBLISHES.set(true);
            log_exchange::publish(&broker, level, &text, broker.clock().now());
            PUBLISHES.set(false);
        }
    }
}
