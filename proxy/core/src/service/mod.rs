//! What lies outside a connection: what its session may ask, and what it reports.
//!
//! A session is one connection of a service, and a service has many. What they share is reached through the traits of
//! this module, which the shell implements.

mod audience;

pub(crate) use audience::Witness;
pub use audience::{Audience, Audiences, Subscription, SubscriptionKind, Unknown};
