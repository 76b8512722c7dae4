//! Fuzzes the stream of a pairing's messages, each behind its length.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("pairing_stream", data));
