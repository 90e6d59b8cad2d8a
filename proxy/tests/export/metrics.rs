//! Metrics on the wire, field by field.

use std::time::Duration;

use otlp_receiver::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use otlp_receiver::proto::common::v1::any_value::Value;
use otlp_receiver::proto::common::v1::{InstrumentationScope, KeyValue};
use otlp_receiver::proto::metrics::v1::metric::Data;
use otlp_receiver::proto::metrics::v1::{
    AggregationTemporality, HistogramDataPoint, Metric, NumberDataPoint, exemplar, number_data_point,
};
use otlp_receiver::{Behaviour, ReceivedMetrics, Receiver, Refusal, Transport};
use redistributed_core::trace::{SpanRecord, UnixNanos};

use super::setup::{Exporter, LONG, publish, redis, settings, start, variables};

const SENT: &str = "messaging.client.sent.messages";
const OPERATIONS: &str = "messaging.client.operation.duration";

/// Metrics are exported at once, spans not at all.
const AT_ONCE: [(&str, &str); 3] =
    [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_METRIC_EXPORT_INTERVAL", "5"), ("OTEL_TRACES_EXPORTER", "none")];

/// Metrics are exported at the end only.
const AT_THE_END: [(&str, &str); 3] =
    [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"), ("OTEL_TRACES_EXPORTER", "none")];

/// The metric of this name in a request.
fn metric(request: &ExportMetricsServiceRequest, name: &str) -> Metric {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let found: Vec<_> = scopes.flat_map(|scope| &scope.metrics).filter(|metric| metric.name == name).collect();
    let [metric] = found[..] else { panic!("{} metrics {name} in {request:?}", found.len()) };
    metric.clone()
}

fn sum(metric: Metric) -> (Vec<NumberDataPoint>, AggregationTemporality) {
    let Some(Data::Sum(sum)) = metric.data else { panic!("{metric:?}") };
    assert!(sum.is_monotonic);
    let temporality = sum.aggregation_temporality();
    (sum.data_points, temporality)
}

fn histogram(metric: Metric) -> (Vec<HistogramDataPoint>, AggregationTemporality) {
    let Some(Data::Histogram(histogram)) = metric.data else { panic!("{metric:?}") };
    let temporality = histogram.aggregation_temporality();
    (histogram.data_points, temporality)
}

/// The number of messages that a request says were sent, in its only series.
fn sent(request: &ReceivedMetrics) -> i64 {
    let (points, _) = sum(metric(&request.message, SENT));
    let [NumberDataPoint { value: Some(number_data_point::Value::AsInt(number)), .. }] = points[..] else {
        panic!("{points:?}")
    };
    number
}

fn texts(attributes: &[KeyValue]) -> Vec<(&str, String)> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => format!("int {number}"),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.as_str(), value(attribute))).collect()
}

