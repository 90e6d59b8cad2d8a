//! A Redis, a collector, and sidecars as separate processes.

use std::net::SocketAddr;
use std::time::Duration;

use otlp_receiver::{Behaviour, ReceivedRequest, ReceivedSpan, Receiver};
use redistributed::clock;
use redistributed_core::trace::UnixNanos;
use rustix::process::Signal;

use crate::e2e::spans::{Span, Spans};
use crate::support::redis::RealRedis;
use crate::support::servers::Server;
use crate::support::spawn::{self, Spawned};
use crate::support::wire::{Value, Wire};
use crate::support::within;

/// The protocol between a sidecar and the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Grpc,
}

pub(crate) const BOTH_TRANSPORTS: [Transport; 2] = [Transport::Http, Transport::Grpc];

/// The servers of a test.
pub(crate) struct Deployment {
    pub(crate) redis: RealRedis,
    collector: Receiver,
    began: UnixNanos,
}

impl Deployment {
    pub(crate) async fn start() -> Self {
        Self::with_redis(&[]).await
    }

    /// Starts them with arguments for the `redis-server`.
    pub(crate) async fn with_redis(arguments: &[&str]) -> Self {
        Self::around(RealRedis::start(arguments)).await
    }

    /// Starts them with this server as the Redis.
    pub(crate) async fn on(server: &Server) -> Self {
        Self::around(RealRedis::start_server(server, &[])).await
    }

    async fn around(redis: RealRedis) -> Self {
        let collector = Receiver::start().await.expect("two free ports");
        Self { redis, collector, began: clock::wall() }
    }

    /// Sets how the collector answers from now on.
    pub(crate) fn collector_behaves(&self, behaviour: Behaviour) {
        self.collector.behave(behaviour);
    }

    /// Whether the spans that the collector has received so far are as they should be.
    pub(crate) fn has_received(&self, wanted: impl FnOnce(&[ReceivedSpan]) -> bool) -> bool {
        wanted(&self.collector.spans())
    }

    /// Waits until the collector has received a request, whatever it answered.
    pub(crate) async fn collector_was_asked(&self) {
        let deadline = crate::support::DEADLINE;
        self.collector.wait_for(deadline, |requests| !requests.is_empty()).await.expect("an export");
    }

    /// Waits until the collector has received so many spans.
    pub(crate) async fn collector_has(&self, spans: usize) {
        self.collector.wait_for_spans(spans, crate::support::DEADLINE).await.expect("the spans");
    }

    /// Waits until the collector has received so many spans of which this is true.
    pub(crate) async fn collector_has_such(&self, spans: usize, is_such: impl Fn(&ReceivedSpan) -> bool) {
        // Each request is looked at once, because there may be thousands.
        let (mut seen, mut found) = (0, 0);
        let has_all = |requests: &[ReceivedRequest]| {
            let new = requests[seen..].iter().flat_map(ReceivedRequest::spans);
            found += new.filter(|span| is_such(span)).count();
            seen = requests.len();
            found >= spans
        };
        self.collector.wait_for(crate::support::DEADLINE, has_all).await.expect("the spans");
    }

    /// Connects to Redis without a sidecar.
    pub(crate) async fn direct(&self) -> Wire {
        Wire::to(self.redis.address()).await
    }

    /// Starts the sidecar of a service in front of `inner` instead of Redis.
    pub(crate) fn sidecar_behind(&self, inner: &Sidecar, service: &str, arguments: &[&str]) -> Sidecar {
        self.start_in_front_of(&inner.url(), service, arguments, Transport::Http, &[])
    }

    /// Starts the sidecar of a service with `arguments`. It exports with OTLP/HTTP.
    pub(crate) fn sidecar(&self, service: &str, arguments: &[&str]) -> Sidecar {
        self.sidecar_with(service, arguments, Transport::Http, &[])
    }

    /// The same with another transport and further variables.
    pub(crate) fn sidecar_with(
        &self,
        service: &str,
        arguments: &[&str],
        transport: Transport,
        variables: &[(&str, &str)],
    ) -> Sidecar {
        self.start_in_front_of(&self.redis.url(), service, arguments, transport, variables)
    }

    fn start_in_front_of(
        &self,
        upstream: &str,
        service: &str,
        arguments: &[&str],
        transport: Transport,
        variables: &[(&str, &str)],
    ) -> Sidecar {
        let route = ["--listen", "127.0.0.1:0", "--upstream", upstream];
        self.start_with(&[&route[..], arguments].concat(), service, transport, variables)
    }

    /// Starts one sidecar of several services, which `arguments` describe.
    pub(crate) fn shared_sidecar(&self, arguments: &[&str]) -> Sidecar {
        self.start_with(arguments, "", Transport::Http, &[])
    }

