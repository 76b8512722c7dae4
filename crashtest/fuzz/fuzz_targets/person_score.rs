//! Fuzzes what a program answers that hints at persons.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("person_score", data));
