//! Fuzzes the file with a device's secret.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("device_secret", data));
