//! What has arrived, and waiting for more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceRequest};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::watch;

use crate::behaviour::{Behaviour, Refusal, Verdict};

/// Which of the two ports a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with a protobuf body.
    Http,
}

/// One export request for spans as it arrived.
pub type ReceivedRequest = Received<ExportTraceServiceRequest>;

/// One export request for metrics as it arrived.
pub type ReceivedMetrics = Received<ExportMetricsServiceRequest>;

/// One export request as it arrived.
#[derive(Debug, Clone)]
pub struct Received<T> {
    /// Which port it came to.
    pub transport: Transport,
    /// The path of its URL; on gRPC the method's full name.
    pub path: String,
    /// HTTP headers, or gRPC metadata.
    pub headers: HeaderMap,
    /// Whether the body was compressed with gzip.
    pub gzip: bool,
    /// Whether the answer was, or will be, a success.
    pub accepted: bool,
    /// The decoded body.
    pub message: Arc<T>,
}

impl<T> Received<T> {
    /// A header's value as text; `None` if it is absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl ReceivedMetrics {
    /// The metrics of the service of this name.
    pub fn metrics_of(&self, service: &str) -> Vec<Metric> {
        let all = self.message.resource_metrics.iter();
        let of_service = all.filter(|of_resource| {
            let resource = of_resource.resource.as_ref();
            resource.and_then(|resource| text(&resource.attributes, "service.name")) == Some(service)
        });
        of_service.flat_map(|of_resource| &of_resource.scope_metrics).flat_map(|scope| scope.metrics.clone()).collect()
    }
}

impl ReceivedRequest {
    /// How many spans it holds.
    pub fn span_count(&self) -> usize {
        let scopes = self.message.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.map(|scope| scope.spans.len()).sum()
    }

    /// Its spans, each with its resource and scope.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        let mut spans = Vec::with_capacity(self.span_count());
        for of_resource in &self.message.resource_spans {
            let resource = Arc::new(of_resource.resource.clone().unwrap_or_default());
            for of_scope in &of_resource.scope_spans {
                let scope = Arc::new(of_scope.scope.clone().unwrap_or_default());
                spans.extend(of_scope.spans.iter().map(|span| ReceivedSpan {
                    resource: Arc::clone(&resource),
                    scope: Arc::clone(&scope),
                    schema_url: of_scope.schema_url.clone(),
                    span: span.clone(),
                }));
            }
        }
        spans
    }
}

/// A span with what stood around it in the request.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedSpan {
    /// Who made it.
    pub resource: Arc<Resource>,
    /// The library that made it.
    pub scope: Arc<InstrumentationScope>,
    /// The schema of the scope's spans.
    pub schema_url: String,
    /// The span itself.
    pub span: Span,
}

impl ReceivedSpan {
    /// `service.name` of the resource; empty if it has none.
    pub fn service_name(&self) -> &str {
        text(&self.resource.attributes, "service.name").unwrap_or_default()
    }

    /// A text attribute of the resource.
    pub fn resource_text(&self, key: &str) -> Option<&str> {
        text(&self.resource.attributes, key)
    }

    /// An attribute of the span.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        value(&self.span.attributes, key)
    }

    /// A text attribute of the span.
    pub fn text(&self, key: &str) -> Option<&str> {
        text(&self.span.attributes, key)
    }

    /// A number attribute of the span.
    pub fn int(&self, key: &str) -> Option<i64> {
        match self.attribute(key)? {
            Value::IntValue(number) => Some(*number),
            _ => None,
        }
    }

    /// The trace id in lower-case hex, as tools print it.
    pub fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    /// The span id in lower-case hex.
    pub fn span_id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// The parent's span id in lower-case hex; empty for a root.
    pub fn parent_span_id(&self) -> String {
        hex(&self.span.parent_span_id)
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match value(attributes, key)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was waited for did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("not satisfied after {waited:?}, with {requests} requests holding {spans} spans received")]
pub struct TimedOut {
    /// How long was waited.
    pub waited: Duration,
    /// Requests so far.
    pub requests: usize,
    /// Spans in them.
    pub spans: usize,
}

