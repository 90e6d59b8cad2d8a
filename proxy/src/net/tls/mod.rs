//! Certificates and keys: for the connections that the proxy makes, and for those it accepts.
//!
//! | module | what it knows |
//! |---|---|
//! | `files` | reading PEM files, and what may be wrong with them |
//! | `client` | whom the proxy believes, and what it shows to a server that asks |
//! | `server` | what the proxy shows to clients, and whom it lets in |

mod client;
mod files;
mod server;

pub use client::{client_config, empty};
pub use files::valid_now;
pub use server::server_config;
