//! Fuzzes a phone's directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("recover_app", data));
