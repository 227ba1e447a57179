//! Fuzzes the target `filter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("filter", input));
