//! Endpoints: where the clients of a service connect, and what they reach there.
//!
//! | module | what it knows |
//! |---|---|
//! | [`redis`] | a Redis: one listen address, and one upstream behind it |
//! | [`http`] | an HTTP port: one listen address, and the service behind it |
//! | `accept` | the loop that accepts clients, within the limit of the process |
//! | `failures` | what every kind of endpoint counts and logs of clients that could not be served |
//!
//! An endpoint holds its [`Service`](crate::service::Service), which other endpoints may share.

mod accept;
mod failures;
pub mod http;
pub mod redis;

pub use accept::{Acceptor, Admission, Endpoint, report_defect};
