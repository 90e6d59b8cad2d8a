//! The HTTP client of both transports: connections, TLS, the operator's headers.

use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::header::{PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use super::OtlpError;
use super::answer::MAX_ANSWER;
use super::connect::{Allowance, Connector};
use super::retry::{Failure, Retry};
use crate::files::{FileError, Rotating};
use crate::net::key_material::CollectorMaterial;
use crate::net::tls;
use crate::settings::otel::{Headers, OtlpSettings};

/// The user agent.
const AGENT: &str = concat!("redistributed-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"));

/// The version of HTTP that a transport uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    /// HTTP/2 without negotiation: a collector's gRPC port knows nothing else.
    Http2,
}

/// Sends all requests of the process to the collector, over as many connections as are needed.
#[derive(Debug)]
pub(super) struct HttpClient {
    version: Version,
    uri: Uri,
    connector: Connector,
    allowance: Arc<Allowance>,
    /// The transport's headers, which win over the operator's.
    own: HeaderMap,
    /// The operator's headers, where they are in no file.
    given: Headers,
    material: CollectorMaterial,
    current: Mutex<Current>,
}

/// The connections and the headers that are made of the files as they are now.
#[derive(Debug)]
struct Current {
    tls: Option<Arc<ClientConfig>>,
    given: Option<Arc<Headers>>,
    connections: Connections,
    headers: HeaderMap,
}

type Connections = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// A response whose body has been read to its end.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) head: http::response::Parts,
    /// `None` if it is longer than [`MAX_ANSWER`].
    pub(super) body: Option<Bytes>,
    pub(super) trailers: HeaderMap,
}

impl HttpClient {
    /// A client without connections. `given` are the operator's headers; `own` are the transport's, and win over them.
    pub(super) fn new(
        version: Version,
        uri: Uri,
        mut own: HeaderMap,
        settings: &OtlpSettings,
        material: CollectorMaterial,
    ) -> Result<Self, OtlpError> {
        let (tls, from_file) = in_force(&material);
        let given = settings.headers.clone();
        let allowance = Arc::new(Allowance::new(Instant::now()));
        let proxy = settings.proxy.as_ref();
        let forwarded = version == Version::Http1 && tls.is_none();
        if let Some(authorization) = proxy.filter(|_| forwarded).and_then(|proxy| proxy.authorization.clone()) {
            own.insert(PROXY_AUTHORIZATION, authorization);
        }
        let connector = Connector::new(settings.endpoint.socket().as_deref(), proxy, forwarded, Arc::clone(&allowance));
        let connections = connections(version, connector.clone(), tls.as_deref())?;
        let headers = headers(from_file.as_deref().unwrap_or(&given), &own);
        let current = Mutex::new(Current { tls, given: from_file, connections, headers });
        Ok(Self { version, uri, connector, allowance, own, given, material, current })
    }

    /// Sends `body` and reads the whole answer.
    ///
    /// # Errors
    /// There was no connection, or it ended before the answer was complete. The request may be repeated.
    pub(super) async fn post(&self, body: Bytes) -> Result<HttpResponse, Failure> {
        let (connections, headers) = self.current();
        self.allowance.request();
        let mut request = Request::post(self.uri.clone()).body(Full::new(body)).map_err(|error| lost(&error))?;
        *request.headers_mut() = headers;
        let (head, body) = connections.request(request).await.map_err(|error| lost(&error))?.into_parts();
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

    /// The connections and the headers of a request that is sent now. If a file has changed since the last one, they are new.
    fn current(&self) -> (Connections, HeaderMap) {
        // A panic elsewhere does not make a pool or headers wrong.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (tls, given) = in_force(&self.material);
        if !is_same(tls.as_ref(), current.tls.as_ref())
            && let Ok(connections) = connections(self.version, self.connector.clone(), tls.as_deref())
        {
            // Requests that are on their way keep the old connections until they are answered.
            current.connections = connections;
            current.tls = tls;
        }
        if !is_same(given.as_ref(), current.given.as_ref()) {
            current.headers = headers(given.as_deref().unwrap_or(&self.given), &self.own);
            current.given = given;
        }
        (current.connections.clone(), current.headers.clone())
    }
}

/// The TLS configuration and the headers that `material` holds now.
fn in_force(material: &CollectorMaterial) -> (Option<Arc<ClientConfig>>, Option<Arc<Headers>>) {
    (material.tls.as_deref().map(Rotating::current), material.headers.as_deref().map(Rotating::current))
}

/// Whether both are one value. A file's new contents are another one.
fn is_same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}

/// An empty pool of connections, with TLS if there is a configuration for it.
fn connections(version: Version, connector: Connector, tls: Option<&ClientConfig>) -> Result<Connections, FileError> {
    let tls = tls.map_or_else(tls::empty, |tls| Ok(tls.clone()))?;
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    Ok(match version {
        Version::Http1 => builder.build(https.enable_http1().wrap_connector(connector)),
        Version::Http2 => builder.http2_only(true).build(https.enable_http2().wrap_connector(connector)),
    })
}

/// The headers of every request.
fn headers(given: &Headers, own: &HeaderMap) -> HeaderMap {
    let mut all = HeaderMap::new();
    all.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, value) in given.iter().chain(own) {
        all.insert(name.clone(), value.clone());
    }
    all
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
