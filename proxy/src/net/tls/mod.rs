//! Certificates and keys: for the connections that the proxy makes, and for those it accepts.
//!
//! | module | what it knows |
//! |---|---|
//! | `files` | reading PEM files, and errors about them |
//! | `client` | connections to servers: the authorities that are trusted, and the proxy's own certificate |
//! | `server` | connections from clients: the proxy's certificate, and the authorities of clients |

mod client;
mod files;
mod server;

pub use client::{client_config, empty};
pub use files::valid_now;
pub use server::server_config;
