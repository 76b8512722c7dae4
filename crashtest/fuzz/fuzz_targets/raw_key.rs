//! Fuzzes the raw key that a peer shows in TLS.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("raw_key", data));
