//! A Redis endpoint: from a client that was accepted to its relay.
//!
//! Redis is dialled as soon as a client connects, or has done its TLS handshake: some protocols on its port let the
//! server speak first. A client that hangs up meanwhile ends the attempt, and nothing that it has sent reaches Redis.

mod look_upstream;
mod refusals;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redistributed_core::policy::Mode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::failures::Failures;
use super::{Admission, Endpoint};
use crate::auto::AutoMode;
use crate::entropy::Entropy;
use crate::error::RelayError;
use crate::net::hop::{ANSWER, LONGEST_GREETING, Nature, Questions, REFUSAL};
use crate::net::listener::{Client, ClientName, Handshakes};
use crate::net::peer::Peer;
use crate::net::stream::Stream;
use crate::net::upstream::{DialError, Dialer};
use crate::out_of_band::{Hearer, OutOfBand};
use crate::relay::{Link, relay};
use crate::service::Service;
use crate::settings::Upstream;
use crate::telemetry::stats::{ProxyCounter, Stats};
use crate::telemetry::{Connection, NetworkPeer, SpanListener, SpanSink};
use look_upstream::Burst;
pub use look_upstream::nature_of;
use refusals::Refusals;

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
    out_of_band: Arc<OutOfBand>,
    questions: Questions,
    burst: Burst,
    failures: Failures,
    refusals: Refusals,
}

impl RedisEndpoint {
    /// An endpoint of `service` without connections.
    pub fn new(
        service: Arc<Service>,
        dialer: Dialer,
        handshakes: Option<Handshakes>,
        sink: SpanSink,
        auto: Arc<AutoMode>,
        out_of_band: Arc<OutOfBand>,
        questions: Questions,
    ) -> Arc<Self> {
        let sink = sink.heard_by(Arc::clone(out_of_band.outbox()) as Arc<dyn SpanListener>);
        let (burst, failures) = (Burst::default(), Failures::new("rediss://", "connection"));
        let refusals = Refusals::default();
        Arc::new(Self { service, dialer, handshakes, sink, auto, out_of_band, questions, burst, failures, refusals })
    }

    /// Keeps up what is known of the upstream, for as long as the future is polled. Tells `circles` of it if the first thing that
    /// is found out is that it leads back to this proxy.
    pub async fn look_upstream(self: Arc<Self>, ids: Entropy, circles: mpsc::Sender<Upstream>) {
        look_upstream::run(self, ids, circles).await;
    }

    /// The way to its Redis.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// What is known of the subscribers of its Redis, for mode `auto`.
    pub fn auto(&self) -> &Arc<AutoMode> {
        &self.auto
    }

    /// Spawns what goes on at its Redis beside the connections of clients.
    pub fn start(&self, tasks: &mut JoinSet<()>) {
        self.auto.start(tasks);
        self.out_of_band.start(Arc::clone(&self.service.follow) as Arc<dyn Hearer>, tasks);
    }

    async fn connect_and_relay(&self, client: Client, ids: Entropy) -> Relayed {
        let client = client.move_here(self.dialer.timeouts()).map_err(RelayError::watch)?;
        let peer = client.peer.clone();
        // Each step is boxed: a connection that runs should not keep the room that its beginning took.
        let mut client = match Box::pin(client.into_stream(self.handshakes.as_ref())).await {
            Ok(client) => client,
            Err(error) => {
                self.failures.handshake(self.stats(), &peer, &error);
                return Ok(());
            }
        };
        if let Some(neighbour) = self.dialer.neighbour() {
            if neighbour.known() == Nature::Circle {
                self.stats().add(ProxyCounter::ConnectionsInCircle, 1);
                Box::pin(self.turn_away(client)).await;
                return Ok(());
            }
            if self.burst.count() {
                neighbour.ask();
            }
        }
        // One that leaves contexts in messages must not keep the next proxy from removing them.
        let announces = !self.service.policy.current().uses(Mode::Observe);
        let failed = Notify::new();
        let tried_again = |failure: &io::Error| {
            failed.notify_one();
            self.stats().add(ProxyCounter::UpstreamRetries, 1);
            tracing::debug!(%peer, error = %failure, "cannot reach Redis; trying again");
        };
        let answered = AtomicBool::new(false);
        let patience = async {
            // Whichever comes first.
            let _ = timeout(PROMPT, failed.notified()).await;
        };
        let began = Instant::now();
        let dialled = tokio::select! {
            biased;
            dialled = Box::pin(self.dialer.dial(announces, tried_again)) => dialled,
            () = Box::pin(self.while_dialled(&mut client, &answered, patience)) => {
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
        self.carry(client, &peer, server, ids, answered.into_inner()).await
    }

    /// What is done for a client while Redis is dialled: its question is answered, if it is a proxy that asks one. Completes when the
    /// client has left.
    async fn while_dialled(&self, client: &mut Stream, answered: &AtomicBool, patience: impl Future<Output = ()>) {
        let mut first = [0; LONGEST_GREETING];
        let seen = client.peek(&mut first).await.unwrap_or(0);
        if self.questions.recognise(&first[..seen])
            && client.write_all(ANSWER).await.is_ok()
            && client.flush().await.is_ok()
        {
            answered.store(true, Ordering::Relaxed);
        }
        client.hung_up(patience, |client| client.has_left() == Some(true)).await;
    }

    /// Tells a client that the upstream leads back to this proxy. It may be the proxy's own question whether it still does.
    async fn turn_away(&self, mut client: Stream) {
        let mut first = [0; 256];
        let asked = timeout(PROMPT, client.read(&mut first)).await;
        if let Ok(Ok(len)) = asked {
            self.questions.recognise(&first[..len]);
        }
        farewell(client, REFUSAL).await;
    }

    /// The relay, which is nearly all that a running connection has.
    fn carry(
        &self,
        client: Stream,
        name: &ClientName,
        server: Stream,
        ids: Entropy,
        answered: bool,
    ) -> Pin<Box<dyn Future<Output = Relayed> + Send>> {
        let redis = match (server.peer(), self.dialer.upstream()) {
            (Some(address), _) => Some(NetworkPeer::Socket(address)),
            (None, Upstream::Unix(_)) => Some(NetworkPeer::Unix(self.dialer.upstream().server_address().into())),
            (None, _) => None,
        };
        let (interests, outbox) = (self.out_of_band.interests(), self.out_of_band.outbox());
        let followed = self.service.follow.connection(self.dialer.upstream());
        let followed = followed.hearing(Arc::clone(interests)).telling(Arc::clone(outbox));
        let mut link = Link::new(&self.service.policy, ids, self.sink.clone(), Arc::clone(&self.service.stats))
            .between(Connection::new(Some(name.to_string()), redis))
            .tracked(self.auto.track(server.peer()))
            .followed(followed)
            .listening(self.out_of_band.subscriptions().of_connection())
            .recognising(self.questions.clone(), answered);
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
                self.failures.failed(&peer, &error);
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
