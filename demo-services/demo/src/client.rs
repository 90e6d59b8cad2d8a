//! A client of the API: what `curl` would do.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use redistributed_core::printable::printable;
use serde_json::{Value, json};

use crate::failure::Failure;

/// How long the API is asked to wait for a report to be complete, in seconds; it allows up to 30.
const WAIT_SECONDS: u32 = 20;

/// A report that was ordered, as the client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    pub(crate) id: String,
    pub(crate) title: String,
    /// The id of the request's trace, which the API's sidecar tells in the answer.
    pub(crate) trace: String,
}

#[derive(Clone)]
pub(crate) struct ApiClient {
    address: SocketAddr,
    http: Client<HttpConnector, Full<Bytes>>,
}

impl ApiClient {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, http: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether `GET /health` is answered with 200.
    pub(crate) async fn is_healthy(&self) -> bool {
        self.send(Method::GET, "/health", Bytes::new()).await.is_ok_and(|answer| answer.status == StatusCode::OK)
    }

    /// Orders a report. The number is the client's own.
    pub(crate) async fn order(&self, title: &str, number: &str) -> Result<Ordered, Failure> {
        let order = Bytes::from(json!({ "title": title, "order": number }).to_string());
        let Answer { status, trace, body } = self.send(Method::POST, "/reports", order).await?;
        match (body["id"].as_str(), trace) {
            (Some(id), Some(trace)) if status == StatusCode::ACCEPTED => {
                Ok(Ordered { id: printable(id).to_string(), title: title.to_owned(), trace })
            }
            (_, None) => Err(Failure::Api("POST /reports was answered without a traceresponse".to_owned())),
            _ => Err(Failure::Api(format!("POST /reports was answered {status}: {body}"))),
        }
    }

    /// Waits for the report to be complete and returns the kinds of its parts.
    pub(crate) async fn parts(&self, id: &str) -> Result<Vec<String>, Failure> {
        let path = format!("/reports/{id}?wait={WAIT_SECONDS}");
        let Answer { status, body, .. } = self.send(Method::GET, &path, Bytes::new()).await?;
        match body["parts"].as_object() {
            Some(parts) if status == StatusCode::OK && body["complete"] == true => {
                Ok(parts.keys().map(|kind| printable(kind).to_string()).collect())
            }
            _ => Err(Failure::Api(format!("GET {path} was answered {status}: {body}"))),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::Api(format!("{path}: {error}"));
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url()))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| failed(&error))?;
        let response = self.http.request(request).await.map_err(|error| failed(&error))?;
        let (status, trace) = (response.status(), trace_of(response.headers()));
        let body = response.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
        let body = serde_json::from_slice(&body).map_err(|error| failed(&error))?;
        Ok(Answer { status, trace, body })
    }
}

struct Answer {
    status: StatusCode,
    trace: Option<String>,
    body: Value,
}

/// The trace id in the header `traceresponse` (W3C Trace Context Level 2).
fn trace_of(headers: &HeaderMap) -> Option<String> {
    let mut fields = headers.get("traceresponse")?.to_str().ok()?.split('-');
    Some(printable(fields.nth(1)?).to_string())
}
