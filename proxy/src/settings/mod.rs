//! What an operator may set, how it is read, and what it means: plain, checked data at the bottom of the shell.
//!
//! Everything else may use these types, and they use nothing else of the shell.
//!
//! | module | what it knows |
//! |---|---|
//! | `options` | every option, with its variable and its help |
//! | [`file`](mod@file) | the same settings in TOML |
//! | [`otel`] | the `OTEL_*` variables, by the specification's rules |
//! | [`sources`] | that the command line wins over the environment, and that over the file; which of them said what |
//! | [`load`] | reads all of them |
//! | `checked`, `routes`, `connections`, `policy`, `limits`, [`auto`], [`tls`] | what the options mean, in types that leave nothing to doubt |
//! | `validation` | collects what is wrong, so that one run shows all of it |
//! | [`effective`] | what is in force and where it came from |
//! | [`address`], [`units`], [`modes`], `choices` | the small languages that values are written in |
//! | [`credentials`] | what must not be shown |

pub mod address;
pub mod auto;
mod checked;
mod choices;
mod connections;
pub mod credentials;
pub mod effective;
pub mod environment;
pub mod file;
mod help;
mod limits;
pub mod load;
pub mod modes;
mod options;
pub mod otel;
mod policy;
mod routes;
mod shown;
pub mod sources;
mod suggestion;
pub mod tls;
pub mod units;
mod validation;
mod variables;

pub use address::{HostPort, ListenAddress, Upstream};
pub use checked::{Limits, Login, MAX_INJECT_LIMIT, MIN_INJECT_LIMIT, Route, Settings, UpstreamLogin, UpstreamTls};
pub use choices::{Control, LogFormat, LogLevel};
pub use environment::Environment;
pub use load::{Invocation, LoadError, Loaded};
pub use options::Options;
pub use validation::{InvalidSettings, SettingError};
