//! Fuzzes what a phone sets at a camera, and pictures under it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("detection", data));
