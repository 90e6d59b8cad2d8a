//! From the request and the response of a stream to its span.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::uri::{self, Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, request, response};
use redistributed_core::http::witness::SHOWN_BODY;
use redistributed_core::http::{
    Environment, Exchange, HttpPolicy, RequestHead, RequestId, RequestSeen, Witness, counter_of,
};
use redistributed_core::service::Event;
use redistributed_core::trace::ErrorType;
use redistributed_core::trace::request::Version;
use redistributed_core::{Counter, Counts, Side};
use tokio::sync::Notify;

use super::super::HttpEndpoint;
use crate::clock;
use crate::entropy::Entropy;
use crate::live_policy::PolicyView;
use crate::relay::Spans;
use crate::telemetry::stats::Stats;

/// What the streams of a connection share.
pub(super) struct Shared {
    settings: Arc<HttpPolicy>,
    is_secure: bool,
    stats: Arc<Stats>,
    refused: Notify,
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
    /// For a connection without streams.
    pub(super) fn new(endpoint: &HttpEndpoint, spans: Spans, ids: Entropy) -> Self {
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
            refused: Notify::new(),
            state: Mutex::new(state),
        }
    }

    /// Takes note that the service looks at no more requests on its connection.
    pub(super) fn refused(&self) {
        self.refused.notify_one();
    }

    /// Completes when the service looks at no more requests on its connection.
    pub(super) async fn service_leaves(&self) {
        self.refused.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each of its fields is right by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The exchange of a stream, until it is over. Dropping it ends the span as one whose client has left.
pub(super) struct StreamExchange {
    shared: Arc<Shared>,
    id: RequestId,
    is_connect: bool,
    exchange: Mutex<Option<Exchange>>,
}

impl StreamExchange {
    /// Begins the exchange of a request, and gives the request the headers of its span.
    pub(super) fn begin(mut parts: request::Parts, shared: Arc<Shared>) -> (Self, request::Parts) {
        let method = parts.method.clone();
        let target = match (parts.uri.path_and_query(), parts.uri.authority()) {
            (Some(target), _) => target.as_str().to_owned(),
            (None, authority) => authority.map(Authority::as_str).unwrap_or_default().to_owned(),
        };
        let authority = parts.uri.authority().map(|authority| authority.as_str().to_owned());
        let mut state = shared.state();
        let State { policy, ids, witness, next_id, spans } = &mut *state;
        let policy = policy.current();
        let id = RequestId(*next_id);
        *next_id += 1;
        let mut head =
            RequestHead::new(method.as_str().as_bytes(), target.as_bytes(), Version::Http2, shared.is_secure);
        for (name, value) in &parts.headers {
            head.notice(name.as_str().as_bytes(), value.as_bytes());
        }
        if let Some(authority) = &authority {
            head.notice(b"host", authority.as_bytes());
        }
        let now = clock::now();
        let mut env = Environment { now, policy, measured: spans.is_measuring(), ids, witness: None };
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
        let is_connect = method == Method::CONNECT;
        name_authority(&mut parts);
        (Self { shared, id, is_connect, exchange: Mutex::new(Some(exchange)) }, parts)
    }

    /// The longest head that is passed on, in bytes.
    pub(super) fn head_limit(&self) -> usize {
        self.shared.settings.head_limit
    }

    /// Takes note of the response, and gives it the headers that tell the client of the span.
    pub(super) fn answered(&self, response: &mut response::Parts) {
        let status = response.status.as_u16();
        if let Some(exchange) = &mut *self.exchange() {
            exchange.answered(status);
            for (name, value) in exchange.response_headers(&self.shared.settings) {
                let name = HeaderName::from_bytes(name.as_bytes());
                if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                    response.headers.append(name, value);
                }
            }
        }
        if let Some(counter) = counter_of(status) {
            self.shared.stats.add_counts(&Counts::one(counter));
        }
        if let Some(witness) = &mut self.shared.state().witness {
            witness.response(clock::now(), self.id, status);
        }
        if self.is_connect && response.status.is_success() {
            // What follows is another protocol's.
            self.shared.stats.add_counts(&Counts::one(Counter::HttpTunnels));
            self.finish(None);
        }
    }

    /// The next bytes that `from` sends. `shown` is how many have been shown to a witness.
    pub(super) fn saw(&self, from: Side, data: &[u8], shown: &mut usize) {
        let Some(exchange) = &mut *self.exchange() else { return };
        let size = match from {
            Side::Client => &mut exchange.request_size,
            Side::Server => &mut exchange.response_size,
        };
        *size += data.len() as u64;
        let part = data.get(..data.len().min(SHOWN_BODY - *shown)).unwrap_or_default();
        if !part.is_empty() {
            *shown += part.len();
            self.show(from, part, false);
        }
    }

    /// The content that `from` sends is complete.
    pub(super) fn ended(&self, from: Side) {
        if self.exchange().is_none() {
            return;
        }
        self.show(from, &[], true);
        if from == Side::Server {
            self.finish(None);
        }
    }

    /// Ends the exchange, once. `error` is why it is not complete, as spans name it.
    pub(super) fn finish(&self, error: Option<&'static str>) {
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

    fn show(&self, from: Side, data: &[u8], ended: bool) {
        let Some(witness) = &mut self.shared.state().witness else { return };
        match from {
            Side::Client => witness.request_body(self.id, data, ended),
            Side::Server => witness.response_body(clock::now(), self.id, data, ended),
        }
    }

    fn exchange(&self) -> MutexGuard<'_, Option<Exchange>> {
        // It is there or not.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamExchange {
    fn drop(&mut self) {
        self.finish(Some(ErrorType::CLIENT_CLOSED));
    }
}

/// Names the authority of `Host` in the target, if a client named it in that way. Without any, the target stays as it is.
fn name_authority(parts: &mut request::Parts) {
    if parts.uri.authority().is_some() || parts.method == Method::CONNECT {
        return;
    }
    match host(&parts.headers) {
        Some(host) => {
            let mut uri = uri::Parts::from(parts.uri.clone());
            (uri.scheme, uri.authority) = (Some(Scheme::HTTP), Some(host));
            if let Ok(uri) = Uri::from_parts(uri) {
                parts.uri = uri;
            }
        }
        // The library sends a target without an authority only for a request of HTTP/1.
        None => parts.version = http::Version::HTTP_11,
    }
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    Authority::try_from(headers.get(header::HOST)?.as_bytes()).ok()
}
