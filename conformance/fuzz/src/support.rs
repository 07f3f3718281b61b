//! Of the tests' `support`: a log without a disk, and a disk in memory.

#[expect(dead_code, reason = "the targets need a disk that works")]
#[path = "../../../tests/support/disk.rs"]
pub(crate) mod disk;
#[expect(dead_code, reason = "a fuzzer brings its own inputs and needs no seeds")]
#[path = "../../../tests/support/draw.rs"]
pub(crate) mod draw;

#[expect(dead_code, reason = "the targets need a log that works, not one that fails")]
#[path = "../../../tests/support/log.rs"]
pub(crate) mod log;
