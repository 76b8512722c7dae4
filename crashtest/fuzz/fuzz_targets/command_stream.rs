//! Fuzzes H.264 with start codes, of a program.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("command_stream", data));
