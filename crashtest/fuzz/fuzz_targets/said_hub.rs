//! Fuzzes what a phone says inside MLS, to one session of a hub.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("said_hub", data));
