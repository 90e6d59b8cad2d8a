//! What a collector says in an answer's body: spans that it turned down, the reason of a refusal, when to come back.
//!
//! A body that is no protobuf says nothing, and the status has said the rest. Nothing of what a collector sends is trusted:
//! texts are shortened, numbers may be anything.

use std::time::Duration;

use super::wire::{Fields, Value};

/// The name of `google.rpc.RetryInfo` in an `Any`.
const RETRY_INFO: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";

/// Longest text of a collector's that goes into the log, in characters.
const MAX_MESSAGE: usize = 300;

/// `ExportTracePartialSuccess`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PartialSuccess {
    pub(super) rejected_spans: u64,
    pub(super) error_message: String,
}

impl PartialSuccess {
    /// From an `ExportTraceServiceResponse`. Without the field all spans were taken.
    pub(super) fn decode(response: &[u8]) -> Self {
        let mut partial = Self::default();
        for field in Fields::of(response) {
            let (1, Value::Bytes(message)) = field else { continue };
            for field in Fields::of(message) {
                match field {
                    (1, Value::Varint(spans)) => partial.rejected_spans = not_negative(spans),
                    (2, Value::Bytes(text)) => partial.error_message = shortened(text),
                    _ => {}
                }
            }
        }
        partial
    }
}

/// `google.rpc.Status`, without its code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) message: String,
    /// From a `google.rpc.RetryInfo` among the details.
    pub(super) retry_delay: Option<Duration>,
}

impl Status {
    pub(super) fn decode(status: &[u8]) -> Self {
        let mut decoded = Self::default();
        for field in Fields::of(status) {
            match field {
                (2, Value::Bytes(text)) => decoded.message = shortened(text),
                (3, Value::Bytes(detail)) => decoded.retry_delay = retry_delay(detail).or(decoded.retry_delay),
                _ => {}
            }
        }
        decoded
    }
}

/// From an `Any`, if it is a `RetryInfo`. One without a delay asks for none.
fn retry_delay(detail: &[u8]) -> Option<Duration> {
    let (mut type_url, mut info) = (&b""[..], &b""[..]);
    for field in Fields::of(detail) {
        match field {
            (1, Value::Bytes(text)) => type_url = text,
            (2, Value::Bytes(bytes)) => info = bytes,
            _ => {}
        }
    }
    if type_url != RETRY_INFO {
        return None;
    }
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::of(info) {
        let (1, Value::Bytes(duration)) = field else { continue };
        for field in Fields::of(duration) {
            match field {
                (1, Value::Varint(number)) => seconds = not_negative(number),
                (2, Value::Varint(number)) => nanos = not_negative(number),
                _ => {}
            }
        }
    }
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos)))
}

/// A signed number as a varint, where a negative one makes no sense.
fn not_negative(number: u64) -> u64 {
    if number > i64::MAX as u64 { 0 } else { number }
}

pub(super) fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
    use prost::Message;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    #[test]
    fn a_partial_success_is_read_as_prost_wrote_it() {
        for (rejected_spans, error_message) in [(0, ""), (2, "too many"), (i64::MAX, "ß"), (300, "")] {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: error_message.to_owned() };
            let response = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
            let expected = PartialSuccess {
                rejected_spans: u64::try_from(rejected_spans).unwrap(),
                error_message: error_message.to_owned(),
            };
            assert_eq!(PartialSuccess::decode(&response), expected);
        }
        assert_eq!(PartialSuccess::decode(b""), PartialSuccess::default());
    }

    #[test]
    fn a_collector_cannot_reject_less_than_nothing_or_flood_the_log() {
        let partial = ExportTracePartialSuccess { rejected_spans: -1, error_message: "x".repeat(10_000) };
        let response = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let decoded = PartialSuccess::decode(&response);
        assert_eq!((decoded.rejected_spans, decoded.error_message.len()), (0, MAX_MESSAGE));
        assert_eq!(PartialSuccess::decode(b"<html>not protobuf</html>"), PartialSuccess::default());
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
