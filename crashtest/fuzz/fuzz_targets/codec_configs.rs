//! Fuzzes H.265 and AAC configurations of a camera's description.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("codec_configs", data));
