//! The part of redistributed that thinks, without sockets, clock or randomness.
//!
//! | module | what it knows |
//! |---|---|
//! | [`resp`] | where RESP2/RESP3 values end, and what the few that matter say |
//! | [`carrier`] | how a context is added to a payload and taken away again |
//! | [`trace`] | span identity, sampling, finished spans |
//! | [`session`] | one client connection: bytes in, bytes and spans out |
//! | [`glob`] | Redis-style patterns, as in `PSUBSCRIBE` |
//! | [`mod@choice`] | settings whose value is one of a few names |
//!
//! Start at [`Session`].
#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod carrier;
pub mod choice;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod glob;
pub mod resp;
pub mod session;
pub mod trace;

pub use session::{Counter, Counts, Output, Policy, Session, Side};
