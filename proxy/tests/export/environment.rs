//! What each `OTEL_*` variable does on the wire. How the values are read is tested beside the reader.

use std::time::{Duration, Instant};

use otlp_receiver::proto::common::v1::any_value::Value;
use otlp_receiver::{Behaviour, ReceivedRequest, ReceivedSpan, Receiver, Transport};
use redistributed::telemetry::ExportSummary;

use crate::export::setup::{Exporter, LONG, context, publish, redis, settings, start, variables};

/// The one request and span that arrive with these variables.
async fn sent(transport: Transport, more: &[(&str, &str)]) -> (ReceivedRequest, ReceivedSpan) {
    let receiver = Receiver::start().await.unwrap();
    let telemetry = start(&receiver, transport, more);
    let mut record = publish(1);
    record.link = Some(context(0xdef, 0x44));
    telemetry.sink().offer(&record);
    assert_eq!(telemetry.shutdown(LONG).await, ExportSummary { sent: 1, ..ExportSummary::default() });
    let [request] = <[_; 1]>::try_from(receiver.requests()).unwrap();
    let span = request.spans().remove(0);
    (request, span)
}

/// The path that a request is sent to with `variable` set to the receiver's address and `suffix`.
async fn path(variable: &'static str, suffix: &str) -> String {
    let receiver = Receiver::start().await.unwrap();
    let variables = [(variable, format!("{}{suffix}", receiver.http_endpoint()))];
    let telemetry = Exporter::start(settings(&variables, &[]));
    telemetry.sink().offer(&publish(1));
    assert_eq!(telemetry.shutdown(LONG).await.sent, 1);
    receiver.requests().remove(0).path
}

#[tokio::test]
async fn endpoint_gets_the_path_of_traces() {
    assert_eq!(path("OTEL_EXPORTER_OTLP_ENDPOINT", "").await, "/v1/traces");
    assert_eq!(path("OTEL_EXPORTER_OTLP_ENDPOINT", "/").await, "/v1/traces");
    assert_eq!(path("OTEL_EXPORTER_OTLP_ENDPOINT", "/base/").await, "/base/v1/traces");
}

#[tokio::test]
async fn traces_endpoint_is_used_as_it_is() {
    assert_eq!(path("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").await, "/");
    assert_eq!(path("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/in/here").await, "/in/here");
}

#[tokio::test]
async fn protocol_chooses_the_transport() {
    for (transport, path) in [
        (Transport::Http, "/v1/traces"),
        (Transport::Grpc, "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    ] {
        let (request, _) = sent(transport, &[]).await;
        assert_eq!((request.transport, request.path.as_str()), (transport, path));
    }
}

#[tokio::test]
async fn insecure_lets_a_grpc_endpoint_without_a_scheme_be_plain() {
    let receiver = Receiver::start().await.unwrap();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.grpc_addr().to_string())];
    let more = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")];
    let telemetry = Exporter::start(settings(&variables, &more));
    telemetry.sink().offer(&publish(1));
    assert_eq!(telemetry.shutdown(LONG).await.sent, 1);
}

