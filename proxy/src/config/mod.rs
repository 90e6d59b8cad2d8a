//! From what the operator typed to what the program needs.
//!
//! [`args`] defines the options and judges nothing; [`file`](mod@file) reads the same settings from TOML; [`layers`] knows that the
//! command line wins over the environment and that over the file; [`load`] reads all three. [`settings`] checks the
//! outcome (with `routes`, `connections` and `policy`) and keeps only typed values, so that nothing behind it has to doubt a
//! setting. [`address`] and [`units`] are
//! the small languages that values are written in, [`modes`] is the one for modes; [`environment`] reads variables as
//! text; [`credentials`] holds what must not be shown. [`reload`] does it again in a running process, and [`report`] shows what is in force and who said so.

pub mod address;
pub mod args;
mod connections;
pub mod credentials;
pub mod environment;
pub mod file;
pub mod layers;
pub mod load;
pub mod modes;
mod nearest;
mod policy;
pub mod reload;
pub mod report;
mod routes;
pub mod settings;
mod shown;
pub mod units;
mod variables;

pub use address::{HostPort, ListenAddress, Upstream};
pub use args::Args;
pub use environment::Environment;
pub use load::{Invocation, LoadError, Loaded};
pub use settings::{InvalidSettings, Settings};
