//! From what the operator typed to what the program needs.
//!
//! [`args`] defines the options (with `words` and `help`) and judges nothing; [`file`](mod@file) reads the same settings
//! from TOML, `variables` those of OpenTelemetry; [`layers`] knows that the command line wins over the environment and that
//! over the file; [`load`] reads all three. [`settings`] checks the outcome (with `routes`, `connections`, `policy` and
//! `limits`; `refusal` collects what is wrong) and keeps only typed values, so that nothing behind it has to doubt a
//! setting. [`address`] and [`units`] are the small languages that values are written in, [`modes`] is the one for modes;
//! [`environment`] reads variables as text; [`credentials`] holds what must not be shown. [`reload`] does it again in a
//! running process, and [`report`] shows what is in force and who said so.

pub mod address;
pub mod args;
mod connections;
pub mod credentials;
pub mod environment;
pub mod file;
mod help;
pub mod layers;
mod limits;
pub mod load;
pub mod modes;
mod nearest;
mod policy;
mod refusal;
pub mod reload;
pub mod report;
mod routes;
pub mod settings;
mod shown;
pub mod units;
mod variables;
mod words;

pub use address::{HostPort, ListenAddress, Upstream};
pub use args::Args;
pub use environment::Environment;
pub use load::{Invocation, LoadError, Loaded};
pub use settings::{InvalidSettings, Settings};
