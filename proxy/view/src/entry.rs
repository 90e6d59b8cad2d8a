//! A span as it is kept: its bytes as they came, and beside them what lists, graphs and counts need, so that none of these has to
//! decode a span.

use std::sync::Arc;

use prost::Message;
use redistributed_core::trace::{SpanId, TraceId};

use crate::proto::{self, Span, Status};
use crate::wire::{Fields, Value};

/// The largest span that is kept, in bytes of protobuf. OTLP has no limit; the proxy's own spans have some hundred bytes.
pub(crate) const MAX_SPAN: usize = 1 << 20;

/// The service's name of a resource that has none, as the specification wants it.
pub(crate) const UNKNOWN_SERVICE: &str = "unknown_service";

/// What `redistributed` writes on a publish whose message got no context, with the reason.
const SKIPPED: &str = "redistributed.context.skipped";
/// What `redistributed` writes on a span whose parent was inferred, with the rule.
pub(crate) const CAUSE: &str = "redistributed.cause";
/// The number of receivers that Redis reported in its reply to a publish.
const RECEIVERS: &str = "redis.pubsub.receivers";

/// The resource of spans, which tells whose they are. Spans of one resource share it.
#[derive(Debug)]
pub(crate) struct Resource {
    /// `service.name`.
    pub(crate) service: Arc<str>,
    /// A `ResourceSpans` without spans.
    encoded: Box<[u8]>,
}

/// The scope of spans: the library that made them. Spans of one scope share it.
#[derive(Debug)]
pub(crate) struct Scope {
    /// A `ScopeSpans` without spans.
    encoded: Box<[u8]>,
}

/// The resource and the scope of a span.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Whose span it is.
    pub(crate) resource: Arc<Resource>,
    /// The instrumentation scope, which names the library that made the span.
    pub(crate) scope: Arc<Scope>,
}

/// What spans share, and is kept once for all that have the same bytes.
pub(crate) trait Shared {
    /// The protobuf message, by which equal values are recognised.
    fn encoded(&self) -> &[u8];
}

impl Shared for Resource {
    fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

impl Shared for Scope {
    fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

/// What a span says of the way of messages through Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The span is a publish, with the receivers that Redis reported, and the reason if its message got no context.
    Publish { receivers: Option<u64>, skipped: Option<Box<str>> },
    /// The span is the delivery of a message.
    Delivery,
    /// The span is a request that a service answered.
    Request,
    /// The span is a command of Redis.
    Command,
    /// The span is none of these.
    Other,
}

/// A channel as graphs and lists name it: its template, where it has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Channel {
    /// The template or the name.
    pub(crate) name: Arc<str>,
    /// Whether it is a template.
    pub(crate) is_template: bool,
}

/// A span as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The resource and the instrumentation scope of the span.
    pub(crate) origin: Origin,
    /// The protobuf message.
    pub(crate) encoded: Arc<[u8]>,
    /// The span id.
    pub(crate) id: SpanId,
    /// The id of its parent; `None` for a root.
    pub(crate) parent: Option<SpanId>,
    /// Its begin, in nanoseconds since the epoch.
    pub(crate) start: u64,
    /// Its end, in nanoseconds since the epoch, and not before its begin.
    pub(crate) end: u64,
    /// The span's kind.
    pub(crate) kind: Kind,
    /// Whether its status is an error.
    pub(crate) is_error: bool,
    /// Whether its parent or its link was inferred.
    pub(crate) is_inferred: bool,
    /// What it is to messages.
    pub(crate) role: Role,
    /// The channel of a publish or a delivery, unless it is hidden.
    pub(crate) channel: Option<Channel>,
    /// The spans that it links to.
    pub(crate) links: Box<[(TraceId, SpanId)]>,
    /// When it arrived, in milliseconds since the start of the store.
    pub(crate) arrived_ms: u64,
    /// The number of spans of its transaction that were kept before it came.
    pub(crate) place: usize,
}

