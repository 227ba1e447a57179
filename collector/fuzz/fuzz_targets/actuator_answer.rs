//! Fuzzes the target `actuator_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("actuator_answer", input));
