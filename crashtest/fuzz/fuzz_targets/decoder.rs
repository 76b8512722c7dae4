//! Fuzzes compressed pictures to the decoder, and what becomes of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("decoder", data));
