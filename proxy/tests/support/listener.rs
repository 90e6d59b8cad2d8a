//! A listen address of each kind, and clients that connect to it. Test programs that use this module also need
//! `authority`.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::authority::Authority;
use crate::support::redis::{RealRedis, free_address};
use crate::support::{Duplex, connect, within};

/// The kind of connection that clients open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    Unix,
}

pub(crate) const ALL: [Transport; 3] = [Transport::Tcp, Transport::Tls, Transport::Unix];

/// A listen address, and the certificate authority for it.
pub(crate) struct TestListener {
    pub(crate) transport: Transport,
    pub(crate) authority: Authority,
}

impl TestListener {
    pub(crate) fn new(transport: Transport) -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.issue("localhost");
        authority.write("proxy.pem", &certificate);
        authority.write("proxy.key", &key);
        Self { transport, authority }
    }

    /// The path of a file in the folder of the authority.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.authority.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("proxy.sock")
    }

    /// The address for `--listen`, with a free port.
    pub(crate) fn listen(&self) -> String {
        match self.transport {
            Transport::Tcp => "127.0.0.1:0".to_owned(),
            Transport::Tls => "rediss://127.0.0.1:0".to_owned(),
            Transport::Unix => format!("unix:{}", self.socket().display()),
        }
    }

    /// The command line of a proxy in front of `upstream`.
    pub(crate) fn arguments(&self, upstream: &str, more: &[&str]) -> Vec<String> {
        let mut arguments = ["--listen", &self.listen(), "--upstream", upstream].map(str::to_owned).to_vec();
        if self.transport == Transport::Tls {
            let file = |name| self.path(name).display().to_string();
            let files = ["--listen-cert".to_owned(), file("proxy.pem"), "--listen-key".to_owned(), file("proxy.key")];
            arguments.extend(files);
        }
        arguments.extend(more.iter().map(ToString::to_string));
        arguments
    }

    /// Starts a Redis that also listens with TLS, and returns that port. It uses the certificate and authority of this
    /// listener.
    pub(crate) fn redis_with_tls(&self, more: &[&str]) -> (RealRedis, u16) {
        let file = |name: &str| self.path(name).display().to_string();
        let (port, ca) = (free_address().port(), self.authority.file());
        let (tls_port, certificate, key) = (port.to_string(), file("proxy.pem"), file("proxy.key"));
        let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
        let redis =
            RealRedis::start(&[&["--tls-port", &tls_port, "--tls-auth-clients", "no"], &files[..], more].concat());
        (redis, port)
    }

    /// Connects a client. `addresses` are those of the proxy; they are not used for a Unix socket.
    pub(crate) async fn connect(&self, addresses: &[SocketAddr]) -> Box<dyn Duplex> {
        match self.transport {
            Transport::Tcp => Box::new(connect(addresses[0]).await),
            Transport::Tls => Box::new(self.tls(addresses[0]).await),
            Transport::Unix => Box::new(within("connecting", UnixStream::connect(self.socket())).await.unwrap()),
        }
    }

    /// Connects a client with TLS and without a certificate of its own.
    pub(crate) async fn tls(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        handshake(address, self.client(None)).await.unwrap()
    }

    /// The TLS configuration of a client that trusts the authority, with `identity` as its certificate.
    pub(crate) fn client(&self, identity: Option<(String, String)>) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(self.authority.roots());
        Arc::new(match identity {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        })
    }
}

/// Connects with TLS.
pub(crate) async fn handshake(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    handshake_with("localhost", address, config).await
}

/// Connects with TLS to a server that must be called `name`.
pub(crate) async fn handshake_with(
    name: &str,
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let (stream, name) = (connect(address).await, name.to_owned().try_into().unwrap());
    within("the handshake", TlsConnector::from(config).connect(name, stream)).await
}

/// Borrows the strings, in the form that the helpers take.
pub(crate) fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
