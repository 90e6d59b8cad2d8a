//! Collectors behind TLS, on both transports: a small TLS end in front of the receiver.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use otlp_receiver::{Receiver, Transport};
use redistributed::telemetry::{ExportSummary, Telemetry};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;

use crate::export::process;
use crate::export::setup::{Exporter, LONG, publish, settings};
use crate::support::authority::Authority;

/// Ends TLS for `localhost` and passes everything on to `to`.
struct TlsEnd {
    address: SocketAddr,
    task: AbortHandle,
}

impl TlsEnd {
    async fn start(authority: &Authority, ask_for_client: bool, transport: Transport, receiver: &Receiver) -> Self {
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
        let to = match transport {
            Transport::Grpc => {
                config.alpn_protocols = vec![b"h2".to_vec()];
                receiver.grpc_addr()
            }
            Transport::Http => receiver.http_addr(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A handshake that fails is what some of the tests are about.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut plain = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                });
            }
        });
        Self { address, task: task.abort_handle() }
    }

    fn variables(&self, transport: Transport) -> [(&'static str, String); 2] {
        let protocol = match transport {
            Transport::Grpc => "grpc",
            Transport::Http => "http/protobuf",
        };
        [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://localhost:{}", self.address.port())),
        ]
    }

    /// What happens to one span that is sent here.
    async fn send(&self, transport: Transport, more: &[(&str, &str)]) -> ExportSummary {
        let settings = settings(&self.variables(transport), more);
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
        let summary = collector.send(transport, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", &authority.file())]).await;
        assert_eq!(summary, SENT, "{transport:?}");
        let more = [("OTEL_EXPORTER_OTLP_CERTIFICATE", &*stranger.file()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")];
        assert_eq!(collector.send(transport, &more).await, FAILED, "{transport:?}");
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
        let mut variables = collector.variables(transport).to_vec();
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
        assert_eq!(collector.send(transport, &known).await, SENT, "{transport:?}");
        let unknown = [known[0], ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")];
        assert_eq!(collector.send(transport, &unknown).await, FAILED, "{transport:?}");
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
