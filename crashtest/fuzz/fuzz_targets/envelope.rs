//! Fuzzes envelopes of somebody without the pairing's keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("envelope", data));
