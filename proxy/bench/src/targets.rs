//! What is compared: nothing in between, HAProxy, Envoy, and the proxy with tracing off, sampled and on, with causes
//! followed, which other proxies are told or not, with contexts beside messages, and with and without metrics of what is not sampled.
//!
//! Every proxy runs several times: as the sidecar of the publishers, as that of the subscribers, and in front of the
//! HTTP ports of services, in processes of their own so that their costs can be told apart. Each moves bytes on one
//! thread: HAProxy and Envoy are told so, the proxy by the variable that its runtime reads.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use crate::failure::Failure;
use crate::options::Programs;
use crate::processes::{Process, free_address};
use crate::sink::{self, Received};
use crate::usage::Cpu;
use crate::web::{self, Version};

/// One way from a client to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Direct,
    HaProxy,
    Envoy,
    /// The proxy with `OTEL_SDK_DISABLED=true`.
    Off,
    /// One trace in a hundred.
    Sampled,
    /// Every trace, exported to a collector that takes them.
    Traced,
    /// The same with `--follow parent`.
    Follow,
    /// The same with `--out-of-band off`, so that proxies tell each other nothing of jobs.
    Untold,
    /// The same with contexts beside messages instead of in their payloads.
    Beside,
    /// Contexts are added, and no trace is sampled.
    Unsampled,
    /// The same with `--admin`, so that all is measured.
    Measured,
}

/// Which sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// That of the publishers, or of clients of another kind.
    First,
    /// That of the subscribers, or of the workers of a queue.
    Second,
    /// In front of a service that speaks HTTP/1.
    Http1,
    /// In front of a service that speaks HTTP/2.
    Http2,
}

/// Threads that move bytes, in each proxy.
const THREADS: &str = "1";

/// How long spans of deliveries wait for further work, where causes are followed: shorter than the pause between two
/// measurements, so that each has its own spans. What a span costs does not depend on it.
const WINDOW: &str = "50ms";

impl Target {
    /// The share of messages that become spans.
    pub(crate) fn sampled_share(self) -> Option<f64> {
        match self {
            Self::Sampled => Some(0.01),
            Self::Traced | Self::Follow | Self::Untold | Self::Beside => Some(1.0),
            _ => None,
        }
    }

    /// For the names of processes and files.
    fn slug(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::HaProxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Off => "proxy-off",
            Self::Sampled => "proxy-sampled",
            Self::Traced => "proxy-traced",
            Self::Follow => "proxy-follow",
            Self::Untold => "proxy-untold",
            Self::Beside => "proxy-beside",
            Self::Unsampled => "proxy-unsampled",
            Self::Measured => "proxy-measured",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Direct => "direct",
            Self::HaProxy => "HAProxy",
            Self::Envoy => "Envoy",
            Self::Off => "proxy, off",
            Self::Sampled => "proxy, 1 %",
            Self::Traced => "proxy, 100 %",
            Self::Follow => "… follow",
            Self::Untold => "… untold",
            Self::Beside => "… beside",
            Self::Unsampled => "proxy, 0 %",
            Self::Measured => "… metrics",
        })
    }
}

struct Sink {
    target: Target,
    process: Process,
    /// The spans that it should get, over the whole run.
    expected: Cell<f64>,
}

/// Everything that runs.
pub(crate) struct Rig<'a> {
    programs: &'a Programs,
    connections: usize,
    folder: tempfile::TempDir,
    redis: Process,
    services: Vec<(Seat, Process)>,
    sinks: Vec<Sink>,
    proxies: Vec<(Target, Seat, Process)>,
}

