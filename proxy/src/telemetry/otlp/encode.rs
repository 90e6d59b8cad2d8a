//! From records to the bytes of a request, by the semantic conventions for messaging, for Redis and for HTTP.
//!
//! The bytes are written as records come, without a message in memory in between: what is the same in all spans of an
//! encoder was encoded when the encoder was made, and the rest goes straight into the request's buffer. The tests hold the
//! result against `prost` and the published schema.
//!
//! ```text
//! ExportTraceServiceRequest { resource_spans: [ ResourceSpans {
//!     resource, scope_spans: [ ScopeSpans { scope, spans: [ Span, ... ], schema_url } ], schema_url } ] }
//! ```
//!
//! The lengths of the outer messages are known last and stand first. So a buffer begins with a gap, and the head is
//! written into the end of it when all spans are there.

use std::borrow::Cow;
use std::io::Write as _;

use opentelemetry_semantic_conventions::SCHEMA_URL;
use opentelemetry_semantic_conventions::attribute as key;
use redistributed_core::trace::{Destination, ErrorType, Operation, SpanContext, SpanRecord, UnixNanos};

use super::attributes::{Attributes, Constants, Key};
use super::requests::RequestKeys;
use super::trace_state::put_trace_state;
use super::wire::{bytes_tag, fixed32_tag, fixed64_tag, put_bytes, put_message, put_varint, varint_tag};
use crate::settings::otel::SpanLimits;
use crate::telemetry::Peer;
use crate::telemetry::connection::{Connection, NetworkPeer};
use crate::telemetry::describe::{
    ACKNOWLEDGED, CAUSE, FIRST_DELIVERY, HANDED_OVER, Kind, LINK, PROCESS, PUBLISH, RECEIVERS, REDELIVERY, REDIS,
    REDIS_PORT, SEND, SHARDED, SKIPPED, WRITER, acknowledged, cause, first_delivery, is_of_redis, is_redelivery, links,
    skipped, span_name, writers,
};

/// `SpanFlags`: whether the parent (or, in a link, the span) is remote is known, and it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The bytes in front of a request that are free for the transport's own prefix.
pub(super) const HEADROOM: usize = 5;

/// The longest length prefix of the outer messages, in bytes: enough for 32 GiB.
const MAX_LENGTH: usize = 5;

/// Writes requests with the spans of one resource that are about one peer.
#[derive(Clone, Debug)]
pub struct SpanEncoder {
    limits: SpanLimits,
    /// The `resource` field.
    resource: Vec<u8>,
    /// The `scope` field.
    scope: Vec<u8>,
    /// The `schema_url` field, which is the same of the resource and of the spans.
    schema_url: Vec<u8>,
    server: Constants,
    server_of_command: Constants,
    keys: Keys,
}

/// The keys of attributes that have another value in each span.
#[derive(Clone, Debug)]
struct Keys {
    published_to: DestinationKeys,
    processed_from: DestinationKeys,
    sent: Constants,
    message_count: Key,
    template: Key,
    subscription: Key,
    group: Key,
    consumer: Key,
    message_id: Key,
    redelivery: Key,
    acknowledged: Key,
    /// Preceded by the constant attributes of the server.
    server_and_body_size: Key,
    body_size: Key,
    receivers: Key,
    sharded: Key,
    skipped: Key,
    cause: Key,
    operation: Key,
    summary: Key,
    namespace: Key,
    status_code: Key,
    batch_size: Key,
    error_type: Key,
    request: RequestKeys,
}

/// How the attributes of a message begin: with the operation, and the channel's name unless it is hidden.
#[derive(Clone, Debug)]
struct DestinationKeys {
    operation: Constants,
    name: Key,
}

impl DestinationKeys {
    fn new(operation: Constants) -> Self {
        let name = Key::after(&operation, key::MESSAGING_DESTINATION_NAME);
        Self { operation, name }
    }
}

/// The attributes of a span that tell of its connection, encoded once for all of its spans.
#[derive(Clone, Debug, Default)]
pub struct ConnectionAttributes {
    client_id: Constants,
    peer: Constants,
}

/// A request without its head, to which spans are added.
#[derive(Debug)]
pub struct OpenRequest {
    buffer: Vec<u8>,
    /// The position at which the spans begin.
    gap: usize,
}

/// The bytes of a complete request.
#[derive(Debug)]
pub struct EncodedRequest {
    buffer: Vec<u8>,
    start: usize,
}

