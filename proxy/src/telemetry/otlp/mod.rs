//! OTLP: from records to requests that a collector takes, over HTTP or gRPC.
//!
//! Both transports share one HTTP client, and differ in the prefix of a request and in where an answer states its outcome. No
//! other folder knows the OTLP wire format.

mod answer;
mod attributes;
mod connect;
mod encode;
mod http_client;
mod metrics;
mod over_grpc;
mod over_http;
mod repeat_warning;
mod requests;
mod retry;
mod trace_state;
mod wire;

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Uri};

use crate::files::FileError;
use crate::net::key_material::CollectorMaterial;
use crate::settings::otel::{Compression, OtlpSettings, Protocol, Signal};
pub(super) use encode::EncodedRequest;
use encode::HEADROOM;
pub use encode::{ConnectionAttributes, OpenRequest, SpanEncoder};
use http_client::{HttpClient, Version};
pub(super) use metrics::{Point, Points, request as metrics_request};
use repeat_warning::RepeatWarning;
use retry::{Backoff, Retry};

/// The reason why the OTLP exporter cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A certificate or key cannot be used.
    #[error("for the collector: {0}")]
    Tls(#[from] FileError),
    /// The address is not valid in an HTTP request.
    #[error("cannot send to {endpoint}: {reason}")]
    Endpoint {
        /// The address, without its secret parts.
        endpoint: String,
        /// The problem with it.
        reason: String,
    },
}

/// The time before its deadline at which an export ends that would otherwise wait, so that its own reason is logged and not the
/// time-out.
const BEFORE_DEADLINE: Duration = Duration::from_millis(50);

/// Sends all requests of the process, over one pool of connections.
#[derive(Debug)]
pub(super) struct OtlpExporter {
    client: HttpClient,
    protocol: Protocol,
    compression: Compression,
    signal: Signal,
    /// The name of the collector in the log.
    target: Box<str>,
    repeat_warning: RepeatWarning,
}

/// The outcome of an export that the collector accepted.
pub(super) struct Delivered {
    /// The number of spans, or of points of metrics, that it rejected.
    pub(super) rejected: u64,
    /// Why it rejected them.
    pub(super) message: String,
    /// Whether a warning that requests are repeated has to be taken back.
    pub(super) recovered: bool,
}

impl OtlpExporter {
    /// Prepares the client, without connecting.
    pub(super) fn new(settings: &OtlpSettings, material: &CollectorMaterial) -> Result<Self, OtlpError> {
        let gzip = settings.compression == Compression::Gzip;
        let (version, path, own): (_, _, HeaderMap) = match settings.protocol {
            Protocol::HttpProtobuf => {
                let encoding = gzip.then_some((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
                let path = if settings.endpoint.socket().is_some() { settings.signal.path() } else { "" };
                (Version::Http1, path, [(CONTENT_TYPE, over_http::PROTOBUF)].into_iter().chain(encoding).collect())
            }
            Protocol::Grpc => (Version::Http2, over_grpc::path(settings.signal), over_grpc::headers(gzip).collect()),
        };
        let client = HttpClient::new(version, uri(settings, path)?, own, settings, material.clone())?;
        Ok(Self {
            client,
            protocol: settings.protocol,
            compression: settings.compression,
            signal: settings.signal,
            target: settings.endpoint.to_string().into(),
            repeat_warning: RepeatWarning::default(),
        })
    }

    /// Sends a request, and repeats it until its answer is final or no time is left before `deadline`. The caller ends an attempt
    /// that takes longer.
    ///
    /// # Errors
    /// The reason why the last attempt failed.
    pub(super) async fn export(&self, request: EncodedRequest, deadline: Option<Instant>) -> Result<Delivered, String> {
        let body = self.body(request);
        let mut backoff = Backoff::new(deadline);
        loop {
            let answer = self.client.post(body.clone()).await;
            let judged = answer.and_then(|answer| match self.protocol {
                Protocol::HttpProtobuf => over_http::judge(&answer),
                Protocol::Grpc => over_grpc::judge(&answer),
            });
            let failure = match judged {
                Ok(partial) => {
                    let recovered = self.repeat_warning.succeeded();
                    let (rejected, message) = (partial.rejected, partial.error_message);
                    return Ok(Delivered { rejected, message, recovered });
                }
                Err(failure) => failure,
            };
            let Some(delay) = backoff.next(failure.retry, Instant::now(), retry::random()) else {
                if let (Retry::After(_), Some(deadline)) = (failure.retry, deadline) {
                    // It asks for rest, and would get the next request at once.
                    let end = deadline.checked_sub(BEFORE_DEADLINE).unwrap_or(deadline);
                    tokio::time::sleep_until(end.into()).await;
                }
                return Err(failure.reason);
            };
            if self.repeat_warning.repeated(Instant::now()) {
                let reason = failure.reason;
                tracing::warn!(
                    collector = %self.target, reason,
                    "the collector does not take {}; they are sent again for as long as an export may take",
                    self.signal.noun()
                );
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// The body of the HTTP request.
    fn body(&self, request: EncodedRequest) -> Bytes {
        let head_len = match self.protocol {
            Protocol::HttpProtobuf => 0,
            Protocol::Grpc => HEADROOM,
        };
        let (mut buffer, message) = match self.compression {
            Compression::None => request.into_parts(),
            Compression::Gzip => (gzip(request.as_slice()), HEADROOM),
        };
        let start = message - head_len;
        if self.protocol == Protocol::Grpc {
            let head = over_grpc::message_head(self.compression == Compression::Gzip, buffer.len() - message);
            buffer[start..message].copy_from_slice(&head);
        }
        Bytes::from(buffer).slice(start..)
    }
}

/// The endpoint's URI with `path` appended.
fn uri(settings: &OtlpSettings, path: &str) -> Result<Uri, OtlpError> {
    let endpoint = settings.endpoint.url();
    let whole = if path.is_empty() { endpoint.to_owned() } else { format!("{}{path}", endpoint.trim_end_matches('/')) };
    whole.parse().map_err(|error: http::uri::InvalidUri| OtlpError::Endpoint {
        endpoint: settings.endpoint.to_string(),
        reason: error.to_string(),
    })
}

/// Compressed, behind as much room as in front of an uncompressed request. The fastest level: the best one takes seven
/// times as long for a tenth less of such repetitive bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let out = vec![0; HEADROOM];
    let mut encoder = GzEncoder::new(out, flate2::Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
