//! Accepting clients, at most so many at a time in the whole process.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::entropy::Entropy;
use crate::error::is_exhaustion;
use crate::logging::Throttle;
use crate::net::listener::{Client, Socket};
use crate::telemetry::stats::{ProxyCounter, Stats};
use crate::workers::{Assignment, Workers};

/// What serves the clients of one listener.
pub trait Endpoint: Send + Sync + 'static {
    /// The counters of its service, in which its clients are counted.
    fn stats(&self) -> &Stats;

    /// Closes the connection of a client that is over the limit.
    fn refuse(&self, client: Client);

    /// Serves one client until its connection ends, and keeps its admission as long.
    fn serve(self: Arc<Self>, client: Client, ids: Entropy, admission: Admission) -> impl Future<Output = ()> + Send;
}

/// What a client that was admitted takes until this is dropped.
#[derive(Debug)]
pub struct Admission {
    _permit: OwnedSemaphorePermit,
    _thread: Assignment,
}

/// What all endpoints of the process accept with.
#[derive(Clone, Debug)]
pub struct Acceptor {
    /// One permit for each client that may be connected.
    permits: Arc<Semaphore>,
    workers: Arc<Workers>,
    stop: CancellationToken,
}

impl Acceptor {
    /// Accepts until `stop`, with at most `max_connections` clients at a time. Their connections run on `workers`.
    pub fn new(max_connections: usize, workers: Arc<Workers>, stop: CancellationToken) -> Self {
        Self { permits: Arc::new(Semaphore::new(max_connections)), workers, stop }
    }

    /// Accepts clients of one endpoint until the process begins to stop. Returns the connections that are open then.
    pub async fn run(self, endpoint: Arc<impl Endpoint>, socket: Socket, mut entropy: Entropy) -> JoinSet<()> {
        let mut connections = JoinSet::new();
        let over_limit = Throttle::new();
        let mut backoff = Backoff::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return connections,
                Some(ended) = connections.join_next() => {
                    report_defect(ended);
                    continue;
                }
                accepted = socket.accept() => accepted,
            };
            let client = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    backoff.wait(&error, &self.stop).await;
                    continue;
                }
            };
            backoff.reset();
            endpoint.stats().add(ProxyCounter::ConnectionsAccepted, 1);
            match Arc::clone(&self.permits).try_acquire_owned() {
                Ok(permit) => {
                    let thread = self.workers.assign();
                    let runtime = thread.runtime.clone();
                    let admission = Admission { _permit: permit, _thread: thread };
                    let connection = Arc::clone(&endpoint).serve(client, entropy.split(), admission);
                    connections.spawn_on(connection, &runtime);
                }
                Err(_) => {
                    endpoint.stats().add(ProxyCounter::ConnectionsRefused, 1);
                    if let Some(more) = over_limit.admit(Instant::now()) {
                        tracing::warn!(more, "--max-connections reached; a connection was refused");
                    }
                    endpoint.refuse(client);
                }
            }
        }
    }
}

/// Logs a connection's task that did not return. Its connection is closed; the others go on.
pub fn report_defect(ended: Result<(), JoinError>) {
    static LOST: Throttle = Throttle::new();
    if ended.is_err_and(|error| error.is_panic())
        && let Some(more) = LOST.admit(Instant::now())
    {
        tracing::error!(more, "a connection was lost to a defect of the proxy");
    }
}

/// The pauses after failed accepts, so that running out of file descriptors does not become a busy loop.
#[derive(Default)]
struct Backoff {
    delay: Duration,
    warning: Throttle,
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
        if let Some(more) = self.warning.admit(Instant::now()) {
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
        if let Some(more) = self.warning.settle(Instant::now()) {
            tracing::warn!(more, "connections are accepted again");
        }
    }
}
