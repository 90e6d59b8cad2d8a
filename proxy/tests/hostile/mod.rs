//! Hostile input. Whatever is sent, the process goes on, uses no more memory than its bounds allow, serves its other
//! connections, and shows the client what Redis itself would have shown.
//!
//! | module | what is sent |
//! |---|---|
//! | [`nesting`] | values in values, a million deep |
//! | [`lengths`] | counts and lengths that are negative, overflow, or promise what never comes |
//! | [`trickle`] | one byte at a time, and payloads that stop before their last byte |
//! | [`volume`] | hundreds of thousands of tiny frames, a million arguments |
//! | [`garbage`] | random bytes, and commands with random bytes in them |
//! | [`wrong_protocol`] | TLS and HTTP, from either side |
//! | [`redirections`] | addresses that lead past the proxy |
//! | [`contexts`] | trailers cut at each byte and altered in their marks, forged ends, contexts beyond every limit |
//!
//! Hostile command lines and environments are tested in `tests/process.rs` and by a fuzz target.

mod setup;

mod contexts;
mod garbage;
mod lengths;
mod nesting;
mod redirections;
mod trickle;
mod volume;
mod wrong_protocol;
