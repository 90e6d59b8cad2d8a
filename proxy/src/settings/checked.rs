//! What the program needs, checked: addresses, policy, limits.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redistributed_core::carrier::opencensus;
use redistributed_core::policy::Policy;

use super::address::{HostPort, ListenAddress, Upstream};
use super::auto::AutoSettings;
use super::choices::{Control, LogFormat, LogLevel};
use super::credentials::Secret;
use super::options::Options;
use super::otel::OtelSettings;
use super::sources::Sources;
use super::tls::{self, ClientFiles, ServerFiles};
use super::validation::Check;
use super::validation::InvalidSettings;

/// Smallest `--inject-limit`, in bytes: the shortest context that any carrier adds. Below it no message would get one.
pub const MIN_INJECT_LIMIT: usize = opencensus::LEN;

/// Largest `--inject-limit`, in bytes: below the 512 MiB that Redis takes as one bulk string unless told otherwise.
pub const MAX_INJECT_LIMIT: usize = 511 << 20;

/// Everything that was decided before the first connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// At least one.
    pub routes: Vec<Route>,
    /// For the listen addresses that are `rediss://`; there if one is.
    pub listen_tls: Option<ServerFiles>,
    /// Permissions of the sockets that are `unix:`, as in `0o660`.
    pub socket_mode: u32,
    /// For the upstreams that are `rediss://`.
    pub upstream_tls: UpstreamTls,
    /// Whom the proxy logs in.
    pub upstream_login: UpstreamLogin,
    /// Where the admin port is, if there is one.
    pub admin: Option<HostPort>,
    /// Who may do more there than look.
    pub admin_control: Control,
    /// What is done to messages, on every route.
    pub policy: Arc<Policy>,
    /// How evidence for mode `auto` is collected.
    pub auto: AutoSettings,
    /// How much and how long.
    pub limits: Limits,
    /// The form of the log's lines, and what is in them.
    pub log: (LogFormat, LogLevel),
    /// The `OTEL_*` variables.
    pub otel: OtelSettings,
    /// What was set aside, to be logged.
    pub warnings: Vec<String>,
}

/// One service and its Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The service's name; without one, `OTEL_SERVICE_NAME` stands.
    pub name: Option<String>,
    /// Where the service connects.
    pub listen: ListenAddress,
    /// The Redis behind.
    pub upstream: Upstream,
    /// Who to be there.
    pub login: Login,
}

/// Who to be at a Redis.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Login {
    /// From the URL, else `--upstream-username`.
    pub username: Option<String>,
    /// From the URL. Without one, what `--upstream-password-file` names counts.
    pub password: Option<Secret>,
    /// From the URL; 0 is what a connection has anyway.
    pub database: u32,
}

/// Whom the proxy logs in with the credentials that it was given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UpstreamLogin {
    /// The user of all routes whose URL names nobody.
    pub username: Option<String>,
    /// A file with the password of all routes whose URL holds none.
    pub password_file: Option<PathBuf>,
    /// Whether the services' connections are logged in too, and not only the proxy's own.
    pub clients: bool,
}

impl UpstreamLogin {
    /// What the operator calls the file.
    pub const PASSWORD_FILE: &'static str = "--upstream-password-file";
}

impl Route {
    /// The option that says where this route listens and connects: one with a name was given as `--route`.
    pub fn setting<'a>(&self, of_one: &'a str) -> &'a str {
        if self.name.is_some() { "--route" } else { of_one }
    }
}

/// How a Redis over TLS is believed, and what it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    /// Certificates and keys.
    pub files: ClientFiles,
    /// The name that its certificate must hold and that is asked for (SNI), if it is not the host in the URL.
    pub server_name: Option<String>,
}

impl UpstreamTls {
    /// What the operator calls the files.
    pub const NAMES: tls::ClientFileNames =
        tls::ClientFileNames { authorities: "--upstream-ca", certificate: "--upstream-cert", key: "--upstream-key" };
}

/// Limits of the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at a time, at least 1.
    pub max_connections: usize,
    /// Threads that carry connections.
    pub threads: NonZeroUsize,
    /// For resolving the upstream's name and connecting to it.
    pub connect_timeout: Duration,
    /// Whether a connection that fails is tried again within that time.
    pub connect_retry: bool,
    /// For the TLS handshake of a client.
    pub handshake_timeout: Duration,
    /// From the signal to stop until open connections are closed.
    pub drain_timeout: Duration,
    /// From then until spans that have not been sent are given up.
    pub flush_timeout: Duration,
}

impl Settings {
    /// Checks `args`, and reads the `OTEL_*` variables by `lookup`.
    ///
    /// # Errors
    /// One [`SettingError`] for each field that cannot be used.
    pub fn new(args: &Options, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, InvalidSettings> {
        Self::from_sources(args, &Sources::default(), lookup)
    }

    /// The same; errors and warnings say where a value came from, as `sources` knows.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_sources(
        args: &Options,
        sources: &Sources,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, InvalidSettings> {
        let mut check = Check { sources, errors: Vec::new() };
        let mut routes = check.routes(args);
        let listen_tls = check.listen_tls(args, &routes);
        let socket_mode = check.socket_mode(args, &routes);
        let upstream_tls = check.upstream_tls(args, &routes);
        let upstream_login = check.upstream_login(args, &mut routes);
        let admin = check.admin(args, &routes);
        let limits = check.limits(args);
        let otel = check.otel(lookup);
        let auto = check.auto(args);
        let policy = check.policy(args, otel.as_ref().map(|(otel, _)| otel));
        match (otel, check.errors.is_empty()) {
            (Some((otel, warnings)), true) => {
                let log = (args.log_format, args.log_level);
                let policy = Arc::new(policy);
                Ok(Self {
                    routes,
                    listen_tls,
                    socket_mode,
                    upstream_tls,
                    upstream_login,
                    admin,
                    admin_control: args.admin_control,
                    policy,
                    auto,
                    limits,
                    log,
                    otel,
                    warnings,
                })
            }
            _ => Err(InvalidSettings(check.errors)),
        }
    }
}
