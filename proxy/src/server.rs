//! From a listening socket to a relay for each client.
//!
//! Redis is dialled as soon as a client connects: some protocols on its port let the server speak first, and a client
//! that cannot be served should learn it at once. The number of clients is limited for the whole process.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::ListenAddress;
use crate::config::settings::Route;
use crate::entropy::Entropy;
use crate::error::{Party, RelayError, is_exhaustion};
use crate::live_policy::LivePolicy;
use crate::relay::{Link, relay};
use crate::telemetry::SpanSink;
use crate::telemetry::logging::Throttle;
use crate::telemetry::stats::{Shell, Stats};
use crate::upstream::{self, Dialer, UpstreamStream};
use crate::workers::{Place, Workers};

/// What Redis itself answers at its own limit, before it closes the connection.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// A listen address that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// As it was set.
    pub address: String,
    /// What the system said.
    pub source: io::Error,
}

/// Binds `address`. Of a name's addresses the first that can be bound is taken.
///
/// # Errors
/// [`BindError`] if there is none.
pub async fn bind(address: &ListenAddress) -> Result<TcpListener, BindError> {
    let wanted = address.host_port();
    let failed = |source| BindError { address: wanted.to_string(), source };
    TcpListener::bind((wanted.host.as_str(), wanted.port)).await.map_err(failed)
}

/// A bound socket and the route it serves.
#[derive(Debug)]
pub struct Listener {
    route: Route,
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds the route's listen address.
    ///
    /// # Errors
    /// [`BindError`] if there is none.
    pub async fn bind(route: &Route) -> Result<Self, BindError> {
        let socket = bind(&route.listen).await?;
        let failed = |source| BindError { address: route.listen.to_string(), source };
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { route: route.clone(), socket, address })
    }

    /// Where it listens, with the port that the system chose if it was left to it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The route it serves.
    pub fn route(&self) -> &Route {
        &self.route
    }
}

/// What the connections of one route share.
#[derive(Debug)]
pub struct RouteServer {
    dialer: Dialer,
    policy: Arc<LivePolicy>,
    sink: SpanSink,
    stats: Arc<Stats>,
    unreachable: Throttle,
    exhausted: Throttle,
}

impl RouteServer {
    /// For the connections of one route.
    pub fn new(dialer: Dialer, policy: Arc<LivePolicy>, sink: SpanSink, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self { dialer, policy, sink, stats, unreachable: Throttle::new(), exhausted: Throttle::new() })
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
                accepted = listener.socket.accept() => accepted,
            };
            let (client, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    backoff.wait(&error, &stop).await;
                    continue;
                }
            };
            backoff.reset();
            self.stats.add(Shell::ConnectionsAccepted, 1);
            match permits.clone().try_acquire_owned() {
                Ok(permit) => {
                    let place = workers.place();
                    let runtime = place.runtime.clone();
                    let connection = self.clone().serve(client, peer, entropy.split(), (permit, place));
                    connections.spawn_on(connection, &runtime);
                }
                Err(_) => {
                    self.stats.add(Shell::ConnectionsRefused, 1);
                    if let Some(more) = over_limit.admit(Instant::now()) {
                        tracing::warn!(more, "--max-connections reached; a connection was refused");
                    }
                    refuse(client);
                }
            }
        }
    }

    /// One connection, from its acceptance to its end.
    async fn serve(
        self: Arc<Self>,
        client: TcpStream,
        peer: SocketAddr,
        ids: Entropy,
        _places: (OwnedSemaphorePermit, Place),
    ) {
        let _open = self.stats.connection();
        tracing::debug!(%peer, "client connected");
        match self.connect_and_relay(client, ids).await {
            Ok(()) => tracing::debug!(%peer, "connection over"),
            Err(error) if error.is_hang_up() => tracing::debug!(%peer, %error, "connection cut off"),
            Err(error) => tracing::info!(%peer, %error, "connection failed"),
        }
    }

    async fn connect_and_relay(&self, client: TcpStream, ids: Entropy) -> Result<(), RelayError> {
        let began = Instant::now();
        let dialled = self.dialer.connect().await;
        self.stats.connected(dialled.is_ok(), began.elapsed());
        let server = dialled.inspect_err(|error| self.report_unreachable(error))?;
        self.report_reachable();
        // Fails only on a connection that is over already, and then reading from it says so.
        let _ = upstream::tune(&client);
        let client = move_here(client).map_err(RelayError::watch)?;
        let link = Link::new(&self.policy, ids, self.sink.clone(), self.stats.clone());
        match server {
            UpstreamStream::Tcp(server) => relay(client, server, link).await,
            UpstreamStream::Tls(server) => relay(client, server, link).await,
            UpstreamStream::Unix(server) => relay(client, server, link).await,
        }
    }

    fn report_unreachable(&self, error: &RelayError) {
        if error.party == Party::Proxy {
            // Redis may be well: the proxy has run out of open files, of memory or of local ports.
            self.stats.add(Shell::UpstreamExhausted, 1);
            if let Some(more) = self.exhausted.admit(Instant::now()) {
                tracing::warn!(%error, more, "the proxy has no room for another connection; the client's was closed");
            }
            return;
        }
        self.stats.add(Shell::UpstreamFailures, 1);
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

/// Has the socket watched by this thread instead of the one that accepted it.
fn move_here(client: TcpStream) -> io::Result<TcpStream> {
    TcpStream::from_std(client.into_std()?)
}

/// Says why, if the socket takes it at once, and closes.
fn refuse(client: TcpStream) {
    // As a standard socket, because tokio's does not try to write before it was once told that it can.
    if let Ok(mut client) = client.into_std() {
        let _ = client.write(TOO_MANY);
    }
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
