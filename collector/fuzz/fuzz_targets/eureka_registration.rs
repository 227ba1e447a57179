//! Fuzzes the target `eureka_registration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("eureka_registration", input));