#[tokio::test]
async fn headers_are_sent_decoded_and_once() {
    let more = [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc%3D,x-percent=a%2520b")];
    for transport in [Transport::Http, Transport::Grpc] {
        let (request, _) = sent(transport, &more).await;
        assert_eq!(request.header("authorization"), Some("Basic abc="), "{transport:?}");
        assert_eq!(request.header("x-percent"), Some("a%20b"), "{transport:?}: decoded once, not twice");
        assert_eq!(request.headers.get_all("authorization").iter().count(), 1, "{transport:?}");
    }
}

#[tokio::test]
async fn compression_gzip_is_used_on_both_transports() {
    for transport in [Transport::Http, Transport::Grpc] {
        assert!(!sent(transport, &[]).await.0.gzip, "{transport:?}");
        assert!(sent(transport, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]).await.0.gzip, "{transport:?}");
        let none = [("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"), ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none")];
        assert!(!sent(transport, &none).await.0.gzip, "{transport:?}");
    }
}

#[tokio::test]
async fn timeouts_end_an_export_and_the_shorter_one_counts() {
    let never = ("OTEL_EXPORTER_OTLP_TIMEOUT", "0");
    for more in [
        &[("OTEL_EXPORTER_OTLP_TIMEOUT", "100")][..],
        &[("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "100")],
        &[("OTEL_BSP_EXPORT_TIMEOUT", "100")],
        &[("OTEL_BSP_EXPORT_TIMEOUT", "100"), never],
    ] {
        let receiver = Receiver::start().await.unwrap();
        receiver.behave(Behaviour::Hang);
        let telemetry = start(&receiver, Transport::Http, more);
        telemetry.sink().offer(&publish(1));
        let started = Instant::now();
        // The default would be ten seconds, and without the timeout the span would be dropped at the end.
        let summary = telemetry.shutdown(Duration::from_secs(9)).await;
        assert_eq!(summary, ExportSummary { failed: 1, ..ExportSummary::default() }, "{more:?}");
        assert!(started.elapsed() < Duration::from_secs(8), "{more:?}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn sdk_disabled_exports_nothing_and_counts_nothing() {
    exports_nothing(&[("OTEL_SDK_DISABLED", "true")]).await;
}

#[tokio::test]
async fn traces_exporter_none_exports_nothing_and_counts_nothing() {
    exports_nothing(&[("OTEL_TRACES_EXPORTER", "none")]).await;
}

async fn exports_nothing(more: &[(&str, &str)]) {
    let receiver = Receiver::start().await.unwrap();
    let telemetry = start(&receiver, Transport::Http, more);
    let sink = telemetry.sink();
    assert!(!sink.is_recording());
    sink.offer(&publish(1));
    assert_eq!(telemetry.summary(), ExportSummary::default());
    assert_eq!(telemetry.shutdown(LONG).await, ExportSummary::default());
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn service_name_wins_over_resource_attributes_and_the_route_over_both() {
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=attributes,team=a%20b,service.instance.id=seven");
    let name = ("OTEL_SERVICE_NAME", "name");
    for (own, more, expected) in [
        (None, &[][..], "unknown_service:redistributed"),
        (None, &[attributes], "attributes"),
        (None, &[attributes, name], "name"),
        (Some("own"), &[attributes, name], "own"),
    ] {
        let receiver = Receiver::start().await.unwrap();
        let settings = settings(&variables(&receiver, Transport::Http), more);
        let telemetry = Exporter::start(settings);
        telemetry.sink_of(own, &redis()).offer(&publish(1));
        telemetry.shutdown(LONG).await;
        let span = receiver.spans().remove(0);
        assert_eq!(span.service_name(), expected);
        if !more.is_empty() {
            assert_eq!(span.resource_text("team"), Some("a b"), "percent-decoded");
            assert_eq!(span.resource_text("service.instance.id"), Some("seven"), "the operator knows better");
        }
    }
}

#[tokio::test]
async fn max_export_batch_size_bounds_a_request() {
    let receiver = Receiver::start().await.unwrap();
    let more = [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3"), ("OTEL_BSP_SCHEDULE_DELAY", "600000")];
    let telemetry = start(&receiver, Transport::Http, &more);
    let sink = telemetry.sink();
    (1..=7).for_each(|span| sink.offer(&publish(span)));
    // Full batches go at once, long before the delay is over; the rest goes at the end.
    receiver.wait_for_spans(6, LONG).await.unwrap();
    assert_eq!(receiver.spans().len(), 6);
    assert_eq!(telemetry.shutdown(LONG).await.sent, 7);
    let mut sizes: Vec<_> = receiver.requests().iter().map(ReceivedRequest::span_count).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 3, 3]);
}

#[tokio::test]
async fn schedule_delay_lets_spans_share_a_request_and_then_sends_it() {
    let receiver = Receiver::start().await.unwrap();
    let started = Instant::now();
    let telemetry = start(&receiver, Transport::Http, &[("OTEL_BSP_SCHEDULE_DELAY", "500")]);
    telemetry.sink().offer(&publish(1));
    telemetry.sink().offer(&publish(2));
    receiver.wait_for_spans(2, LONG).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
    assert_eq!(receiver.requests().len(), 1);
    telemetry.shutdown(LONG).await;
}

#[tokio::test]
async fn max_queue_size_bounds_what_waits() {
    let receiver = Receiver::start().await.unwrap();
    receiver.behave(Behaviour::Hang);
    let more = [("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")];
    let telemetry = start(&receiver, Transport::Http, &more);
    let sink = telemetry.sink();
    sink.offer(&publish(1));
    // Fills all requests that may be on their way, so that from here on nothing leaves the queue.
    for span in 2..=4 {
        receiver.wait_for(LONG, |requests| requests.len() >= span - 1).await.unwrap();
        sink.offer(&publish(span as u64));
    }
    receiver.wait_for(LONG, |requests| requests.len() == 4).await.unwrap();
    (0..20).for_each(|_| sink.offer(&publish(9)));
    assert_eq!(telemetry.summary(), ExportSummary { queued: 4 + 8, dropped: 12, ..ExportSummary::default() });
    telemetry.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn attribute_count_limit_keeps_the_first_and_counts_the_rest() {
    for variable in ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"] {
        let (_, span) = sent(Transport::Http, &[(variable, "3")]).await;
        let keys: Vec<_> = span.span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(keys, ["messaging.system", "messaging.operation.name", "messaging.operation.type"]);
        assert_eq!(span.span.dropped_attributes_count, 5);
        assert_eq!(span.service_name(), "api", "a resource has no limit");
    }
}

#[tokio::test]
async fn attribute_value_length_limit_counts_characters() {
    for variable in ["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"] {
        let receiver = Receiver::start().await.unwrap();
        let telemetry = start(&receiver, Transport::Http, &[(variable, "3")]);
        let mut record = publish(1);
        record.operation = redistributed_core::trace::Operation::Publish {
            channel: "äöüß".into(),
            sharded: false,
            receivers: None,
            body_size: 123_456,
        };
        telemetry.sink().offer(&record);
        telemetry.shutdown(LONG).await;
        let span = receiver.spans().remove(0);
        assert_eq!(span.text("messaging.destination.name"), Some("äöü"));
        assert_eq!(span.text("messaging.system"), Some("red"));
        assert_eq!(span.attribute("messaging.message.body.size"), Some(&Value::IntValue(123_456)));
        assert_eq!(span.span.name, "publish äöüß", "a name is no attribute");
    }
}

#[tokio::test]
async fn link_count_limit_drops_and_counts_the_link() {
    let (_, span) = sent(Transport::Http, &[]).await;
    assert_eq!((span.span.links.len(), span.span.dropped_links_count), (1, 0));
    let (_, span) = sent(Transport::Http, &[("OTEL_SPAN_LINK_COUNT_LIMIT", "0")]).await;
    assert_eq!((span.span.links.len(), span.span.dropped_links_count), (0, 1));
}
