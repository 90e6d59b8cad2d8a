//! A viewer, and requests to it.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::spawn::{Spawned, as_typed};
use crate::support::within;

/// The ports that the system chooses.
pub(crate) const PORTS: [&str; 7] =
    ["view", "--listen", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"];

/// A viewer that runs as a process of its own, with the addresses of its three ports.
pub(crate) struct Viewer {
    pub(crate) process: Spawned,
    pub(crate) page: Page,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
}

/// The page of a viewer.
#[derive(Clone, Copy)]
pub(crate) struct Page(pub(crate) SocketAddr);

/// What the viewer has answered to one HTTP request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Viewer {
    pub(crate) fn start(more: &[&str]) -> Self {
        let process = Spawned::start(as_typed(&[&PORTS, more].concat()), 3);
        let [page, http, grpc] = process.addresses[..] else { panic!("three addresses") };
        Self { process, page: Page(page), http, grpc }
    }

    /// Sends `request` by OTLP over HTTP.
    pub(crate) async fn export(&self, content_type: &str, encoding: &str, request: &[u8]) -> Answer {
        let headers = format!("Content-Type: {content_type}\r\nContent-Encoding: {encoding}\r\n");
        ask(self.http, "POST /v1/traces", &headers, request).await
    }
}

impl Page {
    pub(crate) async fn get(self, path: &str) -> Answer {
        ask(self.0, &format!("GET {path}"), "", b"").await
    }

    /// Asks for `path`, and reads the answer, which has to be a 200, as JSON.
    pub(crate) async fn json(self, path: &str) -> Json {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub(crate) async fn open(self, text: &[u8]) -> Answer {
        ask(self.0, "POST /api/open", "X-Redistributed: 1\r\n", text).await
    }

    /// Listens for changes from the first one on.
    pub(crate) async fn events(self) -> Events {
        let mut stream = within("connecting", TcpStream::connect(self.0)).await.unwrap();
        let request = b"GET /api/events?since=0 HTTP/1.0\r\nHost: localhost\r\n\r\n";
        within("asking", stream.write_all(request)).await.unwrap();
        Events(BufReader::new(stream))
    }

    /// Waits until the newest state of some transaction is as `is_so` wants it, and returns its summary.
    pub(crate) async fn until(self, is_so: impl Fn(&Json) -> bool) -> Json {
        let mut events = self.events().await;
        within("the transaction", async {
            loop {
                let event = events.next().await;
                let transactions = event["transactions"].as_array().unwrap();
                if let Some(found) = transactions.iter().find(|summary| is_so(summary)) {
                    break found.clone();
                }
            }
        })
        .await
    }
}

/// Changes as they happen.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    /// The data of the next event.
    pub(crate) async fn next(&mut self) -> Json {
        loop {
            let mut line = String::new();
            within("an event", self.0.read_line(&mut line)).await.unwrap();
            assert!(!line.is_empty(), "the viewer has closed the connection");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

/// Sends a request, which begins with the method and the path. HTTP 1.0 has no chunks.
pub(crate) async fn ask(to: SocketAddr, request: &str, headers: &str, body: &[u8]) -> Answer {
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {to}\r\n") };
    let head = format!("{request} HTTP/1.0\r\n{host}{headers}Content-Length: {}\r\n\r\n", body.len());
    let mut stream = within("connecting", TcpStream::connect(to)).await.unwrap();
    let (mut from, mut to) = stream.split();
    let send = async {
        to.write_all(head.as_bytes()).await?;
        // One that is refused by its head may not be read.
        to.write_all(body).await
    };
    let mut answer = Vec::new();
    let (_, read) = within("the answer", async { tokio::join!(send, from.read_to_end(&mut answer)) }).await;
    // After a refusal, what was not read resets the connection.
    assert!(read.is_ok() || !answer.is_empty(), "{read:?}");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head, body }
}

/// A span of the trace `trace`.
pub(crate) fn span(trace: u128, id: u64, name: &str) -> Span {
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: name.to_owned(),
        start_time_unix_nano: 1_700_000_000_000_000_000 + id,
        end_time_unix_nano: 1_700_000_000_000_000_000 + id + 1_500,
        ..Span::default()
    }
}

pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// A request with the spans of one service.
pub(crate) fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource { attributes: vec![attribute("service.name", service)], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }],
    }
}
