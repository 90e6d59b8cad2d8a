//! Settings, routes and spans for the tests of this folder.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use otlp_receiver::{Receiver, Transport};
use redistributed::settings::otel::OtelSettings;
use redistributed::telemetry::{Service, Telemetry};
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
    assert_eq!(warnings, Vec::<String>::new());
    settings
}

/// A running exporter with one route.
pub(crate) fn start(receiver: &Receiver, transport: Transport, more: &[(&str, &str)]) -> Telemetry {
    Telemetry::start(&settings(&variables(receiver, transport), more), &[service("api")], NonZeroUsize::MIN).unwrap()
}

pub(crate) fn service(name: &str) -> Service {
    Service { name: Some(name.to_owned()), server_address: "redis.example".to_owned(), server_port: Some(6379) }
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
    let operation =
        Operation::Publish { channel: Arc::from("reports"), sharded: false, receivers: Some(4), body_size: 9 };
    SpanRecord {
        end: UnixNanos(1_700_000_000_000_500_002),
        ..SpanRecord::new(context(0xabc, span), UnixNanos(1_700_000_000_000_000_001), operation)
    }
}
