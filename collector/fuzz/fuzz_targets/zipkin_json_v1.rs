//! Fuzzes the target `zipkin_json_v1`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("zipkin_json_v1", input));
