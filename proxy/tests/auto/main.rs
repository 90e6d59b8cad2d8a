//! Mode `auto` against real servers: contexts where every subscriber is behind a proxy, and nowhere else.

#[path = "../support/mod.rs"]
mod support;

mod audiences;
mod breakdowns;
mod cluster;
mod fleet;
mod mixed;
