//! Where spans come in: OTLP over HTTP, in protobuf and in JSON, and over gRPC. Each port takes both.
//!
//! | module | what it knows |
//! |---|---|
//! | `over_http` | requests to `/v1/traces` |
//! | `over_grpc` | the method `Export`, without streams |

mod over_grpc;
mod over_http;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, header};
use hyper::body::Incoming;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::access;
use crate::body::{self, Answer};
use crate::request;
use crate::store::Store;
use crate::wire::Malformed;

/// The longest request, in bytes, as it comes and once it is decompressed. The Collector takes 20 MiB, and its senders far less.
const MAX_REQUEST: usize = 16 << 20;

/// The number of requests that are read at a time.
const AT_A_TIME: usize = 4;

/// How long a request waits until others have been read.
const PATIENCE: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";

/// Takes spans for a store.
#[derive(Debug)]
pub(crate) struct Receiver {
    store: Arc<Store>,
    places: Semaphore,
}

/// What became of a request's spans.
#[derive(Debug, Default)]
struct Outcome {
    refused: u64,
    reason: Option<&'static str>,
}

impl Receiver {
    /// Takes spans for `store`.
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, places: Semaphore::new(AT_A_TIME) }
    }

    /// The answer to a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Answer {
        if access::is_by_page(request.headers()) {
            return body::answer(StatusCode::FORBIDDEN, TEXT, "a web page may not send spans here\n");
        }
        if is_grpc(request.headers()) {
            over_grpc::answer(self, request).await
        } else {
            over_http::answer(self, request).await
        }
    }

    /// Waits for a place to read a request.
    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(PATIENCE, self.places.acquire()).await.ok()?.ok()
    }

    /// Keeps the spans of `request`, an `ExportTraceServiceRequest`.
    fn take(&self, request: &[u8]) -> Result<Outcome, Malformed> {
        let mut outcome = Outcome::default();
        request::read(request, |batch| outcome.add(self.store.insert(batch)))?;
        Ok(outcome)
    }
}

impl Outcome {
    fn add(&mut self, (refused, reason): (u64, Option<&'static str>)) {
        self.refused += refused;
        self.reason = self.reason.or(reason);
    }

    /// The answer in protobuf.
    fn response(&self) -> crate::proto::ExportResponse {
        let partial_success = (self.refused > 0).then(|| crate::proto::PartialSuccess {
            rejected_spans: i64::try_from(self.refused).unwrap_or(i64::MAX),
            error_message: self.reason.unwrap_or_default().to_owned(),
        });
        crate::proto::ExportResponse { partial_success }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    content_type.is_some_and(|content_type| content_type.starts_with(b"application/grpc"))
}
