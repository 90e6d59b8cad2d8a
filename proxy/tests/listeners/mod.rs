//! The ways in which clients connect: by TCP, by TLS and by Unix sockets. What they see is the same on each, and what
//! Redis would show them there.

mod ends;
mod handshakes;
mod ipv6;
mod limits;
mod rotation;
mod sockets;
