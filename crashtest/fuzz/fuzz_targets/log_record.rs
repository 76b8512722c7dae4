//! Fuzzes headers, groups and records of a log file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("log_record", data));
