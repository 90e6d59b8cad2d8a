//! The ways in which clients connect: by TCP, by TLS and by Unix sockets. What they see is the same on each, and what
//! Redis would show them there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/authority.rs"]
mod authority;
mod ends;
mod handshakes;
mod ipv6;
mod limits;
#[path = "../support/listener.rs"]
mod listener;
mod rotation;
mod sockets;
#[path = "../support/mod.rs"]
mod support;
