//! The HTTP ports of services: where their clients connect, and how requests become spans.

use std::sync::Arc;

use clap::Args;
use redistributed_core::glob::Glob;
use redistributed_core::http::{Answer, HttpPolicy};
use redistributed_core::printable::printable;

use super::address::{AddressError, HostPort, ListenAddress, Upstream};
use super::choices::{parser, switch};
use super::redact::{redact, redact_url};
use super::routes::{Route, leads_back};
use super::units;
use super::validation::Validation;
use super::values::{NONE, Values};

/// The option that names a port.
pub const HTTP: &str = "--http";

/// The values that `--http-head-limit` may have, in bytes.
const HEAD_LIMITS: std::ops::RangeInclusive<usize> = 1024..=(16 << 20);

/// The longest route that `--http-route` may name, in bytes.
const MAX_ROUTE: usize = 256;

/// The options of HTTP ports.
#[derive(Clone, Args)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpOptions {
    /// Where HTTP clients of the service connect, and the service's own port behind it; repeatable
    ///
    /// LISTEN is host:port or a port of 127.0.0.1, https://host:port for TLS, or unix:/path. UPSTREAM is the service:
    /// host:port, a port of 127.0.0.1, or unix:/path, and with h2:// in front if it speaks HTTP/2 without having been asked,
    /// so that TLS clients may choose that. If --route names several services, NAME= in front says whose port it
    /// is. No Redis has to be named beside it. See proxy/docs/http.md.
    #[arg(long = "http", value_name = "LISTEN,UPSTREAM")]
    pub(super) http: Vec<String>,

    /// The route (http.route) of paths that match, in place of the path with {id} for each id; repeatable, first match wins
    ///
    /// Nothing behind the `=` leaves the paths that match as they are.
    #[arg(long = "http-route", value_name = "GLOB=ROUTE")]
    pub(crate) http_routes: Vec<String>,

    /// Show the query of a request in its span, without the values of known credentials
    #[arg(long, value_parser = switch)]
    http_query: bool,

    /// What the response tells the client of the span
    #[arg(long, value_parser = parser::<Answer>(), default_value_t)]
    http_answer: Answer,

    /// The longest head of a request or a response that is read; one that is longer passes unread
    #[arg(long, value_name = "BYTES", default_value = "64KiB")]
    http_head_limit: String,
}

/// An HTTP port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPort {
    /// The service's name. Without one, `OTEL_SERVICE_NAME` applies.
    pub name: Option<String>,
    /// The address on which clients connect.
    pub listen: ListenAddress,
    /// The service behind it. It is never reached by TLS.
    pub service: Upstream,
    /// Whether the service speaks HTTP/2 to who begins with it, so that TLS clients may choose it.
    pub speaks_http2: bool,
}

impl HttpPort {
    /// The address of clients as a URL.
    pub fn listen_url(&self) -> String {
        listen_url(&self.listen)
    }

