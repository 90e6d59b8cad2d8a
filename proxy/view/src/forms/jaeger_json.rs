//! The JSON that Jaeger's page saves and opens, as the answers of its query service: `{"data": [{"traceID", "spans",
//! "processes"}]}`.
//!
//! What OTLP has and Jaeger does not becomes tags, by the names that the specification gives for exporters to Jaeger
//! ("OpenTelemetry to Jaeger Transformation"). Jaeger counts microseconds, so that a time loses what is less than one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Error, Value, json};

use super::values;
use crate::entry::{self, Batch, Entry, Kind, Origin, Portions};
use crate::ids;
use crate::json::{self, elements, list, member, members, number, parse, text};
use crate::proto::{self, Event, KeyValue, Link, Resource, Scope, Span, Status};
use crate::store::{Snapshot, SpanView};

const KIND: &str = "span.kind";
const STATUS_CODE: &str = "otel.status_code";
const STATUS_TEXT: &str = "otel.status_description";
const SCOPE_NAME: &str = "otel.scope.name";
const SCOPE_VERSION: &str = "otel.scope.version";
const TRACE_STATE: &str = "w3c.tracestate";
const ERROR: &str = "error";
/// The field of a log that holds the event's name.
const EVENT: &str = "event";

/// Hands the spans of `trace`, an element of `data`, to `take` in portions. Each portion counts those that cannot be kept.
///
/// # Errors
/// The text has another form. Spans before the mistake may have been taken.
pub(crate) fn read(trace: &RawValue, take: &mut dyn FnMut(Batch)) -> Result<(), Error> {
    let mut processes = BTreeMap::new();
    if let Some(of_trace) = member(trace, "processes")? {
        members(of_trace, |name, process| {
            processes.insert(name.to_owned(), read_process(&parse(process)?));
            Ok(())
        })?;
    }
    let unknown = read_process(&Value::Null);
    let mut portions = Portions::new(take);
    let Some(spans) = member(trace, "spans")? else { return Ok(()) };
    elements(spans, |span| {
        match parse(span) {
            Ok(span) => {
                let resource = processes.get(text(&span, "processID")).unwrap_or(&unknown);
                let (span, scope) = read_span(&span);
                portions.push(Entry::of(&Origin { resource: Arc::clone(resource), scope }, &span));
            }
            Err(_) => portions.push(Err(json::TOO_LARGE)),
        }
        Ok(())
    })?;
    portions.finish();
    Ok(())
}

fn read_process(process: &Value) -> Arc<entry::Resource> {
    let name = Some(text(process, "serviceName")).filter(|name| !name.is_empty()).unwrap_or(entry::UNKNOWN_SERVICE);
    let name = KeyValue::new("service.name", proto::Value::Text(name.to_owned()));
    let tags = list(process, "tags").iter().map(values::from_jaeger);
    let attributes = std::iter::once(name).chain(tags.filter(|tag| tag.key != "service.name")).collect();
    entry::Resource::new(Resource { attributes, dropped_attributes_count: 0 }, String::new())
}

fn read_span(span: &Value) -> (Span, Arc<entry::Scope>) {
    let mut read = Span {
        trace_id: trace_id(text(span, "traceID")),
        span_id: span_id(text(span, "spanID")),
        parent_span_id: span_id(text(span, "parentSpanID")),
        name: text(span, "operationName").to_owned(),
        start_time_unix_nano: nanoseconds(span, "startTime"),
        events: list(span, "logs").iter().map(read_log).collect(),
        flags: number(span, "flags").unwrap_or(0),
        ..Span::default()
    };
    read.end_time_unix_nano = read.start_time_unix_nano.saturating_add(nanoseconds(span, "duration"));
    for reference in list(span, "references") {
        let (trace, target) = (trace_id(text(reference, "traceID")), span_id(text(reference, "spanID")));
        let is_parent = text(reference, "refType") == "CHILD_OF" && trace == read.trace_id;
        if is_parent && read.parent_span_id.is_empty() {
            read.parent_span_id = target;
        } else if !is_parent || target != read.parent_span_id {
            read.links.push(Link { trace_id: trace, span_id: target, ..Link::default() });
        }
    }
    let (mut scope, mut status, mut is_error) = (Scope::default(), Status::default(), false);
    for tag in list(span, "tags") {
        let value = || text(tag, "value").to_owned();
        match text(tag, "key") {
            KIND => read.kind = Kind::from_name(text(tag, "value")).number(),
            STATUS_CODE if value() == "OK" => status.code = Status::OK,
            STATUS_CODE if value() == "ERROR" => status.code = Status::ERROR,
            STATUS_TEXT => status.message = value(),
            SCOPE_NAME | "otel.library.name" => scope.name = value(),
            SCOPE_VERSION | "otel.library.version" => scope.version = value(),
            TRACE_STATE => read.trace_state = value(),
            ERROR if tag.get("value") == Some(&Value::Bool(true)) || value() == "true" => is_error = true,
            // Of Jaeger's own storage.
            "internal.span.format" => {}
            _ => read.attributes.push(values::from_jaeger(tag)),
        }
    }
    if is_error {
        status.code = Status::ERROR;
    }
    read.status = (status != Status::default()).then_some(status);
    (read, entry::Scope::new(scope, String::new()))
}

