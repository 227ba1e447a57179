//! Fuzzes the target `segment_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("segment_file", input));
