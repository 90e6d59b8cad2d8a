//! From what the operator typed to what the program needs.
//!
//! [`args`] mirrors the command line and the environment and judges nothing; [`settings`] checks all of it and keeps
//! only typed values, so that nothing behind it has to doubt a setting. [`address`] and [`units`] are the small
//! languages that values are written in, [`modes`] is the one for modes; [`credentials`] holds what must not be shown;
//! [`environment`] reads variables as text.

pub mod address;
pub mod args;
mod connections;
pub mod credentials;
pub mod environment;
pub mod modes;
pub mod settings;
mod shown;
pub mod units;

pub use address::{HostPort, ListenAddress, Upstream};
pub use args::Args;
pub use environment::Environment;
pub use settings::{InvalidSettings, Settings};
