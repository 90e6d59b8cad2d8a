//! OTLP's JSON: protobuf's JSON with ids in hexadecimal, enumerations as numbers, and 64-bit numbers as texts ("JSON Protobuf
//! Encoding"
//! of the OTLP specification). Names in snake case, numbers without quotes and names of enumerations are read too.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Error, Value, json};

use super::values;
use crate::entry::{self, Batch, Entry, Kind, Origin, Portions};
use crate::ids;
use crate::json::{self, elements, get, list, member, number, parse, text};
use crate::proto::{Event, Link, Resource, Scope, Span, Status};
use crate::store::{Snapshot, SpanView};

/// Hands the spans of `request` to `take` in portions. Each portion counts those that cannot be kept.
///
/// # Errors
/// The text has another form. Spans before the mistake may have been taken.
pub(crate) fn read(request: &RawValue, take: &mut dyn FnMut(Batch)) -> Result<(), Error> {
    let mut portions = Portions::new(take);
    let Some(resources) = member(request, "resourceSpans")? else { return Ok(()) };
    elements(resources, |of_resource| {
        let schema = member(of_resource, "schemaUrl")?.map(parse).transpose()?;
        let resource = member(of_resource, "resource")?.map(parse).transpose()?.unwrap_or_default();
        let resource = Resource {
            attributes: values::from_otlp(&resource, "attributes"),
            dropped_attributes_count: number(&resource, "droppedAttributesCount").unwrap_or(0),
        };
        let resource = entry::Resource::new(resource, plain_text(schema));
        let Some(scopes) = member(of_resource, "scopeSpans")? else { return Ok(()) };
        elements(scopes, |of_scope| {
            let origin = Origin { resource: Arc::clone(&resource), scope: read_scope(of_scope)? };
            let Some(spans) = member(of_scope, "spans")? else { return Ok(()) };
            elements(spans, |span| {
                match parse(span) {
                    Ok(span) => portions.push(Entry::of(&origin, &read_span(&span))),
                    Err(_) => portions.push(Err(json::TOO_LARGE)),
                }
                Ok(())
            })
        })
    })?;
    portions.finish();
    Ok(())
}

fn plain_text(value: Option<Value>) -> String {
    value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn read_scope(of_scope: &RawValue) -> Result<Arc<entry::Scope>, Error> {
    let schema = member(of_scope, "schemaUrl")?.map(parse).transpose()?;
    let scope = member(of_scope, "scope")?.map(parse).transpose()?.unwrap_or_default();
    let scope = Scope {
        name: text(&scope, "name").to_owned(),
        version: text(&scope, "version").to_owned(),
        attributes: values::from_otlp(&scope, "attributes"),
        dropped_attributes_count: number(&scope, "droppedAttributesCount").unwrap_or(0),
    };
    Ok(entry::Scope::new(scope, plain_text(schema)))
}

fn read_span(span: &Value) -> Span {
    let status = get(span, "status").map(|status| Status {
        message: text(status, "message").to_owned(),
        code: enumeration(status, "code", |name| match name {
            "STATUS_CODE_OK" => Status::OK,
            "STATUS_CODE_ERROR" => Status::ERROR,
            _ => 0,
        }),
    });
    Span {
        trace_id: id(span, "traceId"),
        span_id: id(span, "spanId"),
        trace_state: text(span, "traceState").to_owned(),
        parent_span_id: id(span, "parentSpanId"),
        name: text(span, "name").to_owned(),
        kind: enumeration(span, "kind", |name| {
            Kind::from_name(&name.trim_start_matches("SPAN_KIND_").to_ascii_lowercase()).number()
        }),
        start_time_unix_nano: number(span, "startTimeUnixNano").unwrap_or(0),
        end_time_unix_nano: number(span, "endTimeUnixNano").unwrap_or(0),
        attributes: values::from_otlp(span, "attributes"),
        dropped_attributes_count: number(span, "droppedAttributesCount").unwrap_or(0),
        events: list(span, "events").iter().map(read_event).collect(),
        dropped_events_count: number(span, "droppedEventsCount").unwrap_or(0),
        links: list(span, "links").iter().map(read_link).collect(),
        dropped_links_count: number(span, "droppedLinksCount").unwrap_or(0),
        status,
        flags: number(span, "flags").unwrap_or(0),
    }
}

fn read_event(event: &Value) -> Event {
    Event {
        time_unix_nano: number(event, "timeUnixNano").unwrap_or(0),
        name: text(event, "name").to_owned(),
        attributes: values::from_otlp(event, "attributes"),
        dropped_attributes_count: number(event, "droppedAttributesCount").unwrap_or(0),
    }
}

fn read_link(link: &Value) -> Link {
    Link {
        trace_id: id(link, "traceId"),
        span_id: id(link, "spanId"),
        trace_state: text(link, "traceState").to_owned(),
        attributes: values::from_otlp(link, "attributes"),
        dropped_attributes_count: number(link, "droppedAttributesCount").unwrap_or(0),
        flags: number(link, "flags").unwrap_or(0),
    }
}

/// The bytes of an id. What is none has a length that no id has, so that its span is refused with the reason.
fn id(object: &Value, name: &str) -> Vec<u8> {
    let digits = text(object, name);
    let byte = |at: usize| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    bytes.filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit())).unwrap_or_else(|| vec![0])
}

