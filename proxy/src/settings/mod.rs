//! What an operator may set, how it is read, and what it means: plain, checked data at the bottom of the shell.
//!
//! Everything else in the shell may use these types, and they use nothing else of it.
//!
//! | module | what it knows |
//! |---|---|
//! | `routes`, [`http`], `admin`, `listeners`, `upstreams`, `neighbours`, `policy`, `follow`, `naming`, [`auto`], `limits`, `tcp`, `console`, `log` | one subject each: its options, their checked meaning, and how that is shown |
//! | [`otel`], `otel_sources` | the `OTEL_*` variables, by the specification's rules, and where they come from |
//! | `options`, `help` | the options of all subjects as one command line, and the text around them in `--help` |
//! | [`file`](mod@file) | the same settings in TOML |
//! | [`environment`] | variables as text, and those of ours that nobody reads |
//! | [`command_line`] | the command line wins over the environment, and that over the file |
//! | [`sources`], [`origin`] | what each of them said, and where |
//! | [`load`] | reads all of them |
//! | `validation`, `error`, `suggestion` | what is wrong with a value, all of it in one run, and what was probably meant |
//! | [`effective`], `values` | what is in effect and where it came from |
//! | [`address`], [`units`], [`modes`], `choices` | the notations that values are written in |
//! | [`tls`], `verification` | the files that TLS needs, by name; how a server's certificate is checked |
//! | [`credentials`], [`redact`] | what must not be shown, and text without it |

pub mod address;
mod admin;
pub mod auto;
mod choices;
pub mod command_line;
mod console;
pub mod credentials;
pub mod effective;
pub mod environment;
mod error;
pub mod file;
mod follow;
mod help;
pub mod http;
mod limits;
mod listeners;
pub mod load;
mod log;
pub mod modes;
mod naming;
mod neighbours;
mod options;
pub mod origin;
pub mod otel;
mod otel_sources;
mod policy;
pub mod redact;
mod routes;
pub mod sources;
mod suggestion;
mod tcp;
pub mod tls;
pub mod units;
mod upstreams;
mod validation;
mod values;
mod verification;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redistributed_core::http::HttpPolicy;
use redistributed_core::policy::{Follow, Policy};

pub use address::{AddressError, HostPort, ListenAddress, Upstream, UpstreamUrl};
pub use admin::{AdminPort, Control};
pub use console::{ConsoleFormat, ConsoleSettings};
pub use environment::EnvironmentVariables;
pub use error::{InvalidSettings, SettingError};
pub use follow::FollowSettings;
pub use http::HttpPort;
pub use limits::Limits;
pub use load::{Invocation, LoadError, Loaded};
pub use log::{Log, LogFormat, LogLevel};
pub use options::Options;
pub use policy::{CONTEXT_KEY_FILE, MAX_INJECT_LIMIT, MIN_INJECT_LIMIT};
pub use routes::{Login, Route};
pub use tcp::TcpTimeouts;
pub use upstreams::{UpstreamLogin, UpstreamTls};
pub use verification::{Fingerprint, Verification};

use auto::AutoSettings;
use origin::Origin;
use otel::OtelSettings;
use sources::Sources;
use tls::ServerFiles;
use validation::Validation;

