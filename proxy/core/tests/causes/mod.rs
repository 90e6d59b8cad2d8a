//! The inference of causes: each rule on a few events, each abstention, bounds, and recordings of real services.

mod bounds;
mod driver;
#[cfg(target_os = "linux")]
mod memory;
mod queues;
mod reasons;
mod recordings;
mod rules;

#[path = "../../examples/replay/player.rs"]
mod player;
