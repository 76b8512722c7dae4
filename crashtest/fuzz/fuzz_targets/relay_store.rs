//! Fuzzes what admitted devices ask of a relay, in frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("relay_store", data));
