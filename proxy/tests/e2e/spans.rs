//! The spans that the collector received, in a form that tests can compare field by field.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use otlp_receiver::ReceivedSpan;
use otlp_receiver::proto::common::v1::KeyValue;
use otlp_receiver::proto::common::v1::any_value::Value;
use otlp_receiver::proto::trace::v1::span::SpanKind;
use otlp_receiver::proto::trace::v1::status::StatusCode;
use redistributed_core::trace::{SpanContext, UnixNanos};

/// The bits of a span's `flags` that are not W3C trace flags: whether it is known that the parent is remote, and
/// whether it is.
const PARENT_KNOWN: u32 = 0x100;
const PARENT_REMOTE: u32 = 0x200;

/// All spans that arrived.
#[derive(Debug)]
pub(crate) struct Spans(pub(crate) Vec<Span>);

/// One span. Its ids are in hexadecimal digits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) attributes: BTreeMap<String, Attribute>,
    pub(crate) is_error: bool,
    /// The trace id and the span id of each link.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) trace_state: String,
    /// The W3C trace flags.
    pub(crate) flags: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) resource: BTreeMap<String, Attribute>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attribute {
    Text(String),
    Number(i64),
    Flag(bool),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Attribute {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl Spans {
    /// The spans of a service.
    pub(crate) fn of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Span> {
        self.0.iter().filter(move |span| span.service == service)
    }

    /// The only span of a service.
    #[track_caller]
    pub(crate) fn only<'a>(&'a self, service: &'a str) -> &'a Span {
        let spans: Vec<&Span> = self.of(service).collect();
        let [span] = spans[..] else { panic!("not one span of {service} but {}: {spans:#?}", spans.len()) };
        span
    }

    /// The children of a span, in order of arrival.
    pub(crate) fn children<'a>(&'a self, parent: &'a Span) -> impl Iterator<Item = &'a Span> {
        self.0.iter().filter(move |span| span.parent == parent.span_id && span.trace_id == parent.trace_id)
    }

    pub(crate) fn of_kind(&self, kind: SpanKind) -> impl Iterator<Item = &Span> {
        self.0.iter().filter(move |span| span.kind == kind)
    }
}

impl Span {
    /// Reads a span, and checks what must hold for every span: it was made between `began` and `ended`, by a sidecar of
    /// the Redis at `server`.
    pub(crate) fn checked(received: &ReceivedSpan, began: UnixNanos, ended: UnixNanos, server: SocketAddr) -> Self {
        let span = &received.span;
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8), "{span:?}");
        assert!(span.trace_id.iter().any(|&byte| byte != 0) && span.span_id.iter().any(|&byte| byte != 0), "{span:?}");
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        assert!(began.0 <= start && start <= end && end <= ended.0, "{began:?} <= {start} <= {end} <= {ended:?}");
        let has_parent = !span.parent_span_id.is_empty();
        let is_inferred = span.attributes.iter().any(|attribute| attribute.key == "redistributed.cause");
        let remote = if has_parent && !is_inferred { PARENT_REMOTE } else { 0 };
        assert_eq!(span.flags & !0xff, PARENT_KNOWN | remote, "{span:?}");
        let events: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
        assert!(matches!(events[..], [] | ["handed over"]) && span.dropped_attributes_count == 0, "{span:?}");
        let status = span.status.clone().unwrap_or_default();
        assert_eq!(status.message, "");
        assert_ne!(status.code(), StatusCode::Ok, "left to the application");
        assert_eq!(received.scope.name, "redistributed");
        assert_eq!(received.scope.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(received.schema_url, "https://opentelemetry.io/schemas/1.42.0");
        let attributes = attributes(&span.attributes);
        if span.kind() != SpanKind::Server {
            assert_eq!(attributes.get("server.address"), Some(&server.ip().to_string().as_str().into()));
            assert_eq!(attributes.get("server.port"), Some(&i64::from(server.port()).into()));
            assert_eq!(attributes.get("network.peer.address"), attributes.get("server.address"));
            assert_eq!(attributes.get("network.peer.port"), attributes.get("server.port"));
            assert_eq!(attributes.contains_key("messaging.client.id"), span.kind() != SpanKind::Client);
        }
        Self {
            service: received.service_name().to_owned(),
            name: span.name.clone(),
            kind: span.kind(),
            trace_id: received.trace_id(),
            span_id: received.span_id(),
            parent: received.parent_span_id(),
            attributes,
            is_error: status.code() == StatusCode::Error,
            links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
            trace_state: span.trace_state.clone(),
            flags: span.flags & 0xff,
            start,
            end,
            resource: self::attributes(&received.resource.attributes),
        }
    }

    /// The value of a string attribute.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.attributes.get(key)? {
            Attribute::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of an integer attribute.
    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        match self.attributes.get(key)? {
            Attribute::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// `redis.pubsub.receivers`
    pub(crate) fn receivers(&self) -> Option<i64> {
        self.number("redis.pubsub.receivers")
    }

    /// `messaging.message.body.size`
    pub(crate) fn body_size(&self) -> Option<i64> {
        self.number("messaging.message.body.size")
    }

    /// Whether `context` is that of this span.
    pub(crate) fn has_context(&self, context: &SpanContext) -> bool {
        (self.trace_id.as_str(), self.span_id.as_str())
            == (context.trace_id.to_string().as_str(), context.span_id.to_string().as_str())
    }

    pub(crate) fn is_root(&self) -> bool {
        self.parent.is_empty()
    }

    /// Checks that the span has exactly these attributes, apart from those of the connection, which are checked for every
    /// span.
    #[track_caller]
    pub(crate) fn assert_attributes<const N: usize>(&self, expected: [(&str, Attribute); N]) {
        let mut rest = self.attributes.clone();
        let of_connection =
            ["server.address", "server.port", "network.peer.address", "network.peer.port", "messaging.client.id"];
        rest.retain(|key, _| !of_connection.contains(&key.as_str()));
        let expected = expected.into_iter().map(|(key, value)| (key.to_owned(), value));
        assert_eq!(rest, expected.collect::<BTreeMap<_, _>>());
    }
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, Attribute> {
    let value = |attribute: &KeyValue| match attribute.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => Attribute::Text(text),
        Some(Value::IntValue(number)) => Attribute::Number(number),
        Some(Value::BoolValue(flag)) => Attribute::Flag(flag),
        other => panic!("{} is {other:?}", attribute.key),
    };
    let map: BTreeMap<_, _> = list.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect();
    assert_eq!(map.len(), list.len(), "a key is there twice: {list:?}");
    map
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
