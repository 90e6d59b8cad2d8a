//! No payload, key, argument or secret leaves the proxy by another way than to whom it was sent.
//!
//! Each test sends canaries, words that occur nowhere else, and then searches everything that the process has said: its log
//! at `trace`, the bytes that the collector got, the console's spans, the metrics, every page of the admin port, the tap,
//! and what the system shows of the process. Channel names are shown by design, in spans and on the tap: one of them is a
//! canary too, and has to be found there, which shows that the search looks where things are.
//!
//! | module | canaries |
//! |---|---|
//! | [`traffic`] | in commands of every kind, whole, in pieces, refused, malformed, cut off |
//! | [`ways`] | the same by TLS and by Unix sockets, and where no connection comes about: handshakes, certificates |
//! | [`failures`] | in settings, in a panic's message, where Redis cannot be reached |

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/door.rs"]
mod door;
#[path = "../support/mod.rs"]
mod support;

mod canary;
mod failures;
mod recorder;
mod traffic;
mod ways;
