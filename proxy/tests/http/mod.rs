//! The HTTP port in front of a service.
//!
//! | module | what it shows |
//! |---|---|
//! | [`bytes`] | a service sees what its client has sent, to the byte, and the client what the service has |
//! | [`http2`] | the same of HTTP/2, as far as its streams go |
//! | [`endings`] | either side may leave at any time, and the process stops without breaking what is under way |
//! | [`streams`] | long bodies stream through, at the pace of the one who reads |
//! | [`listeners`] | TLS, Unix sockets, and what the settings and `check` say |
//! | [`tunnels`] | HTTP/2: interim responses, tunnels, resets, and streams that nobody reads |
//! | [`spans`] | what spans say of requests, and how contexts travel |

mod bytes;
mod endings;
mod http2;
mod listeners;
mod spans;
mod streams;
mod tunnels;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::authority::Authority;
use crate::support::fake_redis::FakeRedis;
use crate::support::in_process::InProcess;
use crate::support::{connect, within};

/// A proxy in front of a service that the test plays itself.
struct Front {
    proxy: InProcess,
    service: FakeRedis,
}

impl Front {
    async fn start(more: &[&str]) -> Self {
        let service = FakeRedis::start().await;
        let port = format!("127.0.0.1:0,{}", address(&service));
        let arguments = [&["--http", &port], more].concat();
        Self { proxy: InProcess::with_arguments(&arguments).await, service }
    }

    /// A connection: the client's end, and the service's.
    async fn connection(&self) -> (TcpStream, TcpStream) {
        let client = connect(self.proxy.http[0]).await;
        client.set_nodelay(true).unwrap();
        (client, self.service.accept().await)
    }
}

/// A TLS client that trusts `authority`, and asks for one of these protocols (ALPN), the preferred one first.
async fn connect_tls(to: SocketAddr, authority: &Authority, protocols: &[&str]) -> TlsStream<TcpStream> {
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, connect(to).await);
    within("the handshake", handshake).await.unwrap()
}

/// A proxy that takes HTTP clients by TLS, with a certificate of `authority`, for a service that is `upstream`.
async fn start_tls(authority: &Authority, upstream: &str, more: &[&str]) -> InProcess {
    let (certificate, key) = authority.issue("localhost");
    let certificate = authority.write("http.pem", &certificate).display().to_string();
    let key = authority.write("http.key", &key).display().to_string();
    let port = format!("https://127.0.0.1:0,{upstream}");
    let tls = ["--http", &port, "--listen-cert", &certificate, "--listen-key", &key];
    InProcess::with_arguments(&[&tls, more].concat()).await
}

/// The address of a service.
fn address(service: &FakeRedis) -> String {
    service.url().trim_start_matches("redis://").to_owned()
}