impl SpanEncoder {
    /// An encoder for a resource with these attributes.
    pub fn new(resource: &[(String, String)], peer: &Peer, limits: &SpanLimits) -> Self {
        let attributes = resource.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let attributes = Constants::texts(bytes_tag(1), attributes, None);
        let mut resource = Vec::new();
        put_bytes(&mut resource, bytes_tag(1), attributes.as_bytes());
        let mut scope = Vec::new();
        put_message(&mut scope, bytes_tag(1), |out| {
            put_bytes(out, bytes_tag(1), env!("CARGO_PKG_NAME").as_bytes());
            put_bytes(out, bytes_tag(2), env!("CARGO_PKG_VERSION").as_bytes());
        });
        let mut schema_url = Vec::new();
        put_bytes(&mut schema_url, bytes_tag(3), SCHEMA_URL.as_bytes());

        let messaging = |name, kind| {
            let texts = [
                (key::MESSAGING_SYSTEM, REDIS),
                (key::MESSAGING_OPERATION_NAME, name),
                (key::MESSAGING_OPERATION_TYPE, kind),
            ];
            Constants::of_spans(texts, limits)
        };
        let server = |port: Option<u16>| {
            let address = Constants::of_spans([(key::SERVER_ADDRESS, peer.address.as_str())], limits);
            match port {
                Some(port) => address.with_number(key::SERVER_PORT, port.into()),
                None => address,
            }
        };
        let command = Constants::of_spans([(key::DB_SYSTEM_NAME, REDIS)], limits);
        let server_of_messages = server(peer.port);
        let keys = Keys {
            published_to: DestinationKeys::new(messaging(PUBLISH, "send")),
            processed_from: DestinationKeys::new(messaging(PROCESS, "process")),
            sent: messaging(SEND, "send"),
            message_count: Key::new(key::MESSAGING_BATCH_MESSAGE_COUNT),
            template: Key::new(key::MESSAGING_DESTINATION_TEMPLATE),
            subscription: Key::new(key::MESSAGING_DESTINATION_SUBSCRIPTION_NAME),
            group: Key::new(key::MESSAGING_CONSUMER_GROUP_NAME),
            consumer: Key::new(key::MESSAGING_CLIENT_ID),
            message_id: Key::new(key::MESSAGING_MESSAGE_ID),
            redelivery: Key::new(REDELIVERY),
            acknowledged: Key::new(ACKNOWLEDGED),
            server_and_body_size: Key::after(&server_of_messages, key::MESSAGING_MESSAGE_BODY_SIZE),
            body_size: Key::new(key::MESSAGING_MESSAGE_BODY_SIZE),
            receivers: Key::new(RECEIVERS),
            sharded: Key::new(SHARDED),
            skipped: Key::new(SKIPPED),
            cause: Key::new(CAUSE),
            operation: Key::after(&command, key::DB_OPERATION_NAME),
            summary: Key::new(key::DB_QUERY_SUMMARY),
            namespace: Key::new(key::DB_NAMESPACE),
            status_code: Key::new(key::DB_RESPONSE_STATUS_CODE),
            batch_size: Key::new(key::DB_OPERATION_BATCH_SIZE),
            error_type: Key::new(key::ERROR_TYPE),
            request: RequestKeys::new(),
        };
        Self {
            limits: limits.clone(),
            resource,
            scope,
            schema_url,
            server: server_of_messages,
            server_of_command: server(peer.port.filter(|&port| port != REDIS_PORT)),
            keys,
        }
    }

    /// A request without spans, with room for `capacity` bytes of them.
    pub fn open(&self, capacity: usize) -> OpenRequest {
        let gap = HEADROOM + 2 * (1 + MAX_LENGTH) + self.resource.len() + self.scope.len();
        let mut buffer = Vec::with_capacity(gap + capacity + 2 * self.schema_url.len());
        buffer.resize(gap, 0);
        OpenRequest { buffer, gap }
    }

    /// What the spans of `connection` tell of it.
    pub fn connection(&self, connection: &Connection) -> ConnectionAttributes {
        let client_id = connection.client_id().map(|id| (key::MESSAGING_CLIENT_ID, id));
        let (address, port) = match connection.peer() {
            Some(NetworkPeer::Socket(socket)) => (Some(Cow::from(socket.ip().to_string())), Some(socket.port())),
            Some(NetworkPeer::Unix(path)) => (Some(Cow::from(&**path)), None),
            None => (None, None),
        };
        let client_address = address.as_deref().filter(|_| connection.peer_is_client());
        let client_address = client_address.map(|address| (key::CLIENT_ADDRESS, address));
        let address = address.as_deref().map(|address| (key::NETWORK_PEER_ADDRESS, address));
        let peer = Constants::of_spans(client_address.into_iter().chain(address), &self.limits);
        ConnectionAttributes {
            client_id: Constants::of_spans(client_id, &self.limits),
            peer: match port {
                Some(port) => peer.with_number(key::NETWORK_PEER_PORT, port.into()),
                None => peer,
            },
        }
    }

