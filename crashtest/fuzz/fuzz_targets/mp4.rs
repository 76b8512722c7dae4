//! Fuzzes MP4 files, and the clip that is made of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("mp4", data));
