//! Spans come in by every way of OTLP.

use std::io::Write;
use std::net::SocketAddr;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use serde_json::json;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};

use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::{connect, expect, send};
use crate::view::setup::{Viewer, ask, attribute, request, span};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

#[tokio::test(flavor = "multi_thread")]
async fn a_message_through_two_real_proxies_is_one_transaction_over_both_transports() {
    let (viewer, redis) = (Viewer::start(&[]), RealRedis::start(&[]));
    let proxy = |name, protocol, compression, endpoint: SocketAddr| {
        let mut command = command(&["--listen", "127.0.0.1:0", "--upstream", &redis.url()]);
        command.envs([
            ("OTEL_SERVICE_NAME", name),
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{endpoint}"));
        Spawned::start(command, 1)
    };
    let api = proxy("api", "http/protobuf", "gzip", viewer.http);
    let worker = proxy("worker", "grpc", "gzip", viewer.grpc);
    let mut subscriber = connect(worker.addresses[0]).await;
    send(&mut subscriber, b"SUBSCRIBE reports\r\n").await;
    expect(&mut subscriber, b"*3\r\n$9\r\nsubscribe\r\n$7\r\nreports\r\n:1\r\n").await;
    let mut publisher = connect(api.addresses[0]).await;
    send(&mut publisher, b"*3\r\n$7\r\nPUBLISH\r\n$7\r\nreports\r\n$2\r\nhi\r\n").await;
    expect(&mut publisher, b":1\r\n").await;
    expect(&mut subscriber, b"*3\r\n$7\r\nmessage\r\n$7\r\nreports\r\n$2\r\nhi\r\n").await;

    let summary = viewer.page.until(|summary| summary["spans"] == 2).await;
    assert_eq!(summary["name"], "publish reports");
    assert_eq!((&summary["service"], &summary["services"]), (&json!("api"), &json!(["api", "worker"])));
    assert_eq!(summary["channels"], json!(["reports"]));
    let trace = summary["trace"].as_str().unwrap();
    let whole = viewer.page.json(&format!("/api/transactions/{trace}")).await;
    let spans = whole["spans"].as_array().unwrap();
    assert_eq!([&spans[0]["kind"], &spans[1]["kind"]], ["producer", "consumer"]);
    assert_eq!(spans[1]["parent"], spans[0]["id"]);
    let channels = viewer.page.json("/api/channels").await;
    let channel = &channels["channels"][0];
    assert_eq!((&channel["receivers_said"], &channel["deliveries_seen"]), (&json!(1), &json!(1)));
    assert_eq!(channel["publishers"], json!([{"service": "api", "count": 1}]));
    assert_eq!(channel["receivers"], json!([{"service": "worker", "count": 1}]));
    let graph = viewer.page.json("/api/graph").await;
    let ends: Vec<_> =
        graph["edges"].as_array().unwrap().iter().map(|edge| (&edge["from"]["name"], &edge["to"]["name"])).collect();
    assert_eq!(ends, [(&json!("api"), &json!("reports")), (&json!("reports"), &json!("worker"))]);
    assert!(graph["channels"][0]["p50_us"].as_f64().unwrap() >= 0.0, "{graph}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_context_is_shown_with_the_reason() {
    let (viewer, redis) = (Viewer::start(&[]), RealRedis::start(&[]));
    let mut command = command(&["--listen", "127.0.0.1:0", "--upstream", &redis.url(), "--mode", "auto"]);
    command.envs([("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_SERVICE_NAME", "api"), ("OTEL_BSP_SCHEDULE_DELAY", "10")]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", viewer.http));
    let proxy = Spawned::start(command, 1);
    let mut publisher = connect(proxy.addresses[0]).await;
    send(&mut publisher, b"*3\r\n$7\r\nPUBLISH\r\n$7\r\nreports\r\n$2\r\nhi\r\n").await;
    expect(&mut publisher, b":0\r\n").await;
    viewer.page.until(|summary| summary["name"] == "publish reports").await;
    let untraced = viewer.page.json("/api/untraced").await;
    assert_eq!(
        (&untraced["messages"][0]["service"], &untraced["messages"][0]["channel"]),
        (&json!("api"), &json!("reports"))
    );
    let reason = &untraced["reasons"][0];
    assert_eq!((&untraced["messages"][0]["reason"], &reason["count"]), (&reason["reason"], &json!(1)));
    assert!(reason["explanation"].as_str().unwrap().ends_with('.'), "{untraced}");
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_by_grpc_that_others_have_written_is_served_with_gzip_and_without() {
    let viewer = Viewer::start(&[]);
    for (address, trace) in [(viewer.grpc, 1), (viewer.http, 2)] {
        let client = TraceServiceClient::connect(format!("http://{address}")).await.unwrap();
        let mut client = client.send_compressed(CompressionEncoding::Gzip);
        let export = request("api", vec![span(trace, 1, "GET /")]);
        let answer = client.export(Request::new(export)).await.unwrap().into_inner();
        assert_eq!(answer, ExportTraceServiceResponse::default());
    }
    let mut client = TraceServiceClient::connect(format!("http://{}", viewer.grpc)).await.unwrap();
    let wrong = request("api", vec![span(3, 1, "GET /"), span(3, 0, "no id")]);
    let partial = client.export(Request::new(wrong)).await.unwrap().into_inner().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("8 bytes"), "{partial:?}");
    let list = viewer.page.json("/api/transactions").await;
    assert_eq!((&list["kept"]["spans"], &list["kept"]["refused_spans"]), (&json!(3), &json!(1)));
    let long = request("api", vec![span(4, 1, &"x".repeat(17 << 20))]);
    let refused = client.max_encoding_message_size(32 << 20).export(Request::new(long)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_and_json_are_taken_over_http() {
    let viewer = Viewer::start(&[]);
    let export = request("api", vec![span(1, 1, "GET /")]).encode_to_vec();
    let answer = viewer.export(PROTOBUF, "identity", &export).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
    assert!(answer.head.contains("content-type: application/x-protobuf"), "{}", answer.head);
    let by_json = json!({"resourceSpans": [{"resource": {"attributes": [
        {"key": "service.name", "value": {"stringValue": "<script>alert(1)</script>"}}]}, "scopeSpans": [{"spans": [
        {"traceId": format!("{:032x}", 2), "spanId": format!("{:016x}", 1), "name": "a", "kind": 2,
         "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000000001500"},
        {"traceId": "12", "spanId": "34"}]}]}]});
    let answer = viewer.export("application/json; charset=utf-8", "gzip", &gzip(by_json.to_string().as_bytes())).await;
    assert_eq!(
        (answer.status, &answer.json()["partialSuccess"]["rejectedSpans"]),
        (200, &json!("1")),
        "{}",
        answer.text()
    );
    let list = viewer.page.json("/api/transactions?service=%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert_eq!(
        (list["transactions"].as_array().unwrap().len(), &list["transactions"][0]["duration_us"]),
        (1, &json!(1.5))
    );
}

/// Each is answered, and the viewer serves the next one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_or_too_large_is_refused() {
    let viewer = Viewer::start(&[]);
    let whole = request("api", vec![span(1, 1, "GET /")]).encode_to_vec();
    let cut = &whole[..whole.len() - 1];
    let bomb = gzip(&vec![0; 100 << 20]);
    let huge = vec![0; 17 << 20];
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{\"attributes\":{deep}}}]}}]}}]}}");
    for (content_type, encoding, body, status) in [
        (PROTOBUF, "identity", cut, 400),
        (PROTOBUF, "gzip", &whole[..], 400),
        (PROTOBUF, "gzip", &bomb[..], 413),
        (PROTOBUF, "identity", &huge[..], 413),
        (PROTOBUF, "br", &whole[..], 415),
        (JSON, "identity", b"{\"resourceSpans\": [", 400),
        (JSON, "identity", b"{\"resourceSpans\": 7}", 400),
        (JSON, "identity", b"\xff", 400),
        ("text/plain", "identity", &whole[..], 415),
        (JSON, "gzip", &bomb[..], 413),
    ] {
        let answer = viewer.export(content_type, encoding, body).await;
        assert_eq!(answer.status, status, "{content_type} {encoding}, {} bytes: {}", body.len(), answer.head);
    }
    let answer = viewer.export(JSON, "identity", nested.as_bytes()).await;
    assert_eq!(
        (answer.status, &answer.json()["partialSuccess"]["rejectedSpans"]),
        (200, &json!("1")),
        "{}",
        answer.text()
    );
    assert_eq!(ask(viewer.http, "GET /v1/traces", "", b"").await.status, 405);
    assert_eq!(ask(viewer.http, "POST /v1/metrics", "", b"").await.status, 404);
    let by_page = "Origin: http://localhost\r\nContent-Type: application/json\r\n";
    assert_eq!(ask(viewer.http, "POST /v1/traces", by_page, b"{}").await.status, 403);

    let many = (0..10_000).map(|number| attribute(&format!("key-{number}"), "value"));
    let many = opentelemetry_proto::tonic::trace::v1::Span { attributes: many.collect(), ..span(7, 1, "many") };
    let short = |mut span: opentelemetry_proto::tonic::trace::v1::Span, trace: usize, id: usize| {
        (span.trace_id, span.span_id) = (vec![1; trace], vec![1; id]);
        span
    };
    let spans = [(16, 7), (16, 9), (15, 8), (17, 8), (0, 0)].map(|(trace, id)| short(span(1, 1, "a"), trace, id));
    let export = request("api", spans.into_iter().chain([many]).collect()).encode_to_vec();
    let answer = viewer.export(PROTOBUF, "identity", &export).await;
    let partial = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap().partial_success.unwrap();
    assert_eq!((answer.status, partial.rejected_spans), (200, 5));
    let many = viewer.page.json(&format!("/api/transactions/{:032x}", 7)).await;
    assert_eq!(many["spans"][0]["attributes"].as_array().unwrap().len(), 10_000);
    assert_eq!(viewer.page.json("/api/transactions").await["kept"]["spans"], 1);
    let empty = ExportTraceServiceRequest::default().encode_to_vec();
    assert_eq!(viewer.export(PROTOBUF, "identity", &empty).await.status, 200);
}
