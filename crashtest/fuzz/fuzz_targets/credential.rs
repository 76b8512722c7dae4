//! Fuzzes certificates and invitations, binary and as text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("credential", data));
