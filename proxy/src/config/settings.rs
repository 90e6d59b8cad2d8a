//! What the program needs, checked: addresses, policy, limits.
//!
//! Every wrong field is reported, each with its name, its value and what to do; a secret never is.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redistributed_core::carrier::opencensus;
use redistributed_core::session::Policy;

use super::address::{HostPort, ListenAddress, Upstream, without_secrets};
use super::args::{Args, ControlArg, LogFormatArg, LogLevelArg, SwitchArg};
use super::credentials::Secret;
use super::layers::{Origin, Sources};
use super::units;
use crate::auto::AutoSettings;
use crate::telemetry::otel_env::OtelSettings;
use crate::tls;
use crate::workers::Workers;

/// Smallest `--inject-limit`, in bytes: the shortest context that any carrier adds. Below it no message would get one.
pub const MIN_INJECT_LIMIT: usize = opencensus::LEN;

/// Largest `--inject-limit`, in bytes: below the 512 MiB that Redis takes as one bulk string unless told otherwise.
pub const MAX_INJECT_LIMIT: usize = 511 << 20;

/// No machine has a million sockets to spare; tokio's semaphore counts to an eighth of what a `usize` holds.
const MAX_CONNECTIONS: usize = 1_000_000;

/// More threads than this would only wait for each other.
const MAX_THREADS: usize = 256;

/// Everything that was decided before the first connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// At least one.
    pub routes: Vec<Route>,
    /// For the listen addresses that are `rediss://`; there if one is.
    pub listen_tls: Option<tls::ServerFiles>,
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
    pub log: (LogFormatArg, LogLevelArg),
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
    pub files: tls::Files,
    /// The name that its certificate must hold and that is asked for (SNI), if it is not the host in the URL.
    pub server_name: Option<String>,
}

impl UpstreamTls {
    /// What the operator calls the files.
    pub const NAMES: tls::Names =
        tls::Names { authorities: "--upstream-ca", certificate: "--upstream-cert", key: "--upstream-key" };
}

/// `--admin-control`: who may switch the mode, have the settings read again, and watch messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Control {
    /// Whoever connects over loopback: this machine, this pod, or `kubectl port-forward`.
    #[default]
    Local,
    /// Whoever reaches the port.
    All,
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

/// A field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The option as it is typed, or the variable.
    pub setting: &'static str,
    /// Where the value came from.
    pub origin: Origin,
    /// What was given, without secrets.
    pub value: Option<String>,
    /// What is wrong with it.
    pub problem: String,
    /// What to write instead.
    pub remedy: &'static str,
}

impl std::error::Error for SettingError {}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, origin, value, problem, remedy } = self;
        let value = value.as_ref().map(|value| format!(" `{value}`")).unwrap_or_default();
        match origin {
            // As it is written there.
            Origin::File(..) => write!(f, "{origin}: {}{value}", setting.trim_start_matches("--"))?,
            Origin::Environment(variable) if variable != setting => write!(f, "{setting}{value} (from {variable})")?,
            _ => write!(f, "{setting}{value}")?,
        }
        write!(f, ": {problem}; {remedy}")
    }
}

/// All fields that cannot be used; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings(pub Vec<SettingError>);

impl std::error::Error for InvalidSettings {}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings cannot be used")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl Settings {
    /// Checks `args`, and reads the `OTEL_*` variables by `lookup`.
    ///
    /// # Errors
    /// One [`SettingError`] for each field that cannot be used.
    pub fn new(args: &Args, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, InvalidSettings> {
        Self::from_sources(args, &Sources::default(), lookup)
    }

    /// The same; errors and warnings say where a value came from, as `sources` knows.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_sources(
        args: &Args,
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
                    admin_control: args.admin_control.into(),
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

/// Collects errors, so that one run shows all of them.
pub(super) struct Check<'a> {
    pub(super) sources: &'a Sources,
    errors: Vec<SettingError>,
}

