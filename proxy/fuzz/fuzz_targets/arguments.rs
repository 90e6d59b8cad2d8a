//! See `redistributed::fuzzing::arguments`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redistributed::fuzzing::arguments(data));
