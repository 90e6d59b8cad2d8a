//! What the proxy itself asks Redis, on a connection of its own.
//!
//! Nothing here ever touches a service's connection. The conversation is in RESP2, which every server speaks, also for
//! subscriptions: a connection that subscribes is used for nothing else. Replies are bounded in size and nesting before
//! anything interprets them, so a server that means no good costs an error and no more.
//!
//! | module | what it knows |
//! |---|---|
//! | `connection` | connecting, authentication, sending, time limits |
//! | `frames` | where a reply ends, and whether it may be decoded |
//! | `reply` | what a reply says |

mod connection;
mod frames;
mod reply;

pub use crate::settings::credentials::Credentials;
pub use connection::{Connection, Error, Requests};
pub use frames::{MAX_DEPTH, MAX_REPLY_LEN, ProtocolError};
pub use reply::{Refusal, Reply};
