//! From a listening socket to a relay for each client.
//!
//! Redis is dialled as soon as a client connects, or has done its TLS handshake: some protocols on its port let the
//! server speak first. A client that hangs up meanwhile ends the attempt. The number of clients is limited for the whole
//! process.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::auto::AutoMode;
use crate::entropy::Entropy;
use crate::error::{Party, RelayError, is_exhaustion};
use crate::live_policy::LivePolicy;
use crate::logging::Throttle;
use crate::net::listener::{Client, HandshakeError, Handshakes, Listener};
use crate::net::stream::Stream;
use crate::net::upstream::{DialError, Dialer};
use crate::relay::{Link, relay};
use crate::telemetry::SpanSink;
use crate::telemetry::stats::{ProxyCounter, Stats};
use crate::workers::{Place, Workers};

/// What Redis itself answers at its own limit, before it closes the connection. By TLS it just closes it, because no
/// handshake has been done; so does the proxy.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// How long a client that cannot be served may take to fetch why.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

/// How a connection has ended.
type Relayed = Result<(), RelayError>;

/// What the connections of one route share.
#[derive(Debug)]
pub struct RouteServer {
    dialer: Dialer,
    /// For a listener with TLS.
    handshakes: Option<Handshakes>,
    policy: Arc<LivePolicy>,
    sink: SpanSink,
    stats: Arc<Stats>,
    auto: Arc<AutoMode>,
    unreachable: Throttle,
    exhausted: Throttle,
    refused: Throttle,
    distrusted: Throttle,
    not_tls: Throttle,
}

impl RouteServer {
    /// For the connections of one route.
    pub fn new(
        dialer: Dialer,
        handshakes: Option<Handshakes>,
        policy: Arc<LivePolicy>,
        sink: SpanSink,
        stats: Arc<Stats>,
        auto: Arc<AutoMode>,
    ) -> Arc<Self> {
        Arc::new(Self {
            dialer,
            handshakes,
            policy,
            sink,
            stats,
            auto,
            unreachable: Throttle::new(),
            exhausted: Throttle::new(),
            refused: Throttle::new(),
            distrusted: Throttle::new(),
            not_tls: Throttle::new(),
        })
    }

