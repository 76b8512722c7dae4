//! Fuzzes statements about clips that are no more.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("statement", data));
