//! What a comparison takes place on: a server, a proxy in front of it, and an operator's connection straight to the
//! server. Benches are kept for the next comparison of the same kind, and judged at the end by what their proxies say.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use otlp_receiver::Receiver;
use rustix::process::Signal;

use crate::support::redis::{RealRedis, free_address};
use crate::support::servers::Server;
use crate::support::spawn::{self, Spawned};
use crate::support::wire::{Value, Wire, request};
use crate::support::within;

/// How the proxy is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Setting {
    /// As operators run it: contexts are added and removed, spans go to a collector.
    Inject,
    /// The same with a span for every command.
    AllCommands,
    /// Contexts are only removed.
    Strip,
    /// Contexts are only looked at.
    Observe,
    /// Contexts travel, but no span is recorded.
    Unsampled,
}

impl Setting {
    pub(crate) const ALL: [Self; 5] = [Self::Inject, Self::AllCommands, Self::Strip, Self::Observe, Self::Unsampled];

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Inject | Self::Unsampled => &[],
            Self::AllCommands => &["--commands", "all"],
            Self::Strip => &["--mode", "strip"],
            Self::Observe => &["--mode", "observe"],
        }
    }

    /// Whether every publish has a span.
    pub(crate) fn has_spans(self) -> bool {
        matches!(self, Self::Inject | Self::AllCommands)
    }
}

/// What benches of one kind have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) server: Server,
    pub(crate) setting: Setting,
    /// For the server.
    pub(crate) arguments: Vec<String>,
    /// A cluster of one node that has all slots.
    pub(crate) cluster: bool,
}

impl Kind {
    fn password(&self) -> Option<&str> {
        let at = self.arguments.iter().position(|argument| argument == "--requirepass")?;
        self.arguments.get(at + 1).map(String::as_str)
    }
}

/// A connection of the operator.
async fn connect(redis: &RealRedis, kind: &Kind) -> Wire {
    let mut wire = Wire::to(redis.address()).await;
    if let Some(password) = kind.password() {
        assert_eq!(wire.call_words(&[b"AUTH", password.as_bytes()]).await, Value::Status("OK".into()));
    }
    wire
}

/// See the module.
pub(crate) struct Bench {
    pub(crate) kind: Kind,
    redis: RealRedis,
    proxy: Spawned,
    operator: Wire,
}

