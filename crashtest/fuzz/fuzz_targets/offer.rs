//! Fuzzes the text of a pairing code.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("offer", data));
