//! Fuzzes requests to a hub's page of metrics.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("metrics_request", data));
