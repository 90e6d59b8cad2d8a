//! What a collector answers, and what it sends unasked.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use otlp_receiver::{Receiver, Transport};
use rustix::process::Signal;
use tokio::net::{TcpStream, UnixListener};

use crate::export::setup::{Exporter, LONG, publish, settings, variables};
use crate::support::collector::{answer, answering};
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::wire::Wire;

fn exporter(endpoint: &str, more: &[(&'static str, &str)]) -> Exporter {
    let base = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned()), ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned())];
    Exporter::start(settings(&base, more))
}

/// A login page with the status 200 counted as a success.
#[tokio::test]
async fn only_an_answer_to_an_export_is_a_success() {
    for (kind, body, is_success) in [
        ("text/html", "<!doctype html><title>Sign in</title>", false),
        ("application/x-protobuf", "<!doctype html>", false),
        ("application/x-protobuf", "", true),
        ("application/json", "{}", true),
    ] {
        let (address, _heads) = answering(&answer("200 OK", kind, body));
        let telemetry = exporter(&format!("http://{address}"), &[]);
        (1..=3).for_each(|span| telemetry.sink().offer(&publish(span)));
        let summary = telemetry.shutdown(LONG).await;
        let expected = if is_success { (3, 0) } else { (0, 3) };
        assert_eq!((summary.sent, summary.failed), expected, "{kind} {body}");
    }
}

/// A proxy of a service that has published once.
async fn published(redis: &RealRedis, endpoint: &str, more: &[(&str, &str)]) -> Spawned {
    let mut program = command(&["--listen", "127.0.0.1:0", "--upstream", &redis.url()]);
    program.env("OTEL_TRACES_EXPORTER", "otlp").env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    program.env("OTEL_BSP_SCHEDULE_DELAY", "10").envs(more.iter().copied());
    let proxy = Spawned::start(program, 1);
    Wire::to(proxy.addresses[0]).await.publish("ch", b"x").await;
    proxy
}

