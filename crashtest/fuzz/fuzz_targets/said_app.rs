//! Fuzzes what a hub says inside MLS, and what a phone does with it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("said_app", data));
