//! Who listens where, for which Redis; and where the admin port is.

use std::net::IpAddr;

use super::address::{HostPort, ListenAddress, Upstream, UpstreamUrl, without_secrets};
use super::checked::{Login, Route};
use super::options::Options;
use super::sources::Origin;
use super::validation::Check;

impl Check<'_> {
    /// In their order; none if one of them is refused.
    pub(super) fn routes(&mut self, args: &Options) -> Vec<Route> {
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
                self.route(0, None, ("--listen", listen), ("--upstream", upstream)).into_iter().collect()
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
            (None, None) => {
                let texts = args.routes.iter().enumerate();
                texts.filter_map(|(index, text)| self.named_route(index, text)).collect()
            }
        };
        if routes.len() < args.routes.len() {
            // What is said of all routes, or of one by its index, would not be true.
            return Vec::new();
        }
        for (index, route) in routes.iter().enumerate() {
            for (other_index, other) in routes.iter().enumerate().skip(index + 1) {
                if same_listener(&route.listen, &other.listen) {
                    self.refuse_one_listener([(index, route), (other_index, other)]);
                }
            }
        }
        routes
    }

    /// Two routes that cannot both be bound. They may have one name: of one service that has several Redises, say.
    fn refuse_one_listener(&mut self, both: [(usize, &Route); 2]) {
        let [one, other] = both.map(|(index, route)| {
            let (name, listen) = (route.name.as_deref().unwrap_or_default(), &route.listen);
            let origin = self.sources.origin_at("route", index, None);
            format!("{}={listen},... ({origin})", without_secrets(name))
        });
        let value = both[1].1.listen.to_string();
        let origin = self.sources.origin_at("route", both[1].0, Some(&value));
        let problem = format!("two routes listen there, {one} and {other}");
        self.refuse_at(origin, "--route", Some(&value), problem, "give each its own port");
    }

    fn named_route(&mut self, index: usize, text: &str) -> Option<Route> {
        const FORM: &str = "write NAME=LISTEN,UPSTREAM, as in --route api=127.0.0.1:6380,redis://cache:6379";
        let Some((name, (listen, upstream))) =
            text.split_once('=').and_then(|(name, pair)| Some((name, pair.split_once(',')?)))
        else {
            let origin = self.sources.origin_at("route", index, None);
            self.refuse_at(origin, "--route", Some(text), "it has not got three parts", FORM);
            return None;
        };
        if name.trim().is_empty() {
            let origin = self.sources.origin_at("route", index, Some(name));
            self.refuse_at(origin, "--route", Some(text), "the service's name is empty", FORM);
            return None;
        }
        self.route(index, Some(name.trim().to_owned()), ("--route", listen), ("--route", upstream))
    }

    /// The route at `index`.
    fn route(
        &mut self,
        index: usize,
        name: Option<String>,
        (listen_setting, listen): (&'static str, &str),
        (upstream_setting, upstream): (&'static str, &str),
    ) -> Option<Route> {
        let parsed = (ListenAddress::parse(listen), UpstreamUrl::parse(upstream));
        if let Err(problem) = &parsed.0 {
            let remedy = "write an address and a port, as in 127.0.0.1:6380, rediss://host:port for TLS, or unix:/path";
            let origin = self.origin_in_route(listen_setting, index, Some(listen));
            self.refuse_at(origin, listen_setting, Some(listen), problem, remedy);
        }
        let origin = self.origin_in_route(upstream_setting, index, Some(upstream));
        if let Err(problem) = &parsed.1 {
            let remedy = "write redis://host:port, rediss://host:port, host:port or unix:/path";
            self.refuse_at(origin.clone(), upstream_setting, Some(upstream), problem, remedy);
        }
        let (Ok(listen), Ok(UpstreamUrl { upstream, username, password, database })) = parsed else { return None };
        if leads_back(&listen, &upstream) {
            let shown = upstream.to_string();
            self.refuse_at(
                origin,
                upstream_setting,
                Some(&shown),
                "it is the address that the proxy itself listens on",
                "name the port of Redis here, and another one for the proxy",
            );
        }
        Some(Route { name, listen, upstream, login: Login { username, password, database } })
    }

    /// Where the route at `index` says `part`; for the pair that is a route of its own, where `setting` does.
    pub(super) fn origin_in_route(&self, setting: &str, index: usize, part: Option<&str>) -> Origin {
        match setting {
            "--route" => self.sources.origin_at("route", index, part),
            _ => self.sources.origin(setting.trim_start_matches("--"), part),
        }
    }

    pub(super) fn admin(&mut self, args: &Options, routes: &[Route]) -> Option<HostPort> {
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