impl<'a> Rig<'a> {
    /// Starts Redis, the collectors of `targets`, and the services and sidecars for `places`, each for so many connections.
    pub(crate) fn start(
        programs: &'a Programs,
        targets: &[Target],
        places: &[(Target, Seat)],
        connections: usize,
    ) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("redistributed-bench-").tempdir().map_err(Failure::Folder)?;
        let redis = start_redis(&programs.redis_server, folder.path(), connections)?;
        let (services, sinks, proxies) = (Vec::new(), Vec::new(), Vec::new());
        let mut rig = Self { programs, connections, folder, redis, services, sinks, proxies };
        for (seat, version) in [(Seat::Http1, Version::One), (Seat::Http2, Version::Two)] {
            if places.iter().any(|(_, at)| *at == seat) {
                rig.services.push((seat, web::start(version, rig.folder.path())?));
            }
        }
        for &target in targets {
            if target.sampled_share().is_some() {
                let name = format!("collector-{}", target.slug());
                let process = sink::start(&name, rig.folder.path())?;
                rig.sinks.push(Sink { target, process, expected: Cell::new(0.0) });
            }
        }
        for &(target, seat) in places {
            if let Some(process) = rig.start_proxy(target, seat, "")? {
                rig.proxies.push((target, seat, process));
            }
        }
        Ok(rig)
    }

    /// One more process of the kind, which has served nobody yet; none for [`Target::Direct`].
    pub(crate) fn start_proxy(&self, target: Target, seat: Seat, suffix: &str) -> Result<Option<Process>, Failure> {
        let address = free_address()?;
        let name = format!("{}-{seat:?}{suffix}", target.slug()).to_lowercase();
        let process = match target {
            Target::Direct => return Ok(None),
            Target::HaProxy => self.start_haproxy(&name, seat, address),
            Target::Envoy => self.start_envoy(&name, address),
            Target::Off
            | Target::Sampled
            | Target::Traced
            | Target::Follow
            | Target::Untold
            | Target::Beside
            | Target::Unsampled
            | Target::Measured => self.start_redistributed(&name, target, seat, address),
        };
        process.map(Some)
    }

    fn start_redistributed(
        &self,
        name: &str,
        target: Target,
        seat: Seat,
        address: SocketAddr,
    ) -> Result<Process, Failure> {
        let collector = self.sink(target).map(|sink| format!("http://{}", sink.process.address)).unwrap_or_default();
        let upstream = self.redis.address.to_string();
        let mut arguments = ["--upstream", &upstream, "--mode", "inject", "--listen"].map(str::to_owned).to_vec();
        match seat {
            Seat::First | Seat::Second => arguments.push(address.to_string()),
            Seat::Http1 | Seat::Http2 => {
                let scheme = if seat == Seat::Http2 { "h2://" } else { "" };
                let ports = format!("{address},{scheme}{}", self.address(Target::Direct, seat));
                arguments.extend([free_address()?.to_string(), "--http".to_owned(), ports]);
            }
        }
        let following: &[&str] = match target {
            Target::Follow => &["--follow", "parent", "--follow-window", WINDOW],
            Target::Untold => &["--follow", "parent", "--follow-window", WINDOW, "--out-of-band", "off"],
            Target::Beside => &["--follow", "parent", "--follow-window", WINDOW, "--carrier", "*=beside"],
            _ => &["--follow", "off"],
        };
        arguments.extend(following.iter().map(|&word| word.to_owned()));
        if target == Target::Measured {
            arguments.extend(["--admin".to_owned(), free_address()?.to_string()]);
        }
        let mut environment = vec![("REDISTRIBUTED_THREADS", THREADS), ("OTEL_SERVICE_NAME", name)];
        match target {
            Target::Off => environment.push(("OTEL_SDK_DISABLED", "true")),
            Target::Sampled => environment.extend([
                ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()),
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
            ]),
            Target::Unsampled | Target::Measured => environment.push(("OTEL_TRACES_SAMPLER", "always_off")),
            _ => environment.push(("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str())),
        }
        let folder = self.folder.path();
        Process::start(name, folder, &self.programs.redistributed, arguments, &environment, address)
    }

    fn start_haproxy(&self, name: &str, seat: Seat, address: SocketAddr) -> Result<Process, Failure> {
        let (mode, protocol) = match seat {
            Seat::First | Seat::Second => ("tcp", ""),
            Seat::Http1 => ("http", ""),
            Seat::Http2 => ("http", " proto h2"),
        };
        let config = format!(
            "global\n  nbthread {THREADS}\n  maxconn {}\n\
             defaults\n  mode {mode}\n  maxconn {}\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             listen bench\n  bind {address}{protocol}\n  server behind {}{protocol}\n",
            self.connections,
            self.connections,
            self.address(Target::Direct, seat)
        );
        let path = self.write(&format!("{name}.cfg"), &config)?;
        let arguments = ["-db".as_ref(), "-f".as_ref(), path.as_os_str()];
        Process::start(name, self.folder.path(), &self.programs.haproxy, arguments, &[], address)
    }

    fn start_envoy(&self, name: &str, address: SocketAddr) -> Result<Process, Failure> {
        let (host, port, redis) = (address.ip(), address.port(), self.redis.address);
        let config = format!(
            r#"static_resources:
  listeners:
  - name: redis
    address: {{socket_address: {{address: {host}, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.redis_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy
          stat_prefix: redis
          settings: {{op_timeout: 20s}}
          prefix_routes: {{catch_all_route: {{cluster: redis}}}}
  clusters:
  - name: redis
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: redis
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{socket_address: {{address: {}, port_value: {}}}}}
"#,
            redis.ip(),
            redis.port()
        );
        let path = self.write(&format!("{name}.yaml"), &config)?;
        let envoy = self.programs.envoy.as_deref().unwrap_or(Path::new("envoy"));
        let words = ["--concurrency", THREADS, "--disable-hot-restart", "-l", "warn", "-c"];
        let arguments = words.iter().map(AsRef::as_ref).chain([path.as_os_str()]);
        Process::start(name, self.folder.path(), envoy, arguments, &[], address)
    }

    fn write(&self, name: &str, text: &str) -> Result<std::path::PathBuf, Failure> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).map_err(|cause| Failure::Write { path: path.clone(), cause })?;
        Ok(path)
    }

    /// Where Redis itself listens.
    pub(crate) fn redis(&self) -> SocketAddr {
        self.redis.address
    }

    /// Where clients in `seat` connect.
    pub(crate) fn address(&self, target: Target, seat: Seat) -> SocketAddr {
        let service = || self.services.iter().find(|(at, _)| *at == seat).map(|(_, process)| process);
        self.proxy(target, seat).or_else(service).unwrap_or(&self.redis).address
    }

    /// Processor time of the sidecar so far; `None` where there is none.
    pub(crate) fn cpu(&self, target: Target, seat: Seat) -> Result<Option<Cpu>, Failure> {
        self.proxy(target, seat).map(|process| Cpu::read(process.pid())).transpose()
    }

    /// Processor time of Redis so far.
    pub(crate) fn redis_cpu(&self) -> Result<Cpu, Failure> {
        Cpu::read(self.redis.pid())
    }

    /// What the target's collector has received so far; `None` where there is no collector.
    pub(crate) fn received(&self, target: Target) -> Result<Option<Received>, Failure> {
        self.sink(target).map(|sink| Received::ask(sink.process.address)).transpose()
    }

    /// Notes that `spans` would be made if all were sampled; returns how many of them the target's collector should get.
    pub(crate) fn expect(&self, target: Target, spans: f64) -> Option<f64> {
        let (sink, share) = self.sink(target).zip(target.sampled_share())?;
        sink.expected.set(sink.expected.get() + spans * share);
        Some(spans * share)
    }

    /// Of each collector over the whole run: whose it is, what it has received, and how many spans it should have.
    pub(crate) fn totals(&self) -> Result<Vec<(Target, Received, f64)>, Failure> {
        let total = |sink: &Sink| Ok((sink.target, Received::ask(sink.process.address)?, sink.expected.get()));
        self.sinks.iter().map(total).collect()
    }

    /// Fails if anything has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        self.redis.check()?;
        let sinks = self.sinks.iter_mut().map(|sink| &mut sink.process);
        let services = self.services.iter_mut().map(|(_, process)| process);
        sinks.chain(services).chain(self.proxies.iter_mut().map(|(.., process)| process)).try_for_each(Process::check)
    }

    fn proxy(&self, target: Target, seat: Seat) -> Option<&Process> {
        let found = self.proxies.iter().find(|(of, at, _)| (*of, *at) == (target, seat));
        found.map(|(.., process)| process)
    }

    fn sink(&self, target: Target) -> Option<&Sink> {
        self.sinks.iter().find(|sink| sink.target == target)
    }
}

/// A Redis that keeps nothing on disk and never drops a slow subscriber.
fn start_redis(program: &Path, folder: &Path, connections: usize) -> Result<Process, Failure> {
    let address = free_address()?;
    let (host, port, clients) = (address.ip().to_string(), address.port().to_string(), (connections + 100).to_string());
    let folder_text = folder.display().to_string();
    #[rustfmt::skip]
    let arguments = [
        "--bind", &host, "--port", &port, "--dir", &folder_text, "--save", "", "--appendonly", "no",
        "--daemonize", "no", "--maxclients", &clients, "--client-output-buffer-limit", "pubsub 0 0 0",
    ];
    Process::start("redis", folder, program, arguments, &[], address)
}
