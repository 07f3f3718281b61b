//! When something of a connection may be due, so that nothing is looked at before.

/// How long nobody is blamed whose input is not read, milliseconds at a time.
const UNREAD_MS: u64 = 1_000;

/// When something is to be looked at next, in monotonic milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(u64);

impl Deadline {
    /// Nothing is to be looked at.
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// When it is; `u64::MAX` for never.
    pub(super) fn at_ms(self) -> u64 {
        self.0
    }

    pub(super) fn is_due(self, now_ms: u64) -> bool {
        now_ms >= self.0
    }

    /// There is something to look at by then.
    #[inline]
    pub(super) fn bring_forward(&mut self, at_ms: u64) {
        self.0 = self.0.min(at_ms);
    }

    /// The client is not read now, so that it is not to blame yet.
    pub(super) fn put_off(&mut self, now_ms: u64) {
        self.0 = now_ms.saturating_add(UNREAD_MS);
    }
}
