//! Settings, exporters and spans for the tests of this folder.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use otlp_receiver::{Receiver, Transport};
use redistributed::settings::otel::OtelSettings;
use redistributed::telemetry::{ExportSummary, Host, Peer, Resource, SpanSink, SpanTotals, Telemetry};
use redistributed_core::trace::{Operation, SpanContext, SpanId, SpanRecord, TraceFlags, TraceId, UnixNanos};

/// How long a test waits for what must come. Far longer than it takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Variables that send spans to `receiver` by `transport` without delay.
pub(crate) fn variables(receiver: &Receiver, transport: Transport) -> Vec<(&'static str, String)> {
    let (protocol, endpoint) = match transport {
        Transport::Grpc => ("grpc", receiver.grpc_endpoint()),
        Transport::Http => ("http/protobuf", receiver.http_endpoint()),
    };
    vec![
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned()),
    ]
}

/// `base` with `more`, of which the last value of a name counts.
pub(crate) fn settings(base: &[(&'static str, String)], more: &[(&str, &str)]) -> OtelSettings {
    let lookup = |name: &str| {
        let more = more.iter().rev().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
        more.or_else(|| base.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.clone()))
    };
    let (settings, warnings) = OtelSettings::from_lookup(&lookup).unwrap();
    assert_eq!(warnings, []);
    settings
}

/// A running exporter, and the service `api`.
pub(crate) struct Exporter {
    telemetry: Telemetry,
    settings: OtelSettings,
    api: Arc<Resource>,
}

impl Exporter {
    pub(crate) fn start(settings: OtelSettings) -> Self {
        let telemetry = Telemetry::start(&settings, NonZeroUsize::MIN).unwrap();
        let api = Arc::new(Resource::of_service(Some("api"), &settings, &Host::detect()));
        Self { telemetry, settings, api }
    }

    /// Where connections of the service `api` to [`redis`] leave their spans.
    pub(crate) fn sink(&self) -> SpanSink {
        self.telemetry.sink(&self.api, &redis())
    }

    /// The same for another service and another peer.
    pub(crate) fn sink_of(&self, service: Option<&str>, peer: &Peer) -> SpanSink {
        let resource = Resource::of_service(service, &self.settings, &Host::detect());
        self.telemetry.sink(&Arc::new(resource), peer)
    }

    pub(crate) fn summary(&self) -> ExportSummary {
        self.telemetry.summary()
    }

    /// The view of the counts, which stays when the exporter is over.
    pub(crate) fn totals(&self) -> SpanTotals {
        self.telemetry.totals()
    }

    pub(crate) async fn shutdown(self, deadline: Duration) -> ExportSummary {
        self.telemetry.shutdown(deadline).await
    }
}

/// Starts an exporter that sends to `receiver`.
pub(crate) fn start(receiver: &Receiver, transport: Transport, more: &[(&str, &str)]) -> Exporter {
    Exporter::start(settings(&variables(receiver, transport), more))
}

pub(crate) fn redis() -> Peer {
    Peer { address: "redis.example".to_owned(), port: Some(6379) }
}

pub(crate) fn context(trace: u128, span: u64) -> SpanContext {
    SpanContext {
        trace_id: TraceId::from_u128(trace).unwrap(),
        span_id: SpanId::from_u64(span).unwrap(),
        flags: TraceFlags::SAMPLED,
    }
}

/// A publish to `reports` with four receivers.
pub(crate) fn publish(span: u64) -> SpanRecord {
    let operation = Operation::Publish { channel: "reports".into(), sharded: false, receivers: Some(4), body_size: 9 };
    SpanRecord {
        end: UnixNanos(1_700_000_000_000_500_002),
        ..SpanRecord::new(context(0xabc, span), UnixNanos(1_700_000_000_000_000_001), operation)
    }
}
