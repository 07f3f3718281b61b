//! A connection's output, and what of it counts: as replies to this client, and among all that
//! lies ready for clients.

use crate::protocol::amqp::wire::output::Output;
use crate::queue::unread::{Share, TIGHT_BYTES, Unread};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Changes of what lies ready that are not worth telling: most connections have no more.
const UNREAD_STEP: usize = 16 * 1024;

/// The output of a connection, which is counted.
pub(super) struct ClientOutput {
    frames: Output,
    /// What of it counts among all that lies ready for clients.
    unread: Share,
    /// Bytes, at most, that answer something the client asked, when it was counted.
    replies: usize,
}

impl ClientOutput {
    /// Empty, to be counted in `unread`.
    pub(super) fn new(unread: &Arc<Unread>) -> Self {
        Self { frames: Output::default(), unread: Share::of(unread), replies: 0 }
    }

    /// What input added since it had `before` bytes counts as replies, for as long as it lies here.
    pub(super) fn count_replies(&mut self, before: usize) {
        let len = self.frames.len();
        self.replies = (self.replies + len.saturating_sub(before)).min(len);
    }

    /// Bytes, at most, that answer something the client asked.
    pub(super) fn pending_replies(&self) -> usize {
        self.replies.min(self.frames.len())
    }

    /// Whether a buffer of `len` bytes may take more, `usual` in all as long as not too much lies
    /// ready for all clients.
    #[inline]
    pub(super) fn has_room(&self, len: usize, usual: usize) -> bool {
        // Most have little, and need not look at what others have.
        len < TIGHT_BYTES || len < self.unread.allowed(usual)
    }

    /// Has what lies ready counted, when it is worth it.
    pub(super) fn count_unread(&mut self) {
        let (len, counted) = (self.frames.len(), self.unread.bytes());
        if len.abs_diff(counted) >= UNREAD_STEP || (len == 0 && counted > 0) {
            self.unread.set(len);
        }
    }

    /// Throws away what the client would not read.
    pub(super) fn discard(&mut self) {
        self.frames = Output::default();
    }
}

impl Deref for ClientOutput {
    type Target = Output;

    #[inline]
    fn deref(&self) -> &Output {
        &self.frames
    }
}

impl DerefMut for ClientOutput {
    #[inline]
    fn deref_mut(&mut self) -> &mut Output {
        &mut self.frames
    }
}
