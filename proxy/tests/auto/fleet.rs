//! A Redis with proxies in front of it, and an observer that sees what reaches Redis without being a subscriber.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::in_process::InProcess;
use crate::support::redis::RealRedis;
use crate::support::servers::Server;
use crate::support::spawn::{Spawned, command};
use crate::support::wire::{Value, Wire};
use crate::support::{DEADLINE, within};

/// Between two snapshots, and between two beats.
pub(crate) const INTERVAL: Duration = Duration::from_millis(50);

/// The same as the command line takes it.
pub(crate) const FAST: [&str; 2] = ["--auto-interval", "50ms"];

/// Longer than it takes to prove an audience on an idle machine, many times over: what has not happened by then does
/// not happen.
pub(crate) const LONG: Duration = Duration::from_millis(1000);

/// Longer than it takes to notice that a proxy hangs or a subscriber is not read, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_millis(600);

/// One Redis, and what is started in front of it.
pub(crate) struct Fleet {
    pub(crate) redis: RealRedis,
}

impl Fleet {
    pub(crate) fn start(server: &Server) -> Self {
        Self::start_with(server, &[])
    }

    /// With arguments for the server.
    pub(crate) fn start_with(server: &Server, more: &[&str]) -> Self {
        Self { redis: RealRedis::start_server(server, more) }
    }

    /// A proxy in mode `auto`, with `more` arguments.
    pub(crate) async fn proxy(&self, more: &[&str]) -> InProcess {
        InProcess::start(&self.redis.url(), &[&FAST, mode(more), more].concat()).await
    }

    /// The same as a process of its own.
    pub(crate) fn process(&self, more: &[&str]) -> Spawned {
        let url = self.redis.url();
        let arguments = ["--listen", "127.0.0.1:0", "--upstream", &url];
        Spawned::start(command(&[&arguments[..], &FAST, mode(more), more].concat()), 1)
    }

    /// A connection that no proxy knows of.
    pub(crate) async fn direct(&self) -> Wire {
        Wire::to(self.redis.address()).await
    }

    /// What publishes through `proxy`, and sees what reaches Redis.
    pub(crate) async fn publisher(&self, proxy: &InProcess) -> Publisher {
        self.publisher_at(proxy.address()).await
    }

    /// The same through a proxy that listens on `address`.
    pub(crate) async fn publisher_at(&self, address: SocketAddr) -> Publisher {
        let mut feed = self.direct().await;
        assert_eq!(feed.call("MONITOR").await, Value::Status("OK".into()));
        Publisher { wire: Wire::to(address).await, feed, published: 0 }
    }
}

/// The mode, unless it is among `more`.
fn mode(more: &[&str]) -> &'static [&'static str] {
    if more.contains(&"--mode") { &[] } else { &["--mode", "auto"] }
}

/// A service that publishes.
pub(crate) struct Publisher {
    pub(crate) wire: Wire,
    feed: Wire,
    published: u64,
}

/// What became of a publish.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) payload: String,
    pub(crate) receivers: i64,
    /// Whether a context was added.
    pub(crate) context: bool,
}

impl Publisher {
    /// Publishes on `channel` by `PUBLISH` or `SPUBLISH`.
    pub(crate) async fn publish(&mut self, command: &str, channel: &str) -> Published {
        self.published += 1;
        let payload = format!("<{}>", self.published);
        let reply = self.wire.call_words(&[command.as_bytes(), channel.as_bytes(), payload.as_bytes()]).await;
        let Value::Integer(receivers) = reply else { panic!("{command} was answered by {reply:?}") };
        loop {
            let Value::Status(line) = self.feed.read().await else { continue };
            if let Some((_, after)) = line.split_once(&payload) {
                return Published { payload, receivers, context: after != "\"" };
            }
        }
    }

    /// Publishes until a context is added: how long that took, and the publish. The payloads before it are in `seen`.
    pub(crate) async fn until_context(&mut self, command: &str, channel: &str) -> (Duration, Vec<String>) {
        let started = Instant::now();
        let mut payloads = Vec::new();
        while started.elapsed() < DEADLINE {
            let published = self.publish(command, channel).await;
            payloads.push(published.payload);
            if published.context {
                return (started.elapsed(), payloads);
            }
        }
        panic!("{command} {channel}: no context within {DEADLINE:?}");
    }

    /// Publishes until no context is added any more: how many had one.
    pub(crate) async fn until_without(&mut self, command: &str, channel: &str) -> u64 {
        let started = Instant::now();
        for with_context in 0.. {
            if !self.publish(command, channel).await.context {
                return with_context;
            }
            assert!(started.elapsed() < DEADLINE, "{command} {channel}: contexts for more than {DEADLINE:?}");
        }
        unreachable!("an endless range")
    }

    /// Publishes for [`SOON`]: when the last context was added, and how many were.
    pub(crate) async fn last_context(&mut self, command: &str, channel: &str) -> (Duration, u64) {
        let started = Instant::now();
        let (mut last, mut count) = (Duration::ZERO, 0);
        while started.elapsed() < SOON {
            if self.publish(command, channel).await.context {
                (last, count) = (started.elapsed(), count + 1);
            }
        }
        (last, count)
    }

    /// Publishes for [`LONG`], and fails if a context is added.
    #[track_caller]
    pub(crate) fn never_a_context(&mut self, command: &str, channel: &str) -> impl Future<Output = Vec<String>> {
        let caller = std::panic::Location::caller();
        async move {
            let started = Instant::now();
            let mut payloads = Vec::new();
            while started.elapsed() < LONG {
                let published = self.publish(command, channel).await;
                assert!(!published.context, "{caller}: a context was added after {:?}", started.elapsed());
                payloads.push(published.payload);
            }
            payloads
        }
    }
}

/// Reads the messages with `payloads`, which must come exactly so.
pub(crate) async fn expect_payloads(subscriber: &mut Wire, payloads: &[String]) {
    for payload in payloads {
        let message = within("a message", subscriber.message()).await;
        assert_eq!(message.payload.escape_ascii().to_string(), *payload);
    }
}
