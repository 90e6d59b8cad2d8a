//! The settings of connections: certificates, keys and credentials, on both sides. The files themselves are read later.

use std::path::PathBuf;

use super::address::{ListenAddress, Upstream};
use super::checked::{Route, UpstreamLogin, UpstreamTls};
use super::choices::LoginScope;
use super::options::Options;
use super::tls::{ClientFiles, ServerFiles};
use super::validation::Check;

/// Permissions of a socket that are used if what is set cannot be.
const SOCKET_MODE: u32 = 0o660;

impl Check<'_> {
    pub(super) fn listen_tls(&mut self, args: &Options, routes: &[Route]) -> Option<ServerFiles> {
        let (certificate, key) = (given(&args.listen_cert), given(&args.listen_key));
        let client_authorities = given(&args.listen_client_ca);
        if !routes.iter().any(|route| matches!(route.listen, ListenAddress::Tls(_))) {
            let given = [
                (ServerFiles::CERTIFICATE, certificate),
                (ServerFiles::KEY, key),
                ("--listen-client-ca", client_authorities),
            ];
            let given = given.map(|(setting, file)| (setting, file.map(|file| file.display().to_string())));
            let remedy = "listen on rediss://host:port, or leave it out";
            self.refuse_useless(routes, given, "no listen address is one with TLS", remedy);
            return None;
        }
        let remedy = "name the PEM files that rediss:// listen addresses show to clients";
        if certificate.is_none() {
            self.refuse(ServerFiles::CERTIFICATE, None, "it is missing", remedy);
        }
        if key.is_none() {
            self.refuse(ServerFiles::KEY, None, "it is missing", remedy);
        }
        Some(ServerFiles { certificate: certificate?, key: key?, client_authorities })
    }

    /// Refuses each setting that is given, because no route needs it. Without routes they were refused, and it is not known
    /// what they need.
    fn refuse_useless(
        &mut self,
        routes: &[Route],
        given: impl IntoIterator<Item = (&'static str, Option<String>)>,
        problem: &str,
        remedy: &'static str,
    ) {
        for (setting, value) in given.into_iter().filter(|_| !routes.is_empty()) {
            if let Some(value) = value {
                self.refuse(setting, Some(&value), problem, remedy);
            }
        }
    }

    pub(super) fn socket_mode(&mut self, args: &Options, routes: &[Route]) -> u32 {
        const FORM: &str = "write permissions in octal, as in 0660 or 0600";
        let text = args.listen_socket_mode.trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match u32::from_str_radix(text, 8) {
            Ok(mode @ 1..=0o777) if digits => {
                if mode & 0o600 != 0o600 && routes.iter().any(|route| matches!(route.listen, ListenAddress::Unix(_))) {
                    let problem = "it does not let the process's own user connect";
                    self.refuse("--listen-socket-mode", Some(text), problem, FORM);
                }
                mode
            }
            _ => {
                self.refuse("--listen-socket-mode", Some(text), "it cannot be permissions", FORM);
                SOCKET_MODE
            }
        }
    }

    pub(super) fn upstream_tls(&mut self, args: &Options, routes: &[Route]) -> UpstreamTls {
        let certificate = given(&args.upstream_cert);
        let key = given(&args.upstream_key);
        let server_name = args.upstream_server_name.clone().filter(|name| !name.trim().is_empty());
        let files =
            ClientFiles { authorities: given(&args.upstream_ca), identity: certificate.clone().zip(key.clone()) };
        match (certificate, key) {
            (Some(_), None) => {
                self.refuse("--upstream-key", None, "it is missing", "name the certificate's key as well")
            }
            (None, Some(_)) => {
                self.refuse("--upstream-cert", None, "it is missing", "name the key's certificate as well")
            }
            _ => {}
        }
        let tls = UpstreamTls { files, server_name };
        if !routes.iter().any(|route| matches!(route.upstream, Upstream::Tls(_))) {
            let files = [
                ("--upstream-ca", &args.upstream_ca),
                ("--upstream-cert", &args.upstream_cert),
                ("--upstream-key", &args.upstream_key),
            ];
            let given = files.map(|(setting, file)| (setting, given(file).map(|file| file.display().to_string())));
            let given = given.into_iter().chain([("--upstream-server-name", tls.server_name.clone())]);
            self.refuse_useless(
                routes,
                given,
                "no upstream is reached by TLS",
                "write rediss://host:port, or leave it out",
            );
        }
        tls
    }

    /// Gives routes whose URL names nobody the user of `--upstream-username`.
    pub(super) fn upstream_login(&mut self, args: &Options, routes: &mut [Route]) -> UpstreamLogin {
        const IN_URLS: &str = "every upstream's URL has its own";
        let password_file = given(&args.upstream_password_file);
        let username = args.upstream_username.clone().filter(|name| !name.is_empty());
        let clients = args.upstream_login == LoginScope::Clients;
        let named_by_url = |route: &Route| route.login.username.is_some() || route.login.password.is_some();
        if username.is_some() && !routes.is_empty() && routes.iter().all(named_by_url) {
            self.refuse("--upstream-username", None, IN_URLS, "leave one of the two out");
        }
        if password_file.is_some() && !routes.is_empty() && routes.iter().all(|route| route.login.password.is_some()) {
            let remedy = "leave the password out of the URL, where others on this machine can see it";
            self.refuse(UpstreamLogin::PASSWORD_FILE, None, IN_URLS, remedy);
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
                self.refuse_at(origin, setting, None, "it names a user, and nothing gives a password", remedy);
            }
            if route.login.database != 0 && !clients {
                let url = format!("{}/{}", route.upstream, route.login.database);
                let problem = "it selects a database, which the proxy does for a service only if asked";
                let remedy = "leave it out, because the service's own SELECT passes through, or see --upstream-login";
                let setting = route.setting("--upstream");
                let origin = self.origin_in_route(setting, index, None);
                self.refuse_at(origin, setting, Some(&url), problem, remedy);
            }
            if clients && !has_password && route.login.database == 0 {
                let remedy = "write redis://user:password@host/database, or name a file by --upstream-password-file";
                let problem = format!("there is nothing to log in with at {}", route.upstream);
                self.refuse("--upstream-login", Some("clients"), problem, remedy);
            }
        }
        UpstreamLogin { username, password_file, clients }
    }
}

/// A file that is named; an empty name is none.
fn given(file: &Option<PathBuf>) -> Option<PathBuf> {
    file.clone().filter(|path| !path.as_os_str().is_empty())
}
