//! Fuzzes times of an RTSP camera's pictures, sound and sender reports.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("rtsp_times", data));
