//! Spans on the wire: what a collector gets, and what becomes of the counts when it does not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/authority.rs"]
mod authority;
mod environment;
mod faults;
mod process;
mod spans;
mod support;
mod tls;
