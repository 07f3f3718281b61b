//! The order of changes: what waits for the disk, in which groups it gets there, and who is told.
//!
//! `pending` (one short mutex) gathers changes and hands out tickets; `linger` says how long a cut
//! waits; `merge` and `stream` make its net effect of what was cut; that is a `group`, a value that
//! can also go elsewhere; `committer` is the thread that hands groups to a `storage`, of which this
//! room knows no more than that; `relief` goes ahead of a group for which a full disk has no room.

pub(in crate::store) mod committer;
pub(in crate::store) mod group;
mod linger;
pub(in crate::store) mod merge;
pub(in crate::store) mod pending;
mod relief;
pub(in crate::store) mod storage;
pub(in crate::store) mod stream;
