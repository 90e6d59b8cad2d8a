//! A Redis endpoint: from a client that was accepted to its relay.
//!
//! Redis is dialled as soon as a client connects, or has done its TLS handshake: some protocols on its port let the
//! server speak first. A client that hangs up meanwhile ends the attempt, and nothing that it has sent reaches Redis.

mod failures;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Admission, Endpoint};
use crate::auto::AutoMode;
use crate::entropy::Entropy;
use crate::error::RelayError;
use crate::net::listener::{Client, ClientName, Handshakes};
use crate::net::stream::Stream;
use crate::net::upstream::{DialError, Dialer};
use crate::relay::{Link, relay};
use crate::service::Service;
use crate::settings::Upstream;
use crate::telemetry::stats::{ProxyCounter, Stats};
use crate::telemetry::{Connection, NetworkPeer, SpanSink};
use failures::Failures;

/// What Redis itself answers at its own limit, before it closes the connection. By TLS it just closes it, because no
/// handshake has been done; so does the proxy.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// The time from a client's connection on in which it may ask something and shut its side before Redis is reached, as scripts do.
/// It ends early if an attempt to reach Redis fails. Who shuts his side later has given up waiting: without the proxy, nothing
/// of what he sent would have left his machine, and he may send it again.
const PROMPT: Duration = Duration::from_millis(250);

/// How long a client that cannot be served may take to fetch why.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

/// How a connection has ended.
type Relayed = Result<(), RelayError>;

/// An address where a service's clients connect, and the Redis behind it.
#[derive(Debug)]
pub struct RedisEndpoint {
    service: Arc<Service>,
    dialer: Dialer,
    /// For a listener with TLS.
    handshakes: Option<Handshakes>,
    sink: SpanSink,
    auto: Arc<AutoMode>,
    failures: Failures,
}

impl RedisEndpoint {
    /// An endpoint of `service` without connections.
    pub fn new(
        service: Arc<Service>,
        dialer: Dialer,
        handshakes: Option<Handshakes>,
        sink: SpanSink,
        auto: Arc<AutoMode>,
    ) -> Arc<Self> {
        Arc::new(Self { service, dialer, handshakes, sink, auto, failures: Failures::default() })
    }

    /// The way to its Redis.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// What is known of the subscribers of its Redis, for mode `auto`.
    pub fn auto(&self) -> &Arc<AutoMode> {
        &self.auto
    }

    async fn connect_and_relay(&self, client: Client, ids: Entropy) -> Relayed {
        let client = client.move_here(self.dialer.timeouts()).map_err(RelayError::watch)?;
        let peer = client.peer.clone();
        // Each step is boxed: a connection that runs should not keep the room that its beginning took.
        let mut client = match Box::pin(client.into_stream(self.handshakes.as_ref())).await {
            Ok(client) => client,
            Err(error) => {
                self.report_handshake(&peer, &error);
                return Ok(());
            }
        };
        let failed = Notify::new();
        let tried_again = |failure: &io::Error| {
            failed.notify_one();
            self.stats().add(ProxyCounter::UpstreamRetries, 1);
            tracing::debug!(%peer, error = %failure, "cannot reach Redis; trying again");
        };
        let patience = async {
            // Whichever comes first.
            let _ = timeout(PROMPT, failed.notified()).await;
        };
        let began = Instant::now();
        let dialled = tokio::select! {
            biased;
            dialled = Box::pin(self.dialer.dial(tried_again)) => dialled,
            () = client.hung_up(patience) => {
                tracing::debug!(%peer, "the client has hung up before Redis was reached");
                return Ok(());
            }
        };
        self.stats().connected(dialled.is_ok(), began.elapsed());
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
        self.carry(client, &peer, server, ids).await
    }

    /// The relay, which is nearly all that a running connection has.
    fn carry(
        &self,
        client: Stream,
        name: &ClientName,
        server: Stream,
        ids: Entropy,
    ) -> Pin<Box<dyn Future<Output = Relayed> + Send>> {
        let redis = match (server.peer(), self.dialer.upstream()) {
            (Some(address), _) => Some(NetworkPeer::Socket(address)),
            (None, Upstream::Unix(_)) => Some(NetworkPeer::Unix(self.dialer.upstream().server_address().into())),
            (None, _) => None,
        };
        let mut link = Link::new(&self.service.policy, ids, self.sink.clone(), Arc::clone(&self.service.stats))
            .between(Connection::new(Some(name.to_string()), redis))
            .tracked(self.auto.track(server.peer()));
        if let Some(database) = self.dialer.logs_clients_in() {
            link.logged_in(database);
        }
        Box::pin(relay(client, server, link, self.dialer.timeouts().user_timeout))
    }
}

impl Endpoint for RedisEndpoint {
    fn stats(&self) -> &Stats {
        &self.service.stats
    }

    /// As Redis does at its own limit.
    fn refuse(&self, client: Client) {
        client.refuse(if self.handshakes.is_some() { b"" } else { TOO_MANY });
    }

    async fn serve(self: Arc<Self>, client: Client, ids: Entropy, _admission: Admission) {
        let _open = self.stats().connection();
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
    // A client that has gone or does not close in time is not waited for.
    let _ = timeout(FAREWELL_LIMIT, said).await;
}
