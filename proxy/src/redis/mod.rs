//! The proxy's own client of Redis, for what the proxy itself asks.
//!
//! It never uses a service's connection. It speaks RESP2, which every server understands, also for subscriptions: a connection
//! that subscribes is used for nothing else. Replies are bounded in size and nesting before they are decoded, so a hostile
//! server costs an error and no more.
//!
//! | module | what it knows |
//! |---|---|
//! | `backoff` | when a task tries again that could not ask Redis, and what the log says about it |
//! | `connection` | a connection: authentication, requests and their replies, time limits |
//! | `frames` | where a reply ends, and whether it may be decoded |
//! | `reply` | a decoded reply, and a server's error |

mod backoff;
mod connection;
mod frames;
mod reply;

pub use crate::settings::credentials::Credentials;
pub use backoff::{Backoff, Purpose};
pub use connection::{Connection, Error, Requests};
pub use frames::{MAX_DEPTH, MAX_REPLY_LEN, ProtocolError};
pub use reply::{Refusal, Reply};
