//! The store: what outlives the broker.
//!
//! [`change`] is the seam: what may happen, and the traits behind which it is kept. Behind it,
//! `commit` has the order of changes (what waits, which groups it becomes, who is told) and `redb`
//! keeps them (tables and journal in one file, recovery, paging); what both draw as bytes is in
//! `codec`. Panics of redb end in `guard`. On a node of a cluster [`replica`] stands between the
//! two: groups go through the cluster's log before they reach the tables.
//!
//! What is committed is a group, which has the same effect wherever it is applied. Records that
//! were only spilled for want of memory are in none: they are in tables that each start empties.
//!
//! Invariant: a ticket is durable only when all that was appended under it is on disk, or was
//! consumed before.

pub mod change;
mod codec;
mod commit;
mod error;
#[cfg(test)]
pub(crate) mod fake;
pub mod format;
mod guard;
mod keyed;
pub mod mark;
mod redb;
pub mod replica;
pub mod seen;

use self::change::{Log, PageSource, Recovered};
pub use self::error::StoreError;
pub use self::guard::explains as explains_panic;
pub use self::redb::{
    Blocks, RESERVE_NAME, RestoreError, may_hold_copy, open, open_backend, open_replica_backend, restore,
};
use std::fmt;
use std::sync::Arc;

/// The data file's name in its folder.
pub const FILE_NAME: &str = "leveret.redb";

/// 8 MiB of journal: some 50,000 small messages to a transaction, and a few milliseconds to read at
/// the start.
const JOURNAL_BYTES: u64 = 8 << 20;

/// What new files have, and old ones once they were opened. Another way to keep data is another
/// number.
const FORMAT: u32 = 8;

/// Tells how many bytes are free where the data lies.
pub type FreeBytes = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How a store behaves.
#[derive(Clone)]
pub struct Options {
    /// Memory for pages of the file, bytes.
    pub cache_bytes: usize,
    /// Room for the journal in a file that is new; 0 is none, so that every group is a transaction.
    pub journal_bytes: u64,
    /// Whether to go on without what is damaged, where a start would otherwise be refused.
    pub repair: bool,
    /// Where free space is learnt; none for a folder asks its file system, none for a backend does
    /// not ask.
    pub free_bytes: Option<FreeBytes>,
    /// Room kept for when the disk is full in a file that is new, bytes; none is what a full
    /// journal needs for a folder, and nothing for a backend.
    pub reserve_bytes: Option<u64>,
    /// The blocks of a backend, without which nothing is kept; a folder has those of its file.
    pub blocks: Option<Arc<dyn Blocks>>,
}

impl Default for Options {
    /// 8 MiB of cache: rows are read once and in order, so that more of it saves nothing but the
    /// upper pages of the trees.
    fn default() -> Self {
        Self {
            cache_bytes: 8 << 20,
            journal_bytes: JOURNAL_BYTES,
            repair: false,
            free_bytes: None,
            reserve_bytes: None,
            blocks: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("cache_bytes", &self.cache_bytes)
            .field("journal_bytes", &self.journal_bytes)
            .field("repair", &self.repair)
            .finish_non_exhaustive()
    }
}

/// A store at work.
pub struct Opened {
    /// Takes changes in.
    pub log: Arc<dyn Log>,
    /// Reads records back.
    pub pages: Arc<dyn PageSource>,
    /// What was on disk.
    pub recovered: Recovered,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("recovered", &self.recovered).finish_non_exhaustive()
    }
}
