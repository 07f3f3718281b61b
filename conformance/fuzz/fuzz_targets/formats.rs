//! Fuzzes what `targets/formats.rs` checks.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_fuzz::targets::formats::check(data));
