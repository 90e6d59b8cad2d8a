//! OTLP/HTTP with protobuf bodies.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use redistributed_core::trace::UnixNanos;

use super::answer::{PartialSuccess, Status};
use super::http_client::HttpResponse;
use super::retry::{Failure, Retry};
use crate::clock;

pub(super) const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// Tells from an answer whether the request succeeded.
pub(super) fn judge(answer: &HttpResponse) -> Result<PartialSuccess, Failure> {
    let (status, headers) = (answer.head.status, &answer.head.headers);
    let body = answer.body.as_deref().unwrap_or_default();
    if status.is_success() {
        return Ok(PartialSuccess::decode(body));
    }
    let retry = match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => retry_after(headers, clock::wall()).map_or(Retry::Later, Retry::After),
        _ => Retry::Never,
    };
    let mut reason = format!("the collector answered {status}");
    if headers.get(CONTENT_TYPE) == Some(&PROTOBUF) {
        let message = Status::decode(body).message;
        if !message.is_empty() {
            reason = format!("{reason}: {message}");
        }
    }
    Err(Failure { reason, retry })
}

/// The delay that `Retry-After` asks for, in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: UnixNanos) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    Some(then.duration_since(UNIX_EPOCH + Duration::from_nanos(now.0)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Response;

    use super::*;

    fn answer(status: u16, header: Option<(&'static str, &'static str)>, body: &[u8]) -> HttpResponse {
        let mut response = Response::builder().status(status);
        if let Some((name, value)) = header {
            response = response.header(name, value);
        }
        let (head, body) = response.body(Bytes::copy_from_slice(body)).unwrap().into_parts();
        HttpResponse { head, body: Some(body), trailers: HeaderMap::new() }
    }

    #[test]
    fn the_specification_says_which_answers_are_final() {
        for (status, retry) in [
            (429, Retry::Later),
            (502, Retry::Later),
            (503, Retry::Later),
            (504, Retry::Later),
            (301, Retry::Never),
            (400, Retry::Never),
            (401, Retry::Never),
            (404, Retry::Never),
            (413, Retry::Never),
            (500, Retry::Never),
        ] {
            assert_eq!(judge(&answer(status, None, b"")).unwrap_err().retry, retry, "{status}");
        }
        assert_eq!(judge(&answer(204, None, b"")), Ok(PartialSuccess::default()));
    }

    #[test]
    fn retry_after_is_read_in_both_its_forms() {
        let now = UnixNanos(784_111_777 * 1_000_000_000);
        let after = |value| retry_after(&answer(503, Some(("retry-after", value)), b"").head.headers, now);
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:27 GMT"), Some(Duration::ZERO), "a date that has passed");
        assert_eq!(after("soon"), None);
        let refused = judge(&answer(503, Some(("retry-after", "7")), b"")).unwrap_err();
        assert_eq!(refused.retry, Retry::After(Duration::from_secs(7)));
        let refused = judge(&answer(400, Some(("retry-after", "7")), b"")).unwrap_err();
        assert_eq!(refused.retry, Retry::Never);
    }

    #[test]
    fn the_collectors_own_words_are_told_if_they_are_protobuf() {
        let status = b"\x08\x03\x12\x09no tenant";
        let told = judge(&answer(400, Some(("content-type", "application/x-protobuf")), status)).unwrap_err().reason;
        assert_eq!(told, "the collector answered 400 Bad Request: no tenant");
        let html = judge(&answer(400, Some(("content-type", "text/html")), status)).unwrap_err().reason;
        assert_eq!(html, "the collector answered 400 Bad Request");
    }
}
