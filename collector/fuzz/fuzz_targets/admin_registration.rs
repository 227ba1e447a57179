//! Fuzzes the target `admin_registration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("admin_registration", input));
