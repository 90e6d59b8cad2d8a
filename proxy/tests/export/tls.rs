//! Collectors behind TLS, on both transports: a small TLS end in front of the receiver.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use otlp_receiver::{Receiver, Transport};
use redistributed::telemetry::{ExportSummary, Telemetry};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;

use crate::export::process;
use crate::export::setup::{Exporter, LONG, publish, settings};
use crate::support::authority::Authority;
use crate::support::within;

/// Ends TLS for `localhost` and passes everything on to the receiver.
pub(crate) struct TlsEnd {
    address: SocketAddr,
    transport: Transport,
    acceptor: watch::Sender<TlsAcceptor>,
    /// How many handshakes have failed.
    failed: watch::Sender<usize>,
    task: AbortHandle,
}

/// How the collector of `authority` ends TLS, and whether it asks for a client's certificate of the same authority.
fn acceptor(authority: &Authority, ask_for_client: bool, transport: Transport) -> TlsAcceptor {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let (certificate, key) = authority.issue("localhost");
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let config = config.unwrap();
    let config = if ask_for_client {
        let roots = Arc::new(authority.roots());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
        config.with_client_cert_verifier(verifier)
    } else {
        config.with_no_client_auth()
    };
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut config = config.with_single_cert(vec![certificate], key).unwrap();
    if transport == Transport::Grpc {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    TlsAcceptor::from(Arc::new(config))
}

impl TlsEnd {
    pub(crate) async fn start(
        authority: &Authority,
        ask_for_client: bool,
        transport: Transport,
        receiver: &Receiver,
    ) -> Self {
        let to = match transport {
            Transport::Grpc => receiver.grpc_addr(),
            Transport::Http => receiver.http_addr(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, in_force) = watch::channel(acceptor(authority, ask_for_client, transport));
        let failed = watch::Sender::new(0);
        let failures = failed.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut in_force = in_force.clone();
                let acceptor = in_force.borrow_and_update().clone();
                let failures = failures.clone();
                let carry = async move {
                    // A handshake that fails is what some of the tests are about.
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        failures.send_modify(|count| *count += 1);
                        return;
                    };
                    let mut plain = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                };
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry => {}
                        _ = in_force.changed() => {}
                    }
                });
            }
        });
        Self { address, transport, acceptor, failed, task: task.abort_handle() }
    }

    /// Closes all connections, and asks for client certificates and ends TLS with a certificate, both of `authority`, from now on.
    pub(crate) fn change_to(&self, authority: &Authority) {
        self.acceptor.send_replace(acceptor(authority, true, self.transport));
    }

    /// Waits until one more handshake has failed.
    pub(crate) async fn one_more_failure(&self) {
        let before = *self.failed.borrow();
        let more = async { self.failed.subscribe().wait_for(|count| *count > before).await.map(|_| ()) };
        within("a handshake that fails", more).await.unwrap();
    }

    pub(crate) fn variables(&self) -> [(&'static str, String); 2] {
        let protocol = match self.transport {
            Transport::Grpc => "grpc",
            Transport::Http => "http/protobuf",
        };
        [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://localhost:{}", self.address.port())),
        ]
    }

    /// What happens to one span that is sent here.
    async fn send(&self, more: &[(&str, &str)]) -> ExportSummary {
        let settings = settings(&self.variables(), more);
        let telemetry = Exporter::start(settings);
        telemetry.sink().offer(&publish(1));
        telemetry.shutdown(LONG).await
    }
}

impl Drop for TlsEnd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const SENT: ExportSummary = ExportSummary { sent: 1, failed: 0, dropped: 0, queued: 0 };
const FAILED: ExportSummary = ExportSummary { sent: 0, failed: 1, dropped: 0, queued: 0 };

#[tokio::test]
async fn certificate_names_the_authority_that_the_collector_is_checked_against() {
    for transport in [Transport::Http, Transport::Grpc] {
        let receiver = Receiver::start().await.unwrap();
        let (authority, stranger) = (Authority::new(), Authority::new());
        let collector = TlsEnd::start(&authority, false, transport, &receiver).await;
        let summary = collector.send(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", &authority.file())]).await;
        assert_eq!(summary, SENT, "{transport:?}");
        let more = [("OTEL_EXPORTER_OTLP_CERTIFICATE", &*stranger.file()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")];
        assert_eq!(collector.send(&more).await, FAILED, "{transport:?}");
        assert_eq!(receiver.spans().len(), 1, "{transport:?}");
    }
}

/// `SSL_CERT_FILE` stands for the system's store.
#[tokio::test]
async fn without_certificate_the_authorities_of_the_system_count() {
    if process::is_child() {
        return process::send_one().await;
    }
    for transport in [Transport::Http, Transport::Grpc] {
        let receiver = Receiver::start().await.unwrap();
        let authority = Authority::new();
        let collector = TlsEnd::start(&authority, false, transport, &receiver).await;
        let mut variables = collector.variables().to_vec();
        variables.push(("SSL_CERT_FILE", authority.file()));
        process::again("export::tls::without_certificate_the_authorities_of_the_system_count", variables).await;
        assert_eq!(receiver.spans().len(), 1, "{transport:?}");
    }
}

#[tokio::test]
async fn client_certificate_and_key_are_shown_to_a_collector_that_asks() {
    for transport in [Transport::Http, Transport::Grpc] {
        let receiver = Receiver::start().await.unwrap();
        let authority = Authority::new();
        let collector = TlsEnd::start(&authority, true, transport, &receiver).await;
        let (certificate, key) = authority.issue("sidecar");
        let certificate = authority.write("client.pem", &certificate).display().to_string();
        let key = authority.write("client.key", &key).display().to_string();
        let ca = authority.file();
        let known = [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", &*ca),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &*certificate),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &*key),
        ];
        assert_eq!(collector.send(&known).await, SENT, "{transport:?}");
        let unknown = [known[0], ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")];
        assert_eq!(collector.send(&unknown).await, FAILED, "{transport:?}");
    }
}

#[tokio::test]
async fn a_certificate_file_that_cannot_be_used_is_an_error_at_the_start() {
    let authority = Authority::new();
    let missing = authority.folder.path().join("missing.pem").display().to_string();
    let empty = authority.write("empty.pem", "").display().to_string();
    let ca = authority.file();
    let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:1".to_owned())];
    for protocol in ["http/protobuf", "grpc"] {
        for (certificate, key, culprit, file) in [
            (&missing, None, "OTEL_EXPORTER_OTLP_CERTIFICATE", &missing),
            (&empty, None, "OTEL_EXPORTER_OTLP_CERTIFICATE", &empty),
            (&ca, Some(&empty), "OTEL_EXPORTER_OTLP_CLIENT_KEY", &empty),
        ] {
            let mut more = vec![
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", certificate.as_str()),
            ];
            if let Some(key) = key {
                more.push(("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &ca));
                more.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", key));
            }
            let error = Telemetry::start(&settings(&endpoint, &more), NonZeroUsize::MIN).unwrap_err().to_string();
            assert!(error.contains(culprit) && error.contains(file.as_str()), "{protocol}: {error}");
        }
    }
}
