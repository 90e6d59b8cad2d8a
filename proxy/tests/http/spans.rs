//! What spans say of requests, and how contexts travel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use otlp_receiver::proto::common::v1::any_value::Value;
use otlp_receiver::proto::trace::v1::span::SpanKind;
use otlp_receiver::proto::trace::v1::status::StatusCode;
use otlp_receiver::{ReceivedSpan, Receiver};
use rustix::process::Signal;
use tokio::net::TcpStream;

use super::address;
use crate::docs::page;
use crate::support::fake_redis::FakeRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::{connect, expect, send, within};
use tokio::io::AsyncReadExt;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A proxy in front of a service, and a collector.
pub(super) struct Traced {
    pub(super) proxy: Spawned,
    pub(super) service: Arc<FakeRedis>,
    collector: Receiver,
}

impl Traced {
    pub(super) async fn start(more: &[&str], variables: &[(&str, &str)]) -> Self {
        let (service, collector) = (FakeRedis::start().await, Receiver::start().await.unwrap());
        let port = format!("127.0.0.1:0,{}", address(&service));
        let mut command = command(&[&["--http", &port], more].concat());
        command
            .env("OTEL_SERVICE_NAME", "api")
            .env("OTEL_TRACES_EXPORTER", "otlp")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.http_endpoint())
            .envs(variables.iter().copied());
        Self { proxy: Spawned::start(command, 1), service: Arc::new(service), collector }
    }

    async fn connection(&self) -> (TcpStream, TcpStream) {
        (connect(self.proxy.addresses[0]).await, self.service.accept().await)
    }

    /// Sends a request, and answers it. Returns what the service saw and what the client got.
    async fn exchange(&self, request: &str, response: &[u8]) -> (String, String) {
        let (mut client, mut service) = self.connection().await;
        send(&mut client, request.as_bytes()).await;
        let mut seen = Vec::new();
        while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
            within("the request", service.read_buf(&mut seen)).await.unwrap();
        }
        send(&mut service, response).await;
        drop(service);
        let got = crate::support::read_to_end(&mut client).await;
        (String::from_utf8(seen).unwrap(), String::from_utf8(got).unwrap())
    }

    /// Stops the proxy, and returns the spans in the order of their beginnings.
    pub(super) async fn spans(self) -> Vec<ReceivedSpan> {
        let Self { proxy, collector, .. } = self;
        let ended = tokio::task::spawn_blocking(move || {
            proxy.signal(Signal::TERM);
            proxy.ended()
        });
        assert_eq!(ended.await.unwrap().code, Some(0));
        let mut spans = collector.spans();
        spans.sort_by_key(|span| span.span.start_time_unix_nano);
        spans
    }
}

/// The attributes of a span, as text, without those of the two ends.
pub(super) fn attributes(span: &ReceivedSpan) -> BTreeMap<String, String> {
    let shown = span.span.attributes.iter().map(|attribute| {
        let value = match attribute.value.clone().and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => panic!("{} is {other:?}", attribute.key),
        };
        (attribute.key.clone(), value)
    });
    shown.collect()
}

