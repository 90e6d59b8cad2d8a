//! A listen address of each kind, and clients that connect to it. Whoever uses it has the module `authority` too.
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

use crate::authority::Authority;
use crate::support::redis::{RealRedis, free_address};
use crate::support::{Duplex, connect, within};

/// How clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Tcp,
    Tls,
    Unix,
}

pub(crate) const ALL: [Way; 3] = [Way::Tcp, Way::Tls, Way::Unix];

/// A listen address.
pub(crate) struct Door {
    pub(crate) way: Way,
    pub(crate) authority: Authority,
}

impl Door {
    pub(crate) fn new(way: Way) -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.issue("localhost");
        authority.write("proxy.pem", &certificate);
        authority.write("proxy.key", &key);
        Self { way, authority }
    }

    /// A file of its own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.authority.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("proxy.sock")
    }

    /// As `--listen` takes it, on a free port.
    pub(crate) fn listen(&self) -> String {
        match self.way {
            Way::Tcp => "127.0.0.1:0".to_owned(),
            Way::Tls => "rediss://127.0.0.1:0".to_owned(),
            Way::Unix => format!("unix:{}", self.socket().display()),
        }
    }

    /// The command line of a proxy in front of `upstream`.
    pub(crate) fn arguments(&self, upstream: &str, more: &[&str]) -> Vec<String> {
        let mut arguments = ["--listen", &self.listen(), "--upstream", upstream].map(str::to_owned).to_vec();
        if self.way == Way::Tls {
            let file = |name| self.path(name).display().to_string();
            let files = ["--listen-cert".to_owned(), file("proxy.pem"), "--listen-key".to_owned(), file("proxy.key")];
            arguments.extend(files);
        }
        arguments.extend(more.iter().map(ToString::to_string));
        arguments
    }

    /// A Redis that also listens by TLS, on the port that is returned, with this door's certificate and authority.
    pub(crate) fn redis_with_tls(&self, more: &[&str]) -> (RealRedis, u16) {
        let file = |name: &str| self.path(name).display().to_string();
        let (port, ca) = (free_address().port(), self.authority.file());
        let (tls_port, certificate, key) = (port.to_string(), file("proxy.pem"), file("proxy.key"));
        let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
        let redis =
            RealRedis::start(&[&["--tls-port", &tls_port, "--tls-auth-clients", "no"], &files[..], more].concat());
        (redis, port)
    }

    /// A client. `addresses` are the proxy's, of which a Unix socket has none.
    pub(crate) async fn connect(&self, addresses: &[SocketAddr]) -> Box<dyn Duplex> {
        match self.way {
            Way::Tcp => Box::new(connect(addresses[0]).await),
            Way::Tls => Box::new(self.tls(addresses[0]).await),
            Way::Unix => Box::new(within("connecting", UnixStream::connect(self.socket())).await.unwrap()),
        }
    }

    /// A client without a certificate of its own.
    pub(crate) async fn tls(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        handshake(address, self.client(None)).await.unwrap()
    }

    /// What a client believes, and what it shows if it is asked.
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

/// Connects by TLS.
pub(crate) async fn handshake(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    handshake_with("localhost", address, config).await
}

/// The same with a server that is expected to be `name`.
pub(crate) async fn handshake_with(
    name: &str,
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let (stream, name) = (connect(address).await, name.to_owned().try_into().unwrap());
    within("the handshake", TlsConnector::from(config).connect(name, stream)).await
}

/// Borrows, as the helpers take them.
pub(crate) fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