/// Everything that is decided before the first connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// One route for each `--route`, or the one of `--listen` and `--upstream`; at least one unless there is an HTTP port.
    pub routes: Vec<Route>,
    /// The HTTP ports of services; at least one unless there is a route.
    pub http: Vec<HttpPort>,
    /// How HTTP requests become spans, on every port.
    pub http_policy: Arc<HttpPolicy>,
    /// The files of the listen addresses that are `rediss://` or `https://`; there if one is.
    pub listen_tls: Option<ServerFiles>,
    /// Permissions of the sockets that are `unix:`, as in `0o660`.
    pub socket_mode: u32,
    /// How the upstreams that are `rediss://` are reached.
    pub upstream_tls: UpstreamTls,
    /// Which connections are logged in, and as which user.
    pub upstream_login: UpstreamLogin,
    /// Whether the upstreams are asked if they are other proxies.
    pub detect_proxies: bool,
    /// The admin port, if there is one, and who may do what there.
    pub admin: AdminPort,
    /// What is done to messages, on every route. It has no keys, which are in `context_key_file`.
    pub policy: Arc<Policy>,
    /// A file with the keys that contexts are signed and checked with.
    pub context_key_file: Option<PathBuf>,
    /// How long work is waited for that a message may cause.
    pub follow: FollowSettings,
    /// How evidence for mode `auto` is collected.
    pub auto: AutoSettings,
    /// Limits and timeouts.
    pub limits: Limits,
    /// How soon a path without answers is given up.
    pub tcp: TcpTimeouts,
    /// The proxy's own log.
    pub log: Log,
    /// The `OTEL_*` variables.
    pub otel: OtelSettings,
    /// Values that were set aside, one text each, to be logged.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Checks `options`, and reads the `OTEL_*` variables by `lookup`.
    ///
    /// # Errors
    /// One [`SettingError`] for each value that cannot be used.
    pub fn new(options: &Options, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, InvalidSettings> {
        Self::from_sources(options, &Sources::default(), lookup)
    }

    /// As [`new`](Self::new), with errors and warnings that say where a value came from, as `sources` knows.
    ///
    /// # Errors
    /// One [`SettingError`] for each value that cannot be used.
    pub fn from_sources(
        options: &Options,
        sources: &Sources,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, InvalidSettings> {
        let mut validation = Validation { sources, errors: Vec::new() };
        let routes = validation.routes(&options.routes, !options.http.http.is_empty());
        // If the routes were rejected, nothing is said of what would be theirs.
        let (are_known, mut routes) = (routes.is_some(), routes.unwrap_or_default());
        let http = validation.http_ports(&options.http, &routes);
        let http_policy = Arc::new(validation.http_policy(&options.http));
        let of_http = http.iter().map(|port| &port.listen).filter(|_| are_known);
        let listens: Vec<ListenAddress> = routes.iter().map(|route| &route.listen).chain(of_http).cloned().collect();
        let listens: Vec<&ListenAddress> = listens.iter().collect();
        let listen_tls = validation.listen_tls(&options.listeners, &listens);
        let known_routes = are_known.then_some(&routes[..]);
        let upstream_tls = validation.upstream_tls(&options.upstream_tls, known_routes);
        if known_routes.is_some_and(<[_]>::is_empty) {
            validation.reject_login_without_redis(&options.login);
        }
        let upstream_login = validation.upstream_login(&options.login, &mut routes);
        let admin = validation.admin(&options.admin, &listens);
        let socket_mode = validation.socket_mode(&options.listeners, &listens, &admin);
        let limits = validation.limits(&options.limits);
        let tcp = validation.tcp(&options.tcp);
        let mut otel = validation.otel(lookup);
        let auto = validation.auto(&options.auto);
        let follow = validation.follow(&options.follow);
        let otel_settings = otel.as_ref().map(|(otel, _)| otel);
        let mut policy = validation.policy(&options.tracing, &options.carriers, &options.follow, otel_settings);
        validation.naming(&options.naming, &mut policy);
        if let Some((otel, _)) = &mut otel {
            let window = if policy.follow == Follow::Off { Duration::ZERO } else { follow.window };
            otel.console = otel.console.map(|_| options.console.settings(otel.batch.schedule_delay, window));
        }
        match otel {
            Some((otel, mut warnings)) if validation.errors.is_empty() => Ok(Self {
                warnings: {
                    warnings.extend(Validation::policy_warnings(&policy));
                    let is_given = sources.origin_of("console-format") != Origin::Default;
                    warnings.extend(console::warning(otel.console, is_given));
                    warnings
                },
                routes,
                http,
                http_policy,
                listen_tls,
                socket_mode,
                upstream_tls,
                upstream_login,
                detect_proxies: options.neighbours.is_on(),
                admin,
                policy: Arc::new(policy),
                context_key_file: tls::named(&options.carriers.context_key_file),
                follow,
                auto,
                limits,
                tcp,
                log: Log::from(&options.log),
                otel,
            }),
            _ => Err(InvalidSettings::of_settings(validation.errors)),
        }
    }
}
