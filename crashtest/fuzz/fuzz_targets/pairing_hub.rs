//! Fuzzes requests and proofs to a hub that pairs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("pairing_hub", data));
