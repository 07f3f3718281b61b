//! The way of log lines to the exchange `amq.rabbitmq.log`: from whatever thread writes one, which
//! may hold any lock and must not wait, through a bounded channel to a task that publishes them.
//! What has no room there is left out, of the exchange alone.
//!
//! What is logged because a line is published is not published, or it would never end.

use crate::broker::{Broker, log_exchange};
use std::cell::Cell;
use std::sync::{Arc, PoisonError, RwLock, Weak};
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
    broker: LogTarget,
}

/// What is to be published.
#[derive(Debug)]
pub struct LogLines {
    lines: Receiver<Line>,
    broker: LogTarget,
}

/// The broker to which lines are published, once there is one; another one may come after it.
/// Copies are the same.
#[derive(Debug, Clone, Default)]
pub struct LogTarget(Arc<RwLock<Weak<Broker>>>);

impl LogTarget {
    /// Has lines published to this one from now on.
    pub fn set(&self, broker: &Arc<Broker>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(broker);
    }

    fn get(&self) -> Option<Arc<Broker>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).upgrade()
    }
}

#[derive(Debug)]
struct Line {
    level: &'static str,
    text: String,
}

/// Both ends. Nothing is taken before a broker is named.
#[must_use]
pub fn log_exchange() -> (LogSink, LogLines) {
    let (sender, lines) = channel(LINES_MAX);
    let broker = LogTarget::default();
    (LogSink { lines: sender, broker: broker.clone() }, LogLines { lines, broker })
}

impl LogSink {
    /// Whether a line of this level would be published. Debugging is not: a consumer of it would
    /// make more of it.
    #[must_use]
    pub fn wants(&self, level: Level) -> bool {
        level <= Level::INFO && !PUBLISHES.get() && self.broker.get().is_some_and(|broker| broker.wants_log())
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
    /// Where it is said which broker they are published to.
    #[must_use]
    pub fn target(&self) -> LogTarget {
        self.broker.clone()
    }

    /// Publishes what is handed over, for as long as there are senders.
    pub async fn publish(mut self) {
        while let Some(Line { level, text }) = self.lines.recv().await {
            let Some(broker) = self.broker.get() else { continue };
            PUBLISHES.set(true);
            log_exchange::publish(&broker, level, &text, broker.clock().now());
            PUBLISHES.set(false);
        }
    }
}
