//! Fuzzes the target `series_block`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("series_block", input));
