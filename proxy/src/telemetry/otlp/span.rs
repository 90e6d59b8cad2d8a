//! From a record to the span that a collector gets, by the semantic conventions for messaging and for Redis.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use opentelemetry_semantic_conventions::SCHEMA_URL;
use opentelemetry_semantic_conventions::attribute as key;
use redistributed_core::trace::{self as record, ErrorType, Operation, SpanRecord, UnixNanos};

use crate::telemetry::Service;
use crate::telemetry::describe::{Kind, PROCESS, PUBLISH, RECEIVERS, SHARDED, span_name};
use crate::telemetry::otel_env::SpanLimits;

/// `messaging.system` and `db.system.name`.
const REDIS: &str = "redis";

/// The port that database spans leave out.
const REDIS_PORT: u16 = 6379;

/// What all spans of a route have in common.
#[derive(Debug)]
pub(super) struct Conversion {
    scope: InstrumentationScope,
    server_address: Arc<str>,
    server_port: Option<u16>,
    limits: SpanLimits,
}

impl Conversion {
    pub(super) fn new(service: &Service, limits: &SpanLimits) -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        Self {
            scope,
            server_address: service.server_address.as_str().into(),
            server_port: service.server_port,
            limits: limits.clone(),
        }
    }

    /// A span whose end lies before its start, after the clock was set back, gets the length zero.
    pub(super) fn span_data(&self, record: SpanRecord) -> SpanData {
        let name = span_name(&record).into_owned();
        let kind = match Kind::of(&record) {
            Kind::Producer => SpanKind::Producer,
            Kind::Consumer => SpanKind::Consumer,
            Kind::Client => SpanKind::Client,
        };
        let trace_state = record.trace_state.as_deref().and_then(|text| TraceState::from_str(text).ok());
        let status = match &record.error {
            Some(_) => Status::Error { description: Cow::Borrowed("") },
            None => Status::Unset,
        };
        let mut attributes = Attributes::new(&self.limits);
        self.describe(&record, &mut attributes);
        SpanData {
            span_context: span_context(&record.context, false, trace_state.unwrap_or_default()),
            parent_span_id: record.parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.to_bytes())),
            parent_span_is_remote: record.parent.is_some(),
            span_kind: kind,
            name: name.into(),
            start_time: time(record.start),
            end_time: time(record.end.max(record.start)),
            dropped_attributes_count: attributes.dropped,
            attributes: attributes.list,
            events: SpanEvents::default(),
            links: self.links(record.link),
            status,
            instrumentation_scope: self.scope.clone(),
        }
    }

    fn links(&self, link: Option<record::SpanContext>) -> SpanLinks {
        let mut links = SpanLinks::default();
        if let Some(link) = link {
            if self.limits.link_count > 0 {
                links.links.push(Link::with_context(span_context(&link, true, TraceState::NONE)));
            } else {
                links.dropped_count = 1;
            }
        }
        links
    }

    /// The order matters where a limit cuts the list: what identifies the operation comes first.
    fn describe(&self, record: &SpanRecord, attributes: &mut Attributes<'_>) {
        match &record.operation {
            Operation::Publish { channel, sharded, receivers, body_size } => {
                messaging(attributes, PUBLISH, "send", channel);
                self.server(attributes, self.server_port);
                error_type(attributes, record.error.as_ref());
                attributes.add_number(key::MESSAGING_MESSAGE_BODY_SIZE, *body_size);
                if let Some(receivers) = receivers {
                    attributes.add_number(RECEIVERS, *receivers);
                }
                if *sharded {
                    attributes.add(SHARDED, true);
                }
            }
            Operation::Deliver { channel, pattern, sharded, body_size } => {
                messaging(attributes, PROCESS, "process", channel);
                if let Some(pattern) = pattern {
                    attributes.add(key::MESSAGING_DESTINATION_SUBSCRIPTION_NAME, Arc::clone(pattern));
                }
                self.server(attributes, self.server_port);
                error_type(attributes, record.error.as_ref());
                attributes.add_number(key::MESSAGING_MESSAGE_BODY_SIZE, *body_size);
                if *sharded {
                    attributes.add(SHARDED, true);
                }
            }
            Operation::Command { name, database, batch_size } => {
                attributes.add(key::DB_SYSTEM_NAME, REDIS);
                attributes.add(key::DB_OPERATION_NAME, Arc::clone(name));
                attributes.add(key::DB_NAMESPACE, database.to_string());
                self.server(attributes, self.server_port.filter(|&port| port != REDIS_PORT));
                error_type(attributes, record.error.as_ref());
                if let Some(prefix) = record.error.as_ref().filter(|error| is_redis_prefix(error)) {
                    attributes.add(key::DB_RESPONSE_STATUS_CODE, prefix.as_str().to_owned());
                }
                if let Some(size) = batch_size.filter(|&size| size >= 2) {
                    attributes.add_number(key::DB_OPERATION_BATCH_SIZE, size);
                }
            }
        }
    }

    fn server(&self, attributes: &mut Attributes<'_>, port: Option<u16>) {
        attributes.add(key::SERVER_ADDRESS, Arc::clone(&self.server_address));
        if let Some(port) = port {
            attributes.add(key::SERVER_PORT, i64::from(port));
        }
    }
}

fn messaging(attributes: &mut Attributes<'_>, name: &'static str, kind: &'static str, channel: &Arc<str>) {
    attributes.add(key::MESSAGING_SYSTEM, REDIS);
    attributes.add(key::MESSAGING_OPERATION_NAME, name);
    attributes.add(key::MESSAGING_OPERATION_TYPE, kind);
    attributes.add(key::MESSAGING_DESTINATION_NAME, Arc::clone(channel));
}

fn error_type(attributes: &mut Attributes<'_>, error: Option<&ErrorType>) {
    if let Some(error) = error {
        attributes.add(key::ERROR_TYPE, error.as_str().to_owned());
    }
}

/// Whether Redis itself said it; the other error types are the proxy's own words.
fn is_redis_prefix(error: &ErrorType) -> bool {
    error.as_str().bytes().all(|byte| byte.is_ascii_uppercase())
}

/// A span's attributes within the limits.
struct Attributes<'a> {
    limits: &'a SpanLimits,
    list: Vec<KeyValue>,
    dropped: u32,
}

impl<'a> Attributes<'a> {
    fn new(limits: &'a SpanLimits) -> Self {
        Self { limits, list: Vec::with_capacity(10.min(limits.attribute_count)), dropped: 0 }
    }

    fn add(&mut self, key: &'static str, value: impl Into<Value>) {
        if self.list.len() >= self.limits.attribute_count {
            self.dropped += 1;
            return;
        }
        let value = match (value.into(), self.limits.attribute_value_length) {
            (Value::String(text), Some(limit)) => Value::String(shortened(text, limit)),
            (value, _) => value,
        };
        self.list.push(KeyValue::new(key, value));
    }

    fn add_number(&mut self, key: &'static str, number: u64) {
        self.add(key, i64::try_from(number).unwrap_or(i64::MAX));
    }
}

/// The first `limit` characters.
fn shortened(text: StringValue, limit: usize) -> StringValue {
    match text.as_str().char_indices().nth(limit) {
        Some((end, _)) => text.as_str().get(..end).unwrap_or_default().to_owned().into(),
        None => text,
    }
}

fn span_context(context: &record::SpanContext, remote: bool, trace_state: TraceState) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id.to_bytes()),
        SpanId::from_bytes(context.span_id.to_bytes()),
        TraceFlags::new(context.flags.to_byte()),
        remote,
        trace_state,
    )
}

fn time(nanos: UnixNanos) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos.0)
}
