//! Mode `auto` with real servers: contexts are added where every subscriber is behind a proxy, and nowhere else.

mod cluster;
mod failures;
mod fleet;
mod mixed;
mod receivers;
