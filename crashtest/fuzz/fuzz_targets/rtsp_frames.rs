//! Fuzzes frames of an RTSP camera, as they come out of RTP.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("rtsp_frames", data));
