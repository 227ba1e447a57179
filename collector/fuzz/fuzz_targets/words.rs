//! Fuzzes the target `words`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("words", input));
