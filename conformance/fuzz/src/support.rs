//! Of the tests' `support`: a log without a disk.

#[expect(dead_code, reason = "the targets need a log that works, not one that fails")]
#[path = "../../../tests/support/log.rs"]
pub(crate) mod log;
