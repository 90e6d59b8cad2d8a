//! An HTTP endpoint: from a client that was accepted to its relay.
//!
//! A client has a connection of its own to the service, which is made as soon as the client has connected. So what belongs to a
//! connection stays together, and a service that is away is away for the client too: its connection is reset, and it gets no answer
//! that the service has not given.
//!
//! | module | what it knows |
//! |---|---|
//! | `link` | HTTP/1: what mediates between a client and the service |
//! | `http2` | HTTP/2: streams between a client and the service |
//! | `counted` | a connection whose bytes are counted |
//!
//! What a service itself asks by HTTP does not pass here. It would be an endpoint of its own, with CLIENT spans.

mod counted;
mod http2;
mod link;

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use redistributed_core::http::HttpPolicy;
use redistributed_core::http::witness::Witnesses;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::failures::Failures;
use super::{Admission, Endpoint};
use crate::entropy::Entropy;
use crate::error::RelayError;
use crate::net::listener::{Client, ClientName, Handshakes};
use crate::net::peer::Peer;
use crate::net::stream::Stream;
use crate::net::upstream::Dialer;
use crate::relay::{Spans, relay};
use crate::service::Service;
use crate::telemetry::stats::Stats;
use crate::telemetry::{Connection, SpanSink};
use http2::{FRAME_HEADER, PREFACE, begins_with_settings};
use link::HttpLink;

/// The time in which a client may ask something and shut its side before the service is reached.
const PROMPT: Duration = Duration::from_millis(250);

/// The time between two looks whether the rest of a preface has come.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The most looks at a preface that has begun. After that it is no preface.
const PREFACE_LOOKS: u32 = 40;

/// An address where a service's HTTP clients connect, and the service behind it.
pub struct HttpEndpoint {
    service: Arc<Service>,
    dialer: Dialer,
    /// How clients do their TLS handshake; `None` for a listener without TLS.
    handshakes: Option<Handshakes>,
    sink: SpanSink,
    settings: Arc<HttpPolicy>,
    /// Says that the process stops, so that connections end when nothing is asked on them.
    stopping: CancellationToken,
    witnesses: Option<Arc<dyn Witnesses>>,
    failures: Failures,
}

impl HttpEndpoint {
    /// An endpoint of `service` without connections.
    pub fn new(
        service: Arc<Service>,
        dialer: Dialer,
        handshakes: Option<Handshakes>,
        sink: SpanSink,
        settings: Arc<HttpPolicy>,
        stopping: CancellationToken,
    ) -> Self {
        let failures = Failures::new("https://", "HTTP connection");
        Self { service, dialer, handshakes, sink, settings, stopping, witnesses: None, failures }
    }

    /// Adds who is told of requests and responses before they are passed on.
    #[must_use]
    pub fn witnessed_by(mut self, witnesses: Arc<dyn Witnesses>) -> Self {
        self.witnesses = Some(witnesses);
        self
    }

    async fn connect_and_relay(&self, client: Client, ids: Entropy) -> Result<(), RelayError> {
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
        let dialled = tokio::select! {
            biased;
            dialled = Box::pin(self.dialer.connect()) => dialled,
            () = Box::pin(client.hung_up(sleep(PROMPT), |client| client.has_left() == Some(true))) => {
                tracing::debug!(%peer, "the client has hung up before the service was reached");
                return Ok(());
            }
        };
        let server = match dialled {
            Ok(server) => server,
            Err(error) => {
                // As the system of a service that is not there refuses it.
                client.close_by_reset();
                self.report_unreachable(&error);
                return Err(error);
            }
        };
        self.report_reachable();
        self.carry(client, &peer, server, ids).await
    }

    fn report_unreachable(&self, error: &RelayError) {
        self.failures.unreachable(self.stats(), error, |more| {
            let (service, port) = (self.dialer.upstream().server_address(), self.dialer.upstream().server_port());
            tracing::warn!(service, port, %error, more, "cannot reach the service; its HTTP client's connection was reset");
        });
    }

    fn report_reachable(&self) {
        self.failures.reachable(|more| {
            let (service, port) = (self.dialer.upstream().server_address(), self.dialer.upstream().server_port());
            tracing::warn!(service, port, more, "the service can be reached again");
        });
    }

    async fn carry(&self, client: Stream, peer: &ClientName, server: Stream, ids: Entropy) -> Result<(), RelayError> {
        let address = match peer {
            ClientName::Address(address) => Some(*address),
            ClientName::Process(_) => None,
        };
        let spans = Spans::new(self.sink.clone(), Connection::of_http(address));
        let (mut client, mut server) = (client, server);
        if Box::pin(begins_http2(&mut client, &mut server, &self.stopping)).await {
            if let Err(error) = Box::pin(http2::carry(self, client, server, spans, ids)).await {
                tracing::debug!(%peer, %error, "HTTP/2 connection over");
            }
            return Ok(());
        }
        let link = HttpLink::new(self, spans, ids);
        Box::pin(relay(client, server, link, self.dialer.timeouts().user_timeout)).await
    }
}

/// Whether the client begins with the preface of HTTP/2. Nothing is read. A service that speaks first in another protocol, or
/// leaves, is not kept waiting, and neither is the end of the process.
async fn begins_http2(client: &mut Stream, server: &mut Stream, stopping: &CancellationToken) -> bool {
    let preface = async {
        let mut first = [0; PREFACE.len()];
        // It nearly always comes as a whole. The beginning of one is that of a POST, too.
        for _ in 0..PREFACE_LOOKS {
            let seen = client.peek(&mut first).await.unwrap_or(0);
            match first.get(..seen) {
                Some(seen) if seen == PREFACE => return true,
                Some(seen) if !seen.is_empty() && PREFACE.starts_with(seen) => sleep(LOOK_EVERY).await,
                _ => return false,
            }
        }
        false
    };
    let interrupted = async {
        let mut first = [0; FRAME_HEADER];
        let seen = server.peek(&mut first).await.unwrap_or(0);
        if begins_with_settings(&first[..seen]) {
            server.hung_up(ready(()), |_| false).await;
        }
    };
    tokio::select! {
        biased;
        begins = preface => begins,
        () = interrupted => false,
        () = stopping.cancelled() => false,
    }
}

impl Endpoint for HttpEndpoint {
    fn stats(&self) -> &Stats {
        &self.service.stats
    }

    /// Closes the connection without an answer, as a service does that has no room for another.
    fn refuse(&self, client: Client) {
        client.refuse(b"");
    }

    async fn serve(self: Arc<Self>, client: Client, ids: Entropy, _admission: Admission) {
        let _open = self.stats().connection();
        let peer = client.peer.clone();
        tracing::debug!(%peer, "HTTP client connected");
        match self.connect_and_relay(client, ids).await {
            Ok(()) => tracing::debug!(%peer, "connection over"),
            Err(error) if error.is_hang_up() => tracing::debug!(%peer, %error, "connection cut off"),
            Err(error) => self.failures.failed(&peer, &error),
        }
    }
}
