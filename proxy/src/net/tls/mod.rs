//! Certificates and keys: for the connections that the proxy makes, and for those it accepts.
//!
//! | module | what it knows |
//! |---|---|
//! | `files` | reading PEM files, and errors about them |
//! | `client` | connections to servers: the authorities that are trusted, and the proxy's own certificate |
//! | `verify` | whether a server's certificate is believed, and what is wrong with one that is not |
//! | `x509` | the fields of a certificate |
//! | `server` | connections from clients: the proxy's certificate, and the authorities of clients |

mod client;
mod files;
mod server;
mod verify;
mod x509;

pub use client::{client_config, client_config_verifying, empty};
pub use files::{first_expiry, last_expiry, valid_now};
pub use server::server_config;
pub use verify::in_words;
