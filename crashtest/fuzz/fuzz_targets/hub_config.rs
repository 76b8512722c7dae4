//! Fuzzes a hub's configuration file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("hub_config", data));
