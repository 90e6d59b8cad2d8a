//! What an operator may say: every option with its variable and what `--help` tells of it.
//!
//! The keys of the configuration file are these options too, so a new one needs no second list. Nothing is judged here
//! beyond what a fixed list of names (`choices`) can say. In particular no address is parsed.

use std::fmt;
use std::path::PathBuf;

use clap::Parser;
use redistributed_core::policy::{Commands, Mode, Relation, Trust};

use super::choices::truth;
use super::choices::{Control, LogFormat, LogLevel, LoginScope, Retry, choice};
use super::help::{ABOUT, AFTER_HELP, AFTER_LONG_HELP, LONG_ABOUT};

const FILE: &str = "Configuration";
const WHERE: &str = "Where";
const CLIENTS: &str = "TLS and Unix sockets for clients";
const TLS: &str = "TLS to Redis";
const LOGIN: &str = "Credentials for Redis";
const WHAT: &str = "What is traced";
const HOW: &str = "How context is carried";
const LIMITS: &str = "Limits and timeouts";
const LOGS: &str = "Logs";

/// The command line and the environment, as they are: with passwords, if URLs hold them.
#[derive(Clone, Parser)]
#[command(
    name = "redistributed",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = AFTER_HELP,
    after_long_help = AFTER_LONG_HELP,
    max_term_width = 120
)]
pub struct Options {
    /// A file with settings, in TOML: the same names without `--`; what is on the command line or in a variable wins
    #[arg(long, value_name = "FILE", env = "REDISTRIBUTED_CONFIG", hide_env_values = true, help_heading = FILE)]
    pub config: Option<PathBuf>,

    /// Do not serve: read all settings and the files they name, show what is in force and why, exit 0, or 2 if wrong
    #[arg(long, help_heading = FILE)]
    pub check_config: bool,

    /// Address on which the service connects: 127.0.0.1:6380, rediss://host:port for TLS, or unix:/path
    #[arg(long, value_name = "ADDRESS", env = "REDISTRIBUTED_LISTEN", hide_env_values = true, help_heading = WHERE)]
    pub listen: Option<String>,

    /// The Redis behind it: redis://host:port, rediss://host:port for TLS, host:port or unix:/path
    ///
    /// Names are resolved again for each connection. What the service itself sends (AUTH, HELLO, SELECT) passes through.
    /// Credentials, as in redis://user:password@host, are used for what the proxy itself asks Redis, and for the service
    /// only if --upstream-login says so. A password here can be seen by others on this machine: see
    /// --upstream-password-file.
    #[arg(long, value_name = "URL", env = "REDISTRIBUTED_UPSTREAM", hide_env_values = true, help_heading = WHERE)]
    pub upstream: Option<String>,

