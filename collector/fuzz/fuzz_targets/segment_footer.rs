//! Fuzzes the target `segment_footer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("segment_footer", input));
