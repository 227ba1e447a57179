//! Fuzzes the target `circuit_mapping`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("circuit_mapping", input));
