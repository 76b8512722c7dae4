//! Fuzzes relay addresses and the texts of ids.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("address", data));