#[tokio::test]
async fn what_a_collector_says_in_few_words_is_in_the_log() {
    let redis = RealRedis::start(&[]);
    let remark = r#"{"partialSuccess":{"errorMessage":"this tenant is\nnearly full"}}"#;
    for (status, kind, body, line) in [
        ("200 OK", "application/json", remark, "this tenant is nearly full"),
        ("200 OK", "text/html", "<title>Sign in</title>", "what answered is no OTLP collector"),
        ("401 Unauthorized", "text/plain", "no such\u{1b}[2J token", "answered 401 Unauthorized"),
        ("401 Unauthorized", "application/json", r#"{"message":"no such token"}"#, "no such token"),
        ("404 Not Found", "text/plain; charset=utf-8", "404 page not found\n", "404 page not found"),
    ] {
        let (address, _heads) = answering(&answer(status, kind, body));
        let mut proxy = published(&redis, &format!("http://{address}"), &[]).await;
        let line = proxy.wait_for_line(line);
        assert!(line.contains(" WARN ") && !line.contains('\u{1b}'), "{line}");
    }
}

#[tokio::test]
async fn headers_in_a_file_are_followed() {
    let (redis, receiver) = (RealRedis::start(&[]), Receiver::start().await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headers");
    std::fs::write(&file, "authorization=one\n").unwrap();
    let named = [("OTEL_EXPORTER_OTLP_HEADERS_FILE", file.to_str().unwrap())];
    let mut proxy = published(&redis, &receiver.http_endpoint(), &named).await;
    receiver.wait_for_spans(1, LONG).await.unwrap();

    std::fs::write(&file, "authorization=two\n").unwrap();
    proxy.signal(Signal::HUP);
    proxy.wait_for_line("headers for the collector: read again, for the next exports");
    Wire::to(proxy.addresses[0]).await.publish("ch", b"x").await;
    receiver.wait_for_spans(2, LONG).await.unwrap();
    let requests = receiver.requests();
    let sent: Vec<_> = requests.iter().map(|request| request.header("authorization").unwrap_or_default()).collect();
    assert_eq!(sent, ["one", "two"]);

    std::fs::write(&file, "no header\n").unwrap();
    proxy.signal(Signal::HUP);
    let line = proxy.wait_for_line("headers for the collector: changed and cannot be used");
    assert!(line.contains("OTEL_EXPORTER_OTLP_HEADERS_FILE") && !line.contains("no header,"), "{line}");
}

/// Sends `flood` over and over on every connection, behind `first`, and counts the bytes that it could send.
fn flooding(first: &'static [u8], flood: &'static [u8]) -> (std::net::SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                let mut reader = stream.try_clone().unwrap();
                thread::spawn(move || while reader.read(&mut [0; 65_536]).is_ok_and(|len| len > 0) {});
                let flood = flood.repeat(1_000);
                let mut sent = stream.write_all(first);
                while sent.is_ok() {
                    sent = stream.write_all(&flood);
                    counted.fetch_add(flood.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    (address, sent)
}

/// `100 Continue` and HTTP/2's control frames have no end by themselves, and reading them occupied a core.
#[tokio::test]
async fn a_collector_that_sends_without_end_is_not_read_without_end() {
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0abcdefgh";
    for (protocol, first, flood) in [
        ("http/protobuf", &b""[..], &b"HTTP/1.1 100 Continue\r\n\r\n"[..]),
        ("grpc", SETTINGS, PING),
        ("grpc", SETTINGS, SETTINGS),
    ] {
        let (address, sent) = flooding(first, flood);
        let more = [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")];
        let telemetry = exporter(&format!("http://{address}"), &more);
        telemetry.sink().offer(&publish(1));
        let summary = telemetry.shutdown(LONG).await;
        assert_eq!((summary.sent, summary.failed), (0, 1), "{protocol}");
        // What fits into the buffers of some connections; two seconds of a flood are hundreds of megabytes.
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 64 << 20, "{protocol}: {sent} bytes");
    }
}

#[tokio::test]
async fn a_proxy_is_asked_in_place_of_a_collector_elsewhere() {
    let (address, heads) = answering(&answer("200 OK", "application/json", "{}"));
    let proxy = format!("http://user:pass@{address}");
    let telemetry = exporter("http://collector.example:4318", &[("http_proxy", &proxy)]);
    telemetry.sink().offer(&publish(1));
    assert_eq!(telemetry.shutdown(LONG).await.sent, 1);
    let head = heads.recv().unwrap();
    assert!(head.starts_with("POST http://collector.example:4318/v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz\r\n"), "{head}");
}

/// gRPC goes through a tunnel, as HTTPS does.
#[tokio::test]
async fn a_proxy_provides_a_tunnel_for_grpc() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let receiver = Receiver::start().await.unwrap();
    let to = receiver.grpc_addr();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let tunnel = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(near.read_u8().await.unwrap());
        }
        near.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
        let mut far = TcpStream::connect(to).await.unwrap();
        // However it ends.
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        String::from_utf8(head).unwrap()
    });
    let more = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("ALL_PROXY", &*proxy)];
    let telemetry = exporter("http://collector.example:4317", &more);
    telemetry.sink().offer(&publish(1));
    assert_eq!(telemetry.shutdown(LONG).await.sent, 1);
    assert_eq!(receiver.spans().len(), 1);
    let head = tunnel.await.unwrap();
    assert!(head.starts_with("CONNECT collector.example:4317 HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn a_collector_may_listen_on_a_unix_socket() {
    for transport in [Transport::Http, Transport::Grpc] {
        let receiver = Receiver::start().await.unwrap();
        let to = if transport == Transport::Http { receiver.http_addr() } else { receiver.grpc_addr() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("collector.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
            }
        });
        let endpoint = format!("unix:{}", path.display());
        let base = variables(&receiver, transport);
        let telemetry = Exporter::start(settings(&base, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]));
        telemetry.sink().offer(&publish(1));
        assert_eq!(telemetry.shutdown(LONG).await.sent, 1, "{transport:?}");
        let requests = receiver.requests();
        assert!(requests[0].path == "/v1/traces" || requests[0].path.ends_with("/Export"), "{}", requests[0].path);
    }
}
