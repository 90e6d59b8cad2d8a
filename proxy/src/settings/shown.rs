//! The settings as text, for those who ask a running process.

use std::path::PathBuf;

use redistributed_core::glob::Glob;

use super::address::{Upstream, printable, without_url_secrets};
use super::checked::{Login, Route, Settings};

impl Settings {
    /// Names and values of what is in force, as the options are called. Without secrets: no value that may hold one is
    /// kept.
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        let Self {
            routes,
            listen_tls,
            socket_mode,
            upstream_tls,
            upstream_login,
            admin,
            admin_control,
            policy,
            auto,
            limits,
            log,
            otel,
            ..
        } = self;
        let path = |path: Option<&PathBuf>| path.map_or_else(|| "-".to_owned(), |path| path.display().to_string());
        let globs = |globs: &[Glob]| globs.iter().map(Glob::as_str).collect::<Vec<_>>().join(" ");
        let carriers = policy.carriers.iter().map(|(glob, carrier)| format!("{}={}", glob.as_str(), carrier));
        let mode_for = policy.modes.iter().map(|(glob, mode)| format!("{}={}", glob.as_str(), mode));
        let mut shown: Vec<_> = routes
            .iter()
            .map(|Route { name, listen, upstream, login }| {
                let name = name.as_deref().or(otel.service_name.as_deref()).unwrap_or("-");
                let name = without_url_secrets(name);
                ("route", printable(format!("{name}={listen},{}", with_login(upstream, login))))
            })
            .collect();
        shown.extend([
            ("listen-cert", path(listen_tls.as_ref().map(|files| &files.certificate))),
            ("listen-key", path(listen_tls.as_ref().map(|files| &files.key))),
            ("listen-client-ca", path(listen_tls.as_ref().and_then(|files| files.client_authorities.as_ref()))),
            ("listen-socket-mode", format!("{socket_mode:04o}")),
            ("upstream-ca", path(upstream_tls.files.authorities.as_ref())),
            ("upstream-cert", path(upstream_tls.files.identity.as_ref().map(|(certificate, _)| certificate))),
            ("upstream-key", path(upstream_tls.files.identity.as_ref().map(|(_, key)| key))),
            ("upstream-server-name", upstream_tls.server_name.clone().unwrap_or_else(|| "-".to_owned())),
            ("upstream-username", upstream_login.username.clone().unwrap_or_else(|| "-".to_owned())),
            ("upstream-password-file", path(upstream_login.password_file.as_ref())),
            ("upstream-login", if upstream_login.clients { "clients" } else { "proxy" }.to_owned()),
            ("admin", admin.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)),
            ("admin-control", admin_control.to_string()),
            ("mode", policy.mode.to_string()),
            ("mode-for", mode_for.collect::<Vec<_>>().join(" ")),
            ("auto-interval", format!("{:?}", auto.interval)),
            ("auto-ignore-replicas", auto.ignore_replicas.to_string()),
            ("announce", auto.announce.to_string()),
            ("include", globs(&policy.include)),
            ("exclude", globs(&policy.exclude)),
            ("carrier", carriers.collect::<Vec<_>>().join(" ")),
            ("read-json", globs(&policy.read_json)),
            ("keep-context", globs(&policy.keep_context)),
            ("relation", policy.relation.to_string()),
            ("trust", policy.trust.to_string()),
            ("commands", policy.commands.to_string()),
            ("transit-time", policy.transit_time.to_string()),
            ("inject-limit", policy.inject_limit.to_string()),
            ("max-connections", limits.max_connections.to_string()),
            ("threads", limits.threads.to_string()),
            ("connect-timeout", format!("{:?}", limits.connect_timeout)),
            ("connect-retry", if limits.connect_retry { "on" } else { "off" }.to_owned()),
            ("handshake-timeout", format!("{:?}", limits.handshake_timeout)),
            ("drain-timeout", format!("{:?}", limits.drain_timeout)),
            ("flush-timeout", format!("{:?}", limits.flush_timeout)),
            ("log-format", log.0.to_string()),
            ("log-level", log.1.to_string()),
        ]);
        shown.extend(otel.shown());
        // A URL in the wrong place, such as a glob, may hold a password too.
        for (name, value) in &mut shown {
            // These two have been looked at part by part.
            if !["route", "OTEL_RESOURCE_ATTRIBUTES"].contains(name) {
                *value = without_url_secrets(value);
            }
        }
        shown
    }
}

/// The URL with the user and the database that are meant, and three stars for a password.
fn with_login(upstream: &Upstream, login: &Login) -> String {
    let (scheme, address) = match upstream {
        Upstream::Unix(_) => return upstream.to_string(),
        Upstream::Tcp(address) => ("redis", address),
        Upstream::Tls(address) => ("rediss", address),
    };
    let password = if login.password.is_some() { ":***" } else { "" };
    let user = login.username.as_deref().unwrap_or_default();
    let at = if user.is_empty() && password.is_empty() { "" } else { "@" };
    let database = if login.database == 0 { String::new() } else { format!("/{}", login.database) };
    format!("{scheme}://{user}{password}{at}{address}{database}")
}
