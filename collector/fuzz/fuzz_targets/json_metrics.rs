//! Fuzzes `codec::otlp::fuzz::json_metrics`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fusebox_collector::codec::otlp::fuzz::json_metrics(bytes));
