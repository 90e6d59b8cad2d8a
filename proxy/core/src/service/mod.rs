//! What lies outside a connection: what its session may ask, and what it reports.
//!
//! A session is one connection of a service, and a service has many. Everything that a call of the session needs from
//! outside comes in one [`Environment`]. Everything that it reports besides bytes and counts is one list of [`Event`]s.

mod audience;
mod environment;
mod event;

pub use audience::{Audience, ExpectedReceivers, NotProven};
pub use environment::Environment;
pub use event::{Event, SubscriptionChange, SubscriptionKind};
