//! OTLP/gRPC: a request message and a response message, each behind a prefix of five bytes, and a status in the trailers.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{CONTENT_TYPE, HeaderName, TE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::answer::{PartialSuccess, Status, inflated, shortened};
use super::encode::HEADROOM;
use super::http_client::HttpResponse;
use super::retry::{Failure, Retry};
use crate::settings::otel::Signal;

/// The method that takes what is exported.
pub(super) fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";
const GRPC_STATUS_DETAILS: &str = "grpc-status-details-bin";

const UNREADABLE: &str =
    "what answered is no OTLP collector: gRPC status OK with a message that is no answer to an export";

/// Base64 as gRPC uses it, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The status codes that are told apart here.
mod code {
    pub(super) const OK: u32 = 0;
    pub(super) const CANCELLED: u32 = 1;
    pub(super) const UNKNOWN: u32 = 2;
    pub(super) const DEADLINE_EXCEEDED: u32 = 4;
    pub(super) const PERMISSION_DENIED: u32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(super) const ABORTED: u32 = 10;
    pub(super) const OUT_OF_RANGE: u32 = 11;
    pub(super) const UNIMPLEMENTED: u32 = 12;
    pub(super) const INTERNAL: u32 = 13;
    pub(super) const UNAVAILABLE: u32 = 14;
    pub(super) const DATA_LOSS: u32 = 15;
    pub(super) const UNAUTHENTICATED: u32 = 16;
}

/// The names of the status codes, by number.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The headers of every request.
pub(super) fn headers(gzip: bool) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let fixed =
        [(CONTENT_TYPE, HeaderValue::from_static("application/grpc")), (TE, HeaderValue::from_static("trailers"))];
    let encoding = (HeaderName::from_static("grpc-encoding"), HeaderValue::from_static("gzip"));
    fixed.into_iter().chain(gzip.then_some(encoding))
}

/// The prefix of a message: whether it is compressed, and its length.
pub(super) fn message_head(compressed: bool, len: usize) -> [u8; HEADROOM] {
    // A request is cut at about a megabyte, so the length of one is never near the limit.
    let [a, b, c, d] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    [u8::from(compressed), a, b, c, d]
}

/// Tells from an answer whether the request succeeded.
pub(super) fn judge(answer: &HttpResponse) -> Result<PartialSuccess, Failure> {
    // A refusal without a message has its status in the head.
    let headers = if answer.trailers.contains_key(GRPC_STATUS) { &answer.trailers } else { &answer.head.headers };
    let said = headers.get(GRPC_STATUS).and_then(|value| value.to_str().ok()?.parse().ok());
    let code = match said {
        Some(code) => code,
        None if answer.head.status.is_success() => code::UNKNOWN,
        None => instead_of_code(answer.head.status),
    };
    if code == code::OK {
        let unreadable = || Failure { reason: UNREADABLE.to_owned(), retry: Retry::Never };
        return answer.body.as_deref().and_then(message).ok_or_else(unreadable);
    }
    let details = headers.get(GRPC_STATUS_DETAILS).and_then(|value| BASE64.decode(value.as_bytes()).ok());
    let retry_delay = details.and_then(|details| Status::decode(&details).retry_delay);
    let retry = match (code, retry_delay) {
        (
            code::CANCELLED
            | code::DEADLINE_EXCEEDED
            | code::ABORTED
            | code::OUT_OF_RANGE
            | code::UNAVAILABLE
            | code::DATA_LOSS,
            None,
        ) => Retry::Later,
        (
            code::CANCELLED
            | code::DEADLINE_EXCEEDED
            | code::RESOURCE_EXHAUSTED
            | code::ABORTED
            | code::OUT_OF_RANGE
            | code::UNAVAILABLE
            | code::DATA_LOSS,
            Some(delay),
        ) => Retry::After(delay),
        _ => Retry::Never,
    };
    Err(Failure { reason: reason(code, said.is_some(), answer.head.status, headers), retry })
}

/// Reads the message behind its prefix; `None` if it is no answer to an export. No message at all says that all spans were taken.
/// Compression was not asked for, and gzip is the only kind that is read all the same.
fn message(body: &[u8]) -> Option<PartialSuccess> {
    if body.is_empty() {
        return Some(PartialSuccess::default());
    }
    let (&[compressed, len @ ..], body) = body.split_first_chunk::<HEADROOM>()?;
    let message = body.get(..usize::try_from(u32::from_be_bytes(len)).ok()?)?;
    match compressed {
        0 => PartialSuccess::decode(message),
        1 => PartialSuccess::decode(&inflated(message)?),
        _ => None,
    }
}

