//! The options of the command line.
//!
//! An option is defined in the file of its subject, in a group beside what it means; here the groups become one command.
//! The variable of an option follows from its name, and so does its key in the configuration file: a new option needs no
//! second list. Nothing is judged here beyond the names of a [choice](mod@redistributed_core::choice). In particular no address
//! is parsed.

use std::fmt;
use std::path::PathBuf;

use clap::{Arg, Args, Command};

use super::admin::AdminOptions;
use super::auto::AutoOptions;
use super::console::ConsoleOptions;
use super::environment::PREFIX;
use super::follow::FollowOptions;
use super::help::{ABOUT, AFTER_HELP, AFTER_LONG_HELP, LONG_ABOUT};
use super::http::HttpOptions;
use super::limits::LimitOptions;
use super::listeners::ListenerOptions;
use super::log::LogOptions;
use super::naming::NamingOptions;
use super::neighbours::NeighbourOptions;
use super::policy::{CarrierOptions, TracingOptions};
use super::routes::RouteOptions;
use super::tcp::TcpOptions;
use super::upstreams::{LoginOptions, UpstreamTlsOptions};

/// The version, and the commit that was built.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("REDISTRIBUTED_BUILD"), ")");

/// The same with what it was built for and what it can do, a line each.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("REDISTRIBUTED_BUILD"),
    ")\ntarget    ",
    env!("REDISTRIBUTED_TARGET"),
    ", ",
    env!("REDISTRIBUTED_COMPILER"),
    "\nfeatures  TLS 1.2 and 1.3 (rustls, ring), RESP2 and RESP3, HTTP/1 and HTTP/2, OTLP over HTTP and gRPC, gzip",
    "\ncarriers  trailer (version 1), json, opencensus; field",
);

/// The options that have no variable and no key in the file, because they say what this one call is for.
const COMMAND_LINE_ONLY: [&str; 2] = ["check_config", "healthcheck"];

/// The command line and the environment as they were given: with passwords, if URLs hold them.
#[derive(Clone, Args)]
pub struct Options {
    /// A file with settings in TOML, under the options' names without `--`; the command line and variables win over it
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,

    /// Check the settings and the files they name instead of serving, and show what is in effect and why: exit 0, else 2
    #[arg(long, help_heading = "Configuration")]
    pub check_config: bool,

    /// Connect to each listen address instead of serving it: exit 0 if all accept, else 1
    #[arg(long)]
    pub healthcheck: bool,

    #[command(flatten)]
    pub(crate) routes: RouteOptions,

    #[command(flatten)]
    pub(crate) http: HttpOptions,

    #[command(flatten)]
    pub(crate) admin: AdminOptions,

    #[command(flatten)]
    pub(crate) listeners: ListenerOptions,

    #[command(flatten)]
    pub(crate) upstream_tls: UpstreamTlsOptions,

    #[command(flatten)]
    pub(crate) login: LoginOptions,

    #[command(flatten)]
    pub(crate) neighbours: NeighbourOptions,

    #[command(flatten)]
    pub(crate) tracing: TracingOptions,

    #[command(flatten)]
    pub(crate) carriers: CarrierOptions,

    #[command(flatten)]
    pub(crate) follow: FollowOptions,

    #[command(flatten)]
    pub(crate) naming: NamingOptions,

    #[command(flatten)]
    pub(crate) auto: AutoOptions,

    #[command(flatten)]
    pub(crate) limits: LimitOptions,

    #[command(flatten)]
    pub(crate) tcp: TcpOptions,

    #[command(flatten)]
    pub(crate) console: ConsoleOptions,

    #[command(flatten)]
    pub(crate) log: LogOptions,
}

impl Options {
    /// The definition of the command line, in which every option that may stand in the environment has its variable:
    /// `REDISTRIBUTED_` and the option's name, in the plural where the option may be repeated.
    pub fn command() -> Command {
        // The texts last: the groups' own doc comments would stand in their place.
        Self::augment_args(Command::new("redistributed"))
            .version(VERSION)
            .long_version(LONG_VERSION)
            .about(ABOUT)
            .long_about(LONG_ABOUT)
            .after_help(AFTER_HELP)
            .after_long_help(AFTER_LONG_HELP)
            .max_term_width(120)
            .next_help_heading(None)
            .mut_args(with_variable)
    }
}

/// Values are hidden, because `--help` would show what a variable holds, and that may be a secret.
fn with_variable(arg: Arg) -> Arg {
    let id = arg.get_id().as_str();
    if COMMAND_LINE_ONLY.contains(&id) {
        return arg;
    }
    let variable = format!("{PREFIX}{}", id.to_uppercase());
    arg.env(variable).hide_env_values(true)
}

/// Shows nothing of it, because an upstream may hold a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn no_value_of_a_variable_is_shown_by_help() {
        for arg in Options::command().get_arguments() {
            let name = arg.get_id();
            assert_eq!(arg.get_env().is_none(), COMMAND_LINE_ONLY.contains(&name.as_str()), "{name}");
            assert!(arg.get_env().is_none() || arg.is_hide_env_values_set(), "{name} could be shown by --help");
        }
    }

    #[test]
    fn every_option_stands_under_a_heading_of_its_subject() {
        for arg in Options::command().get_arguments().filter(|arg| arg.get_env().is_some()) {
            assert!(arg.get_help_heading().is_some(), "{}", arg.get_id());
        }
    }
}
