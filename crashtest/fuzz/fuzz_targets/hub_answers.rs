//! Fuzzes what a running hub answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("hub_answers", data));
