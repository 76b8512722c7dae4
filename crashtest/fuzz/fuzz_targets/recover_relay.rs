//! Fuzzes a relay's directory, spoilt by rot.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("recover_relay", data));
