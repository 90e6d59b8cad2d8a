//! The HTTP side of OTLP: a pool of connections, the operator's headers, and the parts of an answer that
//! `opentelemetry-otlp` does not pass on.

use std::cell::RefCell;
use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use super::OtlpError;
use super::tls::{self, Material};

tokio::task_local! {
    static NOTES: RefCell<Notes>;
}

/// What was learned during one export.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Spans that the collector turned down though it accepted the request.
    pub(super) rejected: u64,
    /// Why, in its words.
    pub(super) message: String,
    /// Why the last attempt got no answer; the exporter itself only says "network error".
    pub(super) cause: Option<String>,
}

/// Runs an export and returns what the client noted meanwhile.
pub(super) async fn noting<F: Future>(export: F) -> (F::Output, Notes) {
    let export = async {
        let result = export.await;
        (result, NOTES.with(RefCell::take))
    };
    NOTES.scope(RefCell::default(), export).await
}

/// Sends requests of all routes to the collector.
#[derive(Debug)]
pub(super) struct HttpCollector {
    client: HyperClient<HttpsConnector<HttpConnector>>,
    headers: HeaderMap,
}

impl HttpCollector {
    pub(super) fn new(headers: HeaderMap, timeout: Duration, material: Option<&Material>) -> Result<Self, OtlpError> {
        let config = match material {
            Some(material) => material.for_http()?,
            // Never used: the endpoint is not https.
            None => tls::empty()?,
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Self { client: HyperClient::new(connector, timeout, None), headers })
    }
}

#[async_trait]
impl HttpClient for HttpCollector {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let result = self.client.send_bytes(request).await;
        // Called outside of `noting` there is nobody to tell.
        let _ = NOTES.try_with(|notes| {
            let mut notes = notes.borrow_mut();
            match &result {
                Err(error) => notes.cause = Some(with_sources(error.as_ref())),
                Ok(response) => {
                    notes.cause = None;
                    if response.status().is_success() {
                        notes.read_partial_success(response.body());
                    }
                }
            }
        });
        result
    }
}

impl Notes {
    /// A body that is no protobuf is ignored: the status has already said that all is well.
    fn read_partial_success(&mut self, body: &[u8]) {
        let Ok(answer) = ExportTraceServiceResponse::decode(body) else { return };
        if let Some(partial) = answer.partial_success {
            self.rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
            self.message = partial.error_message;
        }
    }
}

/// An error and all that lies under it, such as "tcp connect error: Connection refused".
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
