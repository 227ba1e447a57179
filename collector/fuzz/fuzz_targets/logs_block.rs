//! Fuzzes the target `logs_block`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("logs_block", input));
