//! The routes: where a service connects, and the Redis behind that address.

use std::net::IpAddr;

use clap::Args;
use redistributed_core::printable::printable;

use super::address::{HostPort, ListenAddress, Upstream, UpstreamUrl};
use super::credentials::Secret;
use super::origin::Origin;
use super::redact::{redact, redact_url};
use super::validation::Validation;
use super::values::{NONE, Values};

/// The variable by which many services, and the platforms that run them, name their Redis. It is the upstream if nothing else
/// names one.
pub(super) const REDIS_URL: &str = "REDIS_URL";

/// The options that say where services connect and where their Redis is.
#[derive(Clone, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct RouteOptions {
    /// Address on which the service connects: host:port or a port of 127.0.0.1, rediss://host:port for TLS, or unix:/path
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,

    /// The Redis to forward to: redis://host:port, rediss://host:port for TLS, host:port or unix:/path (default: REDIS_URL)
    ///
    /// Names are resolved again for each connection. What the service itself sends (AUTH, HELLO, SELECT) passes through.
    /// Credentials, as in redis://user:password@host, are used for what the proxy itself asks Redis, and for the service
    /// only if --upstream-login says so. A password here can be seen by others on this machine: see
    /// --upstream-password-file.
    #[arg(long, value_name = "URL")]
    pub(super) upstream: Option<String>,

    /// A service's name and its two addresses, instead of --listen and --upstream; repeatable
    ///
    /// Spans and metrics bear the name. Several routes may have the same one, as for a service with two Redises.
    #[arg(long = "route", value_name = "NAME=LISTEN,UPSTREAM")]
    pub(crate) routes: Vec<String>,
}

impl RouteOptions {
    /// Whether there is one service, and nothing names its Redis.
    pub(super) fn lacks_upstream(&self) -> bool {
        self.listen.is_some() && self.upstream.is_none() && self.routes.is_empty()
    }
}

/// A service's listen address and the Redis behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The service's name. Without one, `OTEL_SERVICE_NAME` applies.
    pub name: Option<String>,
    /// The address on which the service connects.
    pub listen: ListenAddress,
    /// The Redis that its connections are forwarded to.
    pub upstream: Upstream,
    /// The user and the database at that Redis.
    pub login: Login,
}

/// The user and the database at a Redis.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Login {
    /// The user that the URL names, otherwise that of `--upstream-username`.
    pub username: Option<String>,
    /// The password in the URL. Without one, that in the file of `--upstream-password-file` counts.
    pub password: Option<Secret>,
    /// The database in the URL; 0 is what a connection has anyway.
    pub database: u32,
}

impl Route {
    /// The option that says where this route listens and connects: one with a name was given as `--route`, and one without
    /// by `of_one`.
    pub fn setting<'a>(&self, of_one: &'a str) -> &'a str {
        if self.name.is_some() { "--route" } else { of_one }
    }
}

