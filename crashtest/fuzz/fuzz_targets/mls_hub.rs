//! Fuzzes MLS messages to a hub.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("mls_hub", data));
