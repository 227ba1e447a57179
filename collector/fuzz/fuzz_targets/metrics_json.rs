//! Fuzzes the target `metrics_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fusebox_collector::fuzz::run("metrics_json", input));
