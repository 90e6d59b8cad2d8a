//! How the proxy connects to Redis by TLS, and which credentials it uses.

use std::path::PathBuf;

use clap::Args;
use redistributed_core::choice::choice;

use super::address::Upstream;
use super::choices::parser;
use super::origin::Origin;
use super::routes::{REDIS_URL, Route};
use super::tls::{ClientFileNames, ClientFiles, named};
use super::validation::Validation;
use super::values::{Values, format_path, or_none};
use super::verification::Verification;

/// The options of upstreams that are reached by TLS.
#[derive(Clone, Args)]
#[command(next_help_heading = "TLS to Redis")]
pub(crate) struct UpstreamTlsOptions {
    /// Authorities that rediss:// upstreams are checked against, in PEM form (default: the system's)
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<PathBuf>,

    /// Certificate to present to rediss:// upstreams, in PEM form, followed by the intermediate ones
    #[arg(long, value_name = "FILE")]
    upstream_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM form
    #[arg(long, value_name = "FILE")]
    upstream_key: Option<PathBuf>,

    /// The name that the certificate of rediss:// upstreams must hold, if it is not the host in the URL
    #[arg(long, value_name = "NAME")]
    upstream_server_name: Option<String>,

    /// What the certificate of rediss:// upstreams is checked for: name (and authority), authority alone, or fingerprint:SHA256
    ///
    /// With fingerprint:SHA256[,SHA256...], exactly these certificates are believed, whoever has issued them and whatever
    /// their dates.
    #[arg(long, value_name = "RULE", default_value = "name")]
    upstream_verify: String,
}

/// The options of the credentials for Redis.
#[derive(Clone, Args)]
#[command(next_help_heading = "Credentials for Redis")]
pub(crate) struct LoginOptions {
    /// A file with the password for all upstreams whose URL holds none; read again when it changes
    #[arg(long, value_name = "FILE")]
    upstream_password_file: Option<PathBuf>,

    /// The ACL user to whom the password belongs, unless the URL names one (default: the user `default`)
    #[arg(long, value_name = "NAME")]
    upstream_username: Option<String>,

    /// Which connections are logged in with these credentials
    #[arg(long, value_parser = parser::<LoginScope>(), default_value_t)]
    upstream_login: LoginScope,
}

choice! {
    /// Which connections are logged in: `--upstream-login`.
    enum LoginScope, default Proxy {
        /// The proxy's own; services send AUTH and SELECT themselves, as they would to Redis
        Proxy = "proxy",
        /// Those of services too; the proxy sends AUTH, and SELECT if the URL names a database, before a service's first byte
        Clients = "clients",
    }
}

/// How the proxy authenticates a Redis over TLS, and itself to it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    /// The trusted authorities, and the certificate that the proxy presents.
    pub files: ClientFiles,
    /// The name that the server's certificate must hold, which is also sent as SNI, if it is not the host in the URL.
    pub server_name: Option<String>,
    /// What the server's certificate is checked for.
    pub verification: Verification,
}

impl UpstreamTls {
    /// The options that name the files.
    pub const NAMES: ClientFileNames =
        ClientFileNames { authorities: "--upstream-ca", certificate: "--upstream-cert", key: "--upstream-key" };
}

/// Which connections are logged in with the credentials that the proxy was given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UpstreamLogin {
    /// The user of all routes whose URL names none.
    pub username: Option<String>,
    /// A file with the password of all routes whose URL holds none.
    pub password_file: Option<PathBuf>,
    /// Whether the services' connections are logged in too, and not only the proxy's own.
    pub clients: bool,
}

impl UpstreamLogin {
    /// The option that names the file.
    pub const PASSWORD_FILE: &'static str = "--upstream-password-file";
}

