//! The part of mode `auto` that talks to Redis. Each task has a connection of the proxy's own, and connects only when it has
//! something to do.

pub(super) mod announce;
mod backoff;
pub(super) mod poll;
pub(super) mod withdraw;
