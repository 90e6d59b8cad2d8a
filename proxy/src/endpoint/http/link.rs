//! HTTP/1: what mediates between a client and the service.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use redistributed_core::http::{Environment, HttpSession, Witness};
use redistributed_core::{Counter, Output, Side};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::HttpEndpoint;
use crate::clock;
use crate::entropy::Entropy;
use crate::error::Party;
use crate::live_policy::PolicyView;
use crate::logging::Throttle;
use crate::relay::{Mediator, Spans};
use crate::telemetry::stats::Stats;

/// The reasons why the rest of a connection is passed on unread, each with its warning. The throttles are static, because who
/// causes a warning causes it on many connections.
static UNREAD: [(Counter, &str, Throttle); 2] = [
    (
        Counter::OpaqueHttpRequest,
        "an HTTP client sends what cannot be read as HTTP/1 for certain, or more than is read; the rest of its connection passes \
         without spans",
        Throttle::new(),
    ),
    (
        Counter::OpaqueHttpResponse,
        "the service sends what cannot be read as HTTP/1 for certain, or more than is read; the rest of the connection passes \
         without spans",
        Throttle::new(),
    ),
];

/// What a connection has besides its two streams.
pub(super) struct HttpLink {
    session: HttpSession,
    policy: PolicyView,
    ids: Entropy,
    spans: Spans,
    stats: Arc<Stats>,
    witness: Option<Box<dyn Witness + Send>>,
    /// Completes when the process begins to stop.
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    has_stopped: bool,
}

impl HttpLink {
    /// The link of a new connection.
    pub(super) fn new(endpoint: &HttpEndpoint, spans: Spans, ids: Entropy) -> Self {
        Self {
            session: HttpSession::new(Arc::clone(&endpoint.settings), endpoint.handshakes.is_some()),
            policy: PolicyView::open(&endpoint.service.policy),
            ids,
            spans,
            stats: Arc::clone(&endpoint.service.stats),
            witness: endpoint.witnesses.as_ref().map(|witnesses| witnesses.witness()),
            stopping: Box::pin(endpoint.stopping.clone().cancelled_owned()),
            has_stopped: false,
        }
    }

    /// Lets the session do its part, and accounts for the outcome.
    fn call(&mut self, out: &mut Output, call: impl FnOnce(&mut HttpSession, &mut Environment<'_>, &mut Output)) {
        let mut env = Environment {
            now: clock::now(),
            policy: self.policy.current(),
            measured: self.spans.is_measuring(),
            ids: &mut self.ids,
            witness: match &mut self.witness {
                Some(witness) => Some(&mut **witness),
                None => None,
            },
        };
        call(&mut self.session, &mut env, out);
        if !out.counts.changed() {
            return;
        }
        self.stats.add_counts(&out.counts);
        for (counter, warning, throttle) in &UNREAD {
            if out.counts.get(*counter) > 0
                && let Some(more) = throttle.admit(Instant::now())
            {
                tracing::warn!(more, "{warning}");
            }
        }
    }
}

impl Mediator for HttpLink {
    fn receive(&mut self, side: Side, input: &[u8], out: &mut Output) {
        out.clear();
        self.call(out, |session, env, out| session.receive(side, input, env, out));
        self.stats.add_bytes(side, input.len(), out.byte_len());
    }

    fn end_of_stream(&mut self, side: Side, out: &mut Output) {
        out.clear();
        self.call(out, |session, env, out| session.end_of_stream(side, env, out));
        self.stats.add_bytes(side, 0, out.byte_len());
    }

    fn owes_reply(&self) -> bool {
        self.session.owes_reply()
    }

    fn close(&mut self, out: &mut Output) {
        self.call(out, HttpSession::close);
    }

    fn broken(&mut self, party: Party) {
        self.session.broken(if party == Party::Client { Side::Client } else { Side::Server });
    }

    fn wants_to_leave(&mut self, cx: &mut Context<'_>) -> bool {
        self.has_stopped = self.has_stopped || self.stopping.as_mut().poll(cx).is_ready();
        self.has_stopped && self.session.is_idle()
    }

    fn spans(&self) -> &Spans {
        &self.spans
    }
}
