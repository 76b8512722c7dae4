//! Fuzzes answers to a phone that pairs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("pairing_app", data));
