//! Fuzzes the target `hystrix_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("hystrix_stream", input));
