//! All tests of the core through its public interface, in one executable. `cargo test --workspace --test core transcripts::`
//! runs one subject.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod auto;
mod beside;
mod causes;
mod envelopes;
mod fields;
mod following;
mod http;
mod jobs;
mod large;
mod properties;
mod pushes;
mod queues;
mod script_jobs;
mod scripts;
mod simulation;
mod support;
mod transcripts;
mod vectors;
mod waited;
mod watching;
