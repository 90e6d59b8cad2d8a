//! HTTP/2: streams between a client and the service.
//!
//! The compression of headers depends on all headers before, and flow control on both ends, so HTTP/2 cannot be passed on byte by
//! byte. hyper reads it here and writes it there: a stream for each stream, on one connection to the service for one of the
//! client. Headers, content, trailers, resets with their reasons, and the pace of the one who reads are passed on.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::uri::{Authority, Parts, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http2 as to_service;
use hyper::server::conn::http2 as to_client;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use redistributed_core::http::witness::SHOWN_BODY;
use redistributed_core::http::{
    Environment, Exchange, HttpPolicy, RequestHead, RequestId, RequestSeen, Witness, counter_of,
};
use redistributed_core::service::Event;
use redistributed_core::trace::ErrorType;
use redistributed_core::trace::request::Version;
use redistributed_core::{Counter, Counts, Side};
use tokio::io::copy_bidirectional;
use tokio::task::JoinSet;

use super::HttpEndpoint;
use super::counted::Counted;
use super::observed::{Observed, Observer};
use crate::clock;
use crate::entropy::Entropy;
use crate::live_policy::PolicyView;
use crate::net::stream::Stream;
use crate::relay::Spans;
use crate::telemetry::stats::Stats;

/// The bytes with which a client begins that speaks HTTP/2 without having asked (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame's header, in bytes (RFC 9113, section 4.1).
pub(super) const FRAME_HEADER: usize = 9;

/// Whether a service that speaks first speaks HTTP/2: many send their SETTINGS without waiting for the client's preface, as they may
/// (RFC 9113, section 3.4).
pub(super) fn begins_with_settings(first: &[u8]) -> bool {
    // The type SETTINGS, no flags, and the stream 0, behind a length of three bytes.
    matches!(first, [_, _, _, 4, 0, 0, 0, 0, 0])
}

/// How much of a stream may be on its way to the proxy while nobody reads it, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same of all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How much of a stream the proxy holds for one who does not take it, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// The most streams that a client may have at a time, which is hyper's default.
const MAX_STREAMS: u32 = 200;