    /// Accepts clients until `stop`, at most as many at a time as `permits` has, and hands back those still open.
    pub async fn accept(
        self: Arc<Self>,
        listener: Listener,
        permits: Arc<Semaphore>,
        workers: Arc<Workers>,
        mut entropy: Entropy,
        stop: CancellationToken,
    ) -> JoinSet<()> {
        let mut connections = JoinSet::new();
        let over_limit = Throttle::new();
        let mut backoff = Backoff::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return connections,
                Some(ended) = connections.join_next() => {
                    report_defect(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let client = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    backoff.wait(&error, &stop).await;
                    continue;
                }
            };
            backoff.reset();
            self.stats.add(ProxyCounter::ConnectionsAccepted, 1);
            match permits.clone().try_acquire_owned() {
                Ok(permit) => {
                    let place = workers.place();
                    let runtime = place.runtime.clone();
                    let connection = self.clone().serve(client, entropy.split(), (permit, place));
                    connections.spawn_on(connection, &runtime);
                }
                Err(_) => {
                    self.stats.add(ProxyCounter::ConnectionsRefused, 1);
                    if let Some(more) = over_limit.admit(Instant::now()) {
                        tracing::warn!(more, "--max-connections reached; a connection was refused");
                    }
                    client.refuse(if self.handshakes.is_some() { b"" } else { TOO_MANY });
                }
            }
        }
    }

    /// One connection, from its acceptance to its end.
    async fn serve(self: Arc<Self>, client: Client, ids: Entropy, _places: (OwnedSemaphorePermit, Place)) {
        let _open = self.stats.connection();
        let peer = client.peer.clone();
        tracing::debug!(%peer, "client connected");
        match self.connect_and_relay(client, ids).await {
            Ok(()) => tracing::debug!(%peer, "connection over"),
            Err(error) if error.is_hang_up() => tracing::debug!(%peer, %error, "connection cut off"),
            Err(error) => {
                self.report_distrust(&error);
                tracing::info!(%peer, %error, "connection failed");
            }
        }
    }

    async fn connect_and_relay(&self, client: Client, ids: Entropy) -> Relayed {
        let client = client.move_here().map_err(RelayError::watch)?;
        let peer = client.peer.clone();
        // Each step is boxed: a connection that runs should not keep the room that its beginning took.
        let mut client = match Box::pin(client.into_stream(self.handshakes.as_ref())).await {
            Ok(client) => client,
            Err(error) => {
                self.report_handshake(&peer, &error);
                return Ok(());
            }
        };
        let tried_again = |failure: &io::Error| {
            self.stats.add(ProxyCounter::UpstreamRetries, 1);
            tracing::debug!(%peer, error = %failure, "cannot reach Redis; trying again");
        };
        let began = Instant::now();
        let dialled = tokio::select! {
            biased;
            dialled = Box::pin(self.dialer.dial(tried_again)) => dialled,
            () = client.hung_up() => {
                tracing::debug!(%peer, "the client has hung up before Redis was reached");
                return Ok(());
            }
        };
        self.stats.connected(dialled.is_ok(), began.elapsed());
        let server = match dialled {
            Ok(server) => server,
            Err(DialError::Connect(error)) => {
                self.report_unreachable(&error);
                return Err(error);
            }
            Err(error @ DialError::Refused { .. }) => {
                self.report_refused(&error);
                if let DialError::Refused { line, .. } = error {
                    Box::pin(farewell(client, &line)).await;
                }
                return Ok(());
            }
        };
        self.report_reachable();
        self.carry(client, server, ids).await
    }

    /// The relay, which is nearly all that a running connection has.
    fn carry(&self, client: Stream, server: Stream, ids: Entropy) -> Pin<Box<dyn Future<Output = Relayed> + Send>> {
        let mut link =
            Link::new(&self.policy, ids, self.sink.clone(), self.stats.clone()).tracked(self.auto.track(server.peer()));
        if let Some(database) = self.dialer.logs_clients_in() {
            link.logged_in(database);
        }
        Box::pin(relay(client, server, link))
    }

    fn report_handshake(&self, peer: &impl fmt::Display, error: &HandshakeError) {
        if matches!(error, HandshakeError::Probe) {
            return tracing::debug!(%peer, %error, "no handshake");
        }
        self.stats.add(ProxyCounter::HandshakesFailed, 1);
        tracing::debug!(%peer, %error, "the TLS handshake with a client failed");
        // Nearly always a service that is pointed at redis:// by mistake.
        if matches!(error, HandshakeError::NotTls { .. })
            && let Some(more) = self.not_tls.admit(Instant::now())
        {
            tracing::warn!(
                %error, more,
                "a client was closed that does not speak TLS on an address with TLS: let it connect to rediss://"
            );
        }
    }

    fn report_refused(&self, error: &DialError) {
        self.stats.add(ProxyCounter::UpstreamFailures, 1);
        if let Some(more) = self.refused.admit(Instant::now()) {
            let upstream = self.dialer.upstream();
            tracing::warn!(
                %upstream, %error, more,
                "the client was told so and closed; check the credentials and the database of --upstream-login"
            );
        }
    }

    /// What would be a failure to connect, had Redis said it in time.
    fn report_distrust(&self, error: &RelayError) {
        if !error.is_refused_by_tls() {
            return;
        }
        self.stats.add(ProxyCounter::UpstreamFailures, 1);
        if let Some(more) = self.distrusted.admit(Instant::now()) {
            let upstream = self.dialer.upstream();
            tracing::warn!(
                %upstream, %error, more,
                "Redis has ended a connection because of TLS; check --upstream-cert and --upstream-key"
            );
        }
    }

    fn report_unreachable(&self, error: &RelayError) {
        if error.party == Party::Proxy {
            // Redis may be well: the proxy has run out of open files, of memory or of local ports.
            self.stats.add(ProxyCounter::UpstreamExhausted, 1);
            if let Some(more) = self.exhausted.admit(Instant::now()) {
                tracing::warn!(%error, more, "the proxy has no room for another connection; the client's was closed");
            }
            return;
        }
        self.stats.add(ProxyCounter::UpstreamFailures, 1);
        if let Some(more) = self.unreachable.admit(Instant::now()) {
            let upstream = self.dialer.upstream();
            tracing::warn!(%upstream, %error, more, "cannot reach Redis; the client's connection was closed");
        }
    }

    fn report_reachable(&self) {
        if let Some(more) = self.unreachable.settle(Instant::now()) {
            tracing::warn!(upstream = %self.dialer.upstream(), more, "Redis can be reached again");
        }
    }
}

/// Says why a client cannot be served, waits until it has had time to fetch that, and closes. What it sends meanwhile is
/// read and dropped: closing a socket with unread bytes makes the kernel throw away what the client has not fetched.
async fn farewell(mut client: Stream, last_words: &[u8]) {
    let said = async {
        client.write_all(last_words).await?;
        client.shutdown().await?;
        while client.read(&mut [0; 1024]).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever has gone or does not close in time is not waited for.
    let _ = tokio::time::timeout(FAREWELL_LIMIT, said).await;
}

/// A task that did not return. Its connection is closed; the others go on.
pub fn report_defect(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a connection was lost to a defect of the proxy");
    }
}

/// Waits after a failed accept, so that running out of file descriptors does not become a busy loop.
#[derive(Default)]
struct Backoff {
    delay: Duration,
    trouble: Throttle,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    async fn wait(&mut self, error: &io::Error, stop: &CancellationToken) {
        if !is_exhaustion(error) {
            // The client gave up before it was accepted: the next one may be waiting.
            tracing::debug!(%error, "accept failed");
            return;
        }
        if let Some(more) = self.trouble.admit(Instant::now()) {
            tracing::warn!(%error, more, "cannot accept connections; trying again until it works");
        }
        self.delay = (self.delay * 2).clamp(Self::FIRST, Self::LONGEST);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(self.delay) => {}
        }
    }

    fn reset(&mut self) {
        self.delay = Duration::ZERO;
        if let Some(more) = self.trouble.settle(Instant::now()) {
            tracing::warn!(more, "connections are accepted again");
        }
    }
}