    /// Adds a span of a connection. If its end lies before its start, after the clock was set back, it gets the length zero.
    pub fn add(&self, record: &SpanRecord, connection: &ConnectionAttributes, request: &mut OpenRequest) {
        put_message(&mut request.buffer, bytes_tag(2), |out| self.put_span(record, connection, out));
    }

    /// Completes a request: writes the messages around the spans.
    pub fn close(&self, request: OpenRequest) -> EncodedRequest {
        let OpenRequest { mut buffer, gap } = request;
        let of_scope = self.scope.len() + (buffer.len() - gap) + self.schema_url.len();
        let mut inner = vec![bytes_tag(2)];
        put_varint(&mut inner, of_scope as u64);
        let of_resource = self.resource.len() + inner.len() + of_scope + self.schema_url.len();
        let mut head = vec![bytes_tag(1)];
        put_varint(&mut head, of_resource as u64);
        head.extend_from_slice(&self.resource);
        head.extend_from_slice(&inner);
        head.extend_from_slice(&self.scope);
        buffer.extend_from_slice(&self.schema_url);
        buffer.extend_from_slice(&self.schema_url);
        let start = gap - head.len();
        buffer[start..gap].copy_from_slice(&head);
        EncodedRequest { buffer, start }
    }

    /// The fields of `Span`, in the order of their numbers.
    fn put_span(&self, record: &SpanRecord, connection: &ConnectionAttributes, out: &mut Vec<u8>) {
        out.extend_from_slice(&ids(&record.context));
        // A span with a link begins a trace, and the state is that of the other trace.
        if let (Some(text), None) = (&record.trace_state, &record.link) {
            put_trace_state(out, bytes_tag(3), text);
        }
        if let Some(parent) = &record.parent {
            put_bytes(out, bytes_tag(4), &parent.to_bytes());
        }
        let (verb, object) = span_name(record);
        let name_len = verb.len() + object.len();
        if name_len > 0 {
            out.push(bytes_tag(5));
            put_varint(out, name_len as u64);
            out.extend_from_slice(verb.as_bytes());
            out.extend_from_slice(object.as_bytes());
        }
        let kind = match Kind::of(record) {
            Kind::Server => 2,
            Kind::Client => 3,
            Kind::Producer => 4,
            Kind::Consumer => 5,
        };
        let mut kind_and_times = [0; 20];
        kind_and_times[..3].copy_from_slice(&[varint_tag(6), kind, fixed64_tag(7)]);
        kind_and_times[3..11].copy_from_slice(&record.start.0.to_le_bytes());
        kind_and_times[11] = fixed64_tag(8);
        kind_and_times[12..].copy_from_slice(&record.end.max(record.start).0.to_le_bytes());
        out.extend_from_slice(&kind_and_times);

        let mut attributes = Attributes::new(out, &self.limits);
        self.describe(record, &mut attributes);
        match &record.operation {
            Operation::Item { group, .. } => match group.as_deref().and_then(|group| group.consumer.as_deref()) {
                // A consumer of a group has a name of its own, whatever connection it reads on.
                Some(consumer) => attributes.text(&self.keys.consumer, consumer),
                None => attributes.constants(&connection.client_id),
            },
            Operation::Publish { .. } | Operation::Deliver { .. } | Operation::Send(_) => {
                attributes.constants(&connection.client_id);
            }
            Operation::Command { .. } | Operation::Request(_) => {}
        }
        attributes.constants(&connection.peer);
        if let Some(rule) = cause(record) {
            attributes.text(&self.keys.cause, rule);
        }
        let dropped = attributes.dropped();
        if dropped > 0 {
            out.push(varint_tag(10));
            put_varint(out, dropped);
        }
        if let Some(time) = record.inferred.as_ref().and_then(|inferred| inferred.handed_over) {
            put_event(HANDED_OVER, time, out);
        }
        self.put_links(record, out);
        // A status is always there: empty if nothing is to be said, otherwise with the code of an error.
        let status: &[u8] = if record.error.is_some() { &[varint_tag(3), 2] } else { &[] };
        put_bytes(out, bytes_tag(15), status);
        // What is inferred comes from this process.
        let remote = if record.parent.is_some() && cause(record).is_none() { IS_REMOTE } else { 0 };
        // Field 16 is the first whose tag takes two bytes.
        out.extend_from_slice(&[0x80 | fixed32_tag(0), 1]);
        out.extend_from_slice(&(HAS_IS_REMOTE | remote | u32::from(record.context.flags.to_byte())).to_le_bytes());
    }

