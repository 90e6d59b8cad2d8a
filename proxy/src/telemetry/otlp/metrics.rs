//! From readings of series to the bytes of a request for metrics.
//!
//! A request is made once in a minute or so, so its messages are built in memory and written by `prost`. They are defined here, with
//! the fields that are of use, because the crate with the published ones would bring OpenTelemetry's SDK along. The tests hold them
//! against that crate.

use opentelemetry_semantic_conventions::SCHEMA_URL;
use prost::Message;

use super::encode::{EncodedRequest, HEADROOM};
use crate::telemetry::Resource;
use crate::telemetry::meter::{Exemplar, Kind, Metric, Series, SeriesReading, Value};

/// What is told of one series.
#[derive(Clone, Debug)]
pub(in crate::telemetry) struct Point<'a> {
    pub(in crate::telemetry) series: &'a Series,
    /// What was measured since `start`. Exemplars that were told before are left out.
    pub(in crate::telemetry) reading: SeriesReading,
    /// When counting began, in nanoseconds since 1970.
    pub(in crate::telemetry) start: u64,
}

/// A metric, and what is told of each of its series.
pub(in crate::telemetry) type Points<'a> = (&'static Metric, Vec<Point<'a>>);

/// The request that tells what was measured of a service until `now`, in nanoseconds since 1970.
pub(in crate::telemetry) fn request(
    resource: &Resource,
    metrics: &[Points<'_>],
    is_delta: bool,
    now: u64,
) -> EncodedRequest {
    let temporality = if is_delta { wire::DELTA } else { wire::CUMULATIVE };
    let attributes = resource.attributes().iter().map(|(name, value)| key_value(name, Value::Text(value.as_str())));
    let request = wire::ExportMetricsServiceRequest {
        resource_metrics: vec![wire::ResourceMetrics {
            resource: Some(wire::Resource { attributes: attributes.collect() }),
            scope_metrics: vec![wire::ScopeMetrics {
                scope: Some(wire::InstrumentationScope {
                    name: env!("CARGO_PKG_NAME").to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                }),
                metrics: metrics.iter().map(|(metric, points)| told(metric, points, temporality, now)).collect(),
                schema_url: SCHEMA_URL.to_owned(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        }],
    };
    let mut buffer = vec![0; HEADROOM];
    // A vector has room for everything.
    let _ = request.encode(&mut buffer);
    EncodedRequest::new(buffer, HEADROOM)
}

fn told(metric: &'static Metric, points: &[Point<'_>], temporality: i32, now: u64) -> wire::Metric {
    let attributes =
        |point: &Point<'_>| metric.attributes(point.series).map(|(name, value)| key_value(name, value)).collect();
    let (sum, histogram) = match metric.kind {
        Kind::Counter => {
            let points = points.iter().map(|point| wire::NumberDataPoint {
                start_time_unix_nano: point.start,
                time_unix_nano: now,
                as_int: Some(signed(point.reading.count)),
                attributes: attributes(point),
            });
            let sum =
                wire::Sum { data_points: points.collect(), aggregation_temporality: temporality, is_monotonic: true };
            (Some(sum), None)
        }
        Kind::Histogram => {
            let points = points.iter().map(|point| wire::HistogramDataPoint {
                start_time_unix_nano: point.start,
                time_unix_nano: now,
                count: point.reading.timed(),
                sum: Some(seconds(point.reading.sum)),
                bucket_counts: point.reading.buckets.iter().map(|(count, _)| *count).collect(),
                explicit_bounds: point.series.bounds().iter().map(|bound| seconds(*bound)).collect(),
                exemplars: point.reading.buckets.iter().filter_map(|(_, exemplar)| exemplar.map(example)).collect(),
                attributes: attributes(point),
            });
            let histogram = wire::Histogram { data_points: points.collect(), aggregation_temporality: temporality };
            (None, Some(histogram))
        }
    };
    wire::Metric {
        name: metric.name.to_owned(),
        description: metric.description.to_owned(),
        unit: metric.unit.to_owned(),
        sum,
        histogram,
    }
}

fn example(exemplar: Exemplar) -> wire::Exemplar {
    wire::Exemplar {
        time_unix_nano: exemplar.time.0,
        as_double: Some(seconds(exemplar.value)),
        span_id: exemplar.span_id.to_bytes().to_vec(),
        trace_id: exemplar.trace_id.to_bytes().to_vec(),
    }
}

fn key_value(name: &str, value: Value<&str>) -> wire::KeyValue {
    let none = wire::AnyValue::default();
    let value = match value {
        Value::Text(text) => wire::AnyValue { string_value: Some(text.to_owned()), ..none },
        Value::Digits(number) => wire::AnyValue { string_value: Some(number.to_string()), ..none },
        Value::Number(number) => wire::AnyValue { int_value: Some(signed(number)), ..none },
        Value::True => wire::AnyValue { bool_value: Some(true), ..none },
    };
    wire::KeyValue { key: name.to_owned(), value: Some(value) }
}

/// A number that is over OTLP's largest is told as that.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// The messages of `opentelemetry.proto.collector.metrics.v1` and of those that it imports. What is a `oneof` there is a number of
/// optional fields here, of which one is set, because that looks the same on the wire.
mod wire {
    /// `AGGREGATION_TEMPORALITY_DELTA`
    pub(super) const DELTA: i32 = 1;
    /// `AGGREGATION_TEMPORALITY_CUMULATIVE`
    pub(super) const CUMULATIVE: i32 = 2;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExportMetricsServiceRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) resource_metrics: Vec<ResourceMetrics>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ResourceMetrics {
        #[prost(message, optional, tag = "1")]
        pub(super) resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub(super) scope_metrics: Vec<ScopeMetrics>,
        #[prost(string, tag = "3")]
        pub(super) schema_url: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ScopeMetrics {
        #[prost(message, optional, tag = "1")]
        pub(super) scope: Option<InstrumentationScope>,
        #[prost(message, repeated, tag = "2")]
        pub(super) metrics: Vec<Metric>,
        #[prost(string, tag = "3")]
        pub(super) schema_url: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct InstrumentationScope {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) version: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metric {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) description: String,
        #[prost(string, tag = "3")]
        pub(super) unit: String,
        #[prost(message, optional, tag = "7")]
        pub(super) sum: Option<Sum>,
        #[prost(message, optional, tag = "9")]
        pub(super) histogram: Option<Histogram>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Sum {
        #[prost(message, repeated, tag = "1")]
        pub(super) data_points: Vec<NumberDataPoint>,
        #[prost(int32, tag = "2")]
        pub(super) aggregation_temporality: i32,
        #[prost(bool, tag = "3")]
        pub(super) is_monotonic: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct NumberDataPoint {
        #[prost(fixed64, tag = "2")]
        pub(super) start_time_unix_nano: u64,
        #[prost(fixed64, tag = "3")]
        pub(super) time_unix_nano: u64,
        #[prost(sfixed64, optional, tag = "6")]
        pub(super) as_int: Option<i64>,
        #[prost(message, repeated, tag = "7")]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Histogram {
        #[prost(message, repeated, tag = "1")]
        pub(super) data_points: Vec<HistogramDataPoint>,
        #[prost(int32, tag = "2")]
        pub(super) aggregation_temporality: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct HistogramDataPoint {
        #[prost(fixed64, tag = "2")]
        pub(super) start_time_unix_nano: u64,
        #[prost(fixed64, tag = "3")]
        pub(super) time_unix_nano: u64,
        #[prost(fixed64, tag = "4")]
        pub(super) count: u64,
        #[prost(double, optional, tag = "5")]
        pub(super) sum: Option<f64>,
        #[prost(fixed64, repeated, tag = "6")]
        pub(super) bucket_counts: Vec<u64>,
        #[prost(double, repeated, tag = "7")]
        pub(super) explicit_bounds: Vec<f64>,
        #[prost(message, repeated, tag = "8")]
        pub(super) exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "9")]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Exemplar {
        #[prost(fixed64, tag = "2")]
        pub(super) time_unix_nano: u64,
        #[prost(double, optional, tag = "3")]
        pub(super) as_double: Option<f64>,
        #[prost(bytes = "vec", tag = "4")]
        pub(super) span_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")]
        pub(super) trace_id: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<AnyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct AnyValue {
        #[prost(string, optional, tag = "1")]
        pub(super) string_value: Option<String>,
        #[prost(bool, optional, tag = "2")]
        pub(super) bool_value: Option<bool>,
        #[prost(int64, optional, tag = "3")]
        pub(super) int_value: Option<i64>,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

    use super::*;

    /// Whole requests are decoded by `proxy/tests/export/metrics.rs`.
    #[test]
    fn values_of_every_kind_are_those_of_the_published_schema() {
        for (value, expected) in [
            (Value::Text("redis"), any_value::Value::StringValue("redis".to_owned())),
            (Value::Digits(2), any_value::Value::StringValue("2".to_owned())),
            (Value::Number(404), any_value::Value::IntValue(404)),
            (Value::Number(u64::MAX), any_value::Value::IntValue(i64::MAX)),
            (Value::True, any_value::Value::BoolValue(true)),
        ] {
            let theirs = KeyValue::decode(&*key_value("name", value).encode_to_vec()).unwrap();
            let expected = KeyValue {
                key: "name".to_owned(),
                value: Some(AnyValue { value: Some(expected) }),
                ..KeyValue::default()
            };
            assert_eq!(theirs, expected);
        }
    }
}
