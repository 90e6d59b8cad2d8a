//! What a collector says in an answer's body: spans that it turned down, the reason of a refusal, when to come back.
//!
//! Nothing of what a collector sends is trusted: texts are shortened and put on one line, numbers may be anything.

use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;
use prost::Message;
use redistributed_core::printable::is_unfit;
use serde_json::Value;

/// The longest answer that is read, in bytes. An answer has a status and a sentence or two.
pub(super) const MAX_ANSWER: usize = 64 * 1024;

/// The longest text of a collector that goes into the log, in characters.
const MAX_MESSAGE: usize = 300;

/// What a collector says of a request that it has taken (`ExportTracePartialSuccess` of OTLP, or `ExportMetricsPartialSuccess`, whose
/// fields have the same numbers and types).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PartialSuccess {
    /// The number of spans, or of points of metrics.
    pub(super) rejected: u64,
    pub(super) error_message: String,
}

impl PartialSuccess {
    /// Reads an `ExportTraceServiceResponse`; `None` if the bytes are none. Without a partial success, all spans were taken.
    pub(super) fn decode(response: &[u8]) -> Option<Self> {
        let response = wire::ExportTraceServiceResponse::decode(response).ok()?;
        let partial = response.partial_success.unwrap_or_default();
        Some(Self {
            rejected: u64::try_from(partial.rejected).unwrap_or(0),
            error_message: shortened(&partial.error_message),
        })
    }

    /// Reads an `ExportTraceServiceResponse` in its JSON form; `None` if the text is no JSON object. 64-bit numbers are texts
    /// there, and names may be in snake case ("ProtoJSON Format" of the Protocol Buffers documentation).
    pub(super) fn from_json(response: &[u8]) -> Option<Self> {
        let response: Value = serde_json::from_slice(response).ok()?;
        let field = |object: &Value, names: &[&str]| names.iter().find_map(|name| object.get(name).cloned());
        let response = response.is_object().then_some(response)?;
        let partial = field(&response, &["partialSuccess", "partial_success"]).unwrap_or_default();
        let names = ["rejectedSpans", "rejected_spans", "rejectedDataPoints", "rejected_data_points"];
        let rejected = field(&partial, &names).unwrap_or_default();
        let rejected = rejected.as_str().map_or_else(|| rejected.as_i64(), |text| text.parse().ok());
        let message = field(&partial, &["errorMessage", "error_message"]).unwrap_or_default();
        Some(Self {
            rejected: rejected.and_then(|spans| u64::try_from(spans).ok()).unwrap_or(0),
            error_message: shortened(message.as_str().unwrap_or_default().as_bytes()),
        })
    }
}

/// Why a collector refuses a request (`google.rpc.Status`, without its code).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) message: String,
    /// From a `google.rpc.RetryInfo` among the details. One without a delay asks for none.
    pub(super) retry_delay: Option<Duration>,
}

impl Status {
    /// Reads a `google.rpc.Status`.
    pub(super) fn decode(status: &[u8]) -> Self {
        let wire::Status { message, details } = wire::Status::decode(status).unwrap_or_default();
        let retry_info = details.iter().rev().find(|detail| detail.type_url == wire::RETRY_INFO);
        let delay = |detail: &wire::Any| {
            let info = wire::RetryInfo::decode(&*detail.value).unwrap_or_default();
            let wire::Duration { seconds, nanos } = info.retry_delay.unwrap_or_default();
            let (seconds, nanos) = (u64::try_from(seconds).unwrap_or(0), u64::try_from(nanos).unwrap_or(0));
            Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos))
        };
        Self { message: shortened(&message), retry_delay: retry_info.map(delay) }
    }
}

/// A text of a collector, short enough for the log and on one line. What could speak to a terminal is replaced.
pub(super) fn shortened(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    let shown = |c: char| if is_unfit(c) { char::REPLACEMENT_CHARACTER } else { c };
    words.join(" ").chars().map(shown).take(MAX_MESSAGE).collect()
}

/// What a body says that gives the reason of a refusal to people: the message of a `google.rpc.Status` in JSON, or the text itself.
/// It is empty if the body is not text, or a page for a browser.
pub(super) fn plain_text(body: &[u8]) -> String {
    let said = |text: &str| {
        let status: Value = serde_json::from_str(text).ok()?;
        status.get("message")?.as_str().map(str::to_owned)
    };
    match std::str::from_utf8(body) {
        Ok(text)
            if !text.contains(|c: char| c.is_control() && !c.is_whitespace())
                && !text.trim_start().starts_with('<') =>
        {
            shortened(said(text).as_deref().unwrap_or(text).as_bytes())
        }
        _ => String::new(),
    }
}

/// What gzip has compressed; `None` if the bytes are no such thing, or more comes out of them than an answer has.
pub(super) fn inflated(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).take(MAX_ANSWER as u64 + 1).read_to_end(&mut plain).ok()?;
    (plain.len() <= MAX_ANSWER).then_some(plain)
}

/// The messages, with the fields that are of use here. Texts are read as bytes: one that is not UTF-8 must not void the
/// number beside it.
mod wire {
    /// The type of a [`RetryInfo`] in an [`Any`].
    pub(super) const RETRY_INFO: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";