    fn put_links(&self, record: &SpanRecord, out: &mut Vec<u8>) {
        let writers = writers(record).iter().map(|writer| (writer, Some(WRITER)));
        let first = first_delivery(record).into_iter().map(|first| (first, Some(FIRST_DELIVERY)));
        let all = || links(record).map(|link| (link, None)).chain(writers.clone()).chain(first.clone());
        for (link, meaning) in all().take(self.limits.link_count) {
            // The state belongs to the trace that the span is linked to first. Of the others none is known.
            let is_first = record.link.as_ref().is_some_and(|first| std::ptr::eq(first, link));
            let trace_state = record.trace_state.as_deref().filter(|_| is_first);
            put_link(link, trace_state, is_first && cause(record).is_none(), meaning, out);
        }
        let dropped = all().skip(self.limits.link_count).count();
        if dropped > 0 {
            out.push(varint_tag(14));
            put_varint(out, dropped as u64);
        }
    }

    /// The order matters where a limit cuts the list: what identifies the operation comes first.
    fn describe(&self, record: &SpanRecord, attributes: &mut Attributes<'_>) {
        match &record.operation {
            Operation::Publish { channel, sharded, receivers, body_size } => {
                self.destination(attributes, &self.keys.published_to, channel);
                self.server_and_body_size(attributes, record.error.as_ref(), *body_size);
                if let Some(receivers) = receivers {
                    attributes.number(&self.keys.receivers, *receivers);
                }
                if *sharded {
                    attributes.flag(&self.keys.sharded);
                }
                if let Some(reason) = skipped(record) {
                    attributes.text(&self.keys.skipped, reason);
                }
            }
            Operation::Deliver { channel, pattern, sharded, body_size } => {
                self.destination(attributes, &self.keys.processed_from, channel);
                if let Some(pattern) = pattern {
                    attributes.text(&self.keys.subscription, pattern);
                }
                self.server_and_body_size(attributes, record.error.as_ref(), *body_size);
                if *sharded {
                    attributes.flag(&self.keys.sharded);
                }
            }
            Operation::Item { queue, group, id, body_size } => {
                attributes.constants(&self.keys.processed_from.operation);
                if let Some(template) = queue {
                    attributes.text(&self.keys.template, template);
                }
                if let Some(group) = group {
                    attributes.text(&self.keys.group, &group.name);
                }
                if let Some(id) = id {
                    attributes.text(&self.keys.message_id, id);
                }
                self.server_and_body_size(attributes, record.error.as_ref(), *body_size);
                if is_redelivery(record) {
                    attributes.flag(&self.keys.redelivery);
                }
                if let Some(is_acknowledged) = acknowledged(record) {
                    attributes.truth(&self.keys.acknowledged, is_acknowledged);
                }
            }
            Operation::Send(sent) => {
                attributes.constants(&self.keys.sent);
                if let Some(template) = &sent.queue {
                    attributes.text(&self.keys.template, template);
                }
                if let Some(id) = &sent.id {
                    attributes.text(&self.keys.message_id, id);
                }
                if sent.count > 1 {
                    attributes.number(&self.keys.message_count, sent.count);
                }
                self.server_and_body_size(attributes, record.error.as_ref(), sent.body_size);
            }
            Operation::Command { name, summary, database, batch_size } => {
                attributes.text(&self.keys.operation, name);
                if let Some(summary) = summary {
                    attributes.text(&self.keys.summary, summary);
                }
                self.namespace(attributes, *database);
                attributes.constants(&self.server_of_command);
                self.error_type(attributes, record.error.as_ref());
                if let Some(prefix) = record.error.as_ref().filter(|error| is_of_redis(error)) {
                    attributes.text(&self.keys.status_code, prefix.as_str());
                }
                if let Some(size) = batch_size.filter(|&size| size >= 2) {
                    attributes.number(&self.keys.batch_size, size);
                }
            }
            Operation::Request(request) => self.keys.request.describe(request, record.error.as_ref(), attributes),
        }
    }

