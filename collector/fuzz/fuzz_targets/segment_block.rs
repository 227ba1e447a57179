//! Fuzzes the target `segment_block`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("segment_block", input));
