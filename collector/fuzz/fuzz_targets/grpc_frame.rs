//! Fuzzes the target `grpc_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("grpc_frame", input));
