//! Fuzzes what a phone says inside MLS, and what a hub does with it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("said_hub", data));
