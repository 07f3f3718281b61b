//! Fuzzes what `targets/tables.rs` checks.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_fuzz::targets::tables::check(data));
