//! Fuzzes frames of a live session, around and inside MLS.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("live_frame", data));