/// Carries the streams of `client` to `server` until one of the two leaves, or the process stops and all streams are over.
///
/// # Errors
/// The client's connection failed.
pub(super) async fn carry(
    endpoint: &HttpEndpoint,
    client: Stream,
    server: Stream,
    spans: Spans,
    ids: Entropy,
) -> Result<(), hyper::Error> {
    let tasks = Tasks::default();
    let _ends_with_this = tasks.guard();
    let stats = &endpoint.service.stats;
    let (client, server) = (Counted::new(client, Side::Client, stats), Counted::new(server, Side::Server, stats));
    let limit = u32::try_from(endpoint.settings.head_limit).unwrap_or(u32::MAX);
    let (sender, service) = to_service::Builder::new(tasks.clone())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(limit)
        .handshake(TokioIo::new(server))
        .await?;
    let shared = Arc::new(Shared::new(endpoint, spans, ids));
    let serve = {
        let (tasks, shared) = (tasks.clone(), Arc::clone(&shared));
        service_fn(move |request| forward(request, sender.clone(), Arc::clone(&shared), tasks.clone()))
    };
    let mut serving = std::pin::pin!(
        to_client::Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(limit)
            .max_concurrent_streams(MAX_STREAMS)
            .serve_connection(TokioIo::new(client), serve)
    );
    let mut service = std::pin::pin!(service);
    let (mut is_connected, mut is_leaving) = (true, false);
    loop {
        tokio::select! {
            ended = &mut serving => return ended,
            _ = &mut service, if is_connected => {
                // The client learns that it is to ask elsewhere, as it would from the service.
                is_connected = false;
                serving.as_mut().graceful_shutdown();
            }
            () = endpoint.stopping.cancelled(), if !is_leaving => {
                is_leaving = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The tasks of a connection's streams, which end with it.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// Ends all tasks when it is dropped. The tasks hold the set that they are in.
struct EndsTasks(Tasks);

impl Tasks {
    fn guard(&self) -> EndsTasks {
        EndsTasks(self.clone())
    }

    fn set(&self) -> MutexGuard<'_, JoinSet<()>> {
        // A panic elsewhere does not make a list of tasks wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EndsTasks {
    fn drop(&mut self) {
        self.0.set().abort_all();
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let mut set = self.set();
        while set.try_join_next().is_some() {}
        set.spawn(future);
    }
}

/// What the streams of a connection share.
pub(super) struct Shared {
    settings: Arc<HttpPolicy>,
    is_secure: bool,
    stats: Arc<Stats>,
    state: Mutex<State>,
}

struct State {
    policy: PolicyView,
    ids: Entropy,
    spans: Spans,
    witness: Option<Box<dyn Witness + Send>>,
    next_id: u64,
}

impl Shared {
    fn new(endpoint: &HttpEndpoint, spans: Spans, ids: Entropy) -> Self {
        let state = State {
            policy: PolicyView::open(&endpoint.service.policy),
            ids,
            spans,
            witness: endpoint.witnesses.as_ref().map(|witnesses| witnesses.witness()),
            next_id: 0,
        };
        Self {
            settings: Arc::clone(&endpoint.settings),
            is_secure: endpoint.handshakes.is_some(),
            stats: Arc::clone(&endpoint.service.stats),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each of its fields is right by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose exchange is not over.
pub(super) struct Pending {
    shared: Arc<Shared>,
    id: RequestId,
    exchange: Mutex<Option<Exchange>>,
}

/// Ends the span of a request whose client has left before there was a response, unless it was answered.
struct Unanswered(Option<Arc<Pending>>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(pending) = self.0.take() {
            pending.finish(Some(ErrorType::CLIENT_CLOSED));
        }
    }
}

/// Passes on one request, and its response.
async fn forward(
    request: Request<Incoming>,
    mut sender: to_service::SendRequest<Observed<Pending>>,
    shared: Arc<Shared>,
    tasks: Tasks,
) -> Result<Response<Observed<Pending>>, hyper::Error> {
    let (pending, mut request) = begin(request, &shared);
    let mut unanswered = Unanswered(Some(Arc::clone(&pending)));
    let tunnel = (request.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
    let answered = match sender.ready().await {
        Ok(()) => sender.send_request(request).await,
        Err(error) => Err(error),
    };
    unanswered.0 = None;
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => {
            // Whatever reset the stream there resets it here, with the same reason.
            pending.finish(Some(ErrorType::CONNECTION_CLOSED));
            return Err(error);
        }
    };
    pending.answered(&mut response);
    if let Some(with_client) = tunnel.filter(|_| response.status().is_success()) {
        let with_service = hyper::upgrade::on(&mut response);
        hyper::rt::Executor::execute(&tasks, async move {
            if let (Ok(client), Ok(service)) = tokio::join!(with_client, with_service) {
                // However it ends, it is over.
                let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(service)).await;
            }
        });
    }
    Ok(response.map(|body| Observed::new(body, Side::Server, pending)))
}

/// Begins the exchange of a request, and gives the request the headers of its span.
fn begin(request: Request<Incoming>, shared: &Arc<Shared>) -> (Arc<Pending>, Request<Observed<Pending>>) {
    let (mut parts, body) = request.into_parts();
    let method = parts.method.clone();
    let target = match (parts.uri.path_and_query(), parts.uri.authority()) {
        (Some(target), _) => target.as_str().to_owned(),
        (None, authority) => authority.map(Authority::as_str).unwrap_or_default().to_owned(),
    };
    let authority = parts.uri.authority().map(|authority| authority.as_str().to_owned());
    let mut state = shared.state();
    let State { policy, ids, witness, next_id, .. } = &mut *state;
    let policy = policy.current();
    let id = RequestId(*next_id);
    *next_id += 1;
    let mut head = RequestHead::new(method.as_str().as_bytes(), target.as_bytes(), Version::Http2, shared.is_secure);
    for (name, value) in &parts.headers {
        head.notice(name.as_str().as_bytes(), value.as_bytes());
    }
    if let Some(authority) = &authority {
        head.notice(b"host", authority.as_bytes());
    }
    let now = clock::now();
    let mut env = Environment { now, policy, ids, witness: None };
    let exchange = Exchange::begin(&head, now, &mut env, &shared.settings);
    if let Some(witness) = witness {
        let headers = |show: &mut dyn FnMut(&[u8], &[u8])| {
            parts.headers.iter().for_each(|(name, value)| show(name.as_str().as_bytes(), value.as_bytes()));
        };
        let (method, target) = (method.as_str().as_bytes(), target.as_bytes());
        let context = exchange.context();
        witness.request(now, RequestSeen { id, context: context.as_ref(), method, target, headers: &headers });
    }
    for (name, value) in exchange.request_headers(policy) {
        match value.map(HeaderValue::try_from) {
            Some(Ok(value)) => drop(parts.headers.insert(HeaderName::from_static(name), value)),
            _ => drop(parts.headers.remove(name)),
        }
    }
    drop(state);
    shared.stats.add_counts(&Counts::one(Counter::HttpRequests));
    parts.uri = with_authority(parts.uri, &parts.headers, &method);
    let pending = Arc::new(Pending { shared: Arc::clone(shared), id, exchange: Mutex::new(Some(exchange)) });
    let body = Observed::new(body, Side::Client, Arc::clone(&pending));
    (pending, Request::from_parts(parts, body))
}

/// The target with the authority of `Host`, if a client named it in that way.
fn with_authority(uri: Uri, headers: &HeaderMap, method: &Method) -> Uri {
    if uri.authority().is_some() || *method == Method::CONNECT {
        return uri;
    }
    let host = headers.get(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = Parts::from(uri.clone());
    (parts.scheme, parts.authority) = (Some(Scheme::HTTP), host);
    Uri::from_parts(parts).unwrap_or(uri)
}

impl Pending {
    /// Takes note of the response, and gives it the headers that tell the client of the span.
    fn answered(&self, response: &mut Response<Incoming>) {
        let status = response.status().as_u16();
        if let Some(exchange) = &mut *self.exchange() {
            exchange.answered(status);
            for (name, value) in exchange.response_headers(&self.shared.settings) {
                let name = HeaderName::from_bytes(name.as_bytes());
                if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                    response.headers_mut().append(name, value);
                }
            }
        }
        if let Some(counter) = counter_of(status) {
            self.shared.stats.add_counts(&Counts::one(counter));
        }
        if let Some(witness) = &mut self.shared.state().witness {
            witness.response(clock::now(), self.id, status);
        }
    }

    /// Ends the exchange, once.
    fn finish(&self, error: Option<&'static str>) {
        let Some(exchange) = self.exchange().take() else { return };
        let now = clock::now();
        let state = &mut *self.shared.state();
        if let Some(witness) = &mut state.witness {
            witness.over(now, self.id);
        }
        if let Some(span) = exchange.finish(now, error) {
            state.spans.hand_over(&mut vec![Event::Delivered(span)]);
        }
    }

    fn exchange(&self) -> MutexGuard<'_, Option<Exchange>> {
        // It is there or not.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Pending {
    fn saw(&self, from: Side, data: &[u8], shown: &mut usize) {
        if let Some(exchange) = &mut *self.exchange() {
            let size = match from {
                Side::Client => &mut exchange.request_size,
                Side::Server => &mut exchange.response_size,
            };
            *size += data.len() as u64;
        }
        let part = data.get(..data.len().min(SHOWN_BODY - *shown)).unwrap_or_default();
        if !part.is_empty() {
            *shown += part.len();
            self.show(from, part, false);
        }
    }

    fn ended(&self, from: Side) {
        self.show(from, &[], true);
        if from == Side::Server {
            self.finish(None);
        }
    }

    fn failed(&self, from: Side, error: &'static str) {
        if from == Side::Server {
            self.finish(Some(error));
        }
    }
}

impl Pending {
    fn show(&self, from: Side, data: &[u8], ended: bool) {
        let Some(witness) = &mut self.shared.state().witness else { return };
        match from {
            Side::Client => witness.request_body(self.id, data, ended),
            Side::Server => witness.response_body(clock::now(), self.id, data, ended),
        }
    }
}
