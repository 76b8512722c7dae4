//! Fuzzes a relay's configuration file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("relay_config", data));
