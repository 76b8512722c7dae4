//! Fuzzes what a hub says inside MLS, to one session of a phone.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("said_app", data));
