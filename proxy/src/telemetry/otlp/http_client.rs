//! The HTTP client of both transports: connections, TLS, the operator's headers.

use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use super::OtlpError;
use super::retry::{Failure, Retry};

/// The longest answer that is read, in bytes. An answer has a status and a sentence or two.
const MAX_ANSWER: usize = 64 * 1024;

/// The user agent.
const AGENT: &str = concat!("redistributed-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"));

/// The version of HTTP that a transport uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    /// HTTP/2 without negotiation: a collector's gRPC port knows nothing else.
    Http2,
}

/// The longest time for connecting: half of an export's default time.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest time for which the collector's machine may leave bytes unacknowledged.
#[cfg(target_os = "linux")]
const UNANSWERED: Duration = Duration::from_secs(10);

/// Sends all requests of the process to the collector, over as many connections as are needed.
#[derive(Debug)]
pub(super) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
}

/// A response whose body has been read to its end.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) head: http::response::Parts,
    /// `None` if it is longer than [`MAX_ANSWER`].
    pub(super) body: Option<Bytes>,
    pub(super) trailers: HeaderMap,
}

impl HttpClient {
    /// A client without connections. `headers` are the operator's; `own` are the transport's, and win over them.
    pub(super) fn new(
        version: Version,
        uri: Uri,
        headers: HeaderMap,
        own: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        tls: ClientConfig,
    ) -> Result<Self, OtlpError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        // A collector's machine that is gone says nothing, and an HTTP/2 connection outlives its requests.
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNANSWERED));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        let client = match version {
            Version::Http1 => builder.build(connector.enable_http1().wrap_connector(tcp)),
            Version::Http2 => builder.http2_only(true).build(connector.enable_http2().wrap_connector(tcp)),
        };
        let mut all = HeaderMap::new();
        all.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        for (name, value) in headers.iter().map(|(name, value)| (name.clone(), value.clone())).chain(own) {
            all.insert(name, value);
        }
        Ok(Self { client, uri, headers: all })
    }

    /// Sends `body` and reads the whole answer.
    ///
    /// # Errors
    /// There was no connection, or it ended before the answer was complete. The request may be repeated.
    pub(super) async fn post(&self, body: Bytes) -> Result<HttpResponse, Failure> {
        let mut request = Request::post(self.uri.clone()).body(Full::new(body)).map_err(|error| lost(&error))?;
        request.headers_mut().clone_from(&self.headers);
        let (head, body) = self.client.request(request).await.map_err(|error| lost(&error))?.into_parts();
        match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(collected) => {
                let trailers = collected.trailers().cloned().unwrap_or_default();
                Ok(HttpResponse { head, body: Some(collected.to_bytes()), trailers })
            }
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Ok(HttpResponse { head, body: None, trailers: HeaderMap::new() })
            }
            Err(error) => Err(lost(error.as_ref())),
        }
    }
}

/// The failure of a request that got no answer.
fn lost(error: &(dyn Error + 'static)) -> Failure {
    Failure { reason: with_sources(error), retry: Retry::Later }
}

/// The text of an error with those of its sources, such as "tcp connect error: Connection refused".
fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