impl Check<'_> {
    /// Notes an error. The value is masked, whichever setting it is of: it may be an upstream in the wrong place.
    pub(super) fn refuse(
        &mut self,
        setting: &'static str,
        value: Option<&str>,
        problem: impl fmt::Display,
        remedy: &'static str,
    ) {
        let origin = self.sources.origin(setting.trim_start_matches("--"), value);
        self.refuse_at(origin, setting, value, problem, remedy);
    }

    /// The same where it is known which of several values is wrong.
    pub(super) fn refuse_at(
        &mut self,
        origin: Origin,
        setting: &'static str,
        value: Option<&str>,
        problem: impl fmt::Display,
        remedy: &'static str,
    ) {
        let value = value.map(without_secrets);
        self.errors.push(SettingError { setting, origin, value, problem: problem.to_string(), remedy });
    }

    /// `result`'s value, or `T`'s default after noting the error: nothing is run with it.
    pub(super) fn or_refuse<T: Default, E: fmt::Display>(
        &mut self,
        result: Result<T, E>,
        (setting, value, remedy): (&'static str, &str, &'static str),
    ) -> T {
        result.unwrap_or_else(|problem| {
            self.refuse(setting, Some(value), problem, remedy);
            T::default()
        })
    }

    fn limits(&mut self, args: &Args) -> Limits {
        const TIME: &str = "write a time of at most a day with its unit, as in 500ms, 10s or 2m";
        const CONNECTIONS: &str = "write a number from 1 to 1000000";
        const THREADS: &str = "write a number from 1 to 256, or leave it out";
        let mut count = |setting, text: &str, most, remedy| {
            let counted = units::count(text, most).map(Some);
            self.or_refuse(counted, (setting, text, remedy)).unwrap_or(NonZeroUsize::MIN)
        };
        let max_connections = count("--max-connections", &args.max_connections, MAX_CONNECTIONS, CONNECTIONS).get();
        let threads = match args.threads.as_deref().filter(|text| !text.trim().is_empty()) {
            None => Workers::default_count(),
            Some(text) => count("--threads", text, MAX_THREADS, THREADS),
        };
        let connect_timeout = match units::duration(&args.connect_timeout) {
            Ok(Duration::ZERO) => Err("no connection is made in no time".to_owned()),
            parsed => parsed.map_err(|problem| problem.to_string()),
        };
        let connect_timeout = self.or_refuse(connect_timeout, ("--connect-timeout", &args.connect_timeout, TIME));
        let handshake_timeout = match units::duration(&args.handshake_timeout) {
            Ok(Duration::ZERO) => Err("no handshake is over in no time".to_owned()),
            parsed => parsed.map_err(|problem| problem.to_string()),
        };
        let handshake_timeout =
            self.or_refuse(handshake_timeout, ("--handshake-timeout", &args.handshake_timeout, TIME));
        let connect_retry = args.connect_retry == SwitchArg::On;
        let mut time = |setting, text: &str| self.or_refuse(units::duration(text), (setting, text, TIME));
        let drain_timeout = time("--drain-timeout", &args.drain_timeout);
        let flush_timeout = time("--flush-timeout", &args.flush_timeout);
        Limits {
            max_connections,
            threads,
            connect_timeout,
            connect_retry,
            handshake_timeout,
            drain_timeout,
            flush_timeout,
        }
    }

    fn auto(&mut self, args: &Args) -> AutoSettings {
        const REMEDY: &str = "write a time from 50ms to 60s";
        let value = ("--auto-interval", args.auto_interval.as_str(), REMEDY);
        let interval = self.or_refuse(units::duration(&args.auto_interval), value);
        if !(AutoSettings::SHORTEST_INTERVAL..=AutoSettings::LONGEST_INTERVAL).contains(&interval)
            && units::duration(&args.auto_interval).is_ok()
        {
            self.refuse("--auto-interval", Some(&args.auto_interval), "it is too short or too long", REMEDY);
        }
        AutoSettings { interval, announce: args.announce, ignore_replicas: args.auto_ignore_replicas }
    }

    fn otel(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Option<(OtelSettings, Vec<String>)> {
        match OtelSettings::from_lookup(lookup) {
            Ok((otel, warnings)) => {
                Some((otel, warnings.into_iter().map(|text| located(self.sources, text)).collect()))
            }
            Err(error) => {
                let (setting, value, problem, remedy) = error.parts();
                self.refuse(setting, value, problem, remedy);
                None
            }
        }
    }
}

/// Where the file sets the variable that `text` begins with.
fn place_in_file(sources: &Sources, text: &str) -> Option<Origin> {
    let end = text.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(text.len());
    Some(sources.origin(&text[..end], None)).filter(|origin| matches!(origin, Origin::File(..)))
}

fn located(sources: &Sources, text: String) -> String {
    place_in_file(sources, &text).map_or_else(|| text.clone(), |place| format!("{place}: {text}"))
}

impl From<ControlArg> for Control {
    fn from(arg: ControlArg) -> Self {
        match arg {
            ControlArg::Local => Self::Local,
            ControlArg::All => Self::All,
        }
    }
}
