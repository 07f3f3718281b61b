//! What the fuzz targets run, as a library: [`targets`], and the parts of the broker's tests that
//! they stand on.
//!
//! The broker's tests include `targets` as a module of their own, where `session` and `support` are
//! theirs; here the same names are given to the same files.

mod session;
mod support;
pub mod targets;
