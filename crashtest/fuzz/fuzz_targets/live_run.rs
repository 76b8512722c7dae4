//! Fuzzes many frames of a live session, as they come to a whole app.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("live_run", data));
