//! The part of redistributed that thinks, without sockets, clock or randomness.
//!
//! Each module uses only those above it in this table:
//!
//! | module | what it knows |
//! |---|---|
//! | [`glob`] | Redis-style patterns, as in `PSUBSCRIBE` |
//! | [`mod@choice`] | settings whose value is one of a few names |
//! | [`resp`] | where RESP2/RESP3 values end, and what the few that matter say |
//! | [`counts`] | what is counted |
//! | [`trace`] | span identity, sampling, finished spans |
//! | [`carrier`] | how a context is added to a payload and taken away again |
//! | [`policy`] | what the operator decided about which message is touched |
//! | [`service`] | what a connection shares with the others of its service |
//! | [`session`] | one client connection: bytes in, bytes and spans out |
//!
//! Start at [`Session`].
#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod carrier;
pub mod choice;
pub mod counts;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod glob;
pub mod policy;
pub mod resp;
pub mod service;
pub mod session;
pub mod trace;

pub use counts::{Counter, Counts, Metric};
pub use policy::Policy;
pub use session::{Output, Session, Side};
