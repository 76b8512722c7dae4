//! Fuzzes the question for a code by a printed secret, and its answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("printed", data));
