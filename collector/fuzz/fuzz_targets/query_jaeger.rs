//! Fuzzes the target `query_jaeger`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("query_jaeger", input));
