//! OTLP/HTTP with protobuf bodies.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use redistributed_core::trace::UnixNanos;

use super::answer::{PartialSuccess, Status, inflated, plain_text, shortened};
use super::http_client::HttpResponse;
use super::retry::{Failure, Retry};
use crate::clock;

pub(super) const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// Tells from an answer whether the request succeeded.
pub(super) fn judge(answer: &HttpResponse) -> Result<PartialSuccess, Failure> {
    let (status, headers) = (answer.head.status, &answer.head.headers);
    if status.is_success() {
        return taken(answer).ok_or_else(|| Failure { reason: other_protocol(answer), retry: Retry::Never });
    }
    let retry = match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => retry_after(headers, clock::wall()).map_or(Retry::Later, Retry::After),
        _ => Retry::Never,
    };
    let message = match (body(answer), media_type(headers)) {
        (None, _) => String::new(),
        (Some(body), Some(kind)) if is_protobuf(&kind) => Status::decode(&body).message,
        (Some(body), _) => plain_text(&body),
    };
    let separator = if message.is_empty() { "" } else { ": " };
    Err(Failure { reason: format!("the collector answered {status}{separator}{message}"), retry })
}

/// What the body of a success says; `None` if it is not an answer to an export. An empty body says that all spans were taken.
fn taken(answer: &HttpResponse) -> Option<PartialSuccess> {
    let body = body(answer)?;
    if body.is_empty() {
        return Some(PartialSuccess::default());
    }
    match media_type(&answer.head.headers).as_deref() {
        None => PartialSuccess::decode(&body).or_else(|| PartialSuccess::from_json(&body)),
        Some(kind) if is_protobuf(kind) => PartialSuccess::decode(&body),
        // Servers that guess the type of `{}` call it plain text.
        Some("application/json" | "text/plain") => PartialSuccess::from_json(&body),
        Some(_) => None,
    }
}

/// The reason for which a success is none: whatever answered does not speak OTLP. It may be a login page, or a proxy's.
fn other_protocol(answer: &HttpResponse) -> String {
    let kind =
        media_type(&answer.head.headers).map_or_else(|| "without a type".to_owned(), |kind| shortened(kind.as_bytes()));
    let said = body(answer).map(|body| plain_text(&body)).filter(|text| !text.is_empty());
    let said = said.map_or_else(String::new, |text| format!(": {text}"));
    format!(
        "what answered is no OTLP collector: HTTP status {} with a body {kind} that is no answer to an export{said}",
        answer.head.status
    )
}

/// The body without its compression; `None` if it is too long or cannot be read.
fn body(answer: &HttpResponse) -> Option<Cow<'_, [u8]>> {
    let body = answer.body.as_deref()?;
    match answer.head.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        Some(encoding) if encoding.eq_ignore_ascii_case(b"gzip") => inflated(body).map(Cow::Owned),
        _ => Some(Cow::Borrowed(body)),
    }
}

/// The media type without its parameters, such as a character set.
/// It is in lower case, because media types have no case (RFC 9110, section 8.3.1).
fn media_type(headers: &HeaderMap) -> Option<String> {
    headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next().map(|kind| kind.trim().to_ascii_lowercase())
}

fn is_protobuf(kind: &str) -> bool {
    matches!(kind, "application/x-protobuf" | "application/protobuf" | "application/octet-stream")
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

    fn answer<'a>(status: u16, headers: impl IntoIterator<Item = (&'a str, &'a str)>, body: &[u8]) -> HttpResponse {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
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

    #[test]
    fn short_texts_are_told_whatever_their_type_is_called() {
        let told = |kind, body: &[u8]| judge(&answer(401, Some(("content-type", kind)), body)).unwrap_err().reason;
        let beginning = "the collector answered 401 Unauthorized";
        assert_eq!(told("text/plain; charset=utf-8", b"no token\r\n"), format!("{beginning}: no token"));
        assert_eq!(told("application/json", br#"{"message":"no token"}"#), format!("{beginning}: no token"));
        assert_eq!(told("text/html; charset=utf-8", b"<html>no token</html>"), beginning);
    }

    /// The first of them is what a proxy or a login page in front of a collector answers.
    #[test]
    fn a_success_that_is_no_answer_to_an_export_is_a_failure_for_good() {
        let html: &[u8] = b"<!doctype html><title>Sign in</title>";
        let protobuf = b"\x0a\x07\x08\x02\x12\x03why";
        for (kind, body, shown) in [
            (Some("text/html"), html, "text/html"),
            (Some("text/html; charset=utf-8"), html, "text/html"),
            (Some("application/x-protobuf"), html, "application/x-protobuf"),
            (Some("application/json"), html, "application/json"),
            (Some("application/json"), protobuf, "application/json"),
            (Some("text/plain"), b"ok", "text/plain that is no answer to an export: ok"),
            (Some("application/x-protobuf"), b"{}", "application/x-protobuf"),
            (None, b"ok", "without a type"),
        ] {
            let refused = judge(&answer(200, kind.map(|kind| ("content-type", kind)), body)).unwrap_err();
            assert_eq!(refused.retry, Retry::Never);
            assert!(refused.reason.starts_with("what answered is no OTLP collector"), "{}", refused.reason);
            assert!(refused.reason.contains(shown) && !refused.reason.contains("<title>"), "{}", refused.reason);
        }
        let too_long = HttpResponse { body: None, ..answer(200, None, b"") };
        assert!(judge(&too_long).is_err());
    }

    #[test]
    fn a_success_is_read_as_protobuf_or_json_and_with_gzip() {
        let protobuf: &[u8] = b"\x0a\x07\x08\x02\x12\x03why";
        let json: &[u8] = br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"why"}}"#;
        let expected = PartialSuccess { rejected: 2, error_message: "why".to_owned() };
        for (kind, body) in [
            ("application/x-protobuf", protobuf),
            ("application/protobuf", protobuf),
            ("application/json", json),
            ("Application/JSON", json),
            ("application/json; charset=utf-8", json),
            ("text/plain; charset=utf-8", json),
        ] {
            let kind = ("content-type", kind);
            assert_eq!(judge(&answer(200, [kind], body)).as_ref(), Ok(&expected));
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, body).unwrap();
            let gzip = encoder.finish().unwrap();
            assert_eq!(judge(&answer(200, [kind, ("content-encoding", "gzip")], &gzip)).as_ref(), Ok(&expected));
            assert!(judge(&answer(200, [kind, ("content-encoding", "gzip")], body)).is_err());
        }
        assert_eq!(judge(&answer(200, None, protobuf)).as_ref(), Ok(&expected));
        for kind in ["text/html", "application/x-protobuf", "application/json"] {
            assert_eq!(judge(&answer(200, [("content-type", kind)], b"")), Ok(PartialSuccess::default()));
        }
    }
}
