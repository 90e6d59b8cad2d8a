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
//! | [`service`] | what lies outside a connection: what a session may ask, and the events that it reports |
//! | `output` | what a call of the session hands back |
//! | `commands` | the commands that are not simply "one request, one reply": one table |
//! | `pairing` | which command a reply answers, and what comes next |
//! | `rewrite` | what is changed of a frame: a plan for each kind of message |
//! | [`session`] | one client connection: bytes in, bytes and events out |
//!
//! Start at [`Session`].
#![no_std]
#![warn(missing_docs)]
#![warn(clippy::indexing_slicing, clippy::as_conversions)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::as_conversions, reason = "a test fails by panicking"))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod carrier;
pub mod choice;
mod commands;
pub mod counts;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod glob;
mod output;
mod pairing;
pub mod policy;
pub mod resp;
mod rewrite;
pub mod service;
pub mod session;
pub mod trace;

pub use counts::{Counter, Counts, Metric};
pub use output::Output;
pub use policy::Policy;
pub use session::{Session, Side};
