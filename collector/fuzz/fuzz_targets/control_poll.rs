//! Fuzzes the target `control_poll`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("control_poll", input));
