//! The testbed of a comparison: a server, a proxy in front of it, and an operator's connection to the server directly.
//! Testbeds are kept for the next comparison of the same kind. At the end, the logs of their proxies are checked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use otlp_receiver::Receiver;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::redis::{RealRedis, free_address};
use crate::support::servers::Server;
use crate::support::spawn::{self, Spawned};
use crate::support::wire::{Value, Wire, request};
use crate::support::within;

/// The settings of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Setting {
    /// As operators run it: contexts are added and removed, and spans go to a collector.
    Inject,
    /// The same with a span for every command.
    AllCommands,
    /// Contexts are only removed.
    Strip,
    /// Contexts are only read.
    Observe,
    /// Contexts travel, but no span is recorded.
    Unsampled,
    /// Contexts go beside the messages only, in messages of the proxy's own.
    Beside,
    /// The default mode: the proxy asks Redis about subscribers, and contexts go into the payload or beside it.
    Auto,
    /// Contexts are added to entries of streams and removed from them.
    Fields,
}

impl Setting {
    /// The settings that each conversation is held in. The others are in [`further`](crate::further).
    pub(crate) const ALL: [Self; 5] = [Self::Inject, Self::AllCommands, Self::Strip, Self::Observe, Self::Unsampled];

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Inject | Self::Unsampled => &["--out-of-band", "off"],
            Self::AllCommands => &["--out-of-band", "off", "--commands", "all", "--follow", "parent"],
            Self::Strip => &["--out-of-band", "off", "--mode", "strip"],
            Self::Observe => &["--out-of-band", "off", "--mode", "observe"],
            Self::Beside => &["--mode", "inject", "--carrier", "*=beside"],
            Self::Auto => &["--mode", "auto", "--auto-interval", "50ms"],
            Self::Fields => &["--out-of-band", "off", "--stream-carrier", "*=field"],
        }
    }

    /// Whether every publish has a span.
    pub(crate) fn has_spans(self) -> bool {
        !matches!(self, Self::Strip | Self::Observe | Self::Unsampled)
    }

    /// Whether the proxy has connections of its own to Redis.
    pub(crate) fn has_connections(self) -> bool {
        matches!(self, Self::Beside | Self::Auto)
    }
}

/// The properties of all testbeds of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) server: Server,
    pub(crate) setting: Setting,
    /// The arguments of the server.
    pub(crate) arguments: Vec<String>,
    /// Whether the server is a cluster of one node that has all slots.
    pub(crate) cluster: bool,
}

impl Kind {
    fn password(&self) -> Option<&str> {
        let at = self.arguments.iter().position(|argument| argument == "--requirepass")?;
        self.arguments.get(at + 1).map(String::as_str)
    }
}

/// Opens a connection of the operator.
async fn connect(redis: &RealRedis, kind: &Kind) -> Wire {
    let mut wire = Wire::to(redis.address()).await;
    if let Some(password) = kind.password() {
        assert_eq!(wire.call_words(&[b"AUTH", password.as_bytes()]).await, Value::Status("OK".into()));
    }
    wire
}

/// A server, a proxy in front of it, and an operator's connection.
pub(crate) struct Testbed {
    pub(crate) kind: Kind,
    redis: RealRedis,
    proxy: Spawned,
    operator: Wire,
    /// Reads what a client behind the proxy gets that is subscribed all the time.
    listener: Option<JoinHandle<()>>,
}

/// The channels to which somebody behind the proxy is subscribed all the time, where the proxy has connections of its own: only
/// then have proxies anything to tell each other, in conversations that take some milliseconds. They are those of the
/// conversations and of the examples.
const LISTEN: [&[u8]; 6] = [b"SUBSCRIBE", b"a", b"abc", b"context", b"own", b"x"];

