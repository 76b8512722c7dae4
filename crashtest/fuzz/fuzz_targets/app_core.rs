//! Fuzzes what a hub says inside MLS, and what a whole app does with it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("app_core", data));
