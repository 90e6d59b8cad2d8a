//! A request of OTLP in protobuf: from its bytes to spans.
//!
//! A request is walked twice. The first walk sees whether it is whole, so that nothing is kept of one that is not. The second one
//! hands out its spans in portions, so that a request of many small spans takes no more memory than one of few.

use std::sync::Arc;

use prost::Message;

use crate::entry::{self, Batch, Entry, Origin, Portions};
use crate::proto::field;
use crate::wire::{Fields, Malformed, Value};

/// The largest resource or scope, in bytes.
const MAX_ORIGIN: usize = 64 << 10;

/// Hands the spans of `request`, an `ExportTraceServiceRequest`, to `take` in portions. Each portion counts those that cannot be
/// kept.
///
/// # Errors
/// The request is not whole. Then `take` was not called.
pub(crate) fn read(request: &[u8], mut take: impl FnMut(Batch)) -> Result<(), Malformed> {
    walk(request, &mut Check)?;
    let mut reader = Reader { portions: Portions::new(&mut take), resource: None, scope: None };
    walk(request, &mut reader)?;
    reader.portions.finish();
    Ok(())
}

/// Sees the parts of a request in their order.
trait Visitor {
    fn resource(&mut self, resource: Around<'_>);
    fn scope(&mut self, scope: Around<'_>);
    fn span(&mut self, span: &[u8]);
}

/// A visitor that does nothing, with which a request is only checked.
struct Check;

/// A visitor that decodes each span, and hands spans on in portions.
struct Reader<'t> {
    portions: Portions<'t>,
    resource: Option<Arc<entry::Resource>>,
    scope: Option<Arc<entry::Scope>>,
}

/// What stands around the parts of a message: a resource or a scope, and its schema.
#[derive(Clone, Copy, Default)]
struct Around<'a> {
    message: &'a [u8],
    schema_url: &'a [u8],
}

impl Visitor for Check {
    fn resource(&mut self, _: Around<'_>) {}
    fn scope(&mut self, _: Around<'_>) {}
    fn span(&mut self, _: &[u8]) {}
}

impl Visitor for Reader<'_> {
    fn resource(&mut self, resource: Around<'_>) {
        self.resource = resource.decode().map(|(resource, schema_url)| entry::Resource::new(resource, schema_url));
    }

    fn scope(&mut self, scope: Around<'_>) {
        self.scope = scope.decode().map(|(scope, schema_url)| entry::Scope::new(scope, schema_url));
    }

    fn span(&mut self, span: &[u8]) {
        match (&self.resource, &self.scope) {
            (Some(resource), Some(scope)) => {
                let origin = Origin { resource: Arc::clone(resource), scope: Arc::clone(scope) };
                self.portions.push(Entry::read(&origin, span));
            }
            _ => self.portions.push(Err("a resource or a scope is no protobuf message, or has more than 64 KiB")),
        }
    }
}

impl<'a> Around<'a> {
    /// Reads `whole`, in which `message` is the number of the message.
    fn read(whole: &'a [u8], message: u32) -> Result<Self, Malformed> {
        let mut around = Self::default();
        for field in Fields::of(whole) {
            match field? {
                (number, Value::Bytes(bytes)) if number == message => around.message = bytes,
                (field::SCHEMA_URL, Value::Bytes(bytes)) => around.schema_url = bytes,
                _ => {}
            }
        }
        Ok(around)
    }

