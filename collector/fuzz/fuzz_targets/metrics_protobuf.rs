//! Fuzzes the target `metrics_protobuf`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("metrics_protobuf", input));
