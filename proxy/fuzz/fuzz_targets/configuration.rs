//! See `redistributed::fuzzing::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redistributed::fuzzing::configuration(data));
