//! Fuzzes `codec::otlp::fuzz::json_logs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fusebox_collector::codec::otlp::fuzz::json_logs(bytes));
