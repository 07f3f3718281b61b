//! What lies ready for clients that have not taken it: messages dealt and not encoded, and bytes
//! that their sockets have not taken.
//!
//! Each consumer and each connection has a limit of its own, but a client may have thousands of
//! either, and not read. Here is the sum for all of them; while it is high nobody gets more ahead
//! than [`TIGHT_BYTES`]. That slows down no client that reads, for its own share is small, and it
//! ends by itself: what is not taken in time is given up with its connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What each consumer and each connection may have ahead while the sum is high. No less than a
/// session encodes before it tells a queue so, or a consumer would wait for ever.
pub const TIGHT_BYTES: usize = 64 * 1024;

/// How much is waiting for clients: messages not yet encoded, and bytes not yet sent.
#[derive(Debug)]
pub struct Unread {
    bytes: AtomicUsize,
    max: AtomicUsize,
}

/// What one consumer or connection has of the sum; it is taken out again when this is dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Unread>,
    bytes: usize,
}

impl Default for Unread {
    /// Never high.
    fn default() -> Self {
        Self::with(u64::MAX)
    }
}

impl Unread {
    /// High above `max` bytes.
    #[must_use]
    pub fn with(max: u64) -> Self {
        let unread = Self { bytes: AtomicUsize::new(0), max: AtomicUsize::new(0) };
        unread.set_max(max);
        unread
    }

    /// High above so many bytes from now on.
    pub fn set_max(&self, max: u64) {
        self.max.store(usize::try_from(max).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// The sum of all shares.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What one consumer or connection may have ahead, where it is `usual` as long as the sum is
    /// not high.
    #[must_use]
    #[inline]
    pub fn allowed(&self, usual: usize) -> usize {
        if self.bytes() > self.max.load(Ordering::Relaxed) { usual.min(TIGHT_BYTES) } else { usual }
    }
}

impl Share {
    /// An empty one.
    #[must_use]
    pub fn of(unread: &Arc<Unread>) -> Self {
        Self { of: Arc::clone(unread), bytes: 0 }
    }

    /// Its own bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// As [`Unread::allowed`] of the sum that it is part of.
    #[must_use]
    #[inline]
    pub fn allowed(&self, usual: usize) -> usize {
        self.of.allowed(usual)
    }

    /// It has so many bytes now.
    #[inline]
    pub fn set(&mut self, bytes: usize) {
        // A wrapping sum is right in the end, whatever order others come in.
        self.of.bytes.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// How much more it may have, which is `usual` in all as long as the sum is not high.
    #[must_use]
    pub fn room(&self, usual: usize) -> usize {
        self.of.allowed(usual).saturating_sub(self.bytes)
    }

    /// Whether it may have more.
    #[must_use]
    #[inline]
    pub fn has_room(&self, usual: usize) -> bool {
        // Most have little: for these it does not matter what the others have.
        self.bytes < TIGHT_BYTES.min(usual) || self.room(usual) > 0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_all_have_much_nobody_gets_more_than_a_little() {
        let unread = Arc::new(Unread::with(200_000));
        let mut shares: Vec<_> = (0..4).map(|_| Share::of(&unread)).collect();
        shares[0].set(100_000);
        shares[1].set(100_000);
        assert_eq!((shares[0].room(150_000), shares[2].room(150_000)), (50_000, 150_000));
        shares[3].set(1);
        assert_eq!((shares[0].room(150_000), shares[0].has_room(150_000)), (0, false));
        assert_eq!(shares[3].room(150_000), TIGHT_BYTES - 1);
        shares[2].set(TIGHT_BYTES);
        assert!(!shares[2].has_room(150_000));
        shares[2].set(TIGHT_BYTES - 1);
        assert!(shares[2].has_room(150_000) && shares[2].room(150_000) == 1, "who has little goes on");
        assert_eq!(unread.allowed(1000), 1000);
        shares.drain(..2);
        assert_eq!((unread.bytes(), unread.allowed(150_000)), (TIGHT_BYTES, 150_000));
        drop(shares);
        assert_eq!(unread.bytes(), 0);
    }

    #[test]
    fn another_limit_holds_at_once() {
        let unread = Arc::new(Unread::with(200_000));
        let mut share = Share::of(&unread);
        share.set(150_000);
        assert_eq!(share.allowed(200_000), 200_000);
        unread.set_max(100_000);
        assert_eq!(share.allowed(200_000), TIGHT_BYTES);
        unread.set_max(u64::MAX);
        assert_eq!(share.allowed(200_000), 200_000);
    }
}
