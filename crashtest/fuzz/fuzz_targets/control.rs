//! Fuzzes questions to a running hub.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("control", data));