fn read_log(log: &Value) -> Event {
    let (names, attributes): (Vec<_>, Vec<_>) =
        list(log, "fields").iter().map(values::from_jaeger).partition(|field| field.key == EVENT);
    let name = proto::text(&names, EVENT).unwrap_or_default().to_owned();
    Event { time_unix_nano: nanoseconds(log, "timestamp"), name, attributes, dropped_attributes_count: 0 }
}

/// The time with this name, which is in microseconds.
fn nanoseconds(object: &Value, name: &str) -> u64 {
    number::<u64>(object, name).unwrap_or(0).saturating_mul(1_000)
}

/// The bytes of an id, without which its span is refused.
fn trace_id(text: &str) -> Vec<u8> {
    ids::trace_id(text).map(|id| id.to_bytes().to_vec()).unwrap_or_default()
}

fn span_id(text: &str) -> Vec<u8> {
    ids::span_id(text).map(|id| id.to_bytes().to_vec()).unwrap_or_default()
}

/// The pieces of `snapshot` as Jaeger's page saves a trace.
pub(crate) fn write(snapshot: Snapshot) -> impl Iterator<Item = String> + Send {
    let trace = ids::trace_text(snapshot.summary.trace);
    let (mut processes, mut names) = (serde_json::Map::new(), BTreeMap::new());
    for span in &snapshot.spans {
        let resource = &span.entry.origin.resource;
        names.entry(Arc::as_ptr(resource).addr()).or_insert_with(|| {
            let name = format!("p{}", processes.len() + 1);
            processes.insert(name.clone(), written_process(resource));
            name
        });
    }
    let head = format!("{{\"data\":[{{\"traceID\":\"{trace}\",\"spans\":[");
    let tail = format!(
        "],\"processes\":{},\"warnings\":null}}],\"total\":1,\"limit\":0,\"offset\":0,\"errors\":null}}",
        Value::Object(processes)
    );
    let spans = snapshot.spans.into_iter().enumerate().map(move |(index, span)| {
        let process = names.get(&Arc::as_ptr(&span.entry.origin.resource).addr()).map(String::as_str);
        let comma = if index == 0 { "" } else { "," };
        format!("{comma}{}", written(&trace, &span, process.unwrap_or_default()))
    });
    std::iter::once(head).chain(spans).chain(std::iter::once(tail))
}

fn written_process(resource: &entry::Resource) -> Value {
    let tags =
        resource.attributes().iter().filter(|of| of.key != "service.name").map(values::to_jaeger).collect::<Value>();
    json!({"serviceName": &*resource.service, "tags": tags})
}

fn written(trace: &str, view: &SpanView, process: &str) -> Value {
    let (entry, span) = (&view.entry, view.entry.decode());
    let reference = |kind, trace: &str, span: String| json!({"refType": kind, "traceID": trace, "spanID": span});
    let parent = entry.parent.map(|parent| reference("CHILD_OF", trace, ids::span_text(parent)));
    let links = entry.links.iter();
    let links = links.map(|(trace, span)| reference("FOLLOWS_FROM", &ids::trace_text(*trace), ids::span_text(*span)));
    json!({
        "traceID": trace,
        "spanID": ids::span_text(entry.id),
        "flags": span.flags & 0xff,
        "operationName": span.name,
        "references": parent.into_iter().chain(links).collect::<Value>(),
        "startTime": entry.start / 1_000,
        "duration": entry.duration() / 1_000,
        "tags": written_tags(entry, &span),
        "logs": span.events.iter().map(written_log).collect::<Value>(),
        "processID": process,
        "warnings": null,
    })
}

fn written_tags(entry: &Entry, span: &Span) -> Vec<Value> {
    let mut tags: Vec<_> = span.attributes.iter().map(values::to_jaeger).collect();
    let mut text = |key: &str, value: &str| {
        if !value.is_empty() {
            tags.push(json!({"key": key, "type": "string", "value": value}));
        }
    };
    if entry.kind != Kind::Unspecified {
        text(KIND, entry.kind.name());
    }
    let scope = entry.origin.scope.decode().scope.unwrap_or_default();
    text(SCOPE_NAME, &scope.name);
    text(SCOPE_VERSION, &scope.version);
    text(TRACE_STATE, &span.trace_state);
    let status = span.status.clone().unwrap_or_default();
    match status.code {
        Status::OK => text(STATUS_CODE, "OK"),
        Status::ERROR => text(STATUS_CODE, "ERROR"),
        _ => {}
    }
    text(STATUS_TEXT, &status.message);
    if entry.is_error {
        tags.push(json!({"key": ERROR, "type": "bool", "value": true}));
    }
    tags
}

fn written_log(event: &Event) -> Value {
    let name = json!({"key": EVENT, "type": "string", "value": event.name});
    let fields: Value = std::iter::once(name).chain(event.attributes.iter().map(values::to_jaeger)).collect();
    json!({"timestamp": event.time_unix_nano / 1_000, "fields": fields})
}
