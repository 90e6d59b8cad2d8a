//! The files that the collector's settings name, replaced under a running process: what they hold counts for the next export.

use std::path::PathBuf;

use otlp_receiver::{ReceivedRequest, Receiver, Transport};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::export::setup::LONG;
use crate::export::tls::TlsEnd;
use crate::support::admin::Proxy;
use crate::support::authority::Authority;
use crate::support::redis::RealRedis;
use crate::support::{connect, expect, send};

/// The files, as something outside of the proxy keeps them up to date.
struct Files(TempDir);

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// What a client of a collector of `authority` needs. The files can be used only when the last one is complete.
    fn write_certificates(&self, authority: &Authority) {
        let (certificate, key) = authority.issue("sidecar");
        self.write("client.pem", &certificate);
        std::fs::copy(authority.file(), self.path("ca.pem")).unwrap();
        self.write("client.key", &key);
    }

    fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "client.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "client.key"),
            ("OTEL_EXPORTER_OTLP_HEADERS_FILE", "headers"),
        ]
        .map(|(variable, name)| (variable, self.path(name).display().to_string()))
    }
}

/// Publishes on `channel`, which makes a span.
async fn publish(client: &mut TcpStream, channel: &str) {
    send(client, format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n$1\r\nx\r\n", channel.len()).as_bytes()).await;
    expect(client, b":0\r\n").await;
}

/// Waits for the request with the span of a publish on `channel`, and returns the value of its header `x-tenant`.
async fn tenant_of(receiver: &Receiver, channel: &str) -> String {
    let name = format!("publish {channel}");
    let has_span = |request: &&ReceivedRequest| request.spans().iter().any(|span| span.span.name == name);
    let has_come = |requests: &[ReceivedRequest]| requests.iter().any(|request| has_span(&request));
    receiver.wait_for(LONG, has_come).await.unwrap_or_else(|error| panic!("{channel}: {error}"));
    let requests = receiver.requests();
    requests.iter().find(has_span).and_then(|request| request.header("x-tenant")).unwrap().to_owned()
}

#[tokio::test]
async fn the_next_exports_use_what_the_collectors_files_hold_now() {
    for transport in [Transport::Http, Transport::Grpc] {
        let (redis, receiver) = (RealRedis::start(&[]), Receiver::start().await.unwrap());
        let [first, second, third] = std::array::from_fn(|_| Authority::new());
        let collector = TlsEnd::start(&first, true, transport, &receiver).await;
        let files = Files(tempfile::tempdir().unwrap());
        files.write_certificates(&first);
        files.write("headers", "x-tenant=one");
        let variables = [&collector.variables()[..], &files.variables()].concat();
        let mut environment: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        environment.extend([("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_BSP_SCHEDULE_DELAY", "10")]);
        let mut proxy = Proxy::start(&redis.url(), &[], &environment);
        let mut client = connect(proxy.address()).await;
        publish(&mut client, "start").await;
        assert_eq!(tenant_of(&receiver, "start").await, "one");

        // The collector is ahead of the files.
        collector.change_to(&second);
        publish(&mut client, "between").await;
        collector.one_more_failure().await;
        files.write_certificates(&second);
        proxy.process.signal(Signal::HUP);
        proxy.process.wait_for_line("certificates for the collector: read again, for the next exports");
        publish(&mut client, "signal").await;
        assert_eq!(tenant_of(&receiver, "signal").await, "one");

        files.write("headers", "x-tenant=two");
        let (status, answer) = proxy.ask("POST /reload", "", "").await;
        assert!(status == 200 && answer.contains("headers for the collector: read again"), "{answer}");
        publish(&mut client, "asked").await;
        assert_eq!(tenant_of(&receiver, "asked").await, "two");

        // Half a rotation: what is in force stays in force.
        let (_, key) = third.issue("sidecar");
        files.write("client.key", &key);
        let (_, answer) = proxy.ask("POST /reload", "", "").await;
        assert!(answer.contains("certificates for the collector: the old ones stay in force"), "{answer}");
        publish(&mut client, "half").await;
        assert_eq!(tenant_of(&receiver, "half").await, "two");

        // Nobody says so, but the files are looked at every few seconds.
        collector.change_to(&third);
        files.write("headers", "x-tenant=three");
        files.write_certificates(&third);
        proxy.process.wait_for_line("certificates for the collector: read again, for the next exports");
        publish(&mut client, "by itself").await;
        assert_eq!(tenant_of(&receiver, "by itself").await, "three");
    }
}
