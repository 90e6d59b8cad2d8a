//! OTLP, by way of `opentelemetry-otlp`. No other folder knows the OpenTelemetry crates.
//!
//! Only their exporter is used, given spans built by hand: it encodes, compresses, sends and retries. Their tracer and batch
//! processor are not, because they cannot say how many spans were lost. What the exporter reads from the process
//! environment by itself is always set explicitly here, so that the checked settings are the only ones.

mod http_client;
mod resource;
mod span;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::SpanExporter as _;
use opentelemetry_semantic_conventions::SCHEMA_URL;
use redistributed_core::trace::SpanRecord;
use tonic::metadata::{KeyAndValueRef, MetadataMap};

use super::exporter::Delivered;
use super::otel_env::{Compression, OtlpSettings, Protocol};
use super::{OtelSettings, Service};
use http_client::HttpCollector;
use resource::Host;
use span::Conversion;

/// What "no limit" becomes where a number is needed.
const NO_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Why the OTLP exporter cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A certificate or key file cannot be read.
    #[error("cannot read {}, which {variable} names: {source}", path.display())]
    Read {
        /// The variable's usual name; the `_TRACES_` form may have given the path.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file does not hold what it should, in PEM form.
    #[error("{} holds no usable {what} in PEM form, which {variable} must name: {reason}", path.display())]
    Pem {
        /// The variable's usual name.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// What the parser says.
        reason: String,
    },
    /// The certificates cannot be used together.
    #[error("cannot set up TLS to the collector: {0}")]
    Tls(String),
    /// The exporter refuses its settings.
    #[error("cannot set up the OTLP exporter: {0}")]
    Build(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// What the exporters of all routes share.
pub(super) struct Connection {
    transport: Transport,
    endpoint: String,
    timeout: Duration,
    compression: Compression,
    host: Host,
}

enum Transport {
    /// One client, and so one pool of connections.
    Http(Arc<HttpCollector>),
    /// A channel for each route: the exporter does not let one be built outside.
    Grpc { headers: HeaderMap, tls: Option<Box<ClientTlsConfig>> },
}

/// Sends the spans of one service.
#[derive(Debug)]
pub(super) struct OtlpExporter {
    exporter: SpanExporter,
    conversion: Conversion,
}

impl OtlpExporter {
    /// Reads certificates and prepares the client, without connecting.
    pub(super) fn connection(settings: &OtlpSettings) -> Result<Connection, OtlpError> {
        let timeout = settings.timeout.unwrap_or(NO_TIMEOUT);
        let headers = || settings.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let material = if settings.endpoint.is_https() { Some(tls::Material::read(settings)?) } else { None };
        let transport = match settings.protocol {
            Protocol::HttpProtobuf => {
                Transport::Http(Arc::new(HttpCollector::new(headers(), timeout, material.as_ref())?))
            }
            Protocol::Grpc => {
                Transport::Grpc { headers: headers(), tls: material.map(|material| Box::new(material.for_grpc())) }
            }
        };
        Ok(Connection {
            transport,
            endpoint: settings.endpoint.as_str().to_owned(),
            timeout,
            compression: settings.compression,
            host: Host::detect(Path::new("/")),
        })
    }

    /// Must be called inside the runtime that will send.
    pub(super) fn new(connection: &Connection, settings: &OtelSettings, service: &Service) -> Result<Self, OtlpError> {
        let gzip = connection.compression == Compression::Gzip;
        // The specification asks for retries with growing delays; three within the timeout. The timeout also covers them.
        let retries = RetryPolicy::recommended();
        let mut exporter = match &connection.transport {
            Transport::Http(client) => {
                let builder = SpanExporter::builder()
                    .with_http()
                    .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                    .with_endpoint(&connection.endpoint)
                    .with_timeout(connection.timeout)
                    .with_retry_policy(retries)
                    .with_shared_http_client(Arc::clone(client) as _);
                if gzip { builder.with_compression(opentelemetry_otlp::Compression::Gzip) } else { builder }.build()?
            }
            Transport::Grpc { headers, tls } => {
                let headers = MetadataMap::from_headers(headers.clone());
                let mut builder = SpanExporter::builder()
                    .with_tonic()
                    .with_endpoint(&connection.endpoint)
                    .with_timeout(connection.timeout)
                    .with_retry_policy(retries)
                    .with_interceptor(move |request| Ok(with_metadata(request, &headers)));
                if let Some(tls) = tls {
                    builder = builder.with_tls_config((**tls).clone());
                }
                if gzip { builder.with_compression(opentelemetry_otlp::Compression::Gzip) } else { builder }.build()?
            }
        };
        let attributes = resource::attributes(settings, service, &connection.host)
            .into_iter()
            .map(|(key, value)| KeyValue::new(key, value));
        exporter.set_resource(&Resource::builder_empty().with_schema_url(attributes, SCHEMA_URL).build());
        Ok(Self { exporter, conversion: Conversion::new(service, &settings.limits) })
    }

    /// Sends one request, with retries. On HTTP the answer's count of rejected spans is told; on gRPC the exporter
    /// keeps it to itself, so a partial success counts as a full one there.
    pub(super) async fn export(&self, records: Vec<SpanRecord>) -> Result<Delivered, String> {
        let spans = records.into_iter().map(|record| self.conversion.span_data(record)).collect();
        let (result, notes) = http_client::noting(self.exporter.export(spans)).await;
        let reason = match result {
            Ok(()) => return Ok(Delivered { rejected: notes.rejected, message: notes.message }),
            Err(OTelSdkError::InternalFailure(reason)) => reason,
            Err(error) => error.to_string(),
        };
        Err(match notes.cause {
            Some(cause) => format!("{reason}: {cause}"),
            None => reason,
        })
    }
}

/// Sets the operator's headers. The exporter would add those of the process environment a second time.
fn with_metadata(mut request: tonic::Request<()>, headers: &MetadataMap) -> tonic::Request<()> {
    for header in headers.iter() {
        match header {
            KeyAndValueRef::Ascii(name, value) => drop(request.metadata_mut().insert(name, value.clone())),
            KeyAndValueRef::Binary(name, value) => drop(request.metadata_mut().insert_bin(name, value.clone())),
        }
    }
    request
}
