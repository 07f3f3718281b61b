//! How long a client may leave unread what is there for it. Any byte that it takes counts; what
//! nobody takes is memory that the client decides over.

use crate::clock::Now;

/// The longest that a client may leave something unread while memory is short: others wait for what
/// it keeps.
const PRESSED_MS: u64 = 10_000;

/// A deadline for a client that does not read what is sent to it.
#[derive(Debug)]
pub(crate) struct WriteTimeout {
    /// 0: without end.
    timeout_ms: u64,
    /// When to look; `u64::MAX` while nothing is there to be read.
    until_ms: u64,
    /// How far the output was when it was looked at last.
    progress: u64,
}

impl WriteTimeout {
    /// 0 seconds are for ever.
    pub(crate) fn of(timeout_s: u16) -> Self {
        Self { timeout_ms: u64::from(timeout_s) * 1000, until_ms: u64::MAX, progress: 0 }
    }

    /// There is something to be read; the output is at `progress`.
    #[inline]
    pub(crate) fn watch(&mut self, progress: u64, now: Now) {
        if self.until_ms == u64::MAX && self.timeout_ms > 0 {
            self.until_ms = now.mono_ms.saturating_add(self.timeout_ms);
            self.progress = progress;
        }
    }

    /// Memory is short.
    pub(crate) fn hurry(&mut self, progress: u64, now: Now) {
        let until_ms = now.mono_ms.saturating_add(PRESSED_MS);
        if self.timeout_ms > 0 && self.until_ms > until_ms {
            self.until_ms = until_ms;
            self.progress = progress;
        }
    }

    /// Whether the client has taken nothing for too long of an output that is not empty.
    pub(crate) fn ends(&mut self, progress: u64, is_empty: bool, now: Now) -> bool {
        if now.mono_ms < self.until_ms {
            return false;
        }
        let stalled = !is_empty && progress == self.progress;
        self.until_ms = u64::MAX;
        if !stalled && !is_empty {
            self.watch(progress, now);
        }
        stalled
    }

    pub(crate) fn poll_deadline(&self) -> u64 {
        self.until_ms
    }
}
