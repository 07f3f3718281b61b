//! What a node of a cluster keeps.
//!
//! `log` is Raft's log and vote on disk. Nothing here names the library that decides what is in it.

pub mod log;
