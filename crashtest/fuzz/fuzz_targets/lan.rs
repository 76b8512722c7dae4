//! Fuzzes the datagrams of the local network by which a hub is found.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crashtest_fuzz::run("lan", data));
