//! Fuzzes the target `traces_protobuf`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("traces_protobuf", input));
