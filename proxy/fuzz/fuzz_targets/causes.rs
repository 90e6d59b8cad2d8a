//! Shows the inference of causes a service that libFuzzer makes up: `redistributed_core::fuzzing::causes` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redistributed_core::fuzzing::causes(data));