impl Validation<'_> {
    /// Checks the files of upstreams that are reached by TLS. `routes` is `None` if the routes were rejected, so that nothing is
    /// known of what they need.
    pub(super) fn upstream_tls(&mut self, options: &UpstreamTlsOptions, routes: Option<&[Route]>) -> UpstreamTls {
        let certificate = named(&options.upstream_cert);
        let key = named(&options.upstream_key);
        let server_name = options.upstream_server_name.clone().filter(|name| !name.trim().is_empty());
        let files =
            ClientFiles { authorities: named(&options.upstream_ca), identity: certificate.clone().zip(key.clone()) };
        match (certificate, key) {
            (Some(_), None) => {
                self.reject("--upstream-key", None, "it is missing", "name the certificate's key as well")
            }
            (None, Some(_)) => {
                self.reject("--upstream-cert", None, "it is missing", "name the key's certificate as well")
            }
            _ => {}
        }
        let rule = options.upstream_verify.trim();
        let remedy = "write name, authority, or fingerprint: and what `openssl x509 -noout -fingerprint -sha256` prints behind the =";
        let verification = self.or_reject(rule.parse(), ("--upstream-verify", rule, remedy));
        let tls = UpstreamTls { files, server_name, verification };
        let by_tls = |routes: &[Route]| routes.iter().any(|route| matches!(route.upstream, Upstream::Tls(_)));
        if routes.is_some_and(|routes| !by_tls(routes)) {
            let files = [
                ("--upstream-ca", &options.upstream_ca),
                ("--upstream-cert", &options.upstream_cert),
                ("--upstream-key", &options.upstream_key),
            ];
            let given = files.map(|(setting, file)| (setting, named(file).map(|file| file.display().to_string())));
            let verification = (tls.verification != Verification::Name).then(|| tls.verification.to_string());
            let others = [("--upstream-server-name", tls.server_name.clone()), ("--upstream-verify", verification)];
            let given = given.into_iter().chain(others);
            self.reject_unused(given, "no upstream is reached by TLS", "write rediss://host:port, or leave it out");
        }
        tls
    }

    /// Rejects credentials that no Redis could be given.
    pub(super) fn reject_login_without_redis(&mut self, options: &LoginOptions) {
        let file = named(&options.upstream_password_file).map(|file| file.display().to_string());
        let username = options.upstream_username.clone().filter(|name| !name.is_empty());
        let clients = (options.upstream_login == LoginScope::Clients).then(|| LoginScope::Clients.to_string());
        let given =
            [(UpstreamLogin::PASSWORD_FILE, file), ("--upstream-username", username), ("--upstream-login", clients)];
        let remedy = "name the Redis by --listen and --upstream or by --route, or leave it out";
        self.reject_unused(given, "there is no Redis", remedy);
    }

    /// Checks the credentials of all routes, and gives the user of `--upstream-username` to routes whose URL names none.
    pub(super) fn upstream_login(&mut self, options: &LoginOptions, routes: &mut [Route]) -> UpstreamLogin {
        const IN_URLS: &str = "every upstream's URL has its own";
        let password_file = named(&options.upstream_password_file);
        let username = options.upstream_username.clone().filter(|name| !name.is_empty());
        let clients = options.upstream_login == LoginScope::Clients;
        let named_by_url = |route: &Route| route.login.username.is_some() || route.login.password.is_some();
        if username.is_some() && !routes.is_empty() && routes.iter().all(named_by_url) {
            self.reject("--upstream-username", None, IN_URLS, "leave one of the two out");
        }
        if password_file.is_some() && !routes.is_empty() && routes.iter().all(|route| route.login.password.is_some()) {
            let remedy = "leave the password out of the URL, where others on this machine can see it";
            self.reject(UpstreamLogin::PASSWORD_FILE, None, IN_URLS, remedy);
        }
        for (index, route) in routes.iter_mut().enumerate() {
            let setting = if named_by_url(route) { route.setting("--upstream") } else { "--upstream-username" };
            if !named_by_url(route) {
                route.login.username.clone_from(&username);
            }
            let has_password = route.login.password.is_some() || password_file.is_some();
            if route.login.username.is_some() && !has_password {
                // The name is not shown: it may be a password in the wrong place.
                let remedy = "write redis://user:password@host, or name a file by --upstream-password-file";
                let origin = self.origin_in_route(setting, index, None);
                self.reject_at(origin, setting, None, "it names a user, and nothing gives a password", remedy);
            }
            let from_variable = self.sources.origin_of("upstream") == Origin::Environment(REDIS_URL.to_owned());
            if from_variable && route.name.is_none() && !clients {
                // It is the service's too, which selects the database itself.
                route.login.database = 0;
            }
            if route.login.database != 0 && !clients {
                let url = format!("{}/{}", route.upstream, route.login.database);
                let problem = "it selects a database, which the proxy does for a service only if asked";
                let remedy = "leave it out, because the service's own SELECT passes through, or see --upstream-login";
                let setting = route.setting("--upstream");
                let origin = self.origin_in_route(setting, index, None);
                self.reject_at(origin, setting, Some(&url), problem, remedy);
            }
            if clients && !has_password && route.login.database == 0 {
                let remedy = "write redis://user:password@host/database, or name a file by --upstream-password-file";
                let problem = format!("there is nothing to log in with at {}", route.upstream);
                self.reject("--upstream-login", Some("clients"), problem, remedy);
            }
        }
        UpstreamLogin { username, password_file, clients }
    }
}

impl UpstreamTls {
    pub(super) fn effective(&self) -> Values {
        let identity = self.files.identity.as_ref();
        vec![
            ("upstream-ca", format_path(self.files.authorities.as_ref())),
            ("upstream-cert", format_path(identity.map(|(certificate, _)| certificate))),
            ("upstream-key", format_path(identity.map(|(_, key)| key))),
            ("upstream-server-name", or_none(self.server_name.as_ref())),
            ("upstream-verify", self.verification.to_string()),
        ]
    }
}

impl UpstreamLogin {
    pub(super) fn effective(&self) -> Values {
        let scope = if self.clients { LoginScope::Clients } else { LoginScope::Proxy };
        vec![
            ("upstream-password-file", format_path(self.password_file.as_ref())),
            ("upstream-username", or_none(self.username.as_ref())),
            ("upstream-login", scope.to_string()),
        ]
    }
}
