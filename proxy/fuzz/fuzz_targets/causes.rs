//! See `redistributed_core::fuzzing::causes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redistributed_core::fuzzing::causes(data));