async fn listen(proxy: &Spawned) -> JoinHandle<()> {
    let mut stream = TcpStream::connect(proxy.addresses[0]).await.expect("a proxy");
    stream.write_all(&request(&LISTEN)).await.expect("an open connection");
    within("a confirmation", stream.read_u8()).await.expect("an open connection");
    tokio::spawn(async move {
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok(); // until the proxy stops
    })
}

impl Testbed {
    async fn start(kind: Kind, collector: &Receiver) -> Self {
        let mut arguments = vec!["--enable-debug-command", "yes"];
        arguments.extend(kind.arguments.iter().map(String::as_str));
        // By default, the port of the cluster bus is 10,000 higher, which may be above the largest port.
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
            // The queue is so long that no span is dropped, whatever a comparison sends at once.
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "200000");
        if kind.setting == Setting::Unsampled {
            command.env("OTEL_TRACES_SAMPLER", "always_off");
        }
        let proxy = Spawned::start(command, 1);
        let mut operator = connect(&redis, &kind).await;
        if kind.cluster {
            assert_eq!(operator.call("CLUSTER ADDSLOTSRANGE 0 16383").await, Value::Status("OK".into()));
            // Only the first testbed has to change something.
            assert!(matches!(operator.call("CLUSTER BUMPEPOCH").await, Value::Status(_)));
            let ready = async {
                while !matches!(operator.call("CLUSTER INFO").await, Value::Bulk(text) if text.starts_with(b"cluster_state:ok"))
                {
                    tokio::task::yield_now().await;
                }
            };
            within("a cluster of one node", ready).await;
        }
        // Where the server has arguments, as of a limit on what waits for a subscriber, it may disconnect this one.
        let may_listen = kind.setting.has_connections() && kind.arguments.is_empty();
        let listener = if may_listen { Some(listen(&proxy).await) } else { None };
        Self { kind, redis, proxy, operator, listener }
    }

    /// The requests with which an ordinary client authenticates, if the server requires that.
    pub(crate) fn authentication(&self) -> Vec<u8> {
        self.kind.password().map(|password| request(&[b"AUTH", password.as_bytes()])).unwrap_or_default()
    }

    /// The address for clients: that of the proxy or of the server.
    pub(crate) fn address(&self, proxied: bool) -> SocketAddr {
        if proxied { self.proxy.addresses[0] } else { self.redis.address() }
    }

    /// The operator's connection.
    pub(crate) fn operator(&mut self) -> &mut Wire {
        &mut self.operator
    }

    /// Resets the server to its first state, and then executes `fixture`.
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

    /// While a child process saves, some commands give other replies.
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

/// The testbeds that are not in use.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<HashMap<Kind, Vec<Testbed>>>,
}

impl Pool {
    /// Takes a free testbed of this kind, or starts one. If the comparison panics, the testbed is not used again.
    pub(crate) async fn take(&self, kind: &Kind, collector: &Receiver) -> Testbed {
        let free = self.lock().get_mut(kind).and_then(Vec::pop);
        match free {
            Some(testbed) => testbed,
            None => Testbed::start(kind.clone(), collector).await,
        }
    }

    /// Returns a testbed for the next comparison.
    pub(crate) fn give_back(&self, testbed: Testbed) {
        self.lock().entry(testbed.kind.clone()).or_default().push(testbed);
    }

    /// Stops all proxies, and returns the kind of each testbed with the log of its proxy.
    pub(crate) fn stop(&self) -> Vec<(Kind, String)> {
        let testbeds: Vec<Testbed> = self.lock().drain().flat_map(|(_, testbeds)| testbeds).collect();
        let mut logs = Vec::new();
        for testbed in testbeds {
            if let Some(listener) = testbed.listener {
                listener.abort();
            }
            testbed.proxy.signal(Signal::TERM);
            let ended = testbed.proxy.ended();
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            logs.push((testbed.kind, ended.stderr));
        }
        logs
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Vec<Testbed>>> {
        // A comparison that has failed leaves the map intact.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
