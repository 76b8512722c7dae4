//! Fuzzes every message that is said inside MLS.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("message", data));