impl Bench {
    async fn start(kind: Kind, collector: &Receiver) -> Self {
        let mut arguments = vec!["--enable-debug-command", "yes"];
        arguments.extend(kind.arguments.iter().map(String::as_str));
        // By default the cluster's port is 10,000 higher, which a free port may have no room for.
        let bus = free_address().port().to_string();
        if kind.cluster {
            arguments.extend(["--cluster-enabled", "yes", "--cluster-port", &bus]);
        }
        let redis = RealRedis::start_server(&kind.server, &arguments);
        let upstream = redis.url();
        let route = ["--listen", "127.0.0.1:0", "--upstream", &upstream, "--max-connections", "100"];
        let mut command = spawn::command(&[&route[..], kind.setting.arguments()].concat());
        command
            .env("OTEL_SERVICE_NAME", "oracle")
            .env("OTEL_TRACES_EXPORTER", "otlp")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.http_endpoint())
            // So that no span is dropped, whatever a comparison sends at once.
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "200000");
        if kind.setting == Setting::Unsampled {
            command.env("OTEL_TRACES_SAMPLER", "always_off");
        }
        let proxy = Spawned::start(command, 1);
        let mut operator = connect(&redis, &kind).await;
        if kind.cluster {
            assert_eq!(operator.call("CLUSTER ADDSLOTSRANGE 0 16383").await, Value::Status("OK".into()));
            // Only the first of these changes something.
            assert!(matches!(operator.call("CLUSTER BUMPEPOCH").await, Value::Status(_)));
            let ready = async {
                while !matches!(operator.call("CLUSTER INFO").await, Value::Bulk(text) if text.starts_with(b"cluster_state:ok"))
                {
                    tokio::task::yield_now().await;
                }
            };
            within("a cluster of one node", ready).await;
        }
        Self { kind, redis, proxy, operator }
    }

    /// What an ordinary client does first, if the server wants that.
    pub(crate) fn authentication(&self) -> Vec<u8> {
        self.kind.password().map(|password| request(&[b"AUTH", password.as_bytes()])).unwrap_or_default()
    }

    /// Where clients connect: to the server, or to the proxy.
    pub(crate) fn address(&self, proxied: bool) -> SocketAddr {
        if proxied { self.proxy.addresses[0] } else { self.redis.address() }
    }

    /// The connection of the operator.
    pub(crate) fn operator(&mut self) -> &mut Wire {
        &mut self.operator
    }

    /// Brings the server back to where it was, and carries out `fixture` after that.
    pub(crate) async fn reset(&mut self, fixture: &[Vec<u8>]) {
        const RESET: [&str; 11] = [
            "CLIENT UNPAUSE",
            "DISCARD",
            "FLUSHALL",
            "SCRIPT FLUSH",
            "FUNCTION FLUSH",
            "ACL SETUSER limited reset on >pw +auth +reset +ping",
            "ACL LOG RESET",
            "SLOWLOG RESET",
            "LATENCY RESET",
            "CONFIG SET maxmemory-policy noeviction",
            "CONFIG RESETSTAT",
        ];
        if self.kind.arguments.iter().any(|argument| argument == "--timeout") {
            self.operator = connect(&self.redis, &self.kind).await;
        }
        let mut script = Vec::new();
        for command in RESET {
            script.extend(request(&command.split(' ').map(str::as_bytes).collect::<Vec<_>>()));
        }
        for command in fixture {
            script.extend_from_slice(command);
        }
        script.extend(request(&[b"PING", b"reset"]));
        self.operator.send(&script).await;
        let (replies, came) = self.operator.until(b"$5\r\nreset\r\n").await;
        assert!(came, "the server closed the operator's connection");
        let failed = replies
            .split(|&byte| byte == b'\n')
            .find(|line| line.starts_with(b"-") && !line.starts_with(b"-ERR DISCARD without MULTI"));
        assert_eq!(failed.map(|line| line.escape_ascii().to_string()), None, "while a server was reset");
        within("the end of a background save", self.wait_for_background_saving()).await;
    }

    /// A child that saves changes what other commands answer.
    async fn wait_for_background_saving(&mut self) {
        loop {
            let Value::Bulk(text) = self.operator.call("INFO persistence").await else { panic!("no INFO") };
            let text = String::from_utf8_lossy(&text);
            if ["rdb_bgsave_in_progress:1", "aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1"]
                .iter()
                .all(|line| !text.contains(line))
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The benches that nobody uses now.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<HashMap<Kind, Vec<Bench>>>,
}

impl Pool {
    /// One of a kind: a free one or a new one. It is lost to others if the comparison panics.
    pub(crate) async fn take(&self, kind: &Kind, collector: &Receiver) -> Bench {
        let free = self.lock().get_mut(kind).and_then(Vec::pop);
        match free {
            Some(bench) => bench,
            None => Bench::start(kind.clone(), collector).await,
        }
    }

    /// Leaves it to the next one.
    pub(crate) fn give_back(&self, bench: Bench) {
        self.lock().entry(bench.kind.clone()).or_default().push(bench);
    }

    /// Stops all proxies, and returns their kinds and logs.
    pub(crate) fn stop(&self) -> Vec<(Kind, String)> {
        let benches: Vec<Bench> = self.lock().drain().flat_map(|(_, benches)| benches).collect();
        let mut logs = Vec::new();
        for bench in benches {
            bench.proxy.signal(Signal::TERM);
            let ended = bench.proxy.ended();
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            logs.push((bench.kind, ended.stderr));
        }
        logs
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Vec<Bench>>> {
        // What a comparison that failed has left is still a map.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