/// The status code for an answer that is not gRPC, such as that of a load balancer without a collector behind it ("HTTP to gRPC
/// Status Code Mapping" of the gRPC documentation).
fn instead_of_code(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502 | 503 | 504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    }
}

fn reason(code: u32, said: bool, status: StatusCode, headers: &HeaderMap) -> String {
    if !said {
        return format!("what answered is no gRPC server: HTTP status {status}");
    }
    let name = NAMES.get(code as usize).copied().unwrap_or("an unknown code");
    let message = headers.get(GRPC_MESSAGE).map(HeaderValue::as_bytes).unwrap_or_default();
    let message: Vec<u8> = percent_encoding::percent_decode(message).collect();
    if message.is_empty() {
        format!("the collector answered {name}")
    } else {
        format!("the collector answered {name}: {}", shortened(&message))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::Response;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    fn answer(http_status: u16, trailers: HeaderMap, body: &[u8]) -> HttpResponse {
        let response = Response::builder().status(http_status).body(Bytes::copy_from_slice(body)).unwrap();
        let (head, body) = response.into_parts();
        HttpResponse { head, body: Some(body), trailers }
    }

    /// What a server built with tonic puts into the trailers.
    fn trailers(status: &tonic::Status) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers).unwrap();
        trailers
    }

    #[test]
    fn the_specification_says_which_codes_are_final() {
        let retryable = [1, 4, 10, 11, 14, 15];
        for number in 1..17 {
            let status = tonic::Status::new(tonic::Code::from_i32(number), "why");
            let refused = judge(&answer(200, trailers(&status), b"")).unwrap_err();
            let expected = if retryable.contains(&number) { Retry::Later } else { Retry::Never };
            assert_eq!(refused.retry, expected, "{number}");
            assert_eq!(refused.reason, format!("the collector answered {}: why", NAMES[number as usize]));
        }
    }

    #[test]
    fn resource_exhausted_may_be_tried_again_only_when_told_so() {
        let judged = |code, details| {
            let status = tonic::Status::with_error_details(code, "why", details);
            judge(&answer(200, trailers(&status), b"")).unwrap_err().retry
        };
        let delay = Duration::from_millis(250);
        let asked = || ErrorDetails::with_retry_info(Some(delay));
        assert_eq!(judged(tonic::Code::ResourceExhausted, ErrorDetails::new()), Retry::Never);
        assert_eq!(judged(tonic::Code::ResourceExhausted, asked()), Retry::After(delay));
        assert_eq!(judged(tonic::Code::Unavailable, asked()), Retry::After(delay));
        assert_eq!(judged(tonic::Code::Internal, asked()), Retry::Never);
    }

    #[test]
    fn a_status_in_the_head_counts_if_there_are_no_trailers() {
        let mut answer = answer(200, HeaderMap::new(), b"");
        answer.head.headers = trailers(&tonic::Status::unavailable("a b\u{e9}"));
        let refused = judge(&answer).unwrap_err();
        assert_eq!(refused.reason, "the collector answered UNAVAILABLE: a b\u{e9}");
        assert_eq!(refused.retry, Retry::Later);
    }

    #[test]
    fn an_answer_without_a_grpc_status_is_judged_by_its_http_status() {
        for (status, retry) in [(503, Retry::Later), (429, Retry::Later), (404, Retry::Never), (200, Retry::Never)] {
            let refused = judge(&answer(status, HeaderMap::new(), b"")).unwrap_err();
            assert_eq!(refused.retry, retry, "{status}");
            assert!(refused.reason.contains(&status.to_string()), "{}", refused.reason);
        }
    }

    #[test]
    fn a_partial_success_is_read_from_the_message_behind_its_head() {
        let ok = trailers(&tonic::Status::ok(""));
        let body = b"\x0a\x07\x08\x02\x12\x03why";
        let framed = |compressed, len| [&message_head(compressed, len), &body[..]].concat();
        let judged = |body: &[u8]| judge(&answer(200, ok.clone(), body));
        let expected = PartialSuccess { rejected: 2, error_message: "why".to_owned() };
        assert_eq!(judged(&framed(false, body.len())).as_ref(), Ok(&expected));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, body).unwrap();
        let gzip = encoder.finish().unwrap();
        assert_eq!(judged(&[&message_head(true, gzip.len()), &gzip[..]].concat()).as_ref(), Ok(&expected));
        assert_eq!(judged(b""), Ok(PartialSuccess::default()));
        for unreadable in
            [framed(true, body.len()), framed(false, body.len() + 1), b"\0\0".to_vec(), b"<html></html>".to_vec()]
        {
            let refused = judged(&unreadable).unwrap_err();
            assert_eq!((refused.reason.as_str(), refused.retry), (UNREADABLE, Retry::Never));
        }
    }
}
