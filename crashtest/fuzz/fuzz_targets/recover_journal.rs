//! Fuzzes a hub's directory, with its vault.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("recover_journal", data));
