//! OTLP over HTTP: a POST to `/v1/traces`, in protobuf or in JSON, with gzip or without.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use prost::Message;
use serde_json::json;
use serde_json::value::RawValue;

use super::{MAX_REQUEST, Outcome, Receiver, TEXT};
use crate::body::{self, Answer, BodyError};
use crate::forms::otlp_json;
use crate::proto::RpcStatus;

const PATH: &str = "/v1/traces";
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The form of a request, which is that of its answer.
#[derive(Clone, Copy)]
enum Form {
    Protobuf,
    Json,
}

/// The reason why a request is refused.
struct Refusal(StatusCode, String);

pub(super) async fn answer(receiver: &Receiver, request: Request<Incoming>) -> Answer {
    if request.uri().path() != PATH {
        let why = "spans are taken at /v1/traces; metrics and logs are not taken\n";
        return body::answer(StatusCode::NOT_FOUND, TEXT, why);
    }
    if *request.method() != Method::POST {
        let mut answer = body::answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "spans come by POST\n");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return answer;
    }
    let Some(form) = form(request.headers()) else {
        let why = "the body has to be application/x-protobuf or application/json\n";
        return body::answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, TEXT, why);
    };
    match take(receiver, form, request).await {
        Ok(outcome) => taken(form, &outcome),
        Err(refusal) => refused(form, refusal),
    }
}

fn form(headers: &HeaderMap) -> Option<Form> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        PROTOBUF => Some(Form::Protobuf),
        JSON => Some(Form::Json),
        _ => None,
    }
}

async fn take(receiver: &Receiver, form: Form, request: Request<Incoming>) -> Result<Outcome, Refusal> {
    let is_gzip = match request.headers().get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => {
            let why = "the body may be compressed by gzip only".to_owned();
            return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
    };
    let Some(_place) = receiver.place().await else {
        let why = "other requests are being read: try again in a second".to_owned();
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, why));
    };
    let body = body::read(request.into_body(), MAX_REQUEST).await?;
    let body = if is_gzip { body::gunzip(&body, MAX_REQUEST)? } else { body };
    let malformed = |why: String| Refusal(StatusCode::BAD_REQUEST, why);
    match form {
        Form::Protobuf => receiver.take(&body).map_err(|why| malformed(why.to_string())),
        Form::Json => take_json(receiver, &body).map_err(|why| malformed(why.to_string())),
    }
}

fn take_json(receiver: &Receiver, body: &[u8]) -> Result<Outcome, serde_json::Error> {
    let request: &RawValue = serde_json::from_slice(body)?;
    let mut outcome = Outcome::default();
    otlp_json::read(request, &mut |batch| outcome.add(receiver.store.insert(batch)))?;
    Ok(outcome)
}

fn taken(form: Form, outcome: &Outcome) -> Answer {
    let response = outcome.response();
    match (form, response.partial_success) {
        (Form::Protobuf, partial_success) => {
            let response = crate::proto::ExportResponse { partial_success };
            body::answer(StatusCode::OK, PROTOBUF, response.encode_to_vec())
        }
        (Form::Json, None) => body::answer(StatusCode::OK, JSON, "{}"),
        (Form::Json, Some(partial)) => {
            let partial =
                json!({"rejectedSpans": partial.rejected_spans.to_string(), "errorMessage": partial.error_message});
            body::answer(StatusCode::OK, JSON, json!({"partialSuccess": partial}).to_string())
        }
    }
}

fn refused(form: Form, Refusal(status, message): Refusal) -> Answer {
    let (content_type, text): (_, Bytes) = match form {
        Form::Json => (JSON, json!({"message": message}).to_string().into()),
        Form::Protobuf => (PROTOBUF, RpcStatus { code: 0, message }.encode_to_vec().into()),
    };
    let mut answer = body::answer(status, content_type, text);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Late => StatusCode::REQUEST_TIMEOUT,
            BodyError::Compression => StatusCode::BAD_REQUEST,
        };
        Self(status, error.to_string())
    }
}
