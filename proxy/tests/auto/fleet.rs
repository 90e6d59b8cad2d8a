//! A Redis with proxies in front of it, and publishers that see what reaches Redis without being subscribers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::support::in_process::InProcess;
use crate::support::redis::RealRedis;
use crate::support::servers::Server;
use crate::support::spawn::{Spawned, command};
use crate::support::wire::{Value, Wire};
use crate::support::{DEADLINE, within};

/// The time between two snapshots, and between two heartbeats.
pub(crate) const INTERVAL: Duration = Duration::from_millis(50);

/// The option that sets [`INTERVAL`].
pub(crate) const FAST: [&str; 2] = ["--auto-interval", "50ms"];

/// Many times longer than the proof of receivers takes on an idle machine. What has not happened by then does not
/// happen.
pub(crate) const LONG: Duration = Duration::from_millis(1000);

/// Longer than it takes on a busy machine to notice that a proxy hangs or that a subscriber is not read.
pub(crate) const SOON: Duration = Duration::from_millis(600);

/// The pause after a publish that does not tell anything yet. Many times shorter than [`INTERVAL`], so that no change of a
/// verdict goes unseen; without it, a test keeps every processor busy for as long as it watches.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);

/// A Redis, in front of which proxies are started.
pub(crate) struct Fleet {
    pub(crate) redis: RealRedis,
}

impl Fleet {
    pub(crate) fn start(server: &Server) -> Self {
        Self::start_with(server, &[])
    }

    /// Starts the server with `more` arguments.
    pub(crate) fn start_with(server: &Server, more: &[&str]) -> Self {
        Self { redis: RealRedis::start_server(server, more) }
    }

    /// Starts a proxy in mode `auto` (unless `more` names another mode) with `more` arguments.
    pub(crate) async fn proxy(&self, more: &[&str]) -> InProcess {
        InProcess::start(&self.redis.url(), &[&FAST, mode(more), more].concat()).await
    }

    /// Starts such a proxy as a process of its own.
    pub(crate) fn process(&self, more: &[&str]) -> Spawned {
        let url = self.redis.url();
        let arguments = ["--listen", "127.0.0.1:0", "--upstream", &url];
        Spawned::start(command(&[&arguments[..], &FAST, mode(more), more].concat()), 1)
    }

    /// Connects without a proxy.
    pub(crate) async fn direct(&self) -> Wire {
        Wire::to(self.redis.address()).await
    }

    /// A service that publishes through `proxy`, and sees what reaches Redis.
    pub(crate) async fn publisher(&self, proxy: &InProcess) -> Publisher {
        self.publisher_at(proxy.address()).await
    }

    /// The same for a proxy that listens on `address`.
    pub(crate) async fn publisher_at(&self, address: SocketAddr) -> Publisher {
        let mut feed = self.direct().await;
        assert_eq!(feed.call("MONITOR").await, Value::Status("OK".into()));
        Publisher { wire: Wire::to(address).await, feed, published: 0 }
    }
}

/// The option for the mode, unless `more` contains one.
fn mode(more: &[&str]) -> &'static [&'static str] {
    if more.contains(&"--mode") { &[] } else { &["--mode", "auto"] }
}

/// A service that publishes, with a second connection that monitors Redis.
pub(crate) struct Publisher {
    pub(crate) wire: Wire,
    feed: Wire,
    published: u64,
}

/// The outcome of a publish.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) payload: String,
    pub(crate) receivers: i64,
    /// Whether the proxy added a context.
    pub(crate) context: bool,
}

impl Publisher {
    /// Publishes on `channel` with `command`, which is `PUBLISH` or `SPUBLISH`.
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

    /// Publishes until a context is added. Returns how long that took, and all payloads.
    pub(crate) async fn until_context(&mut self, command: &str, channel: &str) -> (Duration, Vec<String>) {
        let started = Instant::now();
        let mut payloads = Vec::new();
        while started.elapsed() < DEADLINE {
            let published = self.publish(command, channel).await;
            payloads.push(published.payload);
            if published.context {
                return (started.elapsed(), payloads);
            }
            sleep(PAUSE).await;
        }
        panic!("{command} {channel}: no context within {DEADLINE:?}");
    }

    /// Publishes until no context is added any more. Returns how many publishes had one.
    pub(crate) async fn until_without(&mut self, command: &str, channel: &str) -> u64 {
        let started = Instant::now();
        for with_context in 0.. {
            if !self.publish(command, channel).await.context {
                return with_context;
            }
            assert!(started.elapsed() < DEADLINE, "{command} {channel}: contexts for more than {DEADLINE:?}");
            sleep(PAUSE).await;
        }
        unreachable!("an endless range")
    }

    /// Publishes for [`SOON`]. Returns when the last context was added, and how many publishes had one.
    pub(crate) async fn last_context(&mut self, command: &str, channel: &str) -> (Duration, u64) {
        let started = Instant::now();
        let (mut last, mut count) = (Duration::ZERO, 0);
        while started.elapsed() < SOON {
            if self.publish(command, channel).await.context {
                (last, count) = (started.elapsed(), count + 1);
            }
            sleep(PAUSE).await;
        }
        (last, count)
    }

    /// Publishes for [`LONG`], and fails if a context is added. Returns the payloads.
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
                sleep(PAUSE).await;
            }
            payloads
        }
    }
}

/// Reads messages, and checks that their payloads are exactly `payloads`.
pub(crate) async fn expect_payloads(subscriber: &mut Wire, payloads: &[String]) {
    for payload in payloads {
        let message = within("a message", subscriber.message()).await;
        assert_eq!(message.payload.escape_ascii().to_string(), *payload);
    }
}
