//! Fuzzes frames between client and relay, state answers among them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("frame", data));
