//! Fuzzes the target `grpc_web_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("grpc_web_text", input));