/// The requests so far and the behaviour for the next one, shared by both servers.
#[derive(Debug)]
pub(crate) struct Log {
    requests: Mutex<Vec<ReceivedRequest>>,
    metrics: Mutex<Vec<ReceivedMetrics>>,
    behaviour: Mutex<Behaviour>,
    arrivals: watch::Sender<usize>,
    in_flight: AtomicUsize,
    peak_in_flight: AtomicUsize,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            metrics: Mutex::default(),
            behaviour: Mutex::default(),
            arrivals: watch::Sender::new(0),
            in_flight: AtomicUsize::new(0),
            peak_in_flight: AtomicUsize::new(0),
        }
    }
}

impl Log {
    /// Records a request and plays the behaviour: returns when it is time to answer, with the answer.
    pub(crate) async fn answer(
        &self,
        mut request: ReceivedRequest,
    ) -> Result<Option<ExportTracePartialSuccess>, Refusal> {
        let verdict = lock(&self.behaviour).next();
        request.accepted = matches!(verdict, Verdict::Accept { .. });
        let _in_flight = InFlight::enter(self);
        lock(&self.requests).push(request);
        self.play(verdict).await
    }

    /// The same for metrics.
    pub(crate) async fn answer_metrics(
        &self,
        mut request: ReceivedMetrics,
    ) -> Result<Option<ExportTracePartialSuccess>, Refusal> {
        let verdict = lock(&self.behaviour).next();
        request.accepted = matches!(verdict, Verdict::Accept { .. });
        let _in_flight = InFlight::enter(self);
        lock(&self.metrics).push(request);
        self.play(verdict).await
    }

    async fn play(&self, verdict: Verdict) -> Result<Option<ExportTracePartialSuccess>, Refusal> {
        self.arrivals.send_modify(|arrivals| *arrivals += 1);
        match verdict {
            Verdict::Accept { after, rejected } => {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                Ok((rejected != 0).then(|| ExportTracePartialSuccess {
                    rejected_spans: rejected,
                    error_message: "told to reject".to_owned(),
                }))
            }
            Verdict::Refuse(refusal) => Err(refusal),
            Verdict::Hang => std::future::pending().await,
        }
    }

    pub(crate) fn set_behaviour(&self, behaviour: Behaviour) {
        *lock(&self.behaviour) = behaviour;
    }

    pub(crate) fn requests(&self) -> Vec<ReceivedRequest> {
        lock(&self.requests).clone()
    }

    pub(crate) fn metrics(&self) -> Vec<ReceivedMetrics> {
        lock(&self.metrics).clone()
    }

    pub(crate) async fn wait_for_metrics(
        &self,
        deadline: Duration,
        mut satisfied: impl FnMut(&[ReceivedMetrics]) -> bool,
    ) -> Result<(), TimedOut> {
        self.wait_until(deadline, || satisfied(&lock(&self.metrics))).await
    }

    pub(crate) fn peak_in_flight(&self) -> usize {
        self.peak_in_flight.load(Ordering::Relaxed)
    }

    pub(crate) async fn wait_for(
        &self,
        deadline: Duration,
        mut satisfied: impl FnMut(&[ReceivedRequest]) -> bool,
    ) -> Result<(), TimedOut> {
        self.wait_until(deadline, || satisfied(&lock(&self.requests))).await
    }

    async fn wait_until(&self, deadline: Duration, mut satisfied: impl FnMut() -> bool) -> Result<(), TimedOut> {
        let mut arrivals = self.arrivals.subscribe();
        let wait = arrivals.wait_for(|_| satisfied());
        // The sender lives in `self`, so the wait itself cannot fail; only time can run out.
        match tokio::time::timeout(deadline, wait).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                let requests = lock(&self.requests);
                let spans = requests.iter().map(ReceivedRequest::span_count).sum();
                Err(TimedOut { waited: deadline, requests: requests.len(), spans })
            }
        }
    }
}

/// How many points of metrics are rejected, in the form of the answer for metrics.
pub(crate) fn metrics_rejected(partial: ExportTracePartialSuccess) -> ExportMetricsPartialSuccess {
    let ExportTracePartialSuccess { rejected_spans, error_message } = partial;
    ExportMetricsPartialSuccess { rejected_data_points: rejected_spans, error_message }
}

/// Counts a request from its arrival to its answer, or to the client's giving up.
struct InFlight<'a>(&'a Log);

impl<'a> InFlight<'a> {
    fn enter(log: &'a Log) -> Self {
        let now = log.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        log.peak_in_flight.fetch_max(now, Ordering::Relaxed);
        Self(log)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A panic elsewhere does not make a list of requests wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
