//! Fuzzes what a relay's frames do to sender, receiver and mailbox.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("relay_answers", data));