    /// `opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse`
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExportTraceServiceResponse {
        #[prost(message, optional, tag = "1")]
        pub(super) partial_success: Option<ExportTracePartialSuccess>,
    }

    /// `opentelemetry.proto.collector.trace.v1.ExportTracePartialSuccess`
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExportTracePartialSuccess {
        #[prost(int64, tag = "1")]
        pub(super) rejected: i64,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) error_message: Vec<u8>,
    }

    /// `google.rpc.Status`
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Status {
        #[prost(bytes = "vec", tag = "2")]
        pub(super) message: Vec<u8>,
        #[prost(message, repeated, tag = "3")]
        pub(super) details: Vec<Any>,
    }

    /// `google.protobuf.Any`
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Any {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) type_url: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) value: Vec<u8>,
    }

    /// `google.rpc.RetryInfo`
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        pub(super) retry_delay: Option<Duration>,
    }

    /// `google.protobuf.Duration`
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Duration {
        #[prost(int64, tag = "1")]
        pub(super) seconds: i64,
        #[prost(int32, tag = "2")]
        pub(super) nanos: i32,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    #[test]
    fn a_partial_success_is_read_as_prost_wrote_it() {
        for (rejected_spans, error_message) in [(0, ""), (2, "too many"), (i64::MAX, "ß"), (300, "")] {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: error_message.to_owned() };
            let response = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
            let expected = PartialSuccess {
                rejected: u64::try_from(rejected_spans).unwrap(),
                error_message: error_message.to_owned(),
            };
            assert_eq!(PartialSuccess::decode(&response), Some(expected));
        }
        assert_eq!(PartialSuccess::decode(b""), Some(PartialSuccess::default()));
    }

    #[test]
    fn a_collector_cannot_reject_less_than_nothing_or_flood_the_log() {
        let partial = ExportTracePartialSuccess { rejected_spans: -1, error_message: "x".repeat(10_000) };
        let response = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let decoded = PartialSuccess::decode(&response).unwrap();
        assert_eq!((decoded.rejected, decoded.error_message.len()), (0, MAX_MESSAGE));
        assert_eq!(shortened(b" a\r\n\x1b[2Jb \xe2\x80\xaec\xff"), "a \u{fffd}[2Jb \u{fffd}c\u{fffd}");
    }

    #[test]
    fn what_is_no_answer_of_the_protocol_is_none() {
        for body in [&b"<html>not protobuf</html>"[..], b"ok", b"\x0a\xff", b"{}"] {
            assert_eq!(PartialSuccess::decode(body), None, "{}", body.escape_ascii());
        }
        for body in [&b"<html></html>"[..], b"ok", b"[]", b"\"ok\"", b"1", b"null", b""] {
            assert_eq!(PartialSuccess::from_json(body), None, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn a_partial_success_is_read_in_json_too() {
        let json = |text: &str| {
            let PartialSuccess { rejected, error_message } = PartialSuccess::from_json(text.as_bytes()).unwrap();
            (rejected, error_message)
        };
        assert_eq!(json("{}"), (0, String::new()));
        assert_eq!(json(r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"why"}}"#), (2, "why".to_owned()));
        assert_eq!(json(r#"{"partialSuccess":{"rejectedDataPoints":"4"}}"#), (4, String::new()));
        assert_eq!(json(r#"{"partial_success":{"rejected_spans":3,"error_message":"why"}}"#), (3, "why".to_owned()));
        assert_eq!(json(r#"{"partialSuccess":{"rejectedSpans":-1,"errorMessage":7},"other":[]}"#), (0, String::new()));
    }

    #[test]
    fn a_short_text_is_told_and_bytes_are_not() {
        assert_eq!(plain_text(b"404 page not found\n"), "404 page not found");
        assert_eq!(plain_text(br#"{"code":16,"message":"no such token"}"#), "no such token");
        assert_eq!(plain_text(br#"{"error": "no such token"}"#), r#"{"error": "no such token"}"#);
        for body in [&b"\x08\x03"[..], b"\xff", b"\n<html>no such token</html>"] {
            assert_eq!(plain_text(body), "", "{}", body.escape_ascii());
        }
    }

    #[test]
    fn what_gzip_makes_of_little_is_not_read_without_end() {
        use std::io::Write;
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(inflated(&gzip(b"text")).as_deref(), Some(&b"text"[..]));
        assert_eq!(inflated(&gzip(&vec![0; MAX_ANSWER + 1])), None);
        assert_eq!((inflated(b"text"), inflated(&gzip(b"text")[..9])), (None, None));
    }

    #[test]
    fn the_delay_of_retry_info_is_found_among_the_details() {
        let details = |details| {
            let status = tonic::Status::with_error_details(tonic::Code::ResourceExhausted, "slow down", details);
            Status::decode(status.details())
        };
        let mut other = ErrorDetails::new();
        other.set_debug_info(vec!["a".to_owned()], "detail");
        assert_eq!(details(other.clone()), Status { message: "slow down".to_owned(), retry_delay: None });
        other.set_retry_info(Some(Duration::from_millis(1_250)));
        assert_eq!(details(other).retry_delay, Some(Duration::from_millis(1_250)));
        assert_eq!(details(ErrorDetails::with_retry_info(None)).retry_delay, Some(Duration::ZERO));
    }
}