impl Validation<'_> {
    /// The routes in their order; `None` if one of them was rejected. There may be none if `serves_http`, which says that there is
    /// an HTTP port.
    pub(super) fn routes(&mut self, options: &RouteOptions, serves_http: bool) -> Option<Vec<Route>> {
        let pair = options.listen.is_some() || options.upstream.is_some();
        let routes: Vec<Route> = match (&options.listen, &options.upstream) {
            _ if pair && !options.routes.is_empty() => {
                let pair = if options.listen.is_some() { "listen" } else { "upstream" };
                let [route, pair] = ["route", pair].map(|name| self.sources.origin(name, None));
                self.reject(
                    "--route",
                    None,
                    format!("it was given ({route}) together with --listen or --upstream ({pair})"),
                    "use --listen and --upstream for one service, or only --route for several",
                );
                return None;
            }
            (Some(listen), Some(upstream)) => {
                self.route(0, None, ("--listen", listen), ("--upstream", upstream)).into_iter().collect()
            }
            (Some(_), None) => {
                let remedy = "name the Redis, as in --upstream redis://cache:6379, or by REDIS_URL";
                self.reject("--upstream", None, "it is missing", remedy);
                return None;
            }
            (None, Some(_)) => {
                self.reject("--listen", None, "it is missing", "name an address, as in --listen 127.0.0.1:6380");
                return None;
            }
            (None, None) if options.routes.is_empty() && serves_http => return Some(Vec::new()),
            (None, None) if options.routes.is_empty() => {
                self.reject(
                    "--listen and --upstream",
                    None,
                    "nothing says where to listen and where Redis is",
                    "try --listen 127.0.0.1:6380 --upstream redis://127.0.0.1:6379, for HTTP alone --http 8080,127.0.0.1:3000, or \
                     --help",
                );
                return None;
            }
            (None, None) => {
                let texts = options.routes.iter().enumerate();
                texts.filter_map(|(index, text)| self.named_route(index, text)).collect()
            }
        };
        if routes.is_empty() || routes.len() < options.routes.len() {
            // What is said of all routes, or of one by its index, would not be true.
            return None;
        }
        for (index, route) in routes.iter().enumerate() {
            for (other_index, other) in routes.iter().enumerate().skip(index + 1) {
                if route.listen.is_same_socket(&other.listen) {
                    self.reject_shared_listener([(index, route), (other_index, other)]);
                }
            }
        }
        Some(routes)
    }

    /// Rejects two routes that listen on one address. Their names are told, and may be equal: a service may have several
    /// Redises.
    fn reject_shared_listener(&mut self, both: [(usize, &Route); 2]) {
        let [one, other] = both.map(|(index, route)| {
            let (name, listen) = (route.name.as_deref().unwrap_or_default(), &route.listen);
            let origin = self.sources.origin_at("route", index, None);
            format!("{}={listen},... ({origin})", redact(name))
        });
        let value = both[1].1.listen.to_string();
        let origin = self.sources.origin_at("route", both[1].0, Some(&value));
        let problem = format!("two routes listen there, {one} and {other}");
        self.reject_at(origin, "--route", Some(&value), problem, "give each its own port");
    }

    fn named_route(&mut self, index: usize, text: &str) -> Option<Route> {
        const FORM: &str = "write NAME=LISTEN,UPSTREAM, as in --route api=127.0.0.1:6380,redis://cache:6379";
        let Some((name, (listen, upstream))) =
            text.split_once('=').and_then(|(name, pair)| Some((name, pair.split_once(',')?)))
        else {
            let origin = self.sources.origin_at("route", index, None);
            self.reject_at(origin, "--route", Some(text), "it has not got three parts", FORM);
            return None;
        };
        if name.trim().is_empty() {
            let origin = self.sources.origin_at("route", index, Some(name));
            self.reject_at(origin, "--route", Some(text), "the service's name is empty", FORM);
            return None;
        }
        self.route(index, Some(name.trim().to_owned()), ("--route", listen), ("--route", upstream))
    }

    /// Reads the route at `index` from its two addresses, each with the option that it stands in.
    fn route(
        &mut self,
        index: usize,
        name: Option<String>,
        (listen_setting, listen): (&'static str, &str),
        (upstream_setting, upstream): (&'static str, &str),
    ) -> Option<Route> {
        let parsed = (ListenAddress::parse(listen), UpstreamUrl::parse(upstream));
        if let Err(problem) = &parsed.0 {
            let remedy = "write an address or a port, as in 127.0.0.1:6380, rediss://host:port for TLS, or unix:/path";
            let origin = self.origin_in_route(listen_setting, index, Some(listen));
            self.reject_at(origin, listen_setting, Some(listen), problem, remedy);
        }
        let origin = self.origin_in_route(upstream_setting, index, Some(upstream));
        if let Err(problem) = &parsed.1 {
            let remedy = "write redis://host:port, rediss://host:port, host:port or unix:/path";
            self.reject_at(origin.clone(), upstream_setting, Some(upstream), problem, remedy);
        }
        let (Ok(listen), Ok(UpstreamUrl { upstream, username, password, database })) = parsed else { return None };
        let is_of_service = origin == Origin::Environment(REDIS_URL.to_owned());
        if leads_back(&listen, &upstream) || is_of_service && may_lead_back(&listen, &upstream) {
            let shown = upstream.to_string();
            let remedy = if is_of_service {
                "this REDIS_URL is the service's, which leads to the proxy: name the Redis by --upstream"
            } else {
                "name the port of Redis here, and another one for the proxy"
            };
            let problem = "it is the address that the proxy itself listens on";
            self.reject_at(origin, upstream_setting, Some(&shown), problem, remedy);
        }
        Some(Route { name, listen, upstream, login: Login { username, password, database } })
    }

    /// The origin of `part` of the route at `index`. Where `setting` is not `--route`, it is the origin of that option.
    pub(super) fn origin_in_route(&self, setting: &str, index: usize, part: Option<&str>) -> Origin {
        match setting {
            "--route" => self.sources.origin_at("route", index, part),
            _ => self.sources.origin(setting.trim_start_matches("--"), part),
        }
    }
}

/// Whether a connection to `upstream` would certainly reach the listener itself.
pub(super) fn leads_back(listen: &ListenAddress, upstream: &Upstream) -> bool {
    match (listen, upstream) {
        (ListenAddress::Unix(listen), Upstream::Unix(upstream)) => listen == upstream,
        (
            ListenAddress::Tcp(listen) | ListenAddress::Tls(listen),
            Upstream::Tcp(upstream) | Upstream::Tls(upstream),
        ) => same_socket(listen, upstream),
        _ => false,
    }
}

/// The same where a name of this machine may lead to another of its addresses.
fn may_lead_back(listen: &ListenAddress, upstream: &Upstream) -> bool {
    let port = listen.host_port().map(|address| address.port);
    let (Upstream::Tcp(to) | Upstream::Tls(to)) = upstream else { return false };
    is_loopback(&to.host) && port == Some(to.port)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn same_socket(listen: &HostPort, upstream: &HostPort) -> bool {
    let any = listen.host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    listen.port == upstream.port && (listen.host == upstream.host || any && is_loopback(&upstream.host))
}

/// A value for each route: its name, or that of the whole process, and its addresses without a password. If there is no route, one
/// value says so.
pub(super) fn effective(routes: &[Route], service_name: Option<&str>) -> Values {
    if routes.is_empty() {
        return vec![("route", NONE.to_owned())];
    }
    let line = |Route { name, listen, upstream, login }: &Route| {
        let name = redact_url(name.as_deref().or(service_name).unwrap_or(NONE));
        ("route", printable(format_args!("{name}={listen},{}", with_login(upstream, login))).to_string())
    };
    routes.iter().map(line).collect()
}

/// The upstream's URL with the user and the database in effect, and three stars for a password.
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
