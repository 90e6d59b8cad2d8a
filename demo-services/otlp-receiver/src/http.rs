//! OTLP/HTTP with protobuf bodies: metrics on paths that end in `/v1/metrics`, and spans on every other.

use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::behaviour::Refusal;
use crate::log::{Log, Received, Transport, metrics_rejected};

/// The only body format that is understood.
const PROTOBUF: &str = "application/x-protobuf";

/// Longest body, before and after decompression, in bytes: the default of the OpenTelemetry Collector.
const MAX_BODY: usize = 20 << 20;

/// Serves until the task is aborted.
pub(crate) async fn serve(listener: TcpListener, log: Arc<Log>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let log = Arc::clone(&log);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let log = Arc::clone(&log);
                async move { Ok::<_, Infallible>(handle(request, &log).await.unwrap_or_else(empty)) }
            });
            // A client that goes away in the middle is nothing to report: the request log shows what came.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn handle(request: Request<Incoming>, log: &Log) -> Result<Response<Full<Bytes>>, StatusCode> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    if head.headers.get(CONTENT_TYPE).is_none_or(|value| value != PROTOBUF) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?.to_bytes();
    let gzip = match head.headers.get(CONTENT_ENCODING) {
        None => false,
        Some(encoding) if encoding == "gzip" => true,
        Some(_) => return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    };
    let body = if gzip { gunzip(&body)? } else { body };
    let answer = if head.uri.path().ends_with("/v1/metrics") {
        let message = ExportMetricsServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let answered = log.answer_metrics(received(head, gzip, message)).await;
        answered.map(|partial| {
            ExportMetricsServiceResponse { partial_success: partial.map(metrics_rejected) }.encode_to_vec()
        })
    } else {
        let message = ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let answered = log.answer(received(head, gzip, message)).await;
        answered.map(|partial_success| ExportTraceServiceResponse { partial_success }.encode_to_vec())
    };
    respond(answer)
}

fn received<T>(head: Parts, gzip: bool, message: T) -> Received<T> {
    Received {
        transport: Transport::Http,
        path: head.uri.path().to_owned(),
        headers: head.headers,
        gzip,
        accepted: false,
        message: Arc::new(message),
    }
}

fn respond(answer: Result<Vec<u8>, Refusal>) -> Result<Response<Full<Bytes>>, StatusCode> {
    match answer {
        Ok(answer) => {
            let response = Response::builder().header(CONTENT_TYPE, PROTOBUF).body(Full::from(answer));
            response.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
        }
        Err(refusal) => {
            let mut response =
                empty(StatusCode::from_u16(refusal.http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
            if let Some(delay) = refusal.retry_after {
                response.headers_mut().insert(RETRY_AFTER, delay.as_secs().into());
            }
            Ok(response)
        }
    }
}

fn gunzip(body: &[u8]) -> Result<Bytes, StatusCode> {
    let mut plain = Vec::new();
    let limit = MAX_BODY as u64;
    let read = GzDecoder::new(body).take(limit + 1).read_to_end(&mut plain).map_err(|_| StatusCode::BAD_REQUEST)?;
    if read > MAX_BODY { Err(StatusCode::PAYLOAD_TOO_LARGE) } else { Ok(plain.into()) }
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
