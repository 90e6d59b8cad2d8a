//! Every field of a span, on both transports.

use std::collections::BTreeMap;

use otlp_receiver::proto::common::v1::any_value::Value;
use otlp_receiver::proto::common::v1::{KeyValue, any_value};
use otlp_receiver::proto::trace::v1::span::{Link, SpanKind};
use otlp_receiver::proto::trace::v1::status::StatusCode;
use otlp_receiver::proto::trace::v1::{Span, Status};
use otlp_receiver::{ReceivedSpan, Receiver, Transport};
use redistributed::telemetry::Peer;
use redistributed_core::trace::{ErrorType, Operation, SpanRecord, TraceFlags, UnixNanos};

use crate::export::setup::{LONG, context, publish, redis, start};

const SCHEMA: &str = "https://opentelemetry.io/schemas/1.42.0";

/// What `record` becomes, by way of `transport`.
async fn exported(record: SpanRecord, transport: Transport) -> ReceivedSpan {
    exported_from(&redis(), record, transport).await
}

async fn exported_from(peer: &Peer, record: SpanRecord, transport: Transport) -> ReceivedSpan {
    let receiver = Receiver::start().await.unwrap();
    let telemetry = start(&receiver, transport, &[]);
    telemetry.sink_of(Some("api"), peer).offer(&record);
    let summary = telemetry.shutdown(LONG).await;
    assert_eq!((summary.sent, summary.failed, summary.dropped, summary.queued), (1, 0, 0, 0));
    let [span] = <[_; 1]>::try_from(receiver.spans()).unwrap();
    span
}

/// Attributes as text, so that a whole set can be compared at once. Numbers and flags are told from text.
fn shown(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => format!("int {number}"),
        Some(Value::BoolValue(flag)) => format!("bool {flag}"),
        other => format!("{other:?}"),
    };
    let map: BTreeMap<_, _> = attributes.iter().map(|attribute| (attribute.key.as_str(), value(attribute))).collect();
    assert_eq!(map.len(), attributes.len(), "a key is there twice");
    map
}

