//! Connections: to services, to Redis, and what they are made of.
//!
//! | module | what it knows |
//! |---|---|
//! | [`hop`] | what proxies in a row, and in a circle, tell each other |
//! | [`listener`] | sockets that clients connect to, and the TLS handshake of a client |
//! | [`upstream`] | connecting to Redis: name resolution, attempts after failed ones, `AUTH` and `SELECT` for services |
//! | [`stream`] | a connection by TCP, TLS or a Unix socket, as one type |
//! | [`peer`] | the one at its other end: whether he is still there, and what has reached him |
//! | `sock_diag` | what the kernel knows of a TCP socket on this machine |
//! | [`hang_up`] | whether the other side of a connection has ended it, without reading |
//! | [`key_material`] | the certificates, keys and secrets in force, which are followed when their files change |
//! | [`tls`] | the TLS configuration of both sides, made of files |
//! | [`protocol_hint`] | TLS and HTTP, told by the first bytes of a connection |
//! | [`open_files`] | the limit on open files, and how many connections it leaves room for |
//!
//! Nothing here looks into RESP, except for the replies to a login and for what other proxies say, and nothing here knows of spans.

pub mod hang_up;
pub mod hop;
pub mod key_material;
pub mod listener;
pub mod open_files;
pub mod peer;
pub mod protocol_hint;
mod sock_diag;
pub mod stream;
pub mod tls;
pub mod upstream;
