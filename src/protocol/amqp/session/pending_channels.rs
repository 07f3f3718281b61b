//! The channels of a connection that something is to be done for: at the end of a read, or when
//! the log says that something is on disk.

use std::collections::BTreeSet;
use std::mem;

/// Numbers of channels, by what is to be done for them.
#[derive(Debug, Default)]
pub(super) struct PendingChannels {
    /// In confirm mode, with publishes that the read gathered.
    publishers: Vec<u16>,
    /// Their consumers share a window, which has more room than before.
    eased: BTreeSet<u16>,
    /// They wait for a ticket: with confirms to send or with frames held back.
    waiting: BTreeSet<u16>,
}

impl PendingChannels {
    /// A channel in confirm mode has published for the first time in this read.
    #[inline]
    pub(super) fn note_publisher(&mut self, channel: u16) {
        self.publishers.push(channel);
    }

    pub(super) fn has_publishers(&self) -> bool {
        !self.publishers.is_empty()
    }

    pub(super) fn take_publishers(&mut self) -> Vec<u16> {
        mem::take(&mut self.publishers)
    }

    /// The window that the consumers of a channel share has room.
    pub(super) fn note_eased(&mut self, channel: u16) {
        self.eased.insert(channel);
    }

    pub(super) fn take_eased(&mut self) -> BTreeSet<u16> {
        mem::take(&mut self.eased)
    }

    /// A channel waits for the log.
    pub(super) fn note_waiting(&mut self, channel: u16) {
        self.waiting.insert(channel);
    }

    /// The channels that wait for the log.
    pub(super) fn waiting(&self) -> impl Iterator<Item = u16> {
        self.waiting.iter().copied()
    }

    pub(super) fn take_waiting(&mut self) -> BTreeSet<u16> {
        mem::take(&mut self.waiting)
    }
}
