//! The tokio shell of redistributed: everything that has sockets, a clock, randomness or an environment.
//!
//! Each module uses only those above it in this table.
//!
//! | module | what it knows |
//! |---|---|
//! | [`settings`] | what the operator set, and what it means: plain, checked data that everything else may use |
//! | [`clock`], [`entropy`], [`error`], [`logging`], [`files`] | time, randomness, what can end a connection, the log, files that settings name |
//! | [`memory`] | the memory of the process: what is resident, and giving back what is no longer used |
//! | [`workers`] | the threads that carry connections |
//! | [`net`] | connections: listeners, the way to Redis, TLS and the keys for it |
//! | [`redis`] | what the proxy itself asks Redis, on connections of its own |
//! | [`telemetry`] | spans out; counters |
//! | [`explain`] | what the settings in force mean, in sentences for people |
//! | [`live_policy`] | the policy in force, which connections follow |
//! | [`follow`] | what a service has received caused what it sends |
//! | [`service`] | the services, each with everything that its connections share, and the switch for their modes |
//! | [`auto`] | who is known to be behind a proxy, for mode `auto` |
//! | [`relay`] | carries bytes between a client and Redis through a [`redistributed_core::Session`] |
//! | [`endpoint`] | where a service's clients connect: from a client that was accepted to its relay |
//! | [`reload`] | the settings read again in a running process |
//! | [`admin`] | health, metrics, settings and the mode switch over HTTP |
//! | [`serve`] | the life of the process: bind, build, serve, drain |
//! | [`service_manager`] | what systemd is told of the state of the process |
//! | [`signals`] | the signals that end the process, or have the settings read again |
//! | [`preflight`] | mistakes that show before anything is served, with the setting that they come from |
//! | [`report_format`] | the form in which `check` and `decode` answer |
//! | [`decode`] | which trace context payloads carry |
//! | [`check`] | tries everything that the settings name |
//! | [`healthcheck`] | the same program asking whether it runs |
//! | [`top`] | what running proxies do, in a terminal |
//! | [`view`] | the collector with a web page |
//! | [`launch`] | a service that is started behind a proxy of its own |
//! | [`cli`] | what the program was called for |
//!
//! [`run`] is the whole program between its settings and its end.
#![warn(missing_docs)]

pub mod admin;
pub mod auto;
pub mod check;
pub mod cli;
pub mod clock;
pub mod decode;
pub mod endpoint;
pub mod entropy;
pub mod error;
pub mod explain;
pub mod files;
pub mod follow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod healthcheck;
pub mod launch;
pub mod live_policy;
pub mod logging;
pub mod memory;
pub mod net;
pub mod out_of_band;
pub mod preflight;
pub mod redis;
pub mod relay;
pub mod reload;
pub mod report_format;
pub mod serve;
pub mod service;
pub mod service_manager;
pub mod settings;
pub mod signals;
pub mod telemetry;
pub mod top;
pub mod view;
pub mod workers;

pub use serve::{Listeners, Report, RunError, bind, bind_with, run, run_with};