fn enumeration(object: &Value, name: &str, by_name: impl Fn(&str) -> i32) -> i32 {
    number(object, name).unwrap_or_else(|| by_name(text(object, name)))
}

/// The pieces of `snapshot` as a request in OTLP's JSON.
pub(crate) fn write(snapshot: Snapshot) -> impl Iterator<Item = String> + Send {
    // Spans of one resource and one scope stand together, in the order of the first span of each.
    let mut places = HashMap::<(usize, usize), usize>::new();
    let mut groups = Vec::<Vec<SpanView>>::new();
    for span in snapshot.spans {
        let origin = &span.entry.origin;
        let origin = (Arc::as_ptr(&origin.resource).addr(), Arc::as_ptr(&origin.scope).addr());
        let place = *places.entry(origin).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(span),
            None => groups.push(vec![span]),
        }
    }
    let groups = groups.into_iter().enumerate().flat_map(|(index, spans)| {
        let head = spans.first().map(|span| head(index == 0, &span.entry.origin)).unwrap_or_default();
        let spans = spans.into_iter().enumerate().map(|(index, span)| {
            let comma = if index == 0 { "" } else { "," };
            format!("{comma}{}", written(&span.entry.decode()))
        });
        std::iter::once(head).chain(spans).chain(std::iter::once("]}]}".to_owned()))
    });
    std::iter::once("{\"resourceSpans\":[".to_owned()).chain(groups).chain(std::iter::once("]}".to_owned()))
}

/// What stands before the spans of one resource and one scope.
fn head(is_first: bool, origin: &Origin) -> String {
    let (of_resource, of_scope) = (origin.resource.decode(), origin.scope.decode());
    let resource = of_resource.resource.unwrap_or_default();
    let resource = json!({
        "attributes": values::to_otlp(&resource.attributes),
        "droppedAttributesCount": resource.dropped_attributes_count,
    });
    let scope = of_scope.scope.unwrap_or_default();
    let scope = json!({
        "name": scope.name,
        "version": scope.version,
        "attributes": values::to_otlp(&scope.attributes),
        "droppedAttributesCount": scope.dropped_attributes_count,
    });
    let comma = if is_first { "" } else { "," };
    let [resource_schema, scope_schema] = [of_resource.schema_url, of_scope.schema_url].map(Value::from);
    format!(
        "{comma}{{\"resource\":{resource},\"schemaUrl\":{resource_schema},\"scopeSpans\":[{{\"scope\":{scope},\
         \"schemaUrl\":{scope_schema},\"spans\":["
    )
}

fn written(span: &Span) -> Value {
    let mut written = json!({
        "traceId": digits(&span.trace_id),
        "spanId": digits(&span.span_id),
        "parentSpanId": digits(&span.parent_span_id),
        "traceState": span.trace_state,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start_time_unix_nano.to_string(),
        "endTimeUnixNano": span.end_time_unix_nano.to_string(),
        "attributes": values::to_otlp(&span.attributes),
        "droppedAttributesCount": span.dropped_attributes_count,
        "events": span.events.iter().map(written_event).collect::<Value>(),
        "droppedEventsCount": span.dropped_events_count,
        "links": span.links.iter().map(written_link).collect::<Value>(),
        "droppedLinksCount": span.dropped_links_count,
        "flags": span.flags,
    });
    if let (Some(status), Some(object)) = (&span.status, written.as_object_mut()) {
        object.insert("status".to_owned(), json!({"code": status.code, "message": status.message}));
    }
    written
}

fn written_event(event: &Event) -> Value {
    json!({
        "timeUnixNano": event.time_unix_nano.to_string(),
        "name": event.name,
        "attributes": values::to_otlp(&event.attributes),
        "droppedAttributesCount": event.dropped_attributes_count,
    })
}

fn written_link(link: &Link) -> Value {
    json!({
        "traceId": digits(&link.trace_id),
        "spanId": digits(&link.span_id),
        "traceState": link.trace_state,
        "attributes": values::to_otlp(&link.attributes),
        "droppedAttributesCount": link.dropped_attributes_count,
        "flags": link.flags,
    })
}

fn digits(id: &[u8]) -> String {
    match (entry::trace_id(id), entry::span_id(id)) {
        (Some(id), _) => ids::trace_text(id),
        (_, Some(id)) => ids::span_text(id),
        _ => String::new(),
    }
}
