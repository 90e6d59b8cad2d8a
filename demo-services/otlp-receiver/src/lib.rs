//! A small OTLP receiver: what the demo prints from and the tests check against.
//!
//! It listens on two ports of 127.0.0.1 that the system chooses, one for OTLP/gRPC and one for OTLP/HTTP with protobuf
//! bodies, takes gzip on both, and keeps every request whole: the decoded message, the path, the headers. How it answers is a
//! [`Behaviour`] that can be changed while it runs, so that a test can play a slow, refusing or hanging collector.
//!
//! Nothing is ever forgotten: it is meant for a test or a demo, not for a service that runs for days.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use otlp_receiver::{Behaviour, Receiver, Refusal};
//!
//! let collector = Receiver::start().await?;
//! println!("OTEL_EXPORTER_OTLP_ENDPOINT={}", collector.http_endpoint());
//! collector.behave(Behaviour::Refuse(Refusal::UNAVAILABLE));
//! assert!(collector.spans().is_empty());
//! # Ok(())
//! # }
//! ```

mod behaviour;
mod grpc;
mod http;
mod log;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use behaviour::{Behaviour, Refusal};
pub use log::{Received, ReceivedMetrics, ReceivedRequest, ReceivedSpan, TimedOut, Transport};
pub use opentelemetry_proto::tonic as proto;

use log::Log;

/// A running receiver. Dropping it closes both ports.
#[derive(Debug)]
pub struct Receiver {
    grpc: SocketAddr,
    http: SocketAddr,
    log: Arc<Log>,
    _servers: JoinSet<()>,
}

impl Receiver {
    /// Binds both ports and starts to serve, on the current tokio runtime.
    ///
    /// # Errors
    /// If a port of 127.0.0.1 cannot be bound.
    pub async fn start() -> io::Result<Self> {
        let grpc_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let http_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (grpc, http) = (grpc_listener.local_addr()?, http_listener.local_addr()?);
        let log = Arc::new(Log::default());
        let mut servers = JoinSet::new();
        servers.spawn(grpc::serve(grpc_listener, Arc::clone(&log)));
        servers.spawn(http::serve(http_listener, Arc::clone(&log)));
        Ok(Self { grpc, http, log, _servers: servers })
    }

    /// `http://127.0.0.1:PORT`, for `OTEL_EXPORTER_OTLP_PROTOCOL=grpc`.
    pub fn grpc_endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// `http://127.0.0.1:PORT`, for `OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`. Every path is taken and recorded, as one for metrics if
    /// it ends in `/v1/metrics`, otherwise as one for spans.
    pub fn http_endpoint(&self) -> String {
        format!("http://{}", self.http)
    }

    /// The address behind [`grpc_endpoint`](Self::grpc_endpoint).
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc
    }

    /// The address behind [`http_endpoint`](Self::http_endpoint).
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// How requests are answered from now on. Requests that already wait keep the behaviour they met.
    pub fn behave(&self, behaviour: Behaviour) {
        self.log.set_behaviour(behaviour);
    }

    /// Every request with metrics so far, in the order of arrival, accepted or not.
    pub fn metrics(&self) -> Vec<ReceivedMetrics> {
        self.log.metrics()
    }

    /// Waits until `satisfied` says yes to the requests with metrics so far. It is asked once at the start and then after each
    /// arrival.
    ///
    /// # Errors
    /// [`TimedOut`], with the spans that had arrived, once `deadline` has passed.
    pub async fn wait_for_metrics(
        &self,
        deadline: Duration,
        satisfied: impl FnMut(&[ReceivedMetrics]) -> bool,
    ) -> Result<(), TimedOut> {
        self.log.wait_for_metrics(deadline, satisfied).await
    }

    /// Every request with spans so far, in the order of arrival, accepted or not.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.log.requests()
    }

    /// The spans of all accepted requests, in the order of arrival, each with its resource and scope.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.log.requests().iter().filter(|request| request.accepted).flat_map(ReceivedRequest::spans).collect()
    }

    /// The most requests that were being answered at one time.
    pub fn peak_in_flight(&self) -> usize {
        self.log.peak_in_flight()
    }

    /// Waits until `satisfied` says yes to the requests so far. It is asked once at the start and then after each
    /// arrival.
    ///
    /// # Errors
    /// [`TimedOut`], with what had arrived, once `deadline` has passed.
    pub async fn wait_for(
        &self,
        deadline: Duration,
        satisfied: impl FnMut(&[ReceivedRequest]) -> bool,
    ) -> Result<(), TimedOut> {
        self.log.wait_for(deadline, satisfied).await
    }

    /// Waits for at least `count` spans in accepted requests and returns all that came.
    ///
    /// # Errors
    /// [`TimedOut`], with what had arrived, once `deadline` has passed.
    pub async fn wait_for_spans(&self, count: usize, deadline: Duration) -> Result<Vec<ReceivedSpan>, TimedOut> {
        let enough = |requests: &[ReceivedRequest]| {
            requests.iter().filter(|request| request.accepted).map(ReceivedRequest::span_count).sum::<usize>() >= count
        };
        self.wait_for(deadline, enough).await?;
        Ok(self.spans())
    }
}
