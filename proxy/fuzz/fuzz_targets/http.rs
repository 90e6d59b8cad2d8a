//! See `redistributed_core::fuzzing::http`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redistributed_core::fuzzing::http(data));