/// `Span.SpanKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl Kind {
    const ALL: [(Self, i32, &'static str); 6] = [
        (Self::Unspecified, 0, "unspecified"),
        (Self::Internal, 1, "internal"),
        (Self::Server, 2, "server"),
        (Self::Client, 3, "client"),
        (Self::Producer, 4, "producer"),
        (Self::Consumer, 5, "consumer"),
    ];

    /// The kind with this number in OTLP.
    pub(crate) fn from_number(number: i32) -> Self {
        Self::ALL.iter().find(|(_, of_kind, _)| *of_kind == number).map_or(Self::Unspecified, |(kind, _, _)| *kind)
    }

    /// The kind with this name.
    pub(crate) fn from_name(name: &str) -> Self {
        Self::ALL.iter().find(|(_, _, of_kind)| *of_kind == name).map_or(Self::Unspecified, |(kind, _, _)| *kind)
    }

    /// The number of the kind in OTLP's enumeration `SpanKind`.
    pub(crate) fn number(self) -> i32 {
        Self::ALL.iter().find(|(kind, _, _)| *kind == self).map_or(0, |(_, number, _)| *number)
    }

    /// The name of the kind in lower case, as in `server`.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _, _)| *kind == self).map_or("unspecified", |(_, _, name)| name)
    }
}

impl Resource {
    /// Takes a resource with its schema.
    pub(crate) fn new(resource: proto::Resource, schema_url: String) -> Arc<Self> {
        let service = proto::text(&resource.attributes, "service.name").unwrap_or(UNKNOWN_SERVICE).into();
        let of_resource = proto::ResourceSpans { resource: Some(resource), scope_spans: Vec::new(), schema_url };
        Arc::new(Self { service, encoded: of_resource.encode_to_vec().into() })
    }

    /// The resource with its schema, and without spans.
    pub(crate) fn decode(&self) -> proto::ResourceSpans {
        // It was encoded here.
        proto::ResourceSpans::decode(&*self.encoded).unwrap_or_default()
    }

    /// The attributes of the resource.
    pub(crate) fn attributes(&self) -> Vec<proto::KeyValue> {
        self.decode().resource.unwrap_or_default().attributes
    }
}

impl Scope {
    /// Takes a scope with its schema.
    pub(crate) fn new(scope: proto::Scope, schema_url: String) -> Arc<Self> {
        let of_scope = proto::ScopeSpans { scope: Some(scope), spans: Vec::new(), schema_url };
        Arc::new(Self { encoded: of_scope.encode_to_vec().into() })
    }

    /// The scope with its schema, and without spans.
    pub(crate) fn decode(&self) -> proto::ScopeSpans {
        proto::ScopeSpans::decode(&*self.encoded).unwrap_or_default()
    }
}

impl Entry {
    /// Reads the span in `encoded`, with its trace.
    ///
    /// # Errors
    /// The reason why it cannot be shown, for its sender.
    pub(crate) fn read(origin: &Origin, encoded: &[u8]) -> Result<(TraceId, Self), &'static str> {
        if encoded.len() > MAX_SPAN {
            return Err("a span may have 1 MiB");
        }
        let span =
            Span::decode(encoded).map_err(|_| "a span is no protobuf message, or holds a text that is not UTF-8")?;
        Self::digest(origin, &span, encoded.into())
    }

    /// As [`read`](Self::read), for a span that came in another form.
    ///
    /// # Errors
    /// The reason why it cannot be shown, for its sender.
    pub(crate) fn of(origin: &Origin, span: &Span) -> Result<(TraceId, Self), &'static str> {
        let encoded = span.encode_to_vec();
        if encoded.len() > MAX_SPAN {
            return Err("a span may have 1 MiB");
        }
        Self::digest(origin, span, encoded.into())
    }

    fn digest(origin: &Origin, span: &Span, encoded: Arc<[u8]>) -> Result<(TraceId, Self), &'static str> {
        let trace = trace_id(&span.trace_id).ok_or("the trace id of a span has 16 bytes that are not all zero")?;
        let id = span_id(&span.span_id).ok_or("the id of a span has 8 bytes that are not all zero")?;
        let parent = match &span.parent_span_id[..] {
            [] => None,
            bytes if bytes.iter().all(|byte| *byte == 0) => None,
            bytes => Some(span_id(bytes).ok_or("the parent's id of a span has 8 bytes")?),
        };
        let kind = Kind::from_number(span.kind);
        let links = span.links.iter().filter_map(|link| Some((trace_id(&link.trace_id)?, span_id(&link.span_id)?)));
        let entry = Self {
            origin: origin.clone(),
            encoded,
            id,
            parent: parent.filter(|parent| *parent != id),
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano.max(span.start_time_unix_nano),
            kind,
            is_error: span.status.as_ref().is_some_and(|status| status.code == Status::ERROR),
            is_inferred: proto::attribute(&span.attributes, CAUSE).is_some(),
            role: role(kind, span),
            channel: channel(kind, span),
            links: links.collect(),
            arrived_ms: 0,
            place: 0,
        };
        Ok((trace, entry))
    }

    /// The span, decoded.
    pub(crate) fn decode(&self) -> Span {
        // It was decoded when it came.
        Span::decode(&*self.encoded).unwrap_or_default()
    }

    /// The span's name, without decoding the rest.
    pub(crate) fn name(&self) -> &str {
        const NAME: u32 = 5;
        let name = Fields::of(&self.encoded).flatten().filter_map(|field| match field {
            (NAME, Value::Bytes(name)) => std::str::from_utf8(name).ok(),
            _ => None,
        });
        // The last one counts, if there are several.
        name.last().unwrap_or_default()
    }

    /// How long it took, in nanoseconds.
    pub(crate) fn duration(&self) -> u64 {
        self.end - self.start
    }
}

