//! Fuzzes all that lies under the wrap.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("wrap_body", data));
