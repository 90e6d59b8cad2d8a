//! Input that nobody means well: the process goes on, holds no more memory than is stated, serves its other connections,
//! and the client sees what Redis itself would have shown it.
//!
//! | module | what is sent |
//! |---|---|
//! | [`nesting`] | values in values, a million deep |
//! | [`lengths`] | counts and lengths that are negative, overflow, or promise what never comes |
//! | [`trickle`] | one byte at a time, and payloads that stop before their last byte |
//! | [`crowds`] | hundreds of thousands of tiny frames, a million arguments |
//! | [`garbage`] | random bytes, and commands with random bytes in them |
//! | [`foreign`] | TLS and HTTP, from either side |
//! | [`contexts`] | trailers cut and altered at each byte, contexts beyond every limit |
//!
//! The command line and the environment are the subject of `tests/process.rs` and of a fuzz target.

#[path = "../support/mod.rs"]
mod support;

mod arena;

mod contexts;
mod crowds;
mod foreign;
mod garbage;
mod lengths;
mod nesting;
mod trickle;
