//! See `redistributed::fuzzing::environment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redistributed::fuzzing::environment(data));