    fn decode<M: Message + Default>(self) -> Option<(M, String)> {
        let is_small = self.message.len() <= MAX_ORIGIN && self.schema_url.len() <= MAX_ORIGIN;
        let schema_url = std::str::from_utf8(self.schema_url).ok().filter(|_| is_small)?;
        Some((M::decode(self.message).ok()?, schema_url.to_owned()))
    }
}

/// Shows `request` to `visitor`.
fn walk(request: &[u8], visitor: &mut dyn Visitor) -> Result<(), Malformed> {
    for of_resource in messages(request, field::RESOURCE_SPANS) {
        let of_resource = of_resource?;
        // It may stand behind its spans.
        visitor.resource(Around::read(of_resource, field::RESOURCE)?);
        for of_scope in messages(of_resource, field::SCOPE_SPANS) {
            let of_scope = of_scope?;
            visitor.scope(Around::read(of_scope, field::SCOPE)?);
            for span in messages(of_scope, field::SPANS) {
                visitor.span(span?);
            }
        }
    }
    Ok(())
}

/// The messages with this number in `whole`.
fn messages(whole: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields::of(whole).filter_map(move |field| match field {
        Ok((of_field, Value::Bytes(message))) if of_field == number => Some(Ok(message)),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{self, KeyValue, ResourceSpans, ScopeSpans, Span};

    fn span(id: u64) -> Span {
        Span { trace_id: vec![1; 16], span_id: id.to_be_bytes().to_vec(), name: "a".to_owned(), ..Span::default() }
    }

    fn encoded(resource_spans: &[ResourceSpans]) -> Vec<u8> {
        let mut request = Vec::new();
        for of_resource in resource_spans {
            prost::encoding::message::encode(field::RESOURCE_SPANS, of_resource, &mut request);
        }
        request
    }

    fn of(service: &str, spans: Vec<Span>) -> ResourceSpans {
        let attributes = vec![KeyValue::new("service.name", proto::Value::Text(service.to_owned()))];
        let resource = Some(proto::Resource { attributes, dropped_attributes_count: 0 });
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        ResourceSpans { resource, scope_spans, schema_url: String::new() }
    }

    fn batches(request: &[u8]) -> Vec<Batch> {
        let mut batches = Vec::new();
        read(request, |batch| batches.push(batch)).unwrap();
        batches
    }

    #[test]
    fn a_resource_counts_wherever_it_stands() {
        let behind = [encoded(&[of("api", vec![span(1)])]), encoded(&[of("worker", vec![span(2)])])].concat();
        let spans = batches(&behind).remove(0).spans;
        let services: Vec<_> = spans.iter().map(|(_, entry)| &*entry.origin.resource.service).collect();
        assert_eq!(services, ["api", "worker"]);
        // The fields of a message may come in any order: here the spans come before the resource.
        let (resource, spans) =
            (ResourceSpans { scope_spans: Vec::new(), ..of("api", Vec::new()) }, of("", vec![span(1)]));
        let spans = ResourceSpans { resource: None, ..spans };
        let message = [spans.encode_to_vec(), resource.encode_to_vec()].concat();
        let mut request = vec![0x0a];
        prost::encoding::encode_varint(message.len() as u64, &mut request);
        request.extend(message);
        assert_eq!(&*batches(&request).remove(0).spans[0].1.origin.resource.service, "api");
    }

    #[test]
    fn spans_come_in_portions_and_those_that_are_too_large_are_counted() {
        let portions = batches(&encoded(&[of("api", (1..=2_500).map(span).collect())]));
        assert_eq!(portions.iter().map(|batch| batch.spans.len()).collect::<Vec<_>>(), [1_000, 1_000, 500]);
        let large = Span { name: "x".repeat(entry::MAX_SPAN), ..span(1) };
        let batch = batches(&encoded(&[of("api", vec![large, span(2)])])).remove(0);
        assert_eq!((batch.spans.len(), batch.refused, batch.reason), (1, 1, Some("a span may have 1 MiB")));
        let batch = batches(&encoded(&[of(&"x".repeat(MAX_ORIGIN), vec![span(1), span(2)])])).remove(0);
        assert_eq!((batch.spans.len(), batch.refused), (0, 2));
        assert!(batch.reason.unwrap().contains("64 KiB"));
    }

    #[test]
    fn nothing_is_taken_of_a_request_that_is_cut_off_and_no_change_of_a_byte_is_trouble() {
        let whole = encoded(&[of("api", vec![span(1)]), of("worker", vec![span(2)])]);
        for end in 1..whole.len() {
            let mut taken = 0;
            let read = read(&whole[..end], |batch| taken += batch.spans.len());
            // Where the first message ends, the rest is a request of its own.
            assert!(read.is_err() && taken == 0 || read.is_ok() && taken == 1, "{end}");
        }
        for (at, byte) in (0..whole.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
            let mut changed = whole.clone();
            changed[at] = byte;
            let mut spans = 0;
            let read = read(&changed, |batch| spans += batch.spans.len() + usize::try_from(batch.refused).unwrap());
            assert!(read.is_ok() || spans == 0, "byte {at} as {byte}");
        }
    }
}
