//! Fuzzes what a camera hands out, and the clip that is made of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("camera_units", data));
