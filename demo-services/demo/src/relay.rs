//! Sends on to Jaeger, or any other collector, what the demo's receiver gets.
//!
//! The sidecars send to the demo's receiver only; this passes each of their requests on unchanged, so that the demo's
//! trees and Jaeger's pages show the same spans.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use otlp_receiver::proto::collector::trace::v1::ExportTraceServiceRequest;
use otlp_receiver::proto::collector::trace::v1::trace_service_client::TraceServiceClient;
use otlp_receiver::{ReceivedRequest, Receiver};
use prost::Message;
use redistributed_core::printable::printable;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use crate::failure::Failure;
use crate::screen::Screen;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const PAGES: &str = "JAEGER_UI";

/// The port of Jaeger's pages.
const PAGES_PORT: u16 = 16686;

/// How long the collector may take for one request.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// How long the last requests may take all together.
const FINISH_DEADLINE: Duration = Duration::from_secs(10);

/// Where spans go besides the demo.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Destination {
    endpoint: String,
    protocol: Protocol,
    pages: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Http,
}

/// A task that sends on request after request.
pub(crate) struct Relay {
    destination: Destination,
    receiver: Arc<Receiver>,
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    /// Requests that were tried.
    requests: usize,
    /// Spans that the collector took.
    spans: usize,
    /// The first thing that went wrong.
    error: Option<String>,
}

impl Destination {
    /// From the standard variables; `None` if no endpoint is set.
    pub(crate) fn from_environment() -> Result<Option<Self>, Failure> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        variable(ENDPOINT).map(|endpoint| Self::new(endpoint, variable(PROTOCOL), variable(PAGES))).transpose()
    }

    /// The viewer, which takes spans at `otlp` and shows them at `page`.
    ///
    /// # Errors
    /// A collector is set, and spans are sent on to one place.
    pub(crate) fn viewer(otlp: SocketAddr, page: SocketAddr) -> Result<Self, Failure> {
        if Self::from_environment()?.is_some() {
            let reason = "with --view, spans are sent on to the viewer, and there is one place for them";
            return Err(Failure::Setting { variable: ENDPOINT, reason: reason.to_owned() });
        }
        Ok(Self { endpoint: format!("http://{otlp}"), protocol: Protocol::Http, pages: format!("http://{page}/#") })
    }

    fn new(endpoint: String, protocol: Option<String>, pages: Option<String>) -> Result<Self, Failure> {
        let wrong = |variable, reason: &str| Failure::Setting { variable, reason: reason.to_owned() };
        let uri: Uri = endpoint.parse().map_err(|_| wrong(ENDPOINT, "it is not a URL"))?;
        let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(wrong(ENDPOINT, "the demo sends spans on to http:// addresses only"));
        };
        let protocol = match protocol.as_deref() {
            None | Some("http/protobuf") => Protocol::Http,
            Some("grpc") => Protocol::Grpc,
            Some(_) => return Err(wrong(PROTOCOL, "it is neither http/protobuf nor grpc")),
        };
        let pages = pages.unwrap_or_else(|| format!("http://{host}:{PAGES_PORT}"));
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            protocol,
            pages: pages.trim_end_matches('/').to_owned(),
        })
    }

    /// Jaeger's page, or the viewer's, for a trace.
    pub(crate) fn link(&self, trace_id: &str) -> String {
        format!("{}/trace/{trace_id}", self.pages)
    }

    /// The address of these pages.
    pub(crate) fn page(&self) -> &str {
        self.pages.trim_end_matches('#')
    }
}

impl Relay {
    /// Must be called on a tokio runtime.
    pub(crate) fn start(destination: Destination, receiver: Arc<Receiver>) -> Self {
        let (sender, progress) = watch::channel(Progress::default());
        let task = tokio::spawn(send_on(destination.clone(), Arc::clone(&receiver), sender));
        Self { destination, receiver, progress, task }
    }

    /// Waits until all that has been received has been sent on, and says so.
    ///
    /// # Errors
    /// If the collector did not take everything.
    pub(crate) async fn finish(mut self, screen: &Screen) -> Result<(), Failure> {
        let due = self.receiver.requests().len();
        let done = self.progress.wait_for(|progress| progress.requests >= due);
        let in_time = tokio::time::timeout(FINISH_DEADLINE, done).await.is_ok();
        self.task.abort();
        let Progress { spans, error, .. } = self.progress.borrow().clone();
        let late = || format!("not done within {} s", FINISH_DEADLINE.as_secs());
        match error.or_else(|| (!in_time).then(late)) {
            None => {
                screen.line(format_args!("  Spans sent on to {}: {spans}", self.destination.endpoint));
                Ok(())
            }
            Some(reason) => Err(Failure::Relay { endpoint: self.destination.endpoint.clone(), reason }),
        }
    }
}

/// Sends every accepted request on, in order; ends only when aborted.
async fn send_on(destination: Destination, receiver: Arc<Receiver>, progress: watch::Sender<Progress>) {
    let sender = Sender::new(&destination);
    let mut next = 0;
    loop {
        // Running out of time only means that nothing new has come.
        let _ = receiver.wait_for(ANSWER_DEADLINE, |requests| requests.len() > next).await;
        let requests = receiver.requests();
        for request in &requests[next..] {
            let sent = match (&sender, request.accepted) {
                (_, false) => Ok(0),
                (Ok(sender), true) => match tokio::time::timeout(ANSWER_DEADLINE, sender.send(request)).await {
                    Ok(sent) => sent.map(|()| request.span_count()),
                    Err(_) => Err(format!("no answer within {} s", ANSWER_DEADLINE.as_secs())),
                },
                (Err(reason), true) => Err(reason.clone()),
            };
            progress.send_modify(|progress| {
                progress.requests += 1;
                match sent {
                    Ok(spans) => progress.spans += spans,
                    Err(reason) => _ = progress.error.get_or_insert(reason),
                }
            });
        }
        next = requests.len();
    }
}

