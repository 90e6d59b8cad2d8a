//! Who listens where, for which Redis; and where the admin port is.

use std::net::IpAddr;

use super::address::{HostPort, ListenAddress, Upstream, UpstreamUrl};
use super::args::Args;
use super::settings::{Check, Login, Route};

impl Check<'_> {
    pub(super) fn routes(&mut self, args: &Args) -> Vec<Route> {
        let pair = args.listen.is_some() || args.upstream.is_some();
        let routes: Vec<Route> = match (&args.listen, &args.upstream) {
            _ if pair && !args.routes.is_empty() => {
                let pair = if args.listen.is_some() { "listen" } else { "upstream" };
                let [route, pair] = ["route", pair].map(|name| self.sources.origin(name, None));
                self.refuse(
                    "--route",
                    None,
                    format!("it was given ({route}) together with --listen or --upstream ({pair})"),
                    "use --listen and --upstream for one service, or only --route for several",
                );
                return Vec::new();
            }
            (Some(listen), Some(upstream)) => {
                self.route(None, ("--listen", listen), ("--upstream", upstream)).into_iter().collect()
            }
            (Some(_), None) => {
                self.refuse("--upstream", None, "it is missing", "name the Redis, as in --upstream redis://cache:6379");
                return Vec::new();
            }
            (None, Some(_)) => {
                self.refuse("--listen", None, "it is missing", "name an address, as in --listen 127.0.0.1:6380");
                return Vec::new();
            }
            (None, None) if args.routes.is_empty() => {
                self.refuse(
                    "--listen and --upstream",
                    None,
                    "nothing says where to listen and where Redis is",
                    "try --listen 127.0.0.1:6380 --upstream redis://127.0.0.1:6379, or --help",
                );
                return Vec::new();
            }
            (None, None) => args.routes.iter().filter_map(|text| self.named_route(text)).collect(),
        };
        for (index, route) in routes.iter().enumerate() {
            if routes.iter().skip(index + 1).any(|other| same_listener(&route.listen, &other.listen)) {
                let listen = route.listen.to_string();
                self.refuse("--route", Some(&listen), "two routes listen on this address", "give each its own port");
            }
        }
        routes
    }

    fn named_route(&mut self, text: &str) -> Option<Route> {
        const FORM: &str = "write NAME=LISTEN,UPSTREAM, as in --route api=127.0.0.1:6380,redis://cache:6379";
        let Some((name, (listen, upstream))) =
            text.split_once('=').and_then(|(name, pair)| Some((name, pair.split_once(',')?)))
        else {
            self.refuse("--route", Some(text), "it has not got three parts", FORM);
            return None;
        };
        if name.trim().is_empty() {
            self.refuse("--route", Some(text), "the service's name is empty", FORM);
            return None;
        }
        self.route(Some(name.trim().to_owned()), ("--route", listen), ("--route", upstream))
    }

    fn route(
        &mut self,
        name: Option<String>,
        (listen_setting, listen): (&'static str, &str),
        (upstream_setting, upstream): (&'static str, &str),
    ) -> Option<Route> {
        let parsed = (ListenAddress::parse(listen), UpstreamUrl::parse(upstream));
        if let Err(problem) = &parsed.0 {
            let remedy = "write an address and a port, as in 127.0.0.1:6380, rediss://host:port for TLS, or unix:/path";
            self.refuse(listen_setting, Some(listen), problem, remedy);
        }
        if let Err(problem) = &parsed.1 {
            let remedy = "write redis://host:port, rediss://host:port, host:port or unix:/path";
            self.refuse(upstream_setting, Some(upstream), problem, remedy);
        }
        let (Ok(listen), Ok(UpstreamUrl { upstream, username, password, database })) = parsed else { return None };
        if leads_back(&listen, &upstream) {
            let shown = upstream.to_string();
            self.refuse(
                upstream_setting,
                Some(&shown),
                "it is the address that the proxy itself listens on",
                "name the port of Redis here, and another one for the proxy",
            );
        }
        Some(Route { name, listen, upstream, login: Login { username, password, database } })
    }

    pub(super) fn admin(&mut self, args: &Args, routes: &[Route]) -> Option<HostPort> {
        let text = args.admin.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
        let remedy = "write a port, as in --admin 9127, or an address, as in --admin 0.0.0.0:9127";
        let address = match HostPort::parse_local(text) {
            Ok(address) => address,
            Err(problem) => {
                self.refuse("--admin", Some(text), problem, remedy);
                return None;
            }
        };
        if address.port != 0 && routes.iter().any(|route| route.listen.host_port() == Some(&address)) {
            self.refuse("--admin", Some(text), "a service connects there", "give it a port of its own");
        }
        Some(address)
    }
}

/// Whether dialling `upstream` would surely reach the listener itself.
fn leads_back(listen: &ListenAddress, upstream: &Upstream) -> bool {
    match (listen, upstream) {
        (ListenAddress::Unix(listen), Upstream::Unix(upstream)) => listen == upstream,
        (
            ListenAddress::Tcp(listen) | ListenAddress::Tls(listen),
            Upstream::Tcp(upstream) | Upstream::Tls(upstream),
        ) => same_socket(listen, upstream),
        _ => false,
    }
}

fn same_socket(listen: &HostPort, upstream: &HostPort) -> bool {
    let loopback = |host: &str| host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let any = listen.host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    listen.port == upstream.port && (listen.host == upstream.host || any && loopback(&upstream.host))
}

/// Whether only one of the two can be bound.
fn same_listener(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one.host_port(), other.host_port()) {
        (Some(one), Some(other)) => one == other && one.port != 0,
        _ => one == other,
    }
}