async fn exported(transport: Transport) {
    let receiver = Receiver::start().await.unwrap();
    let headers = ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "api-key=secret");
    let more = [&AT_THE_END[..], &[headers, ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]].concat();
    let began = redistributed::clock::wall().0;
    let exporter = start(&receiver, transport, &more);
    let record = publish(7);
    exporter.sink().offer(&record);
    exporter.sink().offer(&SpanRecord { end: UnixNanos(record.start.0 + 20_000_000_000), ..publish(8) });
    assert_eq!(receiver.metrics().len(), 0, "not before the end");
    exporter.shutdown(LONG).await;
    let ended = redistributed::clock::wall().0;

    assert_eq!(receiver.requests().len(), 0, "no spans are exported");
    let [request] = &receiver.metrics()[..] else { panic!("one request") };
    let path = match transport {
        Transport::Http => "/v1/metrics",
        Transport::Grpc => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    };
    assert_eq!((request.path.as_str(), request.transport, request.gzip), (path, transport, true));
    assert_eq!(request.header("api-key"), Some("secret"));
    let [of_resource] = &request.message.resource_metrics[..] else { panic!("one service") };
    let resource = texts(&of_resource.resource.as_ref().unwrap().attributes);
    assert!(resource.contains(&("service.name", "api".to_owned())), "{resource:?}");
    let [of_scope] = &of_resource.scope_metrics[..] else { panic!("one scope") };
    let scope = InstrumentationScope {
        name: "redistributed".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    assert_eq!(of_scope.scope, Some(scope));
    for schema in [&of_resource.schema_url, &of_scope.schema_url] {
        assert_eq!(schema, "https://opentelemetry.io/schemas/1.42.0");
    }
    let described: Vec<_> =
        of_scope.metrics.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
    assert_eq!(described, [(SENT, "{message}"), (OPERATIONS, "s")], "what has not happened is not told");
    assert!(of_scope.metrics.iter().all(|metric| !metric.description.is_empty()));

    let expected = [
        ("messaging.system", "redis"),
        ("messaging.operation.name", "publish"),
        ("messaging.destination.name", "reports"),
        ("server.address", "redis.example"),
        ("server.port", "int 6379"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let (points, temporality) = sum(metric(&request.message, SENT));
    let [point] = &points[..] else { panic!("{points:?}") };
    assert_eq!(temporality, AggregationTemporality::Cumulative);
    assert_eq!((texts(&point.attributes), sent(request)), (expected.to_vec(), 2));
    assert!(began <= point.start_time_unix_nano && point.start_time_unix_nano <= point.time_unix_nano);
    assert!(point.time_unix_nano <= ended);

    let (points, temporality) = histogram(metric(&request.message, OPERATIONS));
    let [point] = &points[..] else { panic!("{points:?}") };
    assert_eq!(temporality, AggregationTemporality::Cumulative);
    let mut expected = expected.to_vec();
    expected.insert(1, ("messaging.operation.type", "send".to_owned()));
    assert_eq!(texts(&point.attributes), expected);
    assert_eq!((point.count, point.explicit_bounds.len(), point.bucket_counts.len()), (2, 20, 21));
    assert_eq!(point.explicit_bounds[..4], [0.00005, 0.0001, 0.00025, 0.0005]);
    // 500 µs and 1 ns are in the bucket up to 1 ms.
    let filled: Vec<_> = (0..21).filter(|index| point.bucket_counts[*index] == 1).collect();
    assert_eq!(filled, [4, 20]);
    assert!((point.sum.unwrap() - 20.000_500_001).abs() < 1e-9, "{:?}", point.sum);
    let [first, last] = &point.exemplars[..] else { panic!("{:?}", point.exemplars) };
    assert_eq!(first.trace_id, record.context.trace_id.to_bytes());
    assert_eq!(first.span_id, record.context.span_id.to_bytes());
    assert_eq!(first.time_unix_nano, record.end.0);
    assert_eq!(first.value, Some(exemplar::Value::AsDouble(0.000_500_001)));
    assert_eq!(last.span_id, publish(8).context.span_id.to_bytes());
}

#[tokio::test]
async fn every_field_arrives_by_http() {
    exported(Transport::Http).await;
}

#[tokio::test]
async fn every_field_arrives_by_grpc() {
    exported(Transport::Grpc).await;
}

#[tokio::test]
async fn exports_repeat_and_cumulative_values_count_from_the_start() {
    let receiver = Receiver::start().await.unwrap();
    let exporter = start(&receiver, Transport::Http, &AT_ONCE);
    exporter.sink().offer(&publish(1));
    receiver.wait_for_metrics(LONG, |requests| requests.len() >= 2).await.unwrap();
    exporter.sink().offer(&publish(2));
    receiver.wait_for_metrics(LONG, |requests| requests.iter().any(|request| sent(request) == 2)).await.unwrap();
    let requests = receiver.metrics();
    let starts: Vec<_> =
        requests.iter().map(|request| sum(metric(&request.message, SENT)).0[0].start_time_unix_nano).collect();
    assert!(starts.iter().all(|start| *start == starts[0]), "{starts:?}");
    let exemplars: usize =
        requests.iter().map(|request| histogram(metric(&request.message, OPERATIONS)).0[0].exemplars.len()).sum();
    assert_eq!(exemplars, 2, "each is told once");
}

#[tokio::test]
async fn deltas_add_up_whatever_is_refused_meanwhile() {
    for preference in ["delta", "lowmemory"] {
        let receiver = Receiver::start().await.unwrap();
        let preference = ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference);
        let exporter = start(&receiver, Transport::Grpc, &[&AT_ONCE[..], &[preference]].concat());
        exporter.sink().offer(&publish(1));
        receiver.wait_for_metrics(LONG, |requests| !requests.is_empty()).await.unwrap();
        receiver.behave(Behaviour::RefuseTimes(2, Refusal::INVALID));
        exporter.sink().offer(&publish(2));
        receiver.wait_for_metrics(LONG, |requests| requests.len() >= 2).await.unwrap();
        exporter.sink().offer(&publish(3));
        let taken =
            |requests: &[ReceivedMetrics]| requests.iter().filter(|request| request.accepted).map(sent).sum::<i64>();
        receiver.wait_for_metrics(LONG, |requests| taken(requests) == 3).await.unwrap();
        let totals = exporter.totals();
        exporter.shutdown(LONG).await;
        let requests = receiver.metrics();
        assert_eq!(taken(&requests), 3, "nothing new, so nothing is told at the end");
        let accepted: Vec<_> = requests.iter().filter(|request| request.accepted).collect();
        let counted = totals.metric_exports().map(|(result, count)| (result.name(), count));
        assert_eq!(counted, [("ok", accepted.len() as u64), ("partial", 0), ("failed", 2)]);
        for pair in accepted.windows(2) {
            let point = |request: &ReceivedMetrics| {
                let (points, temporality) = histogram(metric(&request.message, OPERATIONS));
                assert_eq!(temporality, AggregationTemporality::Delta);
                (points[0].start_time_unix_nano, points[0].time_unix_nano)
            };
            assert_eq!(point(pair[1]).0, point(pair[0]).1, "the times follow each other without a gap");
        }
    }
}

#[tokio::test]
async fn a_collector_that_hangs_does_not_keep_the_process_longer_than_it_may_take() {
    let receiver = Receiver::start().await.unwrap();
    receiver.behave(Behaviour::Hang);
    let exporter = start(&receiver, Transport::Http, &AT_ONCE);
    exporter.sink().offer(&publish(1));
    receiver.wait_for_metrics(LONG, |requests| !requests.is_empty()).await.unwrap();
    let began = std::time::Instant::now();
    exporter.shutdown(Duration::from_millis(50)).await;
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_export_ends_after_its_own_time_and_the_next_one_tells_of_the_same() {
    let receiver = Receiver::start().await.unwrap();
    receiver.behave(Behaviour::Hang);
    let more = [&AT_ONCE[..], &[("OTEL_METRIC_EXPORT_TIMEOUT", "20")]].concat();
    let exporter = start(&receiver, Transport::Http, &more);
    exporter.sink().offer(&publish(1));
    receiver.wait_for_metrics(LONG, |requests| requests.len() >= 2).await.unwrap();
    receiver.behave(Behaviour::Accept);
    receiver.wait_for_metrics(LONG, |requests| requests.iter().any(|request| request.accepted)).await.unwrap();
    assert!(receiver.metrics().iter().all(|request| sent(request) == 1));
    exporter.shutdown(LONG).await;
}

#[tokio::test]
async fn metrics_and_spans_may_go_to_different_collectors() {
    let (spans, metrics) = (Receiver::start().await.unwrap(), Receiver::start().await.unwrap());
    let own = format!("{}/own/v1/metrics", metrics.http_endpoint());
    let more = [
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &*own),
    ];
    let settings = settings(&variables(&spans, Transport::Http), &more);
    assert_eq!(settings.metrics.as_ref().unwrap().otlp.endpoint.to_string(), own);
    let exporter = Exporter::start(settings);
    exporter.sink_of(Some("api"), &redis()).offer(&publish(1));
    spans.wait_for_spans(1, LONG).await.unwrap();
    metrics.wait_for_metrics(LONG, |requests| !requests.is_empty()).await.unwrap();
    exporter.shutdown(LONG).await;
    assert!(metrics.metrics().iter().all(|request| request.path == "/own/v1/metrics"));
    assert_eq!((spans.metrics().len(), metrics.requests().len()), (0, 0));
}