/// One connection to the collector.
enum Sender {
    Grpc(Box<TraceServiceClient<Channel>>),
    Http(Uri, Box<Client<HttpConnector, Full<Bytes>>>),
}

impl Sender {
    fn new(destination: &Destination) -> Result<Self, String> {
        match destination.protocol {
            Protocol::Grpc => {
                let endpoint =
                    Endpoint::from_shared(destination.endpoint.clone()).map_err(|error| error.to_string())?;
                Ok(Self::Grpc(Box::new(TraceServiceClient::new(endpoint.connect_lazy()))))
            }
            Protocol::Http => {
                let uri = format!("{}/v1/traces", destination.endpoint).parse();
                let uri = uri.map_err(|error: http::uri::InvalidUri| error.to_string())?;
                Ok(Self::Http(uri, Box::new(Client::builder(TokioExecutor::new()).build_http())))
            }
        }
    }

    async fn send(&self, request: &ReceivedRequest) -> Result<(), String> {
        let message: &ExportTraceServiceRequest = &request.message;
        match self {
            Self::Grpc(client) => match client.clone().export(message.clone()).await {
                Ok(_) => Ok(()),
                Err(status) => Err(format!("gRPC {:?}: {}", status.code(), printable(status.message()))),
            },
            Self::Http(uri, client) => {
                let request = Request::post(uri)
                    .header(CONTENT_TYPE, "application/x-protobuf")
                    .body(Full::from(message.encode_to_vec()))
                    .map_err(|error| error.to_string())?;
                let response = client.request(request).await.map_err(|error| causes(&error))?;
                let status = response.status();
                // Read to its end, so that the connection can be used again.
                response.into_body().collect().await.map_err(|error| causes(&error))?;
                if status.is_success() { Ok(()) } else { Err(format!("HTTP {status}")) }
            }
        }
    }
}

/// An error with what caused it: hyper's own words stop at "client error".
fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(endpoint: &str, protocol: Option<&str>, pages: Option<&str>) -> Result<Destination, String> {
        let owned = |value: Option<&str>| value.map(str::to_owned);
        Destination::new(endpoint.to_owned(), owned(protocol), owned(pages)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn links_lead_to_the_collectors_host_unless_told_otherwise() {
        assert_eq!(destination("http://jaeger:4318/", None, None).unwrap().link("ab"), "http://jaeger:16686/trace/ab");
        let elsewhere = destination("http://127.0.0.1:4317", Some("grpc"), Some("https://traces/")).unwrap();
        assert_eq!(elsewhere.link("ab"), "https://traces/trace/ab");
        assert!(destination("https://jaeger:4318", None, None).unwrap_err().contains("http:// addresses only"));
        assert!(destination("jaeger:4318", None, None).is_err());
        assert!(destination("http://jaeger", Some("http/json"), None).unwrap_err().contains(PROTOCOL));
    }

    /// Sends one request to `from`, relays it to `to` and returns what arrived there.
    async fn relayed(protocol: &str) -> (usize, String) {
        let (from, to) = (Arc::new(Receiver::start().await.unwrap()), Receiver::start().await.unwrap());
        let endpoint = if protocol == "grpc" { to.grpc_endpoint() } else { to.http_endpoint() };
        let relay = Relay::start(destination(&endpoint, Some(protocol), None).unwrap(), Arc::clone(&from));

        let span = otlp_receiver::proto::trace::v1::Span { name: "publish x".to_owned(), ..Default::default() };
        let scope = otlp_receiver::proto::trace::v1::ScopeSpans { spans: vec![span], ..Default::default() };
        let resource =
            otlp_receiver::proto::trace::v1::ResourceSpans { scope_spans: vec![scope], ..Default::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![resource] };
        let mut sidecar = TraceServiceClient::connect(from.grpc_endpoint()).await.unwrap();
        sidecar.export(request).await.unwrap();

        relay.finish(&Screen::stdout()).await.unwrap();
        let spans = to.spans();
        (spans.len(), format!("{} {}", to.requests()[0].path, spans[0].span.name))
    }

    #[tokio::test]
    async fn spans_are_sent_on_by_both_protocols() {
        assert_eq!(relayed("http/protobuf").await, (1, "/v1/traces publish x".to_owned()));
        let (count, text) = relayed("grpc").await;
        assert_eq!(count, 1);
        assert!(text.ends_with(" publish x"), "{text}");
    }

    #[tokio::test]
    async fn a_collector_that_refuses_is_named() {
        let (from, to) = (Arc::new(Receiver::start().await.unwrap()), Receiver::start().await.unwrap());
        to.behave(otlp_receiver::Behaviour::Refuse(otlp_receiver::Refusal::UNAVAILABLE));
        let relay = Relay::start(destination(&to.http_endpoint(), None, None).unwrap(), Arc::clone(&from));
        let mut sidecar = TraceServiceClient::connect(from.grpc_endpoint()).await.unwrap();
        sidecar.export(ExportTraceServiceRequest::default()).await.unwrap();
        let failure = relay.finish(&Screen::stdout()).await.unwrap_err().to_string();
        assert!(failure.contains(&to.http_endpoint()) && failure.contains("503"), "{failure}");
    }
}
