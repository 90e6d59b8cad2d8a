//! What a collector says in an answer's body: spans that it turned down, the reason of a refusal, when to come back.
//!
//! A body that is no protobuf says nothing, and the status has said the rest. Nothing of what a collector sends is trusted:
//! texts are shortened, numbers may be anything.

use std::time::Duration;

use prost::Message;

/// The longest text of a collector that goes into the log, in characters.
const MAX_MESSAGE: usize = 300;

/// What a collector says of a request that it has taken (`ExportTracePartialSuccess` of OTLP).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PartialSuccess {
    pub(super) rejected_spans: u64,
    pub(super) error_message: String,
}

impl PartialSuccess {
    /// Reads an `ExportTraceServiceResponse`. Without a partial success, all spans were taken.
    pub(super) fn decode(response: &[u8]) -> Self {
        let response = wire::ExportTraceServiceResponse::decode(response).unwrap_or_default();
        let partial = response.partial_success.unwrap_or_default();
        Self {
            rejected_spans: u64::try_from(partial.rejected_spans).unwrap_or(0),
            error_message: shortened(&partial.error_message),
        }
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

/// A text of a collector, short enough for the log.
pub(super) fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(MAX_MESSAGE).collect()
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
        pub(super) rejected_spans: i64,
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
