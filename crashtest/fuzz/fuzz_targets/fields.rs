//! Fuzzes the integers that every frame is read with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("fields", data));
