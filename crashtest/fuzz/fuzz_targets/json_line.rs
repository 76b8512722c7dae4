//! Fuzzes lines of JSON that one program reads of another.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("json_line", data));