/// The value of a header in a head.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_server_span_below_its_clients_and_its_service_is_told() {
    let traced = Traced::start(&["--http-query", "--http-answer", "both"], &[]).await;
    let request = format!(
        "POST /reports/7/pages?sig=secret&n=1 HTTP/1.1\r\nHost: api.example:8080\r\nUser-Agent: test/1\r\n\
         traceparent: {PARENT}\r\ntracestate: a=1\r\nbaggage: k=v\r\nContent-Length: 4\r\n\r\nbody"
    );
    let (seen, got) = traced.exchange(&request, OK).await;
    let [span] = &traced.spans().await[..] else { panic!("one request, one span") };
    let ours = format!("00-{}-{}-01", span.trace_id(), span.span_id());
    assert_eq!((header(&seen, "traceparent"), header(&got, "traceresponse")), (Some(&*ours), Some(&*ours)));
    assert_eq!((header(&seen, "tracestate"), header(&seen, "baggage")), (Some("a=1"), Some("k=v")));
    assert_eq!(header(&got, "Server-Timing"), Some(&*format!("traceparent;desc=\"{ours}\"")));
    assert_eq!((span.trace_id(), span.parent_span_id()), (PARENT[3..35].to_owned(), PARENT[36..52].to_owned()));
    assert_eq!((span.span.kind(), &*span.span.name), (SpanKind::Server, "POST /reports/{id}/pages"));
    assert_eq!((&*span.span.trace_state, span.service_name()), ("a=1", "api"));
    let mut attributes = attributes(span);
    assert!(attributes.remove("network.peer.port").is_some());
    let expected = [
        ("client.address", "127.0.0.1"),
        ("http.request.body.size", "4"),
        ("http.request.method", "POST"),
        ("http.response.body.size", "2"),
        ("http.response.status_code", "200"),
        ("http.route", "/reports/{id}/pages"),
        ("network.peer.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("server.address", "api.example"),
        ("server.port", "8080"),
        ("url.path", "/reports/7/pages"),
        ("url.query", "sig=REDACTED&n=1"),
        ("url.scheme", "http"),
        ("user_agent.original", "test/1"),
    ];
    assert_eq!(attributes, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attribute_is_documented_and_no_other() {
    let traced = Traced::start(&["--http-query"], &[]).await;
    traced
        .exchange(
            "BREW /?a HTTP/1.1\r\nHost: x:1\r\nUser-Agent: t\r\n\r\n",
            b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
    let seen: BTreeSet<_> = traced.spans().await.iter().flat_map(|span| attributes(span).into_keys()).collect();
    let page = page::page("proxy/docs/http.md");
    let documented: BTreeSet<_> = page.table("attribute").iter().flat_map(|row| row[0].code.clone()).collect();
    assert_eq!(documented, seen, "the document has left, the span right");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_errors_follow_the_conventions() {
    let traced = Traced::start(&["--http-route", "/users/*=/users/{name}"], &[]).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let status = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    traced.exchange(&get("/users/alice"), &status("404 Not Found")).await;
    traced.exchange(&get("/wp-admin/x.php?secret=1"), &status("404 Not Found")).await;
    traced.exchange(&get("/reports"), &status("503 Unavailable")).await;
    traced.exchange("BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", &status("418 x")).await;
    traced.exchange(&get("/half"), b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    let (mut client, mut service) = traced.connection().await;
    send(&mut client, get("/gone").as_bytes()).await;
    expect(&mut service, b"GET /gone").await;
    drop(client);
    within("the end", service.read_to_end(&mut Vec::new())).await.unwrap();
    let spans = traced.spans().await;
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            let attributes = attributes(span);
            assert!(!attributes.contains_key("url.query"), "only if it is asked for");
            let get = |key: &str| attributes.get(key).cloned().unwrap_or_default();
            let is_error = span.span.status.clone().unwrap_or_default().code() == StatusCode::Error;
            (span.span.name.clone(), get("http.response.status_code"), get("error.type"), is_error)
        })
        .collect();
    let expected = [
        ("GET /users/{name}", "404", "", false),
        ("GET", "404", "", false),
        ("GET /reports", "503", "503", true),
        ("HTTP /pot", "418", "", false),
        ("GET /half", "200", "connection_closed", true),
        ("GET /gone", "", "client_closed", true),
    ];
    let expected = expected.map(|(name, status, error, failed)| (name.into(), status.into(), error.into(), failed));
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_formats_and_the_sampler_are_those_of_the_variables() {
    let variables = [("OTEL_PROPAGATORS", "b3multi,jaeger"), ("OTEL_TRACES_SAMPLER", "parentbased_always_off")];
    let traced = Traced::start(&[], &variables).await;
    let get = |headers: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let (seen, _) = traced.exchange(&get(&format!("traceparent: {PARENT}\r\n")), OK).await;
    assert_eq!(header(&seen, "traceparent"), Some(PARENT), "that format is nobody's here");
    assert_eq!(header(&seen, "x-b3-sampled"), Some("0"));
    let b3 = "b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1\r\n";
    let (seen, _) = traced.exchange(&get(b3), OK).await;
    let [span] = &traced.spans().await[..] else { panic!("the one whose parent is sampled") };
    assert_eq!(span.parent_span_id(), "e457b5a2e4d86bd1");
    assert_eq!(header(&seen, "x-b3-traceid"), Some("80f198ee56343ba864fe8b2a57d3eff7"));
    assert_eq!(header(&seen, "x-b3-spanid"), Some(&*span.span_id()));
    assert_eq!(header(&seen, "x-b3-parentspanid"), Some("e457b5a2e4d86bd1"));
    let jaeger = format!("80f198ee56343ba864fe8b2a57d3eff7:{}:0:1", span.span_id());
    assert_eq!(header(&seen, "uber-trace-id"), Some(&*jaeger));
}