fn expected<const N: usize>(attributes: [(&'static str, &str); N]) -> BTreeMap<&'static str, String> {
    attributes.into_iter().map(|(key, value)| (key, value.to_owned())).collect()
}

fn status(code: StatusCode) -> Option<Status> {
    Some(Status { message: String::new(), code: code.into() })
}

#[tokio::test]
async fn a_publish_is_a_producer_span() {
    for transport in [Transport::Http, Transport::Grpc] {
        let mut record = publish(0x11);
        record.trace_state = Some("vendor=a,other=b".into());
        let received = exported(record, transport).await;
        let mut span = received.span.clone();
        let attributes = std::mem::take(&mut span.attributes);
        assert_eq!(
            span,
            Span {
                trace_id: 0xabcu128.to_be_bytes().to_vec(),
                span_id: 0x11u64.to_be_bytes().to_vec(),
                trace_state: "vendor=a,other=b".to_owned(),
                parent_span_id: vec![],
                // The W3C flags, and "it is known whether the parent is remote".
                flags: 0x101,
                name: "publish reports".to_owned(),
                kind: SpanKind::Producer.into(),
                start_time_unix_nano: 1_700_000_000_000_000_001,
                end_time_unix_nano: 1_700_000_000_000_500_002,
                status: status(StatusCode::Unset),
                ..Span::default()
            }
        );
        assert_eq!(
            shown(&attributes),
            expected([
                ("messaging.system", "redis"),
                ("messaging.operation.name", "publish"),
                ("messaging.operation.type", "send"),
                ("messaging.destination.name", "reports"),
                ("messaging.message.body.size", "int 9"),
                ("redis.pubsub.receivers", "int 4"),
                ("server.address", "redis.example"),
                ("server.port", "int 6379"),
            ])
        );
    }
}

#[tokio::test]
async fn a_delivery_is_a_consumer_span_below_a_remote_parent() {
    for transport in [Transport::Http, Transport::Grpc] {
        let record = SpanRecord {
            parent: Some(context(1, 0x11).span_id),
            operation: Operation::Deliver {
                channel: "reports".into(),
                pattern: Some("rep*".into()),
                sharded: false,
                body_size: 9,
            },
            ..publish(0x22)
        };
        let received = exported(record, transport).await;
        assert_eq!(received.span.name, "process reports");
        assert_eq!(received.span.kind(), SpanKind::Consumer);
        assert_eq!(received.parent_span_id(), "0000000000000011");
        assert_eq!(received.span.flags, 0x301, "the parent is remote");
        assert_eq!(received.span.status, status(StatusCode::Unset));
        assert_eq!(
            shown(&received.span.attributes),
            expected([
                ("messaging.system", "redis"),
                ("messaging.operation.name", "process"),
                ("messaging.operation.type", "process"),
                ("messaging.destination.name", "reports"),
                ("messaging.destination.subscription.name", "rep*"),
                ("messaging.message.body.size", "int 9"),
                ("server.address", "redis.example"),
                ("server.port", "int 6379"),
            ])
        );
    }
}

#[tokio::test]
async fn a_command_is_a_client_span_and_names_no_usual_port() {
    for transport in [Transport::Http, Transport::Grpc] {
        let command = |batch_size, error| SpanRecord {
            operation: Operation::Command { name: "hGet".into(), summary: None, database: 3, batch_size },
            error,
            ..publish(0x33)
        };
        let received = exported(command(None, None), transport).await;
        assert_eq!(received.span.name, "hGet");
        assert_eq!(received.span.kind(), SpanKind::Client);
        let common = [
            ("db.system.name", "redis"),
            ("db.operation.name", "hGet"),
            ("db.namespace", "3"),
            ("server.address", "redis.example"),
        ];
        assert_eq!(shown(&received.span.attributes), expected(common));

        let mut summarized = command(None, None);
        if let Operation::Command { summary, .. } = &mut summarized.operation {
            *summary = Some("hGet report:*".into());
        }
        let received = exported(summarized, transport).await;
        assert_eq!(received.span.name, "hGet report:*");
        let mut all = expected(common);
        all.extend(expected([("db.query.summary", "hGet report:*")]));
        assert_eq!(shown(&received.span.attributes), all);

        let failed = command(Some(5), Some(ErrorType::from_redis_error(b"WRONGTYPE Operation against a key")));
        let elsewhere = Peer { port: Some(6390), ..redis() };
        let received = exported_from(&elsewhere, failed, transport).await;
        let mut all = expected(common);
        all.extend(expected([
            ("db.operation.batch.size", "int 5"),
            ("db.response.status_code", "WRONGTYPE"),
            ("error.type", "WRONGTYPE"),
            ("server.port", "int 6390"),
        ]));
        assert_eq!(shown(&received.span.attributes), all);
        assert_eq!(received.span.status, status(StatusCode::Error));
    }
}

#[tokio::test]
async fn an_error_of_the_proxy_is_no_status_code_of_redis() {
    let record = SpanRecord {
        operation: Operation::Command { name: "GET".into(), summary: None, database: 0, batch_size: Some(1) },
        error: Some(ErrorType::named(ErrorType::CONNECTION_CLOSED)),
        ..publish(0x33)
    };
    let received = exported(record, Transport::Http).await;
    assert_eq!(received.text("error.type"), Some("connection_closed"));
    assert_eq!(received.attribute("db.response.status_code"), None);
    assert_eq!(received.attribute("db.operation.batch.size"), None, "one command is no batch");
}

#[tokio::test]
async fn a_failed_publish_has_an_error_and_no_receivers() {
    let mut record = publish(0x11);
    record.error = Some(ErrorType::from_redis_error(b"NOPERM no permissions to access channel"));
    record.operation = Operation::Publish { channel: "reports".into(), sharded: false, receivers: None, body_size: 9 };
    let received = exported(record, Transport::Grpc).await;
    assert_eq!(received.span.status, status(StatusCode::Error));
    assert_eq!(received.text("error.type"), Some("NOPERM"));
    assert_eq!(received.attribute("redis.pubsub.receivers"), None);
}

#[tokio::test]
async fn sharded_pubsub_is_marked_on_both_sides() {
    let mut record = publish(0x11);
    record.operation = Operation::Publish { channel: "{a}".into(), sharded: true, receivers: Some(0), body_size: 0 };
    let received = exported(record.clone(), Transport::Http).await;
    assert_eq!(received.attribute("redis.pubsub.sharded"), Some(&any_value::Value::BoolValue(true)));
    assert_eq!(received.int("redis.pubsub.receivers"), Some(0));
    record.operation = Operation::Deliver { channel: "{a}".into(), pattern: None, sharded: true, body_size: 0 };
    let received = exported(record, Transport::Http).await;
    assert_eq!(received.attribute("redis.pubsub.sharded"), Some(&any_value::Value::BoolValue(true)));
    assert_eq!(received.attribute("messaging.destination.subscription.name"), None);
}

#[tokio::test]
async fn a_link_leads_to_another_trace() {
    for transport in [Transport::Http, Transport::Grpc] {
        let mut record = publish(0x22);
        record.link = Some(context(0xdef, 0x44));
        let received = exported(record, transport).await;
        assert_eq!(
            received.span.links,
            [Link {
                trace_id: 0xdefu128.to_be_bytes().to_vec(),
                span_id: 0x44u64.to_be_bytes().to_vec(),
                // Sampled, known to be remote, and remote.
                flags: 0x301,
                ..Link::default()
            }]
        );
        assert!(received.span.parent_span_id.is_empty());
    }
}

#[tokio::test]
async fn the_random_flag_is_kept() {
    let mut record = publish(0x11);
    record.context.flags = TraceFlags::from_byte(0x03);
    assert_eq!(exported(record, Transport::Http).await.span.flags, 0x103);
}

#[tokio::test]
async fn a_clock_that_was_set_back_gives_a_span_of_no_length() {
    let mut record = publish(0x11);
    record.end = UnixNanos(record.start.0 - 1_000);
    let span = exported(record, Transport::Http).await.span;
    assert_eq!(span.end_time_unix_nano, span.start_time_unix_nano);
}

#[tokio::test]
async fn a_unix_socket_has_no_port() {
    let socket = Peer { address: "/run/redis.sock".to_owned(), port: None };
    let received = exported_from(&socket, publish(0x11), Transport::Http).await;
    assert_eq!(received.text("server.address"), Some("/run/redis.sock"));
    assert_eq!(received.attribute("server.port"), None);
}

#[tokio::test]
async fn scope_and_resource_say_who_made_the_span() {
    let version = env!("CARGO_PKG_VERSION");
    for transport in [Transport::Http, Transport::Grpc] {
        let receiver = Receiver::start().await.unwrap();
        let telemetry = start(&receiver, transport, &[]);
        telemetry.sink().offer(&publish(1));
        telemetry.shutdown(LONG).await;
        let received = receiver.spans().remove(0);
        assert_eq!((received.scope.name.as_str(), received.scope.version.as_str()), ("redistributed", version));
        assert_eq!(received.schema_url, SCHEMA);
        assert_eq!(receiver.requests()[0].message.resource_spans[0].schema_url, SCHEMA);
        let mut resource = shown(&received.resource.attributes);
        assert_eq!(resource.remove("service.instance.id").map(|id| id.len()), Some(36));
        // Known or not, depending on the machine that runs the test; tested with a machine of its own elsewhere.
        resource.remove("host.name");
        resource.remove("host.id");
        assert_eq!(
            resource,
            expected([
                ("service.name", "api"),
                ("telemetry.sdk.name", "redistributed"),
                ("telemetry.sdk.language", "rust"),
                ("telemetry.sdk.version", version),
                ("telemetry.distro.name", "redistributed"),
                ("telemetry.distro.version", version),
            ])
        );
    }
}

#[tokio::test]
async fn two_services_are_two_resources() {
    for transport in [Transport::Http, Transport::Grpc] {
        let receiver = Receiver::start().await.unwrap();
        let telemetry = start(&receiver, transport, &[("OTEL_SERVICE_NAME", "not-this")]);
        let other = Peer { address: "other.example".to_owned(), ..redis() };
        telemetry.sink_of(Some("worker"), &other).offer(&publish(2));
        telemetry.sink().offer(&publish(1));
        assert_eq!(telemetry.shutdown(LONG).await.sent, 2);
        let mut spans = receiver.spans();
        spans.sort_by_key(ReceivedSpan::span_id);
        let [api, worker] = <[_; 2]>::try_from(spans).unwrap();
        assert_eq!((api.service_name(), api.text("server.address")), ("api", Some("redis.example")));
        assert_eq!((worker.service_name(), worker.text("server.address")), ("worker", Some("other.example")));
        let instance = |span: &ReceivedSpan| span.resource_text("service.instance.id").unwrap().to_owned();
        assert_ne!(instance(&api), instance(&worker));
    }
}