    /// A service's name and its pair of addresses, instead of --listen and --upstream; repeatable
    ///
    /// Spans and metrics go by the name; several routes may have the same one, as of a service with two Redises.
    #[arg(
        long = "route",
        value_name = "NAME=LISTEN,UPSTREAM",
        env = "REDISTRIBUTED_ROUTES",
        hide_env_values = true,
        help_heading = WHERE
    )]
    pub routes: Vec<String>,

    /// Certificate that rediss:// listen addresses show, in PEM form, with those between it and its authority
    #[arg(long, value_name = "FILE", env = "REDISTRIBUTED_LISTEN_CERT", hide_env_values = true, help_heading = CLIENTS)]
    pub listen_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM form
    #[arg(long, value_name = "FILE", env = "REDISTRIBUTED_LISTEN_KEY", hide_env_values = true, help_heading = CLIENTS)]
    pub listen_key: Option<PathBuf>,

    /// Authorities, in PEM form: only clients with a certificate of one of them are let in (default: all are)
    #[arg(long, value_name = "FILE", env = "REDISTRIBUTED_LISTEN_CLIENT_CA", hide_env_values = true, help_heading = CLIENTS)]
    pub listen_client_ca: Option<PathBuf>,

    /// Permissions of unix: listen addresses, in octal
    #[arg(
        long,
        value_name = "MODE",
        default_value = "0660",
        env = "REDISTRIBUTED_LISTEN_SOCKET_MODE",
        hide_env_values = true,
        help_heading = CLIENTS
    )]
    pub listen_socket_mode: String,

    /// Authorities that rediss:// upstreams are checked against, in PEM form (default: the system's)
    #[arg(long, value_name = "FILE", env = "REDISTRIBUTED_UPSTREAM_CA", hide_env_values = true, help_heading = TLS)]
    pub upstream_ca: Option<PathBuf>,

    /// Certificate to show to them, in PEM form, with those between it and its authority
    #[arg(long, value_name = "FILE", env = "REDISTRIBUTED_UPSTREAM_CERT", hide_env_values = true, help_heading = TLS)]
    pub upstream_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM form
    #[arg(long, value_name = "FILE", env = "REDISTRIBUTED_UPSTREAM_KEY", hide_env_values = true, help_heading = TLS)]
    pub upstream_key: Option<PathBuf>,

    /// The name that their certificate must hold, if it is not the host in the URL
    #[arg(long, value_name = "NAME", env = "REDISTRIBUTED_UPSTREAM_SERVER_NAME", hide_env_values = true, help_heading = TLS)]
    pub upstream_server_name: Option<String>,

    /// A file with the password for Redis, of all upstreams whose URL holds none; read again when it changes
    #[arg(long, value_name = "FILE", env = "REDISTRIBUTED_UPSTREAM_PASSWORD_FILE", hide_env_values = true, help_heading = LOGIN)]
    pub upstream_password_file: Option<PathBuf>,

    /// The ACL user that the password is of, unless the URL names one (default: the user `default`)
    #[arg(long, value_name = "NAME", env = "REDISTRIBUTED_UPSTREAM_USERNAME", hide_env_values = true, help_heading = LOGIN)]
    pub upstream_username: Option<String>,

    /// Whose connections are logged in with them
    #[arg(
        long,
        value_parser = choice::<LoginScope>(),
        default_value_t = LoginScope::default(),
        env = "REDISTRIBUTED_UPSTREAM_LOGIN",
        hide_env_values = true,
        help_heading = LOGIN
    )]
    pub upstream_login: LoginScope,

    /// Health, metrics, settings and the mode switch over HTTP, here; without a host on 127.0.0.1 (default: nowhere)
    #[arg(long, value_name = "[HOST:]PORT", env = "REDISTRIBUTED_ADMIN", hide_env_values = true, help_heading = WHERE)]
    pub admin: Option<String>,

    /// Who may switch the mode, have the settings read again, and watch messages there
    #[arg(
        long,
        value_parser = choice::<Control>(),
        default_value_t = Control::default(),
        env = "REDISTRIBUTED_ADMIN_CONTROL",
        hide_env_values = true,
        help_heading = WHERE
    )]
    pub admin_control: Control,

    /// Whether contexts are added, only removed, or only looked at
    #[arg(
        long,
        value_parser = choice::<Mode>(),
        default_value_t = Mode::default(),
        env = "REDISTRIBUTED_MODE",
        hide_env_values = true,
        help_heading = WHAT
    )]
    pub mode: Mode,

    /// Another mode for channels that match; repeatable, the first match wins
    #[arg(
        long = "mode-for",
        value_name = "GLOB=MODE",
        env = "REDISTRIBUTED_MODES",
        hide_env_values = true,
        help_heading = WHAT
    )]
    pub modes: Vec<String>,

    /// In mode auto: how often Redis is asked who is subscribed, and told of this proxy's own subscriptions
    ///
    /// From 50ms to 60s. A channel gets contexts three to four intervals after its last subscriber's proxy has
    /// announced it.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1s",
        env = "REDISTRIBUTED_AUTO_INTERVAL",
        hide_env_values = true,
        help_heading = WHAT
    )]
    pub auto_interval: String,

    /// In mode auto: nobody subscribes on a replica, so that replicas need not be counted
    #[arg(long, value_parser = truth, env = "REDISTRIBUTED_AUTO_IGNORE_REPLICAS", hide_env_values = true, help_heading = WHAT)]
    pub auto_ignore_replicas: bool,

    /// Announce subscriptions to proxies in mode auto, though no channel has this mode here
    #[arg(long, value_parser = truth, env = "REDISTRIBUTED_ANNOUNCE", hide_env_values = true, help_heading = WHAT)]
    pub announce: bool,

    /// Trace only channels that match, as in PSUBSCRIBE (default: all); repeatable
    #[arg(long, value_name = "GLOB", env = "REDISTRIBUTED_INCLUDE", hide_env_values = true, help_heading = WHAT)]
    pub include: Vec<String>,

    /// Do not trace channels that match, though included; repeatable
    #[arg(long, value_name = "GLOB", env = "REDISTRIBUTED_EXCLUDE", hide_env_values = true, help_heading = WHAT)]
    pub exclude: Vec<String>,

    /// Spans for commands other than publishes
    #[arg(
        long,
        value_parser = choice::<Commands>(),
        default_value_t = Commands::default(),
        env = "REDISTRIBUTED_COMMANDS",
        hide_env_values = true,
        help_heading = WHAT
    )]
    pub commands: Commands,

    /// How the span of a delivery refers to the span of its publish
    #[arg(
        long,
        value_parser = choice::<Relation>(),
        default_value_t = Relation::default(),
        env = "REDISTRIBUTED_RELATION",
        hide_env_values = true,
        help_heading = WHAT
    )]
    pub relation: Relation,

    /// Whose contexts become parents of spans
    ///
    /// Whoever may publish can put a context of his own making into a payload. See the security model in the
    /// documents.
    #[arg(
        long,
        value_parser = choice::<Trust>(),
        default_value_t = Trust::default(),
        env = "REDISTRIBUTED_TRUST",
        hide_env_values = true,
        help_heading = WHAT
    )]
    pub trust: Trust,

    /// Carrier for channels that match: trailer, json or opencensus; repeatable, the first match wins
    ///
    /// trailer (for all other channels): a binary suffix of the payload. json: a `traceparent` member of the payload's
    /// JSON object. opencensus: the 29-byte binary context in front of the payload.
    #[arg(
        long = "carrier",
        value_name = "GLOB=CARRIER",
        env = "REDISTRIBUTED_CARRIERS",
        hide_env_values = true,
        help_heading = HOW
    )]
    pub carriers: Vec<String>,

    /// Take `traceparent` in a JSON payload as the parent on channels that match; repeatable
    #[arg(long, value_name = "GLOB", env = "REDISTRIBUTED_READ_JSON", hide_env_values = true, help_heading = HOW)]
    pub read_json: Vec<String>,

    /// Leave a json or opencensus context in messages delivered on channels that match; repeatable
    #[arg(long, value_name = "GLOB", env = "REDISTRIBUTED_KEEP_CONTEXT", hide_env_values = true, help_heading = HOW)]
    pub keep_context: Vec<String>,

    /// Say in each trailer when the message was published, for the metric transit_seconds; 11 bytes more a message
    ///
    /// The time is the wall clock's of the publisher's machine, and subtracted from the subscriber's: what is measured
    /// is no truer than these two agree. Every proxy reads it, whether or not it is told to write it.
    #[arg(
        long,
        value_parser = truth,
        env = "REDISTRIBUTED_TRANSIT_TIME",
        hide_env_values = true,
        help_heading = HOW
    )]
    pub transit_time: bool,

    /// Longest payload, with the context in it, that is sent; use the same value on every sidecar of a Redis
    ///
    /// A longer payload goes on as it is. Not above Redis's proto-max-bulk-len, of which 1MiB is the least. Also
    /// bounds what a connection may hold back while it looks for a context. From 29, the shortest context, to 511MiB;
    /// to add no contexts see --mode strip.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "1MiB",
        env = "REDISTRIBUTED_INJECT_LIMIT",
        hide_env_values = true,
        help_heading = HOW
    )]
    pub inject_limit: String,

    /// Connections at a time, over all routes; one more is told so as Redis tells it, and closed
    #[arg(
        long,
        value_name = "N",
        default_value = "10000",
        env = "REDISTRIBUTED_MAX_CONNECTIONS",
        hide_env_values = true,
        help_heading = LIMITS
    )]
    pub max_connections: String,

    /// Threads that move bytes; one for each processor that the process may use, unless set
    #[arg(long, value_name = "N", env = "REDISTRIBUTED_THREADS", hide_env_values = true, help_heading = LIMITS)]
    pub threads: Option<String>,

    /// How long a connection to Redis may take to be made
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5s",
        env = "REDISTRIBUTED_CONNECT_TIMEOUT",
        hide_env_values = true,
        help_heading = LIMITS
    )]
    pub connect_timeout: String,

    /// Whether what may pass (a refused connection, a name that is not known) is tried again within that time
    #[arg(
        long,
        value_parser = choice::<Retry>(),
        default_value_t = Retry::default(),
        env = "REDISTRIBUTED_CONNECT_RETRY",
        hide_env_values = true,
        help_heading = LIMITS
    )]
    pub connect_retry: Retry,

    /// How long the TLS handshake of a client may take
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5s",
        env = "REDISTRIBUTED_HANDSHAKE_TIMEOUT",
        hide_env_values = true,
        help_heading = LIMITS
    )]
    pub handshake_timeout: String,

    /// How long open connections may go on after a signal to stop
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5s",
        env = "REDISTRIBUTED_DRAIN_TIMEOUT",
        hide_env_values = true,
        help_heading = LIMITS
    )]
    pub drain_timeout: String,

    /// How long the last spans may take to be sent after that
    #[arg(
        long,
        value_name = "TIME",
        default_value = "3s",
        env = "REDISTRIBUTED_FLUSH_TIMEOUT",
        hide_env_values = true,
        help_heading = LIMITS
    )]
    pub flush_timeout: String,

    /// Form of the lines on standard error
    #[arg(
        long,
        value_parser = choice::<LogFormat>(),
        default_value_t = LogFormat::default(),
        env = "REDISTRIBUTED_LOG_FORMAT",
        hide_env_values = true,
        help_heading = LOGS
    )]
    pub log_format: LogFormat,

    /// What is logged; start and stop always are, unless off
    #[arg(
        long,
        value_parser = choice::<LogLevel>(),
        default_value_t = LogLevel::default(),
        env = "REDISTRIBUTED_LOG_LEVEL",
        hide_env_values = true,
        help_heading = LOGS
    )]
    pub log_level: LogLevel,

    /// Connect to each listen address instead of serving it: exit 0 if all accept, else 1
    #[arg(long)]
    pub healthcheck: bool,
}

/// Shows nothing of it, because an upstream may hold a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn every_option_has_a_variable_of_its_own_name() {
        for arg in Options::command()
            .get_arguments()
            .filter(|arg| !["healthcheck", "check_config"].contains(&arg.get_id().as_str()))
        {
            let expected = format!("REDISTRIBUTED_{}", arg.get_id().as_str().to_uppercase());
            assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(expected.as_str()));
            assert!(arg.is_hide_env_values_set(), "{expected} could be shown by --help");
        }
    }
}
