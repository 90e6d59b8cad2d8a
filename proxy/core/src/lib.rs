//! The decisions of redistributed, without sockets, clock or randomness.
//!
//! Each module uses only those above it in this table:
//!
//! | module | what it is about |
//! |---|---|
//! | [`mod@printable`] | text from elsewhere, made fit for a person to read |
//! | [`glob`] | Redis-style patterns, as in `PSUBSCRIBE` |
//! | [`naming`] | ids in names |
//! | [`mod@choice`] | settings whose value is one of a few names |
//! | [`resp`] | the ends of RESP2 and RESP3 values, and the numbers in them |
//! | [`counts`] | the counters of a session, and the metrics that show them |
//! | [`trace`] | the identity of spans, sampling, and finished spans |
//! | [`causes`] | which request or message made a service send a command |
//! | [`carrier`] | how a context is added to a payload, found there and removed again |
//! | `queue_names` | the names that job libraries give the keys of their queues |
//! | [`policy`] | the operator's decisions about which messages are changed, and how |
//! | [`service`] | what a session asks of its service, and the events that it reports |
//! | `handover` | what a reply hands over of a list, a sorted set or a stream |
//! | `output` | the output of a call of the session |
//! | `commands` | the table of the commands that are not simply "one request, one reply" |
//! | `pairing` | which command a reply answers, and what comes next from the server |
//! | `rewrite` | the changes to a frame: a plan for each kind of message |
//! | [`session`] | one client connection: bytes in, bytes and events out |
//! | [`http`] | HTTP requests to a service, and their spans |
//!
//! [`Session`] is the place to start reading.
#![no_std]
#![warn(missing_docs)]
#![warn(clippy::indexing_slicing, clippy::as_conversions)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::as_conversions, reason = "a test fails by panicking"))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod carrier;
pub mod causes;
pub mod choice;
pub mod command_keys;
mod commands;
pub mod counts;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod glob;
mod handover;
pub mod http;
pub mod naming;
mod output;
mod pairing;
pub mod policy;
pub mod printable;
mod queue_names;
pub mod resp;
mod rewrite;
pub mod service;
pub mod session;
pub mod trace;

pub use counts::{Counter, Counts, Metric};
pub use output::Output;
pub use policy::Policy;
pub use session::{Session, Side};
