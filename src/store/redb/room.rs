//! What is known of the room on the disk: whether publishers may go on, and whether what is to be
//! written fits.
//!
//! The disk counts as full once less is free than a commit may need, or the reserve was touched,
//! and until the reserve is whole again.

use super::disk::Disk;
use crate::store::FreeBytes;
use crate::store::error::StoreError;
use std::fmt;
use std::io;

/// So many bytes, beside twice the group's own, must be free to write records: a commit also writes
/// trees, and what it replaces is free only after it.
pub(super) const TREES_BYTES: u64 = 4 * 1024 * 1024;

/// So many bytes of the reserve, or free beside it, are for what makes room: while there is more,
/// queues may hand messages on among themselves.
const SPARED_BYTES: u64 = 3 * TREES_BYTES;

/// The room on the disk that a data file is on.
pub(super) struct Room {
    disk: Disk,
    /// None does not ask.
    free_bytes: Option<FreeBytes>,
    is_full: bool,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("is_full", &self.is_full).finish_non_exhaustive()
    }
}

impl Room {
    /// The room of `disk`, which is full while its reserve is not whole.
    pub(super) fn new(disk: Disk, free_bytes: Option<FreeBytes>) -> Self {
        let mut room = Self { disk, free_bytes, is_full: false };
        room.set(room.missing() == 0);
        room
    }

    /// What was found out last.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// There is enough room, or there is not.
    pub(super) fn set(&mut self, enough: bool) {
        match (self.is_full, enough) {
            (false, false) => {
                let wanted_mib = self.wanted().div_ceil(1 << 20);
                tracing::warn!(
                    "the disk is nearly full: publishers are blocked until {wanted_mib} MiB are free"
                );
            }
            (true, true) => tracing::info!("there is room on the disk again"),
            _ => {}
        }
        self.is_full = !enough;
    }

    /// Whether new records may be written. After a full disk there must be enough for more than the
    /// next few, and the reserve whole again.
    pub(super) fn is_there(&self) -> bool {
        match self.disk.reserve() {
            None => self.has_free(if self.is_full { self.wanted() } else { TREES_BYTES }),
            Some(reserve) if reserve.missing() == 0 && !self.is_full => true,
            Some(reserve) => self.has_free(self.wanted()) && reserve.refill(),
        }
    }

    /// Holds back records that would hardly fit, into what is free and, if they may take it, the
    /// reserve.
    pub(super) fn make_sure_it_fits(&self, bytes: usize, spends: bool) -> Result<(), StoreError> {
        if bytes == 0 {
            return Ok(());
        }
        let needed = (bytes as u64).saturating_mul(2).saturating_add(TREES_BYTES);
        if self.has_free(needed.saturating_sub(if spends { self.left() } else { 0 })) {
            return Ok(());
        }
        Err(io::Error::from(io::ErrorKind::StorageFull).into())
    }

    /// Whether the file can be made smaller, which takes room for a while.
    pub(super) fn is_enough_to_shrink(&self) -> bool {
        self.has_free(TREES_BYTES.saturating_sub(self.left()))
    }

    /// Whether more is left of a full disk than what is kept for making room.
    pub(super) fn has_spare(&self) -> bool {
        let left = self.left();
        left > 0 && self.has_free(SPARED_BYTES.saturating_sub(left))
    }

    fn has_free(&self, bytes: u64) -> bool {
        self.free_bytes.as_ref().is_none_or(|free| free() >= bytes)
    }

    /// What has to be free for publishers to go on after a full disk.
    fn wanted(&self) -> u64 {
        self.missing() + 2 * TREES_BYTES
    }

    fn missing(&self) -> u64 {
        self.disk.reserve().map_or(0, |reserve| reserve.missing())
    }

    fn left(&self) -> u64 {
        self.disk.reserve().map_or(0, |reserve| reserve.left())
    }
}
