//! Fuzzes addresses of cameras, with passwords in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("camera_address", data));
