//! Fuzzes messages of a pairing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("pairing_message", data));