    /// The address of the service as a URL.
    pub fn service_url(&self) -> String {
        match &self.service {
            Upstream::Tcp(address) | Upstream::Tls(address) if self.speaks_http2 => format!("h2://{address}"),
            Upstream::Tcp(address) | Upstream::Tls(address) => format!("http://{address}"),
            Upstream::Unix(path) if self.speaks_http2 => format!("h2://unix:{}", path.display()),
            Upstream::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// An address that HTTP clients connect to, as a URL.
pub fn listen_url(listen: &ListenAddress) -> String {
    match listen {
        ListenAddress::Tcp(address) => format!("http://{address}"),
        ListenAddress::Tls(address) => format!("https://{address}"),
        ListenAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

impl Validation<'_> {
    /// The HTTP ports in their order.
    pub(super) fn http_ports(&mut self, options: &HttpOptions, routes: &[Route]) -> Vec<HttpPort> {
        let mut ports: Vec<HttpPort> = Vec::new();
        for (index, text) in options.http.iter().enumerate() {
            let Some(port) = self.http_port(index, text, routes) else { continue };
            let mut taken = routes.iter().map(|route| &route.listen).chain(ports.iter().map(|port| &port.listen));
            if taken.any(|other| other.is_same_socket(&port.listen)) {
                self.reject_port(
                    index,
                    text,
                    "something else of this proxy listens there",
                    "give it a port of its own",
                );
            } else if leads_back(&port.listen, &port.service) {
                let remedy = "name the port of the service here, and another one for the proxy";
                self.reject_port(index, text, "the service's address is the one that the proxy listens on", remedy);
            }
            ports.push(port);
        }
        ports
    }

    fn http_port(&mut self, index: usize, text: &str, routes: &[Route]) -> Option<HttpPort> {
        const FORM: &str = "write LISTEN,UPSTREAM, as in --http 0.0.0.0:8080,127.0.0.1:3000";
        let (name, pair) = match text.split_once('=') {
            Some((name, pair)) if !name.contains([',', '/']) => (Some(name.trim()), pair),
            _ => (None, text),
        };
        let Some((listen, service)) = pair.split_once(',') else {
            self.reject_port(index, text, "it has not got two parts", FORM);
            return None;
        };
        let listen = ListenAddress::parse_http(listen.trim());
        let (speaks_http2, service) = match service.trim().strip_prefix("h2://") {
            Some(service) => (true, service),
            None => (false, service.trim()),
        };
        let service = parse_service(service);
        for problem in [listen.as_ref().err(), service.as_ref().err()].into_iter().flatten() {
            self.reject_port(index, text, &problem.to_string(), FORM);
        }
        let mut names = routes.iter().map(|route| route.name.as_deref()).collect::<Vec<_>>();
        names.sort_unstable();
        names.dedup();
        let name = match (name, &names[..]) {
            (Some(""), _) => {
                self.reject_port(index, text, "the service's name is empty", FORM);
                return None;
            }
            (Some(name), _) => Some(name),
            (None, [only]) => *only,
            (None, []) => None,
            (None, _) => {
                let remedy = "put its name in front, as in --http api=0.0.0.0:8080,127.0.0.1:3000";
                self.reject_port(
                    index,
                    text,
                    "there are several services, and it does not say whose port it is",
                    remedy,
                );
                return None;
            }
        };
        Some(HttpPort { name: name.map(str::to_owned), listen: listen.ok()?, service: service.ok()?, speaks_http2 })
    }

    fn reject_port(&mut self, index: usize, text: &str, problem: &str, remedy: &'static str) {
        let origin = self.sources.origin_at("http", index, Some(text));
        self.reject_at(origin, HTTP, Some(text), problem, remedy);
    }

    /// How requests become spans.
    pub(super) fn http_policy(&mut self, options: &HttpOptions) -> HttpPolicy {
        const SETTING: &str = "--http-head-limit";
        const SIZE: &str = "write a size from 1KiB to 16MiB";
        let text = &options.http_head_limit;
        let head_limit = match units::bytes(text) {
            Ok(limit) if !HEAD_LIMITS.contains(&limit) => {
                self.or_reject(Err("it is out of range"), (SETTING, text, SIZE))
            }
            limit => self.or_reject(limit, (SETTING, text, SIZE)),
        };
        HttpPolicy {
            head_limit,
            routes: options.http_routes.iter().filter_map(|text| self.http_route(text)).collect(),
            shows_query: options.http_query,
            answer: options.http_answer,
        }
    }

    fn http_route(&mut self, text: &str) -> Option<(Glob, Option<Arc<str>>)> {
        const SETTING: &str = "--http-route";
        const FORM: &str =
            "write GLOB=ROUTE, as in --http-route '/users/*=/users/{name}', or GLOB= to leave paths as they are";
        let problem = match text.rsplit_once('=') {
            None => "it has no `=` between a glob and a route",
            Some((_, route)) if route.len() > MAX_ROUTE => "the route is longer than 256 bytes",
            Some((_, route)) if route.chars().any(char::is_control) => "the route has a control character",
            Some((pattern, route)) => {
                return Some((self.glob(SETTING, text, pattern)?, (!route.is_empty()).then(|| route.into())));
            }
        };
        self.reject(SETTING, Some(text), problem, FORM);
        None
    }
}

/// Reads `host:port`, a port of 127.0.0.1, the same with `http://` in front, or `unix:/path`.
fn parse_service(text: &str) -> Result<Upstream, AddressError> {
    match ListenAddress::parse_http(text)? {
        ListenAddress::Tcp(HostPort { port: 0, .. }) => Err(AddressError::Port),
        ListenAddress::Tcp(address) => Ok(Upstream::Tcp(address)),
        ListenAddress::Unix(path) => Ok(Upstream::Unix(path)),
        // It is the service's own machine, and often its own pod.
        ListenAddress::Tls(_) => Err(AddressError::TlsToService),
    }
}

/// The values of the options of HTTP, in their order.
pub(super) fn effective(ports: &[HttpPort], policy: &HttpPolicy, service_name: Option<&str>) -> Values {
    let port = |port: &HttpPort| {
        let name = redact_url(port.name.as_deref().or(service_name).unwrap_or(NONE));
        printable(format_args!("{name}={},{}", port.listen_url(), port.service_url())).to_string()
    };
    let routes = policy.routes.iter();
    let routes = routes.map(|(glob, route)| format!("{}={}", glob.as_str(), route.as_deref().unwrap_or_default()));
    vec![
        ("http", ports.iter().map(port).collect::<Vec<_>>().join(" ")),
        ("http-route", redact(&routes.collect::<Vec<_>>().join(" "))),
        ("http-query", policy.shows_query.to_string()),
        ("http-answer", policy.answer.to_string()),
        ("http-head-limit", policy.head_limit.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Invocation, Options, Settings};

    const ONE: [&str; 4] = ["--listen", "127.0.0.1:1", "--upstream", "h"];
    const TWO: [&str; 4] = ["--route", "api=127.0.0.1:1,h", "--route", "web=127.0.0.1:2,h"];
    const NO_REDIS: [&str; 0] = [];

    fn read(words: &[&str], more: &[&str]) -> Result<Settings, String> {
        let words = ["redistributed"].iter().chain(words).chain(more).map(Into::into);
        let loaded = Invocation::new(Options::command(), words).with_file(None, &|_| None);
        loaded.map(|loaded| loaded.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_port_is_read_with_its_service() {
        for (words, text, shown) in [
            (&ONE[..], "8080,3000", "-=http://127.0.0.1:8080,http://127.0.0.1:3000"),
            (&ONE, "http://[::1]:80,http://app:3000/", "-=http://[::1]:80,http://app:3000"),
            (&ONE, "unix:/run/a,unix:/run/b", "-=unix:/run/a,unix:/run/b"),
            (&TWO, "web=0.0.0.0:0,app:1", "web=http://0.0.0.0:0,http://app:1"),
            (&ONE, "8080,h2://app:1", "-=http://127.0.0.1:8080,h2://app:1"),
            (&ONE, "8080,h2://unix:/run/b", "-=http://127.0.0.1:8080,h2://unix:/run/b"),
            (&NO_REDIS, "8080,3000", "-=http://127.0.0.1:8080,http://127.0.0.1:3000"),
            (&NO_REDIS, "web=8080,3000", "web=http://127.0.0.1:8080,http://127.0.0.1:3000"),
        ] {
            let settings = read(words, &["--http", text]).unwrap();
            assert_eq!(effective(&settings.http, &settings.http_policy, None)[0].1, shown);
        }
        let routes = ["--route", "api=127.0.0.1:1,h", "--route", "api=127.0.0.1:2,h"];
        assert_eq!(read(&routes, &["--http", "8080,3000"]).unwrap().http[0].name.as_deref(), Some("api"));
    }

    #[test]
    fn what_is_no_port_is_refused_with_what_to_do() {
        for (words, text, problem) in [
            (&ONE[..], "8080", "it has not got two parts"),
            (&ONE, "8080,https://app:1", "without TLS"),
            (&ONE, "8080,app:0", "its port is not a number"),
            (&ONE, "redis://h:1,3000", "its scheme is not known"),
            (&ONE, "https://127.0.0.1:8080,3000", "--listen-cert"),
            (&ONE, "127.0.0.1:1,3000", "something else of this proxy listens there"),
            (&ONE, "3000,3000", "is the one that the proxy listens on"),
            (&ONE, "=8080,3000", "the service's name is empty"),
            (&TWO, "8080,3000", "whose port it is"),
            (&NO_REDIS, "8080", "it has not got two parts"),
            (&NO_REDIS, "https://127.0.0.1:8080,3000", "--listen-cert"),
        ] {
            let error = read(words, &["--http", text]).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        let admin = read(&ONE, &["--http", "8080,3000", "--admin", "8080"]).unwrap_err();
        assert!(admin.contains("--admin"), "{admin}");
    }

    #[test]
    fn without_a_redis_what_is_only_for_one_is_refused() {
        let http = ["--http", "8080,3000"];
        for (option, value, problem) in [
            ("--upstream-ca", "ca.pem", "no upstream is reached by TLS"),
            ("--upstream-username", "name", "there is no Redis"),
            ("--upstream-password-file", "file", "there is no Redis"),
            ("--upstream-login", "clients", "there is no Redis"),
            ("--listen", "127.0.0.1:1", "--upstream"),
            ("--upstream", "h", "--listen"),
            ("--listen-cert", "cert.pem", "no listen address is one with TLS"),
        ] {
            let error = read(&http, &[option, value]).unwrap_err();
            assert!(error.contains(problem), "{option}: {error}");
            assert_eq!(error.lines().count(), 2, "one mistake, one error: {error}");
        }
        let nothing = read(&NO_REDIS, &[]).unwrap_err();
        assert!(nothing.contains("--http 8080,127.0.0.1:3000"), "{nothing}");
    }

    #[test]
    fn routes_and_limits_are_checked() {
        let settings =
            read(&ONE, &["--http-route", "/u/*=/u/{name}", "--http-route", "/x*=", "--http-head-limit", "8KiB"]);
        let policy = settings.unwrap().http_policy;
        assert_eq!(&*policy.route("/u/al").unwrap().text, "/u/{name}");
        assert_eq!((&*policy.route("/x7/12345678").unwrap().text, policy.head_limit), ("/x7/12345678", 8192));
        for (option, value) in [("--http-route", "/u"), ("--http-head-limit", "10"), ("--http-head-limit", "1GiB")] {
            assert!(read(&ONE, &[option, value]).unwrap_err().contains(option));
        }
    }
}