    fn start_with(
        &self,
        arguments: &[&str],
        service: &str,
        transport: Transport,
        variables: &[(&str, &str)],
    ) -> Sidecar {
        // With so few connections, the limit on open files causes no warning.
        let mut command = spawn::command(&[arguments, &["--max-connections", "100"]].concat());
        let (protocol, endpoint) = match transport {
            Transport::Http => ("http/protobuf", self.collector.http_endpoint()),
            Transport::Grpc => ("grpc", self.collector.grpc_endpoint()),
        };
        command
            .env("OTEL_SERVICE_NAME", service)
            .env("OTEL_TRACES_EXPORTER", "otlp")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .envs(variables.iter().copied());
        let listens = ["--listen", "--route", "--http"];
        let addresses = arguments.iter().filter(|argument| listens.contains(argument)).count();
        let process = Spawned::start(command, addresses);
        Sidecar { address: process.addresses[0], process }
    }

    /// Stops the sidecars, whose clients must have ended, and returns all spans that they sent. Checks what must hold
    /// for every span and every sidecar: nothing was lost, and there was no warning.
    pub(crate) async fn spans(&self, sidecars: impl IntoIterator<Item = Sidecar>) -> Spans {
        self.spans_after_warnings(sidecars, &[]).await
    }

    /// The same with warnings that must have been logged.
    pub(crate) async fn spans_after_warnings(
        &self,
        sidecars: impl IntoIterator<Item = Sidecar>,
        warnings: &[&str],
    ) -> Spans {
        self.spans_of_server(sidecars, warnings, self.redis.address()).await
    }

    /// The same of sidecars whose upstream is at `server`.
    pub(crate) async fn spans_of_server(
        &self,
        sidecars: impl IntoIterator<Item = Sidecar>,
        warnings: &[&str],
        server: SocketAddr,
    ) -> Spans {
        let mut sent = 0;
        for sidecar in sidecars {
            let end = sidecar.stop().await;
            assert_eq!((end.failed, end.dropped, end.unsent), (0, 0, 0), "{}", end.log);
            let expected = [&["listening", "the spans of the service", "stopping", "stopped"], warnings].concat();
            for text in &expected {
                assert!(end.log.contains(text), "no {text:?} in the log:\n{}", end.log);
            }
            // Only a sidecar that has had a client logs the first, only one in mode `inject` the second, and only one in mode `auto` the
            // third.
            let allowed = [&expected[..], &["counted", "in mode inject", "a message got no context"]].concat();
            let unexpected = |line: &&str| !allowed.iter().any(|text| line.contains(text));
            assert_eq!(end.log.lines().find(unexpected), None, "in the log of a sidecar");
            assert_eq!(end.cut_off, 0, "a client was still connected");
            sent += end.sent;
        }
        let received = self.collector.spans();
        assert_eq!(received.len() as u64, sent, "spans received and spans that the sidecars say they sent");
        let now = clock::wall();
        Spans(received.iter().map(|span| Span::checked(span, self.began, now, server)).collect())
    }
}

/// Waits until proxies listen to so many channels on which they tell each other contexts of this kind: `context` for those of
/// items, `message` for those of messages.
pub(crate) async fn proxies_listen(direct: &mut Wire, kind: &str, channels: usize) {
    let asked = format!("PUBSUB CHANNELS __redistributed:{kind}:*");
    let listening = async {
        while !matches!(direct.call(&asked).await, Value::Array(found) if found.len() == channels) {
            tokio::task::yield_now().await;
        }
    };
    within(&format!("proxies to listen to {channels} channels"), listening).await;
}

/// A running sidecar.
pub(crate) struct Sidecar {
    process: Spawned,
    pub(crate) address: SocketAddr,
}

/// The last lines of a sidecar's log.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) cut_off: u64,
    pub(crate) sent: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
    pub(crate) unsent: u64,
    pub(crate) took: Duration,
    pub(crate) log: String,
}

impl Sidecar {
    /// The URL for clients.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The address for HTTP clients, which is the last one.
    pub(crate) fn http(&self) -> SocketAddr {
        *self.process.addresses.last().expect("it listens")
    }

    /// The address of its admin port, which its arguments ask for.
    pub(crate) fn admin_port(&mut self) -> SocketAddr {
        let line = self.process.wait_for_line("admin port");
        spawn::address_in(&line).expect("the admin port is TCP")
    }

    /// Connects a client of the route with this number, from 0 on.
    pub(crate) async fn connect_to_route(&self, number: usize) -> Wire {
        Wire::to(self.process.addresses[number]).await
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::to(self.address).await
    }

    /// Stops the sidecar, and returns its log.
    pub(crate) async fn stop_with_log(self) -> String {
        self.stop().await.log
    }

    /// Stops the sidecar as an operator does.
    pub(crate) async fn stop(self) -> End {
        // The collector runs in this runtime, so the runtime must not block while the sidecar waits for the collector.
        tokio::task::spawn_blocking(move || {
            let asked = std::time::Instant::now();
            self.process.signal(Signal::TERM);
            let ended = self.process.ended();
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            let number = |name: &str| number_in(&ended.stderr, name);
            End {
                cut_off: number("cut_off"),
                sent: number("spans_sent"),
                failed: number("spans_failed"),
                dropped: number("spans_dropped"),
                unsent: number("spans_unsent"),
                took: asked.elapsed(),
                log: ended.stderr,
            }
        })
        .await
        .expect("no panic")
    }
}

/// The value of `name` in the last line of a log.
fn number_in(log: &str, name: &str) -> u64 {
    let last = log.lines().last().expect("a last line");
    let value = last.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no {name} in {last:?}"))
}
