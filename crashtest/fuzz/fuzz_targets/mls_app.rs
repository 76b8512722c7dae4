//! Fuzzes MLS messages to an app.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("mls_app", data));
