//! `prost` and the published schema are the oracle: the span is built from the record a second time, as a message in
//! memory, and both have to come out the same to the byte.

use std::collections::HashSet;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use redistributed_core::Counter;
use redistributed_core::trace::request::{Method, Version};
use redistributed_core::trace::{
    Change, ConsumerGroup, Handling, Inferred, Request, Sent, SpanId, TraceFlags, TraceId, UnixNanos,
};

use super::*;

const SCHEMA: &str = "https://opentelemetry.io/schemas/1.42.0";

/// One span of a case: the record, and its `tracestate` as a collector is to see it.
struct Case {
    record: SpanRecord,
    trace_state: &'static str,
}

/// A generator whose seed is all that is needed to see a failure again (SplitMix64).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// Numbers of all sizes, with those where a varint grows.
    fn number(&mut self) -> u64 {
        let bits = self.below(65) as u32;
        match self.below(3) {
            0 => self.one_of(&[0, 1, 127, 128, 16_383, 16_384, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX]),
            _ => self.next().checked_shr(64 - bits).unwrap_or(0),
        }
    }

    fn text(&mut self) -> String {
        let long = self.one_of(&[62, 100, 127, 128, 300, 16_383, 70_000]);
        match self.below(8) {
            0 => String::new(),
            1 => "äöüß 通道 🚀".to_owned(),
            2 => "x".repeat(long),
            3 => "通".repeat(long),
            _ => self.one_of(&["reports", "orders.created", "{a}.b", "c\u{0}d\n", "__keyspace@0__:k"]).to_owned(),
        }
    }

    fn context(&mut self) -> SpanContext {
        SpanContext {
            trace_id: TraceId::from_u128(u128::from(self.next()) << 64 | 1).unwrap(),
            span_id: SpanId::from_u64(self.next() | 1).unwrap(),
            flags: TraceFlags::from_byte(self.next() as u8),
        }
    }

    fn destination(&mut self) -> Destination {
        let template = (self.below(3) == 0).then(|| self.text().into());
        Destination::new(&self.text(), template, self.below(4) == 0)
    }

    fn operation(&mut self) -> Operation {
        let channel = self.destination();
        let (sharded, body_size) = (self.yes(), self.number());
        match self.below(6) {
            5 => Operation::Send(Box::new(Sent {
                queue: self.yes().then(|| self.text().into()),
                id: self.yes().then(|| "1700000000000-0".into()),
                count: self.number(),
                body_size,
                items: (0..self.below(3)).map(|_| self.context()).collect(),
                is_named_by_item: self.yes(),
                ..Sent::default()
            })),
            0 => Operation::Publish { channel, sharded, receivers: self.yes().then(|| self.number()), body_size },
            3 => Operation::Request(Box::new(self.request())),
            4 => Operation::Item {
                queue: self.yes().then(|| self.text().into()),
                group: self.yes().then(|| Arc::new(self.group())),
                id: self.yes().then(|| "1700000000000-0".into()),
                body_size,
            },
            1 => Operation::Deliver { channel, pattern: self.yes().then(|| self.text().into()), sharded, body_size },
            _ => Operation::Command {
                name: self.one_of(&["GET", "hGet", "MULTI", "MULTI INCR", ""]).into(),
                summary: (self.below(3) == 0).then(|| self.text().into()),
                database: self.number() as u32,
                batch_size: self.yes().then(|| self.number()),
            },
        }
    }

    fn group(&mut self) -> ConsumerGroup {
        ConsumerGroup { name: self.text().into(), consumer: self.yes().then(|| self.text().into()) }
    }

    fn request(&mut self) -> Request {
        let method = Method::read(self.one_of(&[&b"GET"[..], b"POST", b"get", b""]));
        Request {
            method,
            original_method: self.yes().then(|| self.text().into()),
            route: self.yes().then(|| self.text().into()),
            is_secure: self.yes(),
            path: self.yes().then(|| self.text().into()),
            query: self.yes().then(|| self.text().into()),
            host: self.yes().then(|| self.text().into()),
            port: self.yes().then(|| self.number() as u16),
            user_agent: self.yes().then(|| self.text().into()),
            version: self.one_of(&[Version::Http10, Version::Http11, Version::Http2]),
            status: self.yes().then(|| self.number() as u16),
            request_size: self.number(),
            response_size: self.number(),
        }
    }

    fn case(&mut self) -> Case {
        let states = [
            (None, ""),
            (None, ""),
            (Some("vendor=a,other=b"), "vendor=a,other=b"),
            (Some(" vendor=a ,, other=b"), "vendor=a,other=b"),
            (Some("not a list"), ""),
            (Some(""), ""),
        ];
        let (text, trace_state) = self.one_of(&states);
        let start = 1 + self.number() / 2;
        let error = match self.below(4) {
            0 => Some(ErrorType::from_redis_error(b"WRONGTYPE Operation")),
            1 => Some(ErrorType::named(ErrorType::CONNECTION_CLOSED)),
            _ => None,
        };
        let record = SpanRecord {
            context: self.context(),
            parent: self.yes().then(|| self.context().span_id),
            link: (self.below(3) == 0).then(|| self.context()),
            trace_state: text.map(Into::into),
            start: UnixNanos(start),
            end: UnixNanos(if self.yes() { start + self.number() / 2 } else { self.number() }),
            error,
            handling: Handling {
                payload: self.one_of(&[Change::None, Change::Injected, Change::Skipped(Counter::SkippedAutoNobody)]),
                untraced: false,
            },
            operation: self.operation(),
            inferred: self.inferred(),
        };
        Case { record, trace_state }
    }

    fn inferred(&mut self) -> Option<Box<Inferred>> {
        let links = (0..self.below(4)).map(|_| self.context()).collect();
        let writers = (0..self.below(3)).map(|_| self.context()).collect();
        let rule = self.one_of(&[None, Some("token"), Some("succession")]);
        let handed_over = self.one_of(&[None, Some(UnixNanos(7))]);
        let (is_acknowledged, is_redelivery) = (self.one_of(&[None, Some(true), Some(false)]), self.yes());
        let first_delivery = self.yes().then(|| self.context());
        let inferred = Inferred {
            rule,
            links,
            writers,
            handed_over,
            is_acknowledged,
            is_redelivery,
            first_delivery,
            ..Inferred::default()
        };
        self.yes().then(|| Box::new(inferred))
    }

    fn peer(&mut self) -> Peer {
        let port = self.one_of(&[None, Some(6379), Some(1), Some(6390), Some(65_535)]);
        Peer { address: self.text(), port }
    }

    fn connection(&mut self) -> Connection {
        let redis = [
            None,
            Some(NetworkPeer::Socket("127.0.0.1:6379".parse().unwrap())),
            Some(NetworkPeer::Socket("[2001:db8::1]:1".parse().unwrap())),
            Some(NetworkPeer::Unix(self.text().into())),
        ];
        let redis = redis[self.below(4) as usize].clone();
        let mut connection = match &redis {
            Some(NetworkPeer::Socket(client)) if self.yes() => Connection::of_http(Some(*client)),
            _ => Connection::new(self.yes().then(|| self.text()), redis),
        };
        if self.yes() {
            connection.named(Some(self.text().into()));
        }
        connection
    }

    fn limits(&mut self) -> SpanLimits {
        SpanLimits {
            attribute_count: self.one_of(&[128, 128, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
            attribute_value_length: self.one_of(&[None, None, Some(0), Some(1), Some(3), Some(6), Some(200)]),
            link_count: self.one_of(&[128, 1, 0]),
        }
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// What a collector is to see, without any limit.
fn attributes_of(record: &SpanRecord, peer: &Peer, connection: &Connection) -> Vec<KeyValue> {
    let address = text("server.address", &peer.address);
    let port = peer.port.map(|port| number("server.port", port.into()));
    let error = record.error.as_ref().map(|error| error.as_str());
    let mut all = Vec::new();
    match &record.operation {
        Operation::Publish { channel, sharded, receivers, body_size } => {
            all.extend([text("messaging.system", "redis"), text("messaging.operation.name", "publish")]);
            all.extend([text("messaging.operation.type", "send")]);
            all.extend(channel.shown_channel().map(|name| text("messaging.destination.name", name)));
            all.extend(channel.template().map(|template| text("messaging.destination.template", template)));
            all.push(address);
            all.extend(port);
            all.extend(error.map(|error| text("error.type", error)));
            all.push(number("messaging.message.body.size", *body_size));
            all.extend(receivers.map(|receivers| number("redis.pubsub.receivers", receivers)));
            all.extend(sharded.then(|| attribute("redis.pubsub.sharded", Value::BoolValue(true))));
            if matches!(record.handling.payload, Change::Skipped(_)) {
                all.push(text("redistributed.context.skipped", "auto_nobody"));
            }
        }
        Operation::Deliver { channel, pattern, sharded, body_size } => {
            all.extend([text("messaging.system", "redis"), text("messaging.operation.name", "process")]);
            all.extend([text("messaging.operation.type", "process")]);
            all.extend(channel.shown_channel().map(|name| text("messaging.destination.name", name)));
            all.extend(channel.template().map(|template| text("messaging.destination.template", template)));
            all.extend(pattern.as_deref().map(|text_| text("messaging.destination.subscription.name", text_)));
            all.push(address);
            all.extend(port);
            all.extend(error.map(|error| text("error.type", error)));
            all.push(number("messaging.message.body.size", *body_size));
            all.extend(sharded.then(|| attribute("redis.pubsub.sharded", Value::BoolValue(true))));
        }
        Operation::Item { queue, group, id, body_size } => {
            all.extend([text("messaging.system", "redis"), text("messaging.operation.name", "process")]);
            all.extend([text("messaging.operation.type", "process")]);
            all.extend(queue.as_deref().map(|template| text("messaging.destination.template", template)));
            all.extend(group.as_deref().map(|group| text("messaging.consumer.group.name", &*group.name)));
            all.extend(id.as_deref().map(|id| text("messaging.message.id", id)));
            all.push(address);
            all.extend(port);
            all.extend(error.map(|error| text("error.type", error)));
            all.push(number("messaging.message.body.size", *body_size));
            let inferred = record.inferred.as_deref().cloned().unwrap_or_default();
            let truth = |key, is_true| attribute(key, Value::BoolValue(is_true));
            all.extend(inferred.is_redelivery.then(|| truth("redistributed.redelivery", true)));
            all.extend(inferred.is_acknowledged.map(|is_so| truth("redistributed.acknowledged", is_so)));
        }
        Operation::Send(sent) => {
            all.extend([text("messaging.system", "redis"), text("messaging.operation.name", "send")]);
            all.extend([text("messaging.operation.type", "send")]);
            all.extend(sent.queue.as_deref().map(|template| text("messaging.destination.template", template)));
            all.extend(sent.id.as_deref().map(|id| text("messaging.message.id", id)));
            all.extend((sent.count > 1).then(|| number("messaging.batch.message_count", sent.count)));
            all.push(address);
            all.extend(port);
            all.extend(error.map(|error| text("error.type", error)));
            all.push(number("messaging.message.body.size", sent.body_size));
        }
        Operation::Command { name, summary, database, batch_size } => {
            all.extend([text("db.system.name", "redis"), text("db.operation.name", &**name)]);
            all.extend(summary.as_deref().map(|summary| text("db.query.summary", summary)));
            all.extend([text("db.namespace", database.to_string()), address]);
            all.extend(port.filter(|_| peer.port != Some(6379)));
            all.extend(error.map(|error| text("error.type", error)));
            all.extend(error.filter(|&error| error == "WRONGTYPE").map(|error| text("db.response.status_code", error)));
            all.extend(batch_size.filter(|&size| size > 1).map(|size| number("db.operation.batch.size", size)));
        }
        Operation::Request(request) => {
            let method = if request.method == Method::Other { "_OTHER" } else { request.method.as_str() };
            all.push(text("http.request.method", method));
            all.push(text("url.scheme", if request.is_secure { "https" } else { "http" }));
            all.extend(request.path.as_deref().map(|path| text("url.path", path)));
            all.extend(request.route.as_deref().map(|route| text("http.route", route)));
            let original = request.original_method.as_deref().filter(|_| request.method == Method::Other);
            all.extend(original.map(|method| text("http.request.method_original", method)));
            all.extend(error.map(|error| text("error.type", error)));
            all.extend(request.status.map(|status| number("http.response.status_code", status.into())));
            all.extend(request.host.as_deref().map(|host| text("server.address", host)));
            let port = request.port.filter(|_| request.host.is_some());
            all.extend(port.map(|port| number("server.port", port.into())));
            all.extend(request.query.as_deref().map(|query| text("url.query", query)));
            all.extend(request.user_agent.as_deref().map(|agent| text("user_agent.original", agent)));
            all.push(text("network.protocol.version", request.version.as_str()));
            all.push(number("http.request.body.size", request.request_size));
            all.push(number("http.response.body.size", request.response_size));
        }
    }
    let consumer = match &record.operation {
        Operation::Item { group, .. } => group.as_deref().and_then(|group| group.consumer.as_deref()),
        _ => None,
    };
    if !matches!(record.operation, Operation::Command { .. } | Operation::Request(_)) {
        all.extend(consumer.or(connection.client_id()).map(|id| text("messaging.client.id", id)));
    }
    match connection.peer() {
        Some(NetworkPeer::Socket(socket)) => {
            all.extend(connection.peer_is_client().then(|| text("client.address", socket.ip().to_string())));
            all.push(text("network.peer.address", socket.ip().to_string()));
            all.push(number("network.peer.port", socket.port().into()));
        }
        Some(NetworkPeer::Unix(path)) => all.push(text("network.peer.address", &**path)),
        None => {}
    }
    all.extend(
        record.inferred.as_ref().and_then(|inferred| inferred.rule).map(|rule| text("redistributed.cause", rule)),
    );
    all
}

fn named(verb: &str, channel: &Destination) -> String {
    if channel.group().is_empty() { verb.to_owned() } else { format!("{verb} {}", channel.group()) }
}

fn span_of(case: &Case, peer: &Peer, connection: &Connection, limits: &SpanLimits) -> Span {
    let record = &case.record;
    let mut attributes = attributes_of(record, peer, connection);
    let dropped_attributes_count = attributes.len().saturating_sub(limits.attribute_count) as u32;
    attributes.truncate(limits.attribute_count);
    for attribute in &mut attributes {
        let Some(AnyValue { value: Some(Value::StringValue(text)) }) = &mut attribute.value else { continue };
        *text = text.chars().take(limits.attribute_value_length.unwrap_or(usize::MAX)).collect();
    }
    let is_inferred = record.inferred.as_ref().is_some_and(|inferred| inferred.rule.is_some());
    let remote = if is_inferred { 0x100 } else { 0x300 };
    let inferred = record.inferred.iter();
    let meaning = |value| vec![text("redistributed.link", value)];
    let items: &[SpanContext] = if let Operation::Send(sent) = &record.operation { &sent.items } else { &[] };
    let marked = inferred.clone().flat_map(|inferred| {
        let writers = inferred.writers.iter().map(|link| (*link, "", 0x100, meaning("writer")));
        writers.chain(inferred.first_delivery.map(|link| (link, "", 0x100, meaning("first_delivery"))))
    });
    let plain = inferred.flat_map(|inferred| &inferred.links).chain(items);
    let inferred = plain.map(|link| (*link, "", 0x100, Vec::new())).chain(marked);
    let links = record.link.map(|link| (link, case.trace_state, remote, Vec::new())).into_iter().chain(inferred);
    let mut links: Vec<Link> = Vec::from_iter(links.map(|(link, trace_state, remote, attributes)| Link {
        trace_id: link.trace_id.to_bytes().to_vec(),
        span_id: link.span_id.to_bytes().to_vec(),
        trace_state: trace_state.to_owned(),
        attributes,
        flags: remote | u32::from(link.flags.to_byte()),
        ..Link::default()
    }));
    let dropped_links_count = links.len().saturating_sub(limits.link_count) as u32;
    links.truncate(limits.link_count);
    let handed_over = record.inferred.as_ref().and_then(|inferred| inferred.handed_over).map(|time| Event {
        time_unix_nano: time.0,
        name: "handed over".to_owned(),
        ..Event::default()
    });
    let (kind, name) = match &record.operation {
        Operation::Publish { channel, .. } => (SpanKind::Producer, named("publish", channel)),
        Operation::Deliver { channel, .. } => (SpanKind::Consumer, named("process", channel)),
        Operation::Item { queue, .. } => {
            let template = queue.as_deref().map(|template| format!(" {template}")).unwrap_or_default();
            (SpanKind::Consumer, format!("process{template}"))
        }
        Operation::Send(sent) => {
            let template = sent.queue.as_deref().map(|template| format!(" {template}")).unwrap_or_default();
            (SpanKind::Producer, format!("send{template}"))
        }
        Operation::Command { name, summary, .. } => (SpanKind::Client, summary.as_deref().unwrap_or(name).to_owned()),
        Operation::Request(request) => {
            let method = if request.method == Method::Other { "HTTP" } else { request.method.as_str() };
            let route = request.route.as_deref().map(|route| format!(" {route}")).unwrap_or_default();
            (SpanKind::Server, format!("{method}{route}"))
        }
    };
    let code = if record.error.is_some() { StatusCode::Error } else { StatusCode::Unset };
    Span {
        trace_id: record.context.trace_id.to_bytes().to_vec(),
        span_id: record.context.span_id.to_bytes().to_vec(),
        trace_state: if record.link.is_some() { "" } else { case.trace_state }.to_owned(),
        parent_span_id: record.parent.map(|parent| parent.to_bytes().to_vec()).unwrap_or_default(),
        flags: u32::from(record.context.flags.to_byte()) | if record.parent.is_some() { remote } else { 0x100 },
        name,
        kind: kind.into(),
        start_time_unix_nano: record.start.0,
        end_time_unix_nano: record.end.0.max(record.start.0),
        attributes,
        dropped_attributes_count,
        events: handed_over.into_iter().collect(),
        links,
        dropped_links_count,
        status: Some(Status { message: String::new(), code: code.into() }),
        ..Span::default()
    }
}

fn request_of(spans: Vec<Span>, resource: &[(String, String)]) -> ExportTraceServiceRequest {
    let attributes = resource.iter().map(|(key, value)| text(key, value)).collect();
    let scope = InstrumentationScope {
        name: "redistributed".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let of_scope = ScopeSpans { scope: Some(scope), spans, schema_url: SCHEMA.to_owned() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![of_scope],
            schema_url: SCHEMA.to_owned(),
        }],
    }
}

fn encoded(encoder: &SpanEncoder, connection: &Connection, records: &[&SpanRecord]) -> EncodedRequest {
    let (mut request, connection) = (encoder.open(0), encoder.connection(connection));
    for record in records {
        encoder.add(record, &connection, &mut request);
    }
    encoder.close(request)
}

#[test]
fn every_record_is_encoded_as_prost_would() {
    let mut seen = HashSet::new();
    for seed in 0..1_500 {
        let mut rng = Rng(seed);
        let (peer, connection, limits) = (rng.peer(), rng.connection(), rng.limits());
        let resource: Vec<_> = (0..rng.below(4)).map(|index| (format!("key{index}"), rng.text())).collect();
        let cases: Vec<_> = (0..rng.below(4)).map(|_| rng.case()).collect();

        let encoder = SpanEncoder::new(&resource, &peer, &limits);
        let bytes = encoded(&encoder, &connection, &Vec::from_iter(cases.iter().map(|case| &case.record)));
        let expected =
            request_of(cases.iter().map(|case| span_of(case, &peer, &connection, &limits)).collect(), &resource);
        assert_eq!(ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap(), expected, "seed {seed}");
        let at = bytes.as_slice().iter().zip(expected.encode_to_vec()).position(|(ours, theirs)| *ours != theirs);
        assert_eq!((at, bytes.as_slice().len()), (None, expected.encoded_len()), "seed {seed}: not the shortest form");

        // That the generator reaches what this test is about.
        for span in expected.resource_spans.iter().flat_map(|of| &of.scope_spans).flat_map(|of| &of.spans) {
            let truncated = span.dropped_attributes_count > 0;
            let size = span.encoded_len().checked_ilog2().unwrap_or(0) / 7;
            seen.insert((span.kind, truncated, span.links.len(), span.dropped_links_count, size));
        }
    }
    for kind in [SpanKind::Producer, SpanKind::Consumer, SpanKind::Client, SpanKind::Server] {
        for (truncated, links) in [(false, (0, 0)), (true, (0, 0)), (false, (1, 0)), (true, (1, 0)), (false, (0, 1))] {
            assert!(seen.contains(&(kind.into(), truncated, links.0, links.1, 1)), "{kind:?} {truncated} {links:?}");
        }
    }
    let sizes: HashSet<_> = seen.iter().map(|case| case.4).collect();
    assert_eq!(sizes, HashSet::from([0, 1, 2]), "spans whose length takes one byte, two and three");
}

#[test]
fn requests_that_are_joined_are_one_request() {
    let (peer, limits) = (Rng(1).peer(), SpanLimits::default());
    let resource = [("key".to_owned(), "value".to_owned())];
    let encoder = SpanEncoder::new(&resource, &peer, &limits);
    let records: Vec<_> = (0..7).map(|seed| Rng(seed).case().record).collect();
    let (one, other) = records.split_at(3);
    let request = |records: &[SpanRecord]| {
        let mut request = encoder.open(0);
        records.iter().for_each(|record| encoder.add(record, &ConnectionAttributes::default(), &mut request));
        request
    };
    let mut joined = request(one);
    joined.join(&request(other));
    joined.join(&encoder.open(0));
    assert_eq!(encoder.close(joined).as_slice(), encoder.close(request(&records)).as_slice());
}

#[test]
fn a_clock_that_stands_at_zero_is_no_mistake() {
    let mut case = Rng(1).case();
    (case.record.start, case.record.end) = (UnixNanos(0), UnixNanos(0));
    let (peer, limits) = (Rng(1).peer(), SpanLimits::default());
    let bytes = encoded(&SpanEncoder::new(&[], &peer, &limits), &Connection::default(), &[&case.record]);
    let expected = request_of(vec![span_of(&case, &peer, &Connection::default(), &limits)], &[]);
    assert_eq!(ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap(), expected);
}

#[test]
fn there_is_room_for_the_transport_in_front_of_a_request() {
    let encoder = SpanEncoder::new(&[], &Rng(3).peer(), &SpanLimits::default());
    let (_, start) = encoded(&encoder, &Rng(3).connection(), &[&Rng(3).case().record]).into_parts();
    assert!(start >= HEADROOM);
}

#[test]
fn a_span_adds_nothing_to_the_heap_once_the_request_has_room() {
    let encoder = SpanEncoder::new(&[], &Rng(3).peer(), &SpanLimits::default());
    let mut request = encoder.open(1 << 20);
    let room = request.buffer.capacity();
    let connection = encoder.connection(&Rng(3).connection());
    let operation = Operation::Command { name: "GET".into(), summary: None, database: 0, batch_size: None };
    let record = SpanRecord::new(Rng(3).context(), UnixNanos(1), operation);
    (0..100).for_each(|_| encoder.add(&record, &connection, &mut request));
    assert_eq!(request.buffer.capacity(), room);
}