/// The id in `bytes`, if they are one.
pub(crate) fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    TraceId::from_bytes(bytes.try_into().ok()?)
}

/// The id in `bytes`, if they are one.
pub(crate) fn span_id(bytes: &[u8]) -> Option<SpanId> {
    SpanId::from_bytes(bytes.try_into().ok()?)
}

fn role(kind: Kind, span: &Span) -> Role {
    match kind {
        Kind::Producer => Role::Publish {
            receivers: match proto::attribute(&span.attributes, RECEIVERS) {
                Some(proto::Value::Int(receivers)) => u64::try_from(*receivers).ok(),
                _ => None,
            },
            skipped: proto::text(&span.attributes, SKIPPED).map(Into::into),
        },
        Kind::Consumer => Role::Delivery,
        Kind::Server => Role::Request,
        Kind::Client => {
            let system = ["db.system.name", "db.system"].iter().find_map(|key| proto::text(&span.attributes, key));
            if system == Some("redis") { Role::Command } else { Role::Other }
        }
        Kind::Internal | Kind::Unspecified => Role::Other,
    }
}

fn channel(kind: Kind, span: &Span) -> Option<Channel> {
    if !matches!(kind, Kind::Producer | Kind::Consumer) {
        return None;
    }
    let text = |key| proto::text(&span.attributes, key);
    match (text("messaging.destination.template"), text("messaging.destination.name")) {
        (Some(template), _) => Some(Channel { name: template.into(), is_template: true }),
        (None, Some(name)) => Some(Channel { name: name.into(), is_template: false }),
        (None, None) => None,
    }
}

/// Spans that came together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The spans that can be kept.
    pub(crate) spans: Vec<(TraceId, Entry)>,
    /// The number of spans that cannot be kept.
    pub(crate) refused: u64,
    /// Why the first of them cannot be kept.
    pub(crate) reason: Option<&'static str>,
}

/// Hands spans on in portions, so that many small ones take no more memory than few.
pub(crate) struct Portions<'t> {
    take: &'t mut dyn FnMut(Batch),
    batch: Batch,
}

impl<'t> Portions<'t> {
    /// The number of spans in a portion.
    pub(crate) const SPANS: usize = 1_000;

    /// Hands portions to `take`.
    pub(crate) fn new(take: &'t mut dyn FnMut(Batch)) -> Self {
        Self { take, batch: Batch::default() }
    }

    /// Adds what [`Entry::read`] or [`Entry::of`] has returned.
    pub(crate) fn push(&mut self, read: Result<(TraceId, Entry), &'static str>) {
        match read {
            Ok(span) => self.batch.spans.push(span),
            Err(reason) => {
                self.batch.refused += 1;
                self.batch.reason.get_or_insert(reason);
            }
        }
        if self.batch.spans.len() == Self::SPANS {
            (self.take)(std::mem::take(&mut self.batch));
        }
    }

    /// Hands on the last portion, which may be empty.
    pub(crate) fn finish(self) {
        (self.take)(self.batch);
    }
}
