//! The order of changes: what waits for the disk, in which groups it gets there, and who is told.
//!
//! `pending` (one short mutex) gathers changes and hands out tickets, `linger` says when a group is
//! cut, `merge` and `stream` make its net effect of it, `entry` draws that as bytes.

pub(in crate::store) mod entry;
pub(in crate::store) mod linger;
pub(in crate::store) mod merge;
pub(in crate::store) mod pending;
pub(in crate::store) mod stream;
