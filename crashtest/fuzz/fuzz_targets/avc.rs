//! Fuzzes H.264 decoder configurations.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("avc", data));