    fn destination(&self, attributes: &mut Attributes<'_>, keys: &DestinationKeys, channel: &Destination) {
        match channel.shown_channel() {
            Some(name) => attributes.text(&keys.name, name),
            None => attributes.constants(&keys.operation),
        }
        if let Some(template) = channel.template() {
            attributes.text(&self.keys.template, template);
        }
    }

    /// What stands between them is rare.
    fn server_and_body_size(&self, attributes: &mut Attributes<'_>, error: Option<&ErrorType>, body_size: u64) {
        if error.is_none() {
            return attributes.number(&self.keys.server_and_body_size, body_size);
        }
        attributes.constants(&self.server);
        self.error_type(attributes, error);
        attributes.number(&self.keys.body_size, body_size);
    }

    /// The database's number, which the conventions want as a text.
    fn namespace(&self, attributes: &mut Attributes<'_>, database: u32) {
        let mut digits = [0; 10];
        let mut rest = digits.as_mut_slice();
        // Ten digits are enough for every `u32`.
        let _ = write!(rest, "{database}");
        let len = 10 - rest.len();
        attributes.text(&self.keys.namespace, std::str::from_utf8(&digits[..len]).unwrap_or_default());
    }

    fn error_type(&self, attributes: &mut Attributes<'_>, error: Option<&ErrorType>) {
        if let Some(error) = error {
            attributes.text(&self.keys.error_type, error.as_str());
        }
    }
}

impl OpenRequest {
    /// The length of its spans so far, in bytes.
    pub fn len(&self) -> usize {
        self.spans().len()
    }

    /// The memory that the request takes, in bytes.
    pub(in crate::telemetry) fn memory(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the request has no span yet.
    pub fn is_empty(&self) -> bool {
        self.spans().is_empty()
    }

    /// Adds the spans of another request of the same encoder.
    pub(in crate::telemetry) fn join(&mut self, other: &Self) {
        self.buffer.extend_from_slice(other.spans());
    }

    fn spans(&self) -> &[u8] {
        self.buffer.get(self.gap..).unwrap_or_default()
    }
}

impl EncodedRequest {
    /// A request that begins at `start`, which is [`HEADROOM`] or later.
    pub(super) fn new(buffer: Vec<u8>, start: usize) -> Self {
        Self { buffer, start }
    }

    /// The encoded request.
    pub(super) fn as_slice(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// The buffer, and where in it the request begins: at [`HEADROOM`] or later.
    pub(super) fn into_parts(self) -> (Vec<u8>, usize) {
        (self.buffer, self.start)
    }
}

/// The fields `trace_id` and `span_id`, which are the first two of a span and of a link.
fn ids(context: &SpanContext) -> [u8; 28] {
    let mut fields = [0; 28];
    fields[..2].copy_from_slice(&[bytes_tag(1), 16]);
    fields[2..18].copy_from_slice(&context.trace_id.to_bytes());
    fields[18..20].copy_from_slice(&[bytes_tag(2), 8]);
    fields[20..].copy_from_slice(&context.span_id.to_bytes());
    fields
}

fn put_event(name: &str, time: UnixNanos, out: &mut Vec<u8>) {
    put_message(out, bytes_tag(11), |out| {
        out.push(fixed64_tag(1));
        out.extend_from_slice(&time.0.to_le_bytes());
        put_bytes(out, bytes_tag(2), name.as_bytes());
    });
}

/// `meaning` is the value of the attribute [`LINK`].
fn put_link(link: &SpanContext, trace_state: Option<&str>, is_remote: bool, meaning: Option<&str>, out: &mut Vec<u8>) {
    let remote = if is_remote { IS_REMOTE } else { 0 };
    put_message(out, bytes_tag(13), |out| {
        out.extend_from_slice(&ids(link));
        if let Some(text) = trace_state {
            put_trace_state(out, bytes_tag(3), text);
        }
        if let Some(meaning) = meaning {
            put_message(out, bytes_tag(4), |out| {
                put_bytes(out, bytes_tag(1), LINK.as_bytes());
                put_message(out, bytes_tag(2), |out| put_bytes(out, bytes_tag(1), meaning.as_bytes()));
            });
        }
        out.push(fixed32_tag(6));
        out.extend_from_slice(&(HAS_IS_REMOTE | remote | u32::from(link.flags.to_byte())).to_le_bytes());
    });
}

#[cfg(test)]
mod tests;
