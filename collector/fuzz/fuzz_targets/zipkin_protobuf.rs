//! Fuzzes the target `zipkin_protobuf`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("zipkin_protobuf", input));
