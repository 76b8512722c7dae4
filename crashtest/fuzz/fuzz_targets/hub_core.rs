//! Fuzzes what a phone says inside MLS, and what a whole hub does with it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("hub_core", data));
