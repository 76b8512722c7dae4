//! Fuzzes a directory of the storage engine.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("recover_engine", data));
